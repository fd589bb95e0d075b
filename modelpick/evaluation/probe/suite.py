"""The cases of the probe: argument shapes put into words, half of them valid, and the score of a set of answers.

Pure, apart from reading the embedded word lists once.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from modelpick import files, schema
from modelpick.evaluation.probe.logic import SHAPES, Shape, Statement, follows, known
from modelpick.evaluation.score import Interval, paired_difference, share

Wording = Literal["plain", "other"]
Asking = Literal["judge", "complete"]


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is shown, whether the conclusion follows, and the word that would be concluded.

    `ask` "judge" expects yes or no; "complete" shows an open sentence ("Therefore, Pinocchio is"), which the model
    should close with `claim` exactly when that follows.
    """

    number: int
    shape: str
    depth: int
    asking: Asking
    intro: str
    premises: str
    question: str
    claim: str
    follows: bool
    name: str
    worked: str

    @property
    def prompt(self) -> str:
        """The whole text of the case."""
        return f"{self.intro} {self.premises} {self.question}"

    @property
    def answer(self) -> str:
        """A right answer: what a solved example shows."""
        if self.asking == "judge":
            return "yes" if self.follows else "no"
        return f"{self.claim}." if self.follows else f"not necessarily {self.claim}."

    @property
    def worked_answer(self) -> str:
        """A right answer that first says what is known and what follows, then what is asked: small models learn from
        such steps far better than from a bare yes or no."""
        return f"{self.worked} {self.answer.capitalize()}." if self.asking == "judge" else self.answer


@dataclass(frozen=True, slots=True)
class _Words:
    """One vocabulary and wording: terms as (one, many), and the ways to say a statement of each form."""

    names: tuple[str, ...]
    kinds: tuple[tuple[str, str], ...]
    properties: tuple[str, ...]
    intro: str
    complete_intro: str
    therefore: str
    ask: tuple[str, ...]
    all: tuple[str, ...]
    all_kinds: tuple[str, ...]
    no: tuple[str, ...]
    some: tuple[str, ...]
    is_kind: tuple[str, ...]
    is_not_kind: tuple[str, ...]
    is_property: tuple[str, ...]
    is_not_property: tuple[str, ...]


@cache
def _words(wording: Wording) -> _Words:
    file = files.data_file("evaluation", "probe_words.toml")
    return schema.read(_Words, files.read_toml(file, code="broken_installation")[wording], f"{file} [{wording}]")


def make_cases(
    count: int, *, seed: int = 0, wording: Wording = "other", asking: Asking = "judge", depth: int = 3
) -> tuple[Case, ...]:
    """`count` different cases, as many that follow as not (one more that does not when odd), in mixed order.

    The same arguments give the same cases. `depth` is the most premises that must be chained. `complete` leaves out
    the shapes whose conclusion is a kind or a denial, since an open sentence would not call for them.
    """
    draw = random.Random(f"{seed}/{wording}/{asking}/{depth}")
    usable = [shape for shape in SHAPES if shape.depth <= depth and (asking == "judge" or shape.conclusion in _OPEN)]
    by_truth: dict[bool, list[Shape]] = {True: [], False: []}
    for shape in usable:
        by_truth[follows(shape.premises, shape.conclusion)].append(shape)
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        truth = len(made) % 2 == 1
        shapes = by_truth[truth]
        case = _dress(shapes[len(made) // 2 % len(shapes)], truth, draw, _words(wording), asking)
        if case.prompt not in seen:
            seen.add(case.prompt)
            made.append(case)
    draw.shuffle(made)
    return tuple(_numbered(case, number) for number, case in enumerate(made, 1))


_OPEN = (Statement("is", "P"), Statement("is", "Q"))


def _numbered(case: Case, number: int) -> Case:
    return Case(number, *(getattr(case, name) for name in Case.__slots__[1:]))


def _dress(shape: Shape, truth: bool, draw: random.Random, words: _Words, asking: Asking) -> Case:
    kinds = dict(zip("KLMX", draw.sample(words.kinds, 4), strict=True))
    properties = dict(zip("PQ", draw.sample(words.properties, 2), strict=True))
    name = draw.choice(words.names)
    premises = [_say(statement, kinds, properties, name, draw, words) for statement in shape.premises]
    claim = _claim(shape.conclusion, kinds, properties)
    if asking == "judge":
        question = draw.choice(words.ask).format(claim=f"{name} is {claim}")
        intro = words.intro
    else:
        question, intro = words.therefore.format(name=name), words.complete_intro
    worked = _worked(shape, kinds, properties, name)
    return Case(
        0, shape.name, shape.depth, asking, intro, " ".join(premises), question, claim, truth, name, worked
    )  # fmt: skip


def _worked(shape: Shape, kinds: dict[str, tuple[str, str]], properties: dict[str, str], name: str) -> str:
    """What is stated of the individual, all that follows from it, and what is asked."""
    facts = ", so ".join(_claim(fact, kinds, properties) for fact in known(shape.premises))
    return f"{name} is {facts}. Asked: {_claim(shape.conclusion, kinds, properties)}."


def _say(
    statement: Statement,
    kinds: dict[str, tuple[str, str]],
    properties: dict[str, str],
    name: str,
    draw: random.Random,
    words: _Words,
) -> str:
    fill = {"name": name}
    if statement.predicate in properties:
        fill["property"] = properties[statement.predicate]
    if statement.form in ("is", "is_not"):
        of_kind = statement.predicate in kinds
        if of_kind:
            fill["a_kind"] = _a(kinds[statement.predicate][0])
        key = f"{statement.form}_{'kind' if of_kind else 'property'}"
    else:
        one, many = kinds[statement.subject]
        fill |= {"kind": one, "kinds": many, "a_kind": _a(one)}
        key = statement.form
        if statement.predicate in kinds:
            other, others = kinds[statement.predicate]
            fill |= {"others": others, "an_other": _a(other)}
            key = "all_kinds"
    return str(draw.choice(getattr(words, key)).format(**fill))


def _claim(conclusion: Statement, kinds: dict[str, tuple[str, str]], properties: dict[str, str]) -> str:
    term = conclusion.predicate
    term_text = _a(kinds[term][0]) if term in kinds else properties[term]
    return f"not {term_text}" if conclusion.form == "is_not" else term_text


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def article_case() -> Case:
    """The founding article's own prompt, as a case: two arguments solved, and one where nothing makes a toy heavy."""
    words = _words("plain")
    solved_before = (
        "All men are mortal. Socrates is a man. Therefore, Socrates is mortal. "
        "All programmers are happy. Alice is a programmer. Therefore, Alice is happy. "
    )
    return Case(
        0, "unrelated", 1, "complete", words.complete_intro,
        f"{solved_before}All elephants are heavy. Pinocchio is a toy.",
        words.therefore.format(name="Pinocchio"), "heavy", False, "Pinocchio", "Pinocchio is a toy. Asked: heavy.",
    )  # fmt: skip


def concluded(case: Case, text: str) -> bool | None:
    """Whether an answer in words draws the conclusion; None when it says neither (which counts as wrong).

    The first yes or no decides a judgement. An open sentence concludes when its first clause has the claim without a
    denial or a doubt.
    """
    words = [word.strip(".,!?:;\"'()*").lower() for word in text.split()]
    if case.asking == "judge":
        found = next((word for word in words if word in ("yes", "no")), None)
        return None if found is None else found == "yes"
    first = text.strip().split(".")[0].split("\n")[0].lower()
    if not first:
        return None
    doubt = ("not ", "n't", "unknown", "cannot", "necessarily", "maybe", "uncertain", "unclear")
    return case.claim.lower() in first and not any(word in first for word in doubt)


@dataclass(frozen=True, slots=True)
class CaseShare:
    """How many cases of a kind there are, and the share of them judged rightly; None where there are none."""

    cases: int
    share: Interval | None

    def as_json(self) -> dict[str, float]:
        """One element of `by_shape`."""
        return {"cases": self.cases, **(self.share.as_json() if self.share else {})}


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model concluded, case by case, in the order of the cases (None: said neither)."""

    cases: tuple[Case, ...]
    concluded: tuple[bool | None, ...]
    texts: tuple[str, ...] = ()

    def right(self) -> tuple[float, ...]:
        """1 for each case judged rightly, else 0."""
        return tuple(
            float(concluded is case.follows) for case, concluded in zip(self.cases, self.concluded, strict=True)
        )

    def accuracy(self) -> Interval:
        """The share of all cases judged rightly: half are valid, so that always refusing or agreeing scores a half."""
        return share(int(sum(self.right())), len(self.cases))

    def valid(self) -> CaseShare:
        """The share of the cases whose conclusion follows that were judged rightly."""
        return self._share_of(lambda case: case.follows, "True")

    def invalid(self) -> CaseShare:
        """The share of the cases whose conclusion does not follow that were judged rightly."""
        return self._share_of(lambda case: case.follows, "False")

    def by_shape(self) -> dict[str, CaseShare]:
        """The share judged rightly for each shape of argument."""
        return self._shares_by(lambda case: case.shape)

    @property
    def unanswered(self) -> int:
        """How many answers said neither."""
        return sum(conclusion is None for conclusion in self.concluded)

    def as_json(self) -> dict[str, object]:
        """Accuracy in all, on valid and invalid arguments, by depth and by shape, with Wilson intervals."""
        return {
            "cases": len(self.cases),
            "accuracy": self.accuracy().as_json(),
            "valid": self.valid().as_json(),
            "invalid": self.invalid().as_json(),
            "unanswered": self.unanswered,
            "by_depth": {depth: part.as_json() for depth, part in self._shares_by(lambda case: case.depth).items()},
            "by_shape": {shape: part.as_json() for shape, part in self.by_shape().items()},
        }

    def _shares_by(self, key: Callable[[Case], object]) -> dict[str, CaseShare]:
        """The share for each value of `key`, in their order as text."""
        keys = sorted({str(key(case)) for case in self.cases})
        return {value: self._share_of(key, value) for value in keys}

    def _share_of(self, key: Callable[[Case], object], value: str) -> CaseShare:
        right = [mark for case, mark in zip(self.cases, self.right(), strict=True) if str(key(case)) == value]
        return CaseShare(len(right), share(int(sum(right)), len(right)) if right else None)


def difference(before: Answers, after: Answers) -> Interval:
    """How much more often the second set of answers to the same cases is right, with a paired interval."""
    return paired_difference(before.right(), after.right())


def solved(shots: Sequence[Case]) -> str:
    """Solved cases as text, to stand before an unsolved one."""
    return "".join(f"{case.prompt} {case.answer}\n" for case in shots)
