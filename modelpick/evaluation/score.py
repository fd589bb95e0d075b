"""Before and after, on examples the model has not learned from: loss per answer, or right labels, case by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelpick.evaluation.intervals import Interval, paired_difference
from modelpick.loading.tokenize import IGNORED, Encoded

if TYPE_CHECKING:
    from modelpick.loading.load import Kind


@dataclass(frozen=True, slots=True)
class Scores:
    """One figure a case, in the order of the cases: mean loss per answer token (nats), or 1/0 for a label."""

    measure: str  # loss or accuracy
    cases: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over cases."""
        return sum(self.cases) / max(1, len(self.cases))

    @property
    def better_is(self) -> int:
        """1 when more is better, -1 when less is."""
        return 1 if self.measure == "accuracy" else -1

    def as_json(self) -> dict[str, Any]:
        """For result files."""
        return {"measure": self.measure, "mean": round(self.mean, 6), "cases": len(self.cases)}


def score(model: Any, encoded: Encoded, kind: "Kind", pad: int, batch: int = 1) -> Scores:
    """Score a model on encoded examples, `batch` at a time, in their order; the model's mode is put back."""
    import torch

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    cases: list[float] = []
    try:
        with torch.inference_mode():
            for start in range(0, len(encoded.rows), batch):
                rows = encoded.rows[start : start + batch]
                inputs, labels = _collate(rows, kind, pad, device)
                logits = model(**inputs).logits.float()
                cases.extend(_accuracies(logits, labels) if kind == "encoder" else _losses(logits, labels, kind))
    finally:
        model.train(was_training)
    return Scores("accuracy" if kind == "encoder" else "loss", tuple(cases))


def _collate(rows: Sequence[dict[str, Any]], kind: "Kind", pad: int, device: Any) -> tuple[dict[str, Any], Any]:
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [pad] * (width - len(row["input_ids"])) for row in rows], device=device)
    mask = torch.tensor(
        [[1] * len(row["input_ids"]) + [0] * (width - len(row["input_ids"])) for row in rows], device=device
    )
    inputs = {"input_ids": ids, "attention_mask": mask}
    if kind == "encoder":
        return inputs, torch.tensor([row["labels"] for row in rows], device=device)
    width = max(len(row["labels"]) for row in rows)
    labels = torch.tensor([row["labels"] + [IGNORED] * (width - len(row["labels"])) for row in rows], device=device)
    if kind == "encoder-decoder":
        inputs["labels"] = labels
    return inputs, labels


def _losses(logits: Any, labels: Any, kind: "Kind") -> list[float]:
    import torch

    if kind == "causal":
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    counted = (labels != IGNORED).sum(1).clamp(min=1)
    return [float(value) for value in losses.sum(1) / counted]


def _accuracies(logits: Any, labels: Any) -> list[float]:
    return [float(value) for value in (logits.argmax(-1) == labels).float()]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two scores of the same cases, and what may be said of them."""

    name: str
    before: Scores
    after: Scores
    difference: Interval

    @property
    def verdict(self) -> str:
        """better, worse, or no difference shown: only the interval decides."""
        direction = self.difference.direction * self.after.better_is
        return {1: "better", -1: "worse", 0: "no difference shown"}[direction]

    def as_json(self) -> dict[str, Any]:
        """One element of `comparisons` in result.json."""
        return {
            "name": self.name,
            "measure": self.after.measure,
            "cases": len(self.after.cases),
            "before": round(self.before.mean, 4),
            "after": round(self.after.mean, 4),
            "difference": self.difference.as_json(),
            "verdict": self.verdict,
        }


def compare(name: str, before: Scores, after: Scores) -> Comparison:
    """Compare two scores case by case (a paired bootstrap, 95 %)."""
    return Comparison(name, before, after, paired_difference(before.cases, after.cases))
