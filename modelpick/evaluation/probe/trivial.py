"""What can be seen of a case without reasoning, and how far a guess from it gets. Pure.

A suite is balanced over these features (suite.py): for each value of each of them as many arguments hold as do not. So
nobody scores much above a half by counting words, by position or by form; what is left is printed with each score.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

from modelpick.evaluation.probe.arguments import Argument, distance
from modelpick.evaluation.probe.logic import Statement


@dataclass(frozen=True, slots=True)
class Look:
    """How an argument is put: premises in the order of the text, which wording asks, whether the claim is a kind."""

    argument: Argument
    asked: int
    of_kind: bool


def _denials(look: Look) -> int:
    return sum(premise.form in ("no", "is_not") for premise in look.argument.premises)


def _named(look: Look, term: str) -> list[int]:
    """The places of the rules that name a term."""
    return [place for place, rule in enumerate(look.argument.premises) if rule.subject and term in rule.terms()]


def _read(look: Look, *, backward: bool = False) -> int | None:
    """Rules from the fact to the claim, each read from its subject to its predicate, whatever its form."""
    rules = [Statement("all", rule.predicate, rule.subject) for rule in look.argument.rules]
    start, end = look.argument.fact.predicate, look.argument.claim.predicate
    return distance(rules, start, end, "backward" if backward else "forward")


def _form_of_rule(look: Look, term: str) -> str:
    places = _named(look, term)
    return look.argument.premises[places[0]].form if places else ""


FEATURES: Mapping[str, Callable[[Look], Hashable]] = {
    "whether the claim is denied": lambda look: look.argument.claim.form,
    "whether the fact is denied": lambda look: look.argument.fact.form,
    "how many premises deny": _denials,
    "whether claim and premises deny alike": lambda look: (
        (look.argument.claim.form == "is_not") == (_denials(look) > 0)
    ),
    "how many premises say some": lambda look: sum(rule.form == "some" for rule in look.argument.premises),
    "how many premises say all": lambda look: sum(rule.form == "all" for rule in look.argument.premises),
    "how many premises there are": lambda look: len(look.argument.premises),
    "how often the claim's word is named": lambda look: len(_named(look, look.argument.claim.predicate)),
    "how often the fact's word is named": lambda look: len(_named(look, look.argument.fact.predicate)),
    "how many words link two premises": lambda look: sum(
        times > 1 for times in Counter(term for rule in look.argument.premises for term in rule.terms()).values()
    ),
    "how far the fact is from the claim": lambda look: look.argument.depth,
    "whether reading on leads to the claim": lambda look: _read(look),
    "whether reading back leads to the claim": lambda look: _read(look, backward=True),
    "where the fact stands": lambda look: look.argument.premises.index(look.argument.fact),
    "where the claim's word stands first": lambda look: min(_named(look, look.argument.claim.predicate), default=None),
    "where the claim's word stands last": lambda look: max(_named(look, look.argument.claim.predicate), default=None),
    "the form of the first premise": lambda look: look.argument.premises[0].form,
    "the form of the last premise": lambda look: look.argument.premises[-1].form,
    "the form of the premise with the claim's word": lambda look: _form_of_rule(look, look.argument.claim.predicate),
    "the form of the premise with the fact's word": lambda look: _form_of_rule(look, look.argument.fact.predicate),
    "the wording of the question": lambda look: look.asked,
    "whether the claim is a kind": lambda look: look.of_kind,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Guess:
    """The best that can be guessed from one feature of a suite: the share of right answers."""

    feature: str
    share: float


def best_guess(looks: Iterable[tuple[Look, bool]]) -> Guess:
    """The feature that gives most away over a suite (looks, and whether each follows), and the score of the best guess
    from it: for each value of the feature the answer that is right more often. No guess from one feature does better.
    """
    suite = list(looks)
    guesses = [
        Guess(name, _best_share([(feature(look), follows) for look, follows in suite]))
        for name, feature in FEATURES.items()
    ]
    return max(guesses, key=lambda guess: guess.share)


def _best_share(rows: list[tuple[Hashable, bool]]) -> float:
    counts = Counter(rows)
    values = {value for value, _ in rows}
    return sum(max(counts[value, True], counts[value, False]) for value in values) / len(rows) if rows else 0.5
