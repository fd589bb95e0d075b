"""The loss without the questions' logits is the one TRL computes with them, and so are its gradients."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.loading import adapters, load  # noqa: E402
from modelpick.loading.tokenize import IGNORED, Encoded  # noqa: E402
from modelpick.planning.recipe import RunSettings  # noqa: E402
from modelpick.training import train, trainers  # noqa: E402
from tests import tiny_models  # noqa: E402

# Of unlike lengths, answers at the end, in the middle and twice: what a chat of several turns is.
ROWS = (
    {"input_ids": [7, 8, 9, 10, 11], "labels": [IGNORED, IGNORED, IGNORED, 10, 11]},
    {"input_ids": [9, 8, 7, 6, 5, 4, 12, 13], "labels": [IGNORED, 8, 7, IGNORED, IGNORED, IGNORED, 12, 13]},
)


def trainer_for(family: str, folder: Path) -> Any:
    torch.manual_seed(3)
    loaded = load.load(str(tiny_models.make(family, folder / "base")), load.LoadOptions())
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False)
    for parameter in model.parameters():  # an adapter starts at zero, whose gradient would say little
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    settings = RunSettings("m", "d", "o", batch=2, gradient_accumulation=1, context=64, dtype="fp32")
    hooks = trainers.RunHooks(lambda event: None, None, threading.Event())
    encoded = Encoded(ROWS, 0, 0, 8, 13)
    prepared = trainers.Prepared(replace(loaded, model=model), encoded)
    return train.build_trainer(settings, prepared, folder / "out", hooks)


def loss_and_gradients(trainer: Any, batch: dict[str, Any], items: Any) -> tuple[float, list[Any]]:
    trainer.model.zero_grad()
    value = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=items)
    value.backward()
    return value.item(), [p.grad.clone() for p in trainer.model.parameters() if p.grad is not None]


@pytest.mark.parametrize("items", [None, 9])
@pytest.mark.parametrize("family", ["llama", "gemma2", "falcon", "mpt", "gpt_neox"])
def test_loss_and_gradients_are_those_of_trl(
    family: str, items: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_for(family, tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    counted = None if items is None else torch.tensor(items)
    assert trainers.can_skip_questions(trainer)
    ours, gradients = loss_and_gradients(trainer, batch, counted)
    monkeypatch.setattr(trainers, "can_skip_questions", lambda trainer: False)
    theirs, expected = loss_and_gradients(trainer, batch, counted)
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert len(gradients) == len(expected) > 0
    for mine, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_questions_get_no_logits(tmp_path: Path) -> None:
    trainer = trainer_for("llama", tmp_path)
    batch = next(iter(trainer.get_train_dataloader()))
    widths: list[int] = []
    trainer.model.get_output_embeddings().register_forward_hook(
        lambda module, given, logits: widths.append(logits.shape[1])
    )
    trainer.compute_loss(trainer.model, dict(batch))
    answered = (batch["labels"][:, 1:] != IGNORED).any(dim=0).sum().item()
    assert widths == [answered]
    assert answered < batch["labels"].shape[1] - 1
