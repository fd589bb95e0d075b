"""Arguments about one individual, and whether their conclusion follows: decided by trying every possible world. Pure.

A world says, for each term (a kind or a property), whether the individual has it. "All A are B" rules out worlds where
it has A and lacks B; "some A are B" says nothing about this individual. A conclusion follows when it holds in every
world that the premises leave.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

Form = Literal["all", "no", "some", "is", "is_not"]


@dataclass(frozen=True, slots=True)
class Statement:
    """`all`, `no`, `some`: about every or some `subject`; `is`, `is_not`: this one has `predicate` or lacks it."""

    form: Form
    predicate: str
    subject: str = ""

    def allows(self, world: dict[str, bool]) -> bool:
        """Whether the statement can be true of the individual in this world."""
        if self.form == "is":
            return world[self.predicate]
        if self.form == "is_not":
            return not world[self.predicate]
        if self.form == "all":
            return not world[self.subject] or world[self.predicate]
        if self.form == "no":
            return not (world[self.subject] and world[self.predicate])
        return True

    def terms(self) -> set[str]:
        """The terms it mentions."""
        return {self.predicate, self.subject} - {""}


def follows(premises: tuple[Statement, ...], conclusion: Statement) -> bool:
    """Whether the conclusion holds in every world that the premises leave (of which there must be one).

    >>> men = Statement("all", "mortal", "man")
    >>> follows((men, Statement("is", "man")), Statement("is", "mortal"))
    True
    >>> follows((men, Statement("is", "toy")), Statement("is", "mortal"))
    False
    """
    terms = sorted(set().union(*(statement.terms() for statement in (*premises, conclusion))))
    worlds = [dict(zip(terms, values, strict=True)) for values in product((True, False), repeat=len(terms))]
    left = [world for world in worlds if all(premise.allows(world) for premise in premises)]
    if not left:
        raise ValueError("the premises contradict each other")
    return all(conclusion.allows(world) for world in left)


def known(premises: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """What is stated or can be derived of the individual, in the order in which it is found: the worked answer.

    >>> known((Statement("all", "heavy", "elephant"), Statement("is", "elephant")))
    (Statement(form='is', predicate='elephant', subject=''), Statement(form='is', predicate='heavy', subject=''))
    """
    return tuple(_derived(premises))


def derivation(premises: tuple[Statement, ...], claim: Statement) -> tuple[Statement, ...] | None:
    """The fewest rules by which the claim is derived from a stated fact, in order; None when it cannot be derived.

    >>> heavy = Statement("all", "heavy", "elephant")
    >>> derivation((heavy, Statement("is", "elephant")), Statement("is", "heavy")) == (heavy,)
    True
    """
    return _derived(premises).get(claim)


def _derived(premises: tuple[Statement, ...]) -> dict[Statement, tuple[Statement, ...]]:
    """Each stated or derived fact with the rules that led to it, the nearest facts first."""
    ways: dict[Statement, tuple[Statement, ...]] = {fact: () for fact in premises if not fact.subject}
    found = list(ways)
    for fact in found:  # grows while it is walked
        for rule in premises:
            derived = step(rule, fact)
            if derived is not None and derived not in ways:
                ways[derived] = (*ways[fact], rule)
                found.append(derived)
    return ways


def step(rule: Statement, fact: Statement) -> Statement | None:
    """What one rule derives from one fact about the individual, or None."""
    has = fact.form == "is"
    if rule.form == "all" and has and fact.predicate == rule.subject:
        return Statement("is", rule.predicate)
    if rule.form == "all" and not has and fact.predicate == rule.predicate:
        return Statement("is_not", rule.subject)
    if rule.form == "no" and has and fact.predicate in (rule.subject, rule.predicate):
        return Statement("is_not", rule.predicate if fact.predicate == rule.subject else rule.subject)
    return None
