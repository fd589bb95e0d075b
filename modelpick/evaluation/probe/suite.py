"""The cases of the probe: arguments put into words, half of them valid, and the score of a set of answers.

Pure, apart from reading the embedded word lists once.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from modelpick import files, schema
from modelpick.evaluation.probe.arguments import TERMS, Argument, Group, can_be_property, groups
from modelpick.evaluation.probe.logic import Statement, known
from modelpick.evaluation.probe.reading import completed, judged
from modelpick.evaluation.probe.trivial import FEATURES, Guess, Look, best_guess
from modelpick.evaluation.score import Interval, paired_difference, share

Wording = Literal["plain", "other"]
Asking = Literal["judge", "complete"]


@dataclass(frozen=True, slots=True)
class Case:
    """One case: what is shown, whether the conclusion follows, and the word that would be concluded.

    `argument` has the premises in the order of the text. `asking` "judge" expects yes or no; "complete" shows an open
    sentence ("Therefore, Pinocchio is"), which the model should close with `claim` exactly when that follows. `asked`:
    which of the wordings asks.
    """

    number: int
    argument: Argument
    asking: Asking
    intro: str
    premises: str
    question: str
    asked: int
    claim: str
    of_kind: bool
    follows: bool
    name: str
    worked: str

    @property
    def shape(self) -> str:
        """The name of the argument's shape: how it follows, or which mistake it invites."""
        return self.argument.shape

    @property
    def depth(self) -> int:
        """How many premises link the fact with the claim."""
        return self.argument.depth

    @property
    def look(self) -> Look:
        """What can be seen of it without reasoning."""
        return Look(self.argument, self.asked, self.of_kind)

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
    no_kinds: tuple[str, ...]
    some: tuple[str, ...]
    some_kinds: tuple[str, ...]
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

    The same arguments give the same cases. `depth` is the most premises that must be chained. They are made in pairs
    that look alike, one that holds and one that does not; of several drawn pairs the one is taken that best balances
    what can be seen (trivial.py). `complete` asks only for properties, since a sentence is not closed by a kind.
    """
    draw = random.Random(f"{seed}/{wording}/{asking}/{depth}")
    words, drawer = _words(wording), _PairDrawer(draw, asking, depth)
    made: list[Case] = []
    seen: set[str] = set()
    while len(made) < count:
        for look, follows in drawer.pair():
            case = _dress(look, follows, draw, words, asking)
            while case.prompt in seen:
                case = _dress(look, follows, draw, words, asking)
            seen.add(case.prompt)
            made.append(case)
    del made[count:]  # of an odd number, the last one that would hold
    draw.shuffle(made)
    return tuple(replace(case, number=number) for number, case in enumerate(made, 1))


_PAIRS_DRAWN = 8
_ORDERS_DRAWN = 6


class _PairDrawer:
    """Draws pairs of arguments that look alike, keeping what their arrangement gives away in balance."""

    def __init__(self, draw: random.Random, asking: Asking, depth: int) -> None:
        self._draw, self._asking = draw, asking
        self._balance: Counter[tuple[str, Hashable]] = Counter()
        self._groups: dict[int, dict[tuple[str, str], dict[int, list[Group]]]] = {}
        for group in groups():
            if group.depth <= depth and (asking == "judge" or group.asks_for_property):
                by_forms = self._groups.setdefault(group.depth, {})
                by_forms.setdefault((group.fact, group.claim), {}).setdefault(group.rules, []).append(group)

    def pair(self) -> tuple[tuple[Look, bool], tuple[Look, bool]]:
        """One argument that does not hold, and one that does."""
        best: tuple[int, Look, Look] | None = None
        for _ in range(_PAIRS_DRAWN):
            group = self._group()
            failing, holding = (self._draw.choice(self._usable(kind)) for kind in (group.failing, group.holding))
            asked = self._draw.randrange(_MOST_WORDINGS)
            may = all(can_be_property(argument, "B") for argument in (failing, holding))
            of_kind = not may or (self._asking == "judge" and self._draw.random() < 0.5)
            held = Look(self._arranged(holding, of_kind), asked, of_kind)
            for _ in range(_ORDERS_DRAWN):
                failed = Look(self._arranged(failing, of_kind), asked, of_kind)
                cost = self._cost(failed, held)
                if best is None or cost < best[0]:
                    best = cost, failed, held
        assert best is not None
        _, failed, held = best
        self._balance.update(dict.fromkeys(_features(held), 1))
        self._balance.subtract(dict.fromkeys(_features(failed), 1))
        return (failed, False), (held, True)

    def _group(self) -> Group:
        by_forms = self._draw.choice(list(self._groups.values()))
        by_rules = self._draw.choice(list(by_forms.values()))
        return self._draw.choice(self._draw.choice(list(by_rules.values())))

    def _usable(self, arguments: Sequence[Argument]) -> list[Argument]:
        if self._asking == "judge":
            return list(arguments)
        return [argument for argument in arguments if can_be_property(argument, "B")]

    def _arranged(self, argument: Argument, of_kind: bool) -> Argument:
        """Its premises in some order; "no" and "some" mean the same both ways, and a property cannot be a subject."""
        premises = [self._turned(premise, of_kind) for premise in argument.premises]
        self._draw.shuffle(premises)
        return Argument(tuple(premises), argument.claim)

    def _turned(self, premise: Statement, of_kind: bool) -> Statement:
        if premise.form not in ("no", "some"):
            return premise
        turned = replace(premise, subject=premise.predicate, predicate=premise.subject)
        if not of_kind and "B" in premise.terms():
            return premise if premise.predicate == "B" else turned
        return self._draw.choice((premise, turned))

    def _cost(self, failed: Look, held: Look) -> int:
        """How far the suite would be out of balance: the sum of squares over all values of all features."""
        change = Counter(_features(held))
        change.subtract(_features(failed))
        return sum((self._balance[item] + by) ** 2 - self._balance[item] ** 2 for item, by in change.items() if by)


_MOST_WORDINGS = 12  # a multiple of three and of four, the wordings there are of a question


def _features(look: Look) -> list[tuple[str, Hashable]]:
    return [(name, feature(look)) for name, feature in FEATURES.items()]


def _dress(look: Look, follows: bool, draw: random.Random, words: _Words, asking: Asking) -> Case:
    argument = look.argument
    terms = {
        term: _Term(one, many) for term, (one, many) in zip(TERMS, draw.sample(words.kinds, len(TERMS)), strict=True)
    }
    if not look.of_kind:
        terms["B"] = _Term(draw.choice(words.properties))
    name = draw.choice(words.names)
    premises = [_say(statement, terms, name, draw, words) for statement in argument.premises]
    claim = _claim(argument.claim, terms)
    if asking == "judge":
        question = words.ask[look.asked % len(words.ask)].format(claim=f"{name} is {claim}")
        intro = words.intro
    else:
        question, intro = words.therefore.format(name=name), words.complete_intro
    facts = ", so ".join(_claim(fact, terms) for fact in known(argument.premises))
    worked = f"{name} is {facts}. Asked: {claim}."
    return Case(
        0, argument, asking, intro, " ".join(premises), question, look.asked % len(words.ask), claim, look.of_kind,
        follows, name, worked,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Term:
    """The words for a term: a kind has a plural, a property has none."""

    one: str
    many: str = ""

    @property
    def said(self) -> str:
        """As what something is said to be."""
        return f"{'an' if self.one[0] in 'aeiou' else 'a'} {self.one}" if self.many else self.one


def _say(statement: Statement, terms: Mapping[str, _Term], name: str, draw: random.Random, words: _Words) -> str:
    predicate = terms[statement.predicate]
    fill = {"name": name, "property": predicate.one, "others": predicate.many, "an_other": predicate.said}
    if not statement.subject:
        fill["a_kind"] = predicate.said
        key = f"{statement.form}_{'kind' if predicate.many else 'property'}"
    else:
        subject = terms[statement.subject]
        fill |= {"kind": subject.one, "kinds": subject.many, "a_kind": subject.said}
        key = f"{statement.form}_kinds" if predicate.many else statement.form
    return str(draw.choice(getattr(words, key)).format(**fill))


def _claim(statement: Statement, terms: Mapping[str, _Term]) -> str:
    said = terms[statement.predicate].said
    return f"not {said}" if statement.form == "is_not" else said


def article_case() -> Case:
    """The founding article's own prompt, as a case: two arguments solved, and one where nothing makes a toy heavy."""
    words = _words("plain")
    solved_before = (
        "All men are mortal. Socrates is a man. Therefore, Socrates is mortal. "
        "All programmers are happy. Alice is a programmer. Therefore, Alice is happy. "
    )
    elephants, toy = Statement("all", "heavy", "elephant"), Statement("is", "toy")
    return Case(
        0, Argument((elephants, toy), Statement("is", "heavy")), "complete", words.complete_intro,
        f"{solved_before}All elephants are heavy. Pinocchio is a toy.", words.therefore.format(name="Pinocchio"), 0,
        "heavy", False, False, "Pinocchio", "Pinocchio is a toy. Asked: heavy.",
    )  # fmt: skip


def concluded(case: Case, text: str) -> bool | None:
    """Whether an answer in words draws the conclusion; None when it says neither (which counts as wrong)."""
    return judged(text) if case.asking == "judge" else completed(text, case.claim)


@dataclass(frozen=True, slots=True)
class CaseShare:
    """How many cases of a kind there are, and the share of them judged rightly; None where there are none."""

    cases: int
    share: Interval | None

    def as_json(self) -> dict[str, float]:
        """One element of `by_shape`."""
        return {"cases": self.cases, **(self.share.as_json() if self.share else {})}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that could fill a gap, and how likely a mask-filling model holds it (0 to 1)."""

    word: str
    share: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model concluded, case by case, in the order of the cases (None: said neither).

    `candidates`: of a mask-filling model, the likeliest words for each gap.
    """

    cases: tuple[Case, ...]
    concluded: tuple[bool | None, ...]
    texts: tuple[str, ...] = ()
    candidates: tuple[tuple[Candidate, ...], ...] = ()

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

    def best_guess(self) -> Guess:
        """How far one gets on these cases without reasoning: what a score has to be compared with."""
        return best_guess((case.look, case.follows) for case in self.cases)

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
            "best_guess": {"feature": self.best_guess().feature, "share": round(self.best_guess().share, 4)},
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
