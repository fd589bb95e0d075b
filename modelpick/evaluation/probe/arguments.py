"""The arguments of the probe: small systems of premises about one individual, in matched groups. Pure.

The terms are A, which the stated fact is about, B, which the claim is about, and C and D. All arguments of two to four
rules over them are made, and grouped by what can be seen of them without reasoning: how many sentences of each kind,
what is denied, how the fact's term and the claim's are linked, in which direction, how often each is named. A group is
kept only when some of its arguments hold and some do not. So whoever looks at these features alone is right as often as
a coin, whatever is concluded from them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Literal

from modelpick.evaluation.probe.logic import Form, Statement, derivation, step

TERMS = "ABCD"
_FEWEST_RULES, _MOST_RULES = 2, 4
_MOST_ABOUT_A_PAIR = 2  # rules that link the same two terms: "all A are B" beside "some B are A", but no third one

# What the individual may be in a world, a bit a world: bit w is set where the statement can be true in world w.
_WORLDS = tuple(dict(zip(TERMS, has, strict=True)) for has in product((True, False), repeat=len(TERMS)))
_EVERY_WORLD = (1 << len(_WORLDS)) - 1


@dataclass(frozen=True, slots=True)
class Argument:
    """Premises (rules, and one fact about the individual) and a claim about it."""

    premises: tuple[Statement, ...]
    claim: Statement

    @property
    def fact(self) -> Statement:
        """The premise about the individual."""
        return next(premise for premise in self.premises if not premise.subject)

    @property
    def rules(self) -> tuple[Statement, ...]:
        """The premises about every or some individuals."""
        return tuple(premise for premise in self.premises if premise.subject)

    @property
    def depth(self) -> int:
        """How many rules link the fact's term to the claim's; 0: none does."""
        return distance(self.rules, self.fact.predicate, self.claim.predicate) or 0

    @property
    def shape(self) -> str:
        """A name: how the claim follows, or the first mistake of whoever thinks that it does."""
        used = derivation(self.premises, self.claim)
        if used is not None:
            name = "exclusion" if any(rule.form == "no" for rule in used) else "tollens"
            name = "ponens" if name == "tollens" and self.fact.form == "is" else name
            return name if len(used) == 1 else f"chained {name}"
        return _mistake(self)


def _mistake(argument: Argument) -> str:
    """Walks the shortest way from the fact to the claim, and names the first rule that does not lead on."""
    fact = argument.fact
    for rule in _way(argument.rules, fact.predicate, argument.claim.predicate):
        derived = step(rule, fact)
        if derived is None:
            if rule.form == "some":
                return "some"
            if rule.form == "no":
                return "denied exclusion"
            return "converse" if fact.form == "is" else "inverse"
        fact = derived
    return "opposite" if fact.predicate == argument.claim.predicate else "unrelated"


Direction = Literal["any", "forward", "backward"]


def distance(rules: Sequence[Statement], start: str, end: str, direction: Direction = "any") -> int | None:
    """The fewest rules that link two terms; None where none do.

    `forward` reads "all" from its subject to its predicate only, `backward` the other way round; "no" and "some" mean
    the same both ways.
    """
    steps, reached = {start: 0}, [start]
    for term in reached:  # grows while it is walked
        for rule in rules:
            for one, other in _links(rule, direction):
                if one == term and other not in steps:
                    steps[other] = steps[term] + 1
                    reached.append(other)
    return steps.get(end)


def _links(rule: Statement, direction: Direction) -> tuple[tuple[str, str], ...]:
    forward, backward = (rule.subject, rule.predicate), (rule.predicate, rule.subject)
    if direction == "any" or rule.form != "all":
        return forward, backward
    return (forward,) if direction == "forward" else (backward,)


def _way(rules: Sequence[Statement], start: str, end: str) -> tuple[Statement, ...]:
    """The rules of the shortest way between two terms, in order; empty where there is none."""
    left = distance(rules, start, end)
    way: list[Statement] = []
    while left:
        for rule in rules:
            others = [other for one, other in _links(rule, "any") if one == start]
            if others and (distance(rules, others[0], end) == left - 1):
                way.append(rule)
                start, left = others[0], left - 1
                break
    return tuple(way)


@dataclass(frozen=True, slots=True)
class Group:
    """Arguments that look alike: as many rules of each form, the same links. Some hold, the others do not."""

    fact: Form
    claim: Form
    depth: int
    rules: int
    holding: tuple[Argument, ...]
    failing: tuple[Argument, ...]

    @property
    def asks_for_property(self) -> bool:
        """Whether the claim can be a property in some argument that holds and in one that does not."""
        return self.claim == "is" and all(
            any(can_be_property(argument, "B") for argument in arguments) for arguments in (self.holding, self.failing)
        )


def can_be_property(argument: Argument, term: str) -> bool:
    """Whether a term can be said by an adjective: no rule is about everything that has it."""
    return all(rule.form != "all" or rule.subject != term for rule in argument.rules)


@cache
def groups() -> tuple[Group, ...]:
    """All groups, in a fixed order."""
    found: dict[tuple[object, ...], tuple[list[Argument], list[Argument]]] = {}
    for rules, universal in _systems():
        seen = _seen(rules)
        for fact, claim in product((Statement("is", "A"), Statement("is_not", "A")), _CLAIMS):
            left = universal & _mask(fact)
            if left:
                argument = Argument((*rules, fact), claim)
                holds = not left & ~_mask(claim)
                found.setdefault((fact.form, claim.form, *seen), ([], []))[holds].append(argument)
    return tuple(
        Group(failing[0].fact.form, failing[0].claim.form, failing[0].depth, len(failing[0].rules),
              tuple(holding), tuple(failing))
        for failing, holding in found.values()
        if failing and holding
    )  # fmt: skip


_CLAIMS = (Statement("is", "B"), Statement("is_not", "B"))


def _systems() -> Iterator[tuple[tuple[Statement, ...], int]]:
    """Rules that link A to B, do not contradict one another and leave no term empty, with the worlds they leave."""
    every_rule = [
        Statement(form, predicate, subject)
        for subject, predicate in product(TERMS, TERMS)
        for form in (("all", "no", "some") if subject < predicate else ("all",))
        if subject != predicate
    ]  # fmt: skip
    masks = {rule: _mask(rule) for rule in every_rule}
    has = {term: _mask(Statement("is", term)) for term in TERMS}
    for count in range(_FEWEST_RULES, _MOST_RULES + 1):
        for rules in combinations(every_rule, count):
            terms = {term for rule in rules for term in (rule.subject, rule.predicate)}
            if not {"A", "B"} <= terms or ("D" in terms and "C" not in terms):
                continue
            universal = _EVERY_WORLD
            for rule in rules:
                universal &= masks[rule]
            if any(not universal & has[term] for term in terms) or any(
                rule.form == "some" and not universal & has[rule.subject] & has[rule.predicate] for rule in rules
            ):
                continue
            about = Counter(frozenset((rule.subject, rule.predicate)) for rule in rules)
            if max(about.values()) <= _MOST_ABOUT_A_PAIR and distance(rules, "A", "B") is not None:
                yield rules, universal


def _mask(statement: Statement) -> int:
    return sum(1 << bit for bit, world in enumerate(_WORLDS) if statement.allows(world))


def _seen(rules: Sequence[Statement]) -> tuple[object, ...]:
    """What the rules look like: the features in which valid and invalid arguments are matched."""
    named = Counter(term for rule in rules for term in (rule.subject, rule.predicate))
    return (
        tuple(sorted(rule.form for rule in rules)),
        distance(rules, "A", "B"),
        distance(rules, "A", "B", "forward") is not None,
        distance(rules, "A", "B", "backward") is not None,
        named["A"],
        named["B"],
        len(named),
    )
