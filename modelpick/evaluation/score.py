"""Before and after, on examples the model was not trained on: loss per answer, or right labels, case by case."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from modelpick.catalog.architecture import Kind
from modelpick.loading.tokenize import IGNORED, Encoded, EncodedRow
from modelpick.schema import Bounds, to_json

_Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution
_FEWEST = 6  # five cases that all change one way are nothing unusual at 5 %: 2 / 2**5 = 0.0625
_RESAMPLES = (
    2000  # Efron & Tibshirani, An Introduction to the Bootstrap (1993), section 12.4: 1000 or more for intervals
)


_Signed = Annotated[float, Bounds(-1e18, 1e18)]


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % interval."""

    value: _Signed
    low: _Signed
    high: _Signed

    @property
    def direction(self) -> int:
        """1 when the whole interval lies above zero, -1 when below, 0 when zero lies in it."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def rounded(self, digits: int = 4) -> "Interval":
        """The interval to so many decimal places, as files have it."""
        return Interval(round(self.value, digits), round(self.low, digits), round(self.high, digits))

    def as_json(self) -> dict[str, float]:
        """For result files: four decimal places."""
        return to_json(self.rounded())


def share(successes: int, trials: int) -> Interval:
    """The share of successes with Wilson's score interval (E. B. Wilson, JASA 22, 1927)."""
    if trials <= 0:
        return Interval(math.nan, 0.0, 1.0)
    p, z2 = successes / trials, _Z95**2
    middle = (p + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * math.sqrt(p * (1 - p) / trials + z2 / (4 * trials**2))
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def paired_difference(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """The mean of after - before over the same cases, with a percentile bootstrap interval over cases.

    Resampling is overconfident where little changed. So the interval reaches zero when an exact sign test (McNemar's,
    Psychometrika 12, 1947) puts the changed marks of right and wrong down to chance, and fewer than six cases get the
    range of their differences, zero included. Raises ValueError when the two are not the same cases, or none.
    """
    if len(before) != len(after):
        raise ValueError("before and after are not the same cases")
    differences = [b - a for a, b in zip(before, after, strict=True)]
    count = len(differences)
    if not count:
        raise ValueError("there are no cases")
    if count < _FEWEST:
        return Interval(sum(differences) / count, min(0.0, *differences), max(0.0, *differences))
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(differences, k=count)) / count for _ in range(_RESAMPLES))
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    if set(differences) <= {-1.0, 0.0, 1.0} and sign_test(differences.count(1.0), differences.count(-1.0)) >= 0.05:
        low, high = min(low, 0.0), max(high, 0.0)
    return Interval(sum(differences) / count, low, high)


def sign_test(up: int, down: int) -> float:
    """How likely so lopsided a split, or a more lopsided one, is by chance: exact and two-sided.

    >>> sign_test(5, 0), sign_test(6, 0)
    (0.0625, 0.03125)
    """
    changed = up + down
    tail = sum(math.comb(changed, fewer) for fewer in range(min(up, down) + 1))
    return float(min(1.0, 2 * tail / 2**changed))


@dataclass(frozen=True, slots=True)
class Scores:
    """One figure a case, in the order of the cases: mean loss per answer token (nats), or 1/0 for what is right."""

    measure: str  # loss, or a share of the cases: accuracy, exact match, ...
    cases: tuple[float, ...]
    whole: float | None = None  # of a measure that does not come from one figure a case (F1)

    @property
    def mean(self) -> float:
        """The mean over cases, or what the measure makes of them all."""
        return sum(self.cases) / max(1, len(self.cases)) if self.whole is None else self.whole

    @property
    def better_is(self) -> int:
        """1 when more is better, -1 when less is."""
        return -1 if self.measure == "loss" else 1


def score(model: Any, encoded: Encoded, kind: Kind, pad: int, batch: int = 1) -> Scores:
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


def _collate(rows: Sequence[EncodedRow], kind: Kind, pad: int, device: Any) -> tuple[dict[str, object], Any]:
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


def _losses(logits: Any, labels: Any, kind: Kind) -> list[float]:
    import torch

    if kind == "decoder":
        logits = logits[:, -labels.shape[1] :]  # without the virtual tokens that stand before the others
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    counted = (labels != IGNORED).sum(1).clamp(min=1)
    return [float(value) for value in losses.sum(1) / counted]


def _accuracies(logits: Any, labels: Any) -> list[float]:
    return [float(value) for value in (logits.argmax(-1) == labels).float()]


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """Two scores of the same cases, and the conclusion. `smallest` is the smallest gain that counts, in the measure's
    unit."""

    name: str
    before: Scores
    after: Scores
    difference: Interval
    smallest: float = 0.0

    @property
    def measure(self) -> str:
        """What the scores are of."""
        return self.after.measure

    @property
    def verdict(self) -> str:
        """better: the whole interval is a gain of at least `smallest`. too small to count: a gain, which may be less.
        worse: the whole interval is a loss, of any size. no difference shown: zero lies in the interval."""
        direction = self.difference.direction * self.after.better_is
        surely = min(abs(self.difference.low), abs(self.difference.high))
        if direction == 1:
            return "better" if surely >= self.smallest else "too small to count"
        return "worse" if direction == -1 else "no difference shown"

    def row(self) -> "ComparisonRow":
        """One element of `comparisons` in result.json: means to four digits, without the single cases."""
        return ComparisonRow(
            name=self.name,
            measure=self.measure,
            cases=len(self.after.cases),
            before=round(self.before.mean, 4),
            after=round(self.after.mean, 4),
            difference=self.difference.rounded(),
            verdict=self.verdict,
            smallest_effect=round(self.smallest, 4),
        )


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """A comparison as result.json and people have it. `before` and `after` are means over `cases`."""

    name: str
    measure: str
    cases: int
    before: float
    after: float
    difference: Interval
    verdict: str
    smallest_effect: float | None = None  # None: of a run before 2026-12, which counted any

    @property
    def sentence(self) -> str:
        """The comparison on one line: the verdict first, then what it rests on."""
        gap = self.difference
        counts = f", counts from {self.smallest_effect:.3f}" if self.smallest_effect else ""
        return (
            f"{self.name}: {self.verdict} ({self.measure} {self.before:.3f} -> {self.after:.3f}, "
            f"difference {gap.value:+.3f}, 95 % {gap.low:+.3f} to {gap.high:+.3f}{counts}, {self.cases} cases)"
        )


def compare(
    name: str, before: Scores, after: Scores, min_effect: float = 0.0, difference: Interval | None = None
) -> ScoreComparison:
    """Compare two scores case by case (a paired bootstrap, 95 %; or the `difference` that is given).

    `min_effect` is the smallest gain that counts: of a share absolute, of a loss relative to the loss before.
    """
    smallest = min_effect * (before.mean if before.measure == "loss" else 1.0)
    return ScoreComparison(name, before, after, difference or paired_difference(before.cases, after.cases), smallest)
