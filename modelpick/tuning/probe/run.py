"""One probing: the cases asked for, put to whatever can answer."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError
from modelpick.tuning.extra import require_train
from modelpick.tuning.probe import ask
from modelpick.tuning.probe.suite import Answers, Asking, Case, Wording
from modelpick.tuning.probe.suite import cases as make_cases


@dataclass(frozen=True, slots=True)
class Suite:
    """Which cases: enough to make the same ones again."""

    cases: int = 200
    shots: int = 0
    asking: Asking = "judge"
    wording: Wording = "other"
    depth: int = 3
    seed: int = 0

    def made(self) -> tuple[Case, ...]:
        """The cases that are asked."""
        return make_cases(self.cases, seed=self.seed, wording=self.wording, asking=self.asking, depth=self.depth)

    def solved(self) -> tuple[Case, ...]:
        """The solved cases shown first, from another draw of the same wording."""
        return make_cases(
            self.shots, seed=self.seed + 1_000_003, wording=self.wording, asking=self.asking, depth=self.depth
        )

    def as_json(self) -> dict[str, Any]:
        """For `probe --json`."""
        return asdict(self)


def probe(
    model: str,
    suite: Suite,
    *,
    adapter: str | None = None,
    endpoint: str | None = None,
    key_file: Path | None = None,
) -> Answers:
    """Put a suite to a model here, to an adapter on it, or to an endpoint that serves it.

    A mask-filling encoder fills gaps; everything else writes. Raises UsageError, RemoteError.
    """
    cases, shots = suite.made(), suite.solved()
    if endpoint is not None:
        if adapter is not None:
            raise UsageError(
                "--adapter has no meaning with --endpoint", fix="serve the adapter under a name", code="contradiction"
            )
        return ask.ask_endpoint(endpoint, model, cases, shots, key_file)
    require_train()
    from modelpick.tuning import adapters, device, loading
    from modelpick.tuning.quiet import quietly

    with quietly():
        options = loading.LoadOptions()
        if loading.kind_of(loading.load_config(model, options)) == "encoder":
            return ask.ask_mask_filler(model, cases, shots)
        loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else loading.load(model, options)
        device.place(loaded.model)
        return ask.ask_loaded(loaded, cases, shots)
