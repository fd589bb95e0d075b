"""`modelpick data next`: read a pool, ask the current model how sure it is, pick."""

from pathlib import Path

from modelpick.errors import UsageError
from modelpick.tuning import dataset
from modelpick.tuning.curate import pick_next
from modelpick.tuning.examples import Example
from modelpick.tuning.extra import require_train


def next_to_label(
    pool: Path, model: str, wanted: int, *, adapter: str | None = None, seen: Path | None = None
) -> list[tuple[Example, float]]:
    """The `wanted` members of an unlabelled pool to label next, with the model's uncertainty of each.

    Raises UsageError for a pool with bad lines, or for a model that cannot be loaded.
    """
    require_train()
    from modelpick.tuning import adapters, device, loading
    from modelpick.tuning.quiet import quietly
    from modelpick.tuning.uncertainty import uncertainties

    data = dataset.read(pool, labelled=False)
    if data.errors:
        first = data.errors[0]
        raise UsageError(f"{pool}, line {first.line}: {first.text}", fix="mend or remove that line", code="bad_data")
    known = dataset.read(seen, labelled=False).examples if seen else ()
    with quietly():
        options = loading.LoadOptions()
        loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else loading.load(model, options)
        device.place(loaded.model)
        unsure = uncertainties(loaded, data.examples)
    return pick_next(data.examples, known, unsure, wanted)
