"""Examples that share a row teach what they teach alone: the same loss, the same gradients, no look at each other."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.loading import adapters, load  # noqa: E402
from modelpick.loading.tokenize import IGNORED, Encoded  # noqa: E402
from modelpick.planning.recipe import RunSettings  # noqa: E402
from modelpick.training import packing, train  # noqa: E402
from tests import tiny_models  # noqa: E402

LENGTHS = (9, 3, 4, 2, 6)
ROWS = tuple(
    {
        "input_ids": [(5 * number + place) % 20 + 5 for place in range(length)],
        "labels": [IGNORED, *((5 * number + place) % 20 + 5 for place in range(1, length))],
    }
    for number, length in enumerate(LENGTHS)
)
APART = ("llama", "gemma2")  # families that are known to read positions; of others the trial decides
FAMILIES = (*APART, "falcon", "mpt", "gpt_neox")


def trainer_for(family: str, folder: Path, settings: RunSettings) -> Any:
    torch.manual_seed(3)
    loaded = load.load(str(tiny_models.make(family, folder / "base")), load.LoadOptions())
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False)
    for parameter in model.parameters():  # an adapter starts at zero, whose gradient would say little
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    hooks = train.RunHooks(lambda event: None, None, threading.Event())
    encoded = Encoded(ROWS, 0, 0, max(LENGTHS), sum(LENGTHS))
    prepared = train.Prepared(replace(loaded, model=model), encoded)
    return train.build_trainer(settings, prepared, folder / "out", hooks)


def loss_and_gradients(trainer: Any, batch: dict[str, Any], items: Any) -> tuple[float, list[Any]]:
    trainer.model.zero_grad()
    value = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=items)
    value.backward()
    return value.item(), [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]


def batch_of(trainer: Any) -> dict[str, Any]:
    return next(iter(trainer.get_train_dataloader()))


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_padded_batch(family: str, tmp_path: Path) -> None:
    settings = RunSettings("m", "d", "o", batch=5, gradient_accumulation=1, context=64, dtype="fp32")
    trainer = trainer_for(family, tmp_path, settings)
    packed = batch_of(trainer)
    apart = "position_ids" in packed
    assert apart or family not in APART
    assert apart == packing.keeps_apart(trainer.model)
    trainer.data_collator = packing.PackingCollator(0)
    packed = batch_of(trainer)
    assert packed["input_ids"].shape == (3, 9)
    unpacked = {
        name: torch.tensor([row[name] + [fill] * (9 - len(row[name])) for row in ROWS])
        for name, fill in (("input_ids", 0), ("labels", IGNORED))
    }
    unpacked["attention_mask"] = torch.tensor([[1] * n + [0] * (9 - n) for n in LENGTHS])
    items = sum(LENGTHS) - len(LENGTHS)
    expected, gradients = loss_and_gradients(trainer, unpacked, items)
    if not apart:
        return
    value, found = loss_and_gradients(trainer, packed, items)
    assert value == pytest.approx(expected, rel=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6, rtol=1e-4) for a, b in zip(gradients, found, strict=True))
    # A leak would be seen: with positions that go on, the examples see each other.
    leaky = {name: value for name, value in packed.items() if name != "position_ids"}
    other, _ = loss_and_gradients(trainer, leaky, items)
    assert other != pytest.approx(expected, rel=1e-5)


def test_a_model_that_ignores_positions_is_found_out(tmp_path: Path) -> None:
    model = load.load(str(tiny_models.make("llama", tmp_path / "base")), load.LoadOptions()).model
    assert packing.keeps_apart(model)
    forward = model.forward
    model.forward = lambda *given, position_ids=None, **names: forward(*given, **names)
    assert not packing.keeps_apart(model)

    def one_row_only(*given: Any, position_ids: Any, **names: Any) -> Any:
        several = names["input_ids"].shape[0] > 1  # as flash attention does
        return forward(*given, position_ids=None if several else position_ids, **names)

    model.forward = one_row_only
    assert not packing.keeps_apart(model)


def test_without_packing_the_order_is_random_and_rows_are_padded(tmp_path: Path) -> None:
    settings = RunSettings("m", "d", "o", batch=5, gradient_accumulation=1, context=64, dtype="fp32", share_rows=False)
    trainer = trainer_for("llama", tmp_path, settings)
    assert trainer.args.train_sampling_strategy == "random"
    assert batch_of(trainer)["input_ids"].shape == (5, 9)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_rows_hold_every_example_once_and_are_never_more_or_wider(lengths: list[int]) -> None:
    rows = packing.rows_of(lengths, max(lengths))
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= max(lengths) for row in rows)
    assert len(rows) <= len(lengths)
