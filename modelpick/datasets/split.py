"""The examples of a run, split into training and held-out ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick.datasets.duplicates import normalized
from modelpick.datasets.examples import Example
from modelpick.datasets.read import read_for_training, split
from modelpick.errors import UsageError


@dataclass(frozen=True, slots=True)
class Data:
    """The training and held-out examples of a run."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    sha256: str
    sources: tuple[str, ...]
    labels: tuple[str, ...]
    eval_sha256: str | None = None
    leaks: int = 0  # held-out examples left out because training repeats them

    def record(self, notes: Sequence[str] = ()) -> "DataRecord":
        """The record of the data for run.json and the model card. `notes` are the policy's on the declared sources."""
        return DataRecord(
            examples=len(self.train),
            held_out=len(self.held_out),
            leaks_left_out=self.leaks,
            sha256=self.sha256,
            eval_sha256=self.eval_sha256,
            sources=self.sources,
            notes=tuple(notes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """The `data` object of run.json: counts of examples, the hashes that pin the files, the declared sources."""

    examples: int = 0
    held_out: int = 0
    leaks_left_out: int = 0
    sha256: str | None = None
    eval_sha256: str | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_data(file: Path, *, eval_file: Path | None = None, held_out: float = 0.1, seed: int = 42) -> Data:
    """Read and split the examples: `eval_file` is held out, or else the share `held_out`, drawn by `seed`.

    A held-out example whose question is in the training data proves nothing and is left out. Raises UsageError
    for a file that cannot be trained on, code="leak" when nothing of `eval_file` is left, and code="one_label".
    """
    whole = read_for_training(file)
    eval_sha256, leaks = None, 0
    if eval_file is not None:
        apart = read_for_training(eval_file)
        train, eval_sha256 = whole.examples, apart.sha256
        asked_in_training = {_asked(example) for example in train}
        test = tuple(example for example in apart.examples if _asked(example) not in asked_in_training)
        leaks = len(apart.examples) - len(test)
        if not test:
            raise UsageError(
                f"every example of {eval_file} is in {file} too",
                fix="hold out examples that are not trained on, or leave out --eval-data",
                code="leak",
            )
    else:
        train, test = split(whole.examples, held_out, seed)
    sources = tuple(sorted({example.source for example in (*train, *test) if example.source}))
    labels = labels_of((*train, *test))
    if len(labels) == 1:
        raise UsageError(
            f"every example of {file} has the label {labels[0]!r}",
            fix="give examples of at least two labels",
            code="one_label",
        )
    return Data(train, test, whole.sha256, sources, labels, eval_sha256, leaks)


def _asked(example: Example) -> str:
    return normalized(example.prompt) or normalized(example.text)


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class names of a classification file, sorted (numbers by value)."""
    names = {example.answer for example in examples if example.form == "classification" and example.answer is not None}
    return tuple(sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)))
