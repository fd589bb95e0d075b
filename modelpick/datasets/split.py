"""The examples of a run, split into training and held-out ones by what is asked."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelpick.catalog.architecture import Kind
from modelpick.datasets.duplicates import OnProgress, normalized
from modelpick.datasets.examples import Example, Form
from modelpick.datasets.hub_data import source_of
from modelpick.datasets.read import read_for_training
from modelpick.errors import UsageError

_AS_ASKED = 0.005  # a share that differs by less is printed as the same percentage


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
    asked_share: float | None = None  # share of the examples that was to be held out; None with an `eval_file`
    warnings: tuple[str, ...] = ()  # what the file holds and training does not read
    validation: tuple[Example, ...] = ()  # evaluated during training; neither trained on nor held out
    replayed: int = 0  # training examples that are another file's
    mix_sha256: str | None = None

    @property
    def share(self) -> float:
        """The share of the examples that is held out."""
        return len(self.held_out) / self._all

    @property
    def _all(self) -> int:
        return len(self.train) - self.replayed + len(self.validation) + len(self.held_out)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is trained on, evaluated and held out, for people."""
        said = [self.held_out_sentence]
        if self.validation:
            said.append(f"{len(self.validation):,} more examples choose the best checkpoint, and are not trained on")
        if self.replayed:
            share = self.replayed / len(self.train)
            said.append(f"{self.replayed:,} of {len(self.train):,} training examples replay others ({share:.1%})")
        return tuple(said)

    @property
    def held_out_sentence(self) -> str:
        """What is held out, and why it is another share than was asked for."""
        if not self.held_out:
            return "no example is held out: nothing will show whether the model became better at the task"
        many = f"{len(self.held_out):,} of {self._all:,} examples are held out"
        if self.asked_share is None:
            return f"{many}, from a file of their own"
        exact = abs(self.share - self.asked_share) < _AS_ASKED
        why = "" if exact else f", {self.asked_share:.1%} asked for: examples that ask the same stay on one side"
        return f"{many} ({self.share:.1%}{why})"

    def record(self, notes: Sequence[str] = ()) -> "DataRecord":
        """The record of the data for run.json and the model card. `notes` are the policy's on the declared sources."""
        return DataRecord(
            examples=len(self.train),
            held_out=len(self.held_out),
            held_out_share=round(self.share, 4),
            leaks_left_out=self.leaks,
            sha256=self.sha256,
            eval_sha256=self.eval_sha256,
            validation=len(self.validation),
            replayed=self.replayed,
            mix_sha256=self.mix_sha256,
            sources=self.sources,
            notes=tuple(notes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """The `data` object of run.json: counts of examples, the hashes that pin the files, the declared sources."""

    examples: int = 0
    held_out: int = 0
    held_out_share: float | None = None
    leaks_left_out: int = 0
    sha256: str | None = None
    eval_sha256: str | None = None
    validation: int = 0
    replayed: int = 0
    mix_sha256: str | None = None
    sources: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_data(
    file: Path,
    *,
    eval_file: Path | None = None,
    held_out: float = 0.1,
    seed: int = 42,
    columns: Mapping[str, str] | None = None,
    objective: str = "sft",
    kind: Kind | None = None,
    on_progress: OnProgress | None = None,
) -> Data:
    """Read and split the examples: `eval_file` is held out, or else the share `held_out`, drawn by `seed`.

    A held-out example whose question is in the training data proves nothing and is left out. `plan` and `up` call this
    as the run does, so that no machine is paid for to hear a refusal.

    Raises UsageError for a file that cannot be trained on, code="wrong_form" for examples that `objective`, or a model
    of this `kind` (None: not known yet), cannot learn from, code="leak" when nothing of `eval_file` is left,
    code="nothing_held_out" when a share is to be held out and cannot be, and code="one_label".
    """
    whole = read_for_training(file, columns=columns, on_progress=on_progress)
    form = whole.examples[0].form  # a file has one
    _check_objective(form, objective)
    if kind is not None:
        check_kind(form, kind)
    eval_sha256 = None
    if eval_file is not None:
        apart = read_for_training(eval_file, columns=columns)
        train, eval_sha256 = whole.examples, apart.sha256
        test = _not_asked_in(train, apart.examples)
        leaks = len(apart.examples) - len(test)
        if not test:
            raise UsageError(
                f"every example of {eval_file} is in {file} too",
                fix="hold out examples that are not trained on, or leave out --eval-data",
                code="leak",
            )
    else:
        train, test = split(whole.examples, held_out, seed)
        leaks = len(whole.examples) - len(train) - len(test)
        if held_out > 0 and not test:
            raise UsageError(
                f"nothing of {file} can be held out: all its examples ask the same",
                fix="add examples that ask something else, give --eval-data FILE, or measure nothing: --held-out 0",
                code="nothing_held_out",
            )
    test = tuple(example.last_answer_only() for example in test)  # training may have the openings of a held-out chat
    declared = {example.source for example in (*train, *test) if example.source}
    sources = tuple(sorted(declared.union(source_of(file), source_of(eval_file) if eval_file else ())))
    labels = labels_of((*train, *test))
    if len(labels) == 1:
        raise UsageError(
            f"every example of {file} has the label {labels[0]!r}",
            fix="give examples of at least two labels",
            code="one_label",
        )
    asked_share = None if eval_file else held_out
    return Data(train, test, whole.sha256, sources, labels, eval_sha256, leaks, asked_share, whole.warnings)


_FORMS: Mapping[str, Form] = {"dpo": "preference", "kto": "thumbs"}  # what an objective other than sft learns from


def _check_objective(form: Form, objective: str) -> None:
    """Refuse examples that the objective cannot learn from. Raises UsageError(code="wrong_form")."""
    right = next((name for name, needed in _FORMS.items() if needed == form), "sft")
    if right == objective:
        return
    fixes = {
        "dpo": "these are pairs of a chosen and a rejected answer: use --objective dpo",
        "kto": "these are answers with thumbs up or down: use --objective kto",
        "sft": "give pairs (prompt, chosen, rejected) for dpo, or thumbs (prompt, completion, label) for kto",
    }
    raise UsageError(
        f"objective {objective} cannot learn from examples in the form {form}", fix=fixes[right], code="wrong_form"
    )


def check_kind(form: Form, kind: Kind) -> None:
    """Refuse examples that this kind of model cannot learn from. Raises UsageError(code="wrong_form")."""
    if kind == "encoder" and form != "classification":
        raise UsageError(
            "an encoder learns to classify, and these examples have no label",
            fix="give text and label fields, or pick a decoder or encoder-decoder model",
            code="wrong_form",
        )
    if kind == "decoder" and form == "classification":
        raise UsageError(
            "a decoder learns answers, and these examples have labels",
            fix="rename text and label to prompt and completion, or pick an encoder",
            code="wrong_form",
        )


def with_validation(data: Data, share: float, seed: int) -> Data:
    """The data with a `share` of the training examples set aside to be evaluated during training, drawn by `seed`.

    Raises UsageError(code="nothing_to_evaluate") where none can be.
    """
    train, validation = split(data.train, share, seed)
    if not validation:
        raise UsageError(
            "no example can be set aside for the evaluations during training",
            fix="hold out a share with --held-out, or leave out --eval-steps",
            code="nothing_to_evaluate",
        )
    return replace(data, train=train, validation=validation)


def split(examples: Sequence[Example], held_out: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(training, held-out) examples, drawn by `seed`, as near to the share `held_out` as whole groups come.

    A group is what asks the same: lines whose last question, with all that was said before it, is the same but for case
    and punctuation. System turns do not count: they are one text in a whole file. The first question of a chat does not
    make a group either, since a thousand chats open with "Hi"; a held-out answer to it is left out by `read_data`. So a
    group counts by the answers whose question no other group asks, and one that has none is trained on.

    Of two or more groups at least one is held out, the smallest where every one is too large.
    """
    lines: dict[int, list[Example]] = {}
    for example in examples:
        lines.setdefault(example.line, []).append(example)
    groups: dict[str, list[Example]] = {}
    for of_line in lines.values():
        groups.setdefault(asked_key(of_line[-1]), []).extend(of_line)
    asked_by: dict[str, set[str]] = {}
    for key, group in groups.items():
        for example in group:
            asked_by.setdefault(asked_key(example), set()).add(key)
    own = {key: [one for one in group if len(asked_by[asked_key(one)]) == 1] for key, group in groups.items()}
    drawn: set[str] = set()
    if held_out > 0 and len(groups) > 1:
        sizes = {key: len(own[key]) for key in sorted(groups) if own[key]}
        drawn = _drawn(sizes, max(1, round(held_out * len(examples))), len(groups) - 1, seed)
    train = [example for key, group in groups.items() if key not in drawn for example in group]
    test = [example for key in drawn for example in own[key]]
    return tuple(sorted(train, key=_place)), tuple(sorted(test, key=_place))


def _drawn(sizes: Mapping[str, int], wanted: int, most: int, seed: int) -> set[str]:
    """At most `most` groups to hold out: in an order drawn by `seed` each one that brings their sizes nearer to
    `wanted`; the smallest one where none does."""
    keys = list(sizes)
    random.Random(seed).shuffle(keys)
    drawn: set[str] = set()
    total = 0
    for key in keys:
        if len(drawn) < most and abs(total + sizes[key] - wanted) < abs(total - wanted):
            drawn.add(key)
            total += sizes[key]
    return drawn or {min(keys, key=lambda key: sizes[key])}


def _place(example: Example) -> tuple[int, int]:
    return example.line, len(example.turns)


def _not_asked_in(train: Sequence[Example], test: Sequence[Example]) -> tuple[Example, ...]:
    """The examples of `test` whose question no example of `train` asks."""
    asked = {asked_key(example) for example in train}
    return tuple(example for example in test if asked_key(example) not in asked)


def asked_key(example: Example) -> str:
    """What an example asks, without its system turns: equal where case and punctuation alone differ. What asks nothing
    (text to continue) is known by its answer."""
    said = example.asked if example.asked.strip() else example.said
    return normalized(said) or " ".join(said.split())


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class names of a classification file, sorted (numbers by value)."""
    names = {example.answer for example in examples if example.form == "classification" and example.answer is not None}
    return tuple(sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)))
