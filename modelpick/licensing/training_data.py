"""Holds the terms of the data sets that a model was trained on against it. Pure.

A stated restriction counts: in the table of known data sets, on the data set's own card (its license, its text), and
through what it was made from. Silence, or a data set whose card cannot be found, is said and demands nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modelpick.catalog.card import hub_id
from modelpick.catalog.model import Model
from modelpick.catalog.parents import data_in_files
from modelpick.licensing.conditions import Assessment
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.identify import identify, licenses_in
from modelpick.licensing.lineage import Find
from modelpick.licensing.outcome import Reason, Verdict, join
from modelpick.licensing.overrides import Curation, Restriction
from modelpick.licensing.policy import Policy
from modelpick.licensing.statements.reading import CardStatement, read_statements

PREFIX = "datasets/"
"""How `Find` is asked for a data set's card: by the id as it stands in the Hub's addresses."""
MOST = 60  # data sets of one model that are looked at, those they were made from included
_MANY_OUTPUTS = frozenset({"no", "if-named", "as-derivative"})  # outputs that may not train any model freely


@dataclass(frozen=True, slots=True)
class _Stated:
    """One restriction of one data set, as it is stated, and where."""

    restriction: Restriction
    terms: str
    source: str


def data_sets_of(model: Model, curations: Sequence[Curation], facts: LicenseFacts) -> dict[str, bool]:
    """The data sets that the card, its files and its text name, and that curations add.

    Each with whether it stands in a field made for it: what only the text names may be something else.
    """
    fields = [*model.datasets, *data_in_files(model), *(name for entry in curations for name in entry.datasets)]
    text = _card_text(model)
    named = dict.fromkeys((id for id, _ in facts.relation_words.data(text)) if text else (), False)
    return named | {hub_id(name).removeprefix(PREFIX): True for name in fields if name.strip()}


def assess_training_data(
    model: Model, curations: Sequence[Curation], policy: Policy, facts: LicenseFacts, find: Find
) -> Iterator[Assessment]:
    """One assessment of all data sets of a model. The policy says what each restriction demands.

    `find` looks a data set's card up by `datasets/org/name`, as it does a model's by `org/name`.
    """
    reasons: dict[tuple[str, str], Reason] = {}
    unknown: list[str] = []
    looked_at = 0
    for name, in_a_field in data_sets_of(model, curations, facts).items():
        is_known, made_from = False, [(name, f"trained on {name}")]
        seen = {name.lower()}
        while made_from and looked_at < MOST:
            data_set, path = made_from.pop(0)
            looked_at += 1
            card = find(PREFIX + data_set) if _is_repository(data_set) else None
            entry = next((entry for entry in facts.datasets if entry.matches(data_set)), None)
            stated = [_Stated(kind, entry.terms, entry.source) for kind in entry.restrictions] if entry else []
            stated += _in_fields(card, facts) if card is not None else []
            if card is not None and entry is None:  # what people read of its terms is in the table
                stated += _in_text(card, facts)
            is_known = is_known or entry is not None or card is not None
            for each in stated:
                demanded = getattr(policy.rules.training_data, each.restriction)
                reason = Reason(f"training_data_{each.restriction}", f"{path}: {each.terms}", each.source, demanded)
                reasons.setdefault((name, each.restriction), reason)
            for source in _sources(data_set, card, facts):
                if source.lower() not in seen:
                    seen.add(source.lower())
                    made_from.append((source, f"{path}, which was made from {source}"))
        if in_a_field and not is_known:
            unknown.append(name)
    if unknown:
        text = f"trained on data whose terms were not found: {', '.join(unknown[:5])}"
        text += f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        reasons["", ""] = Reason("training_data_unread", text, f"datasets: {unknown[0][:100]}", Verdict.ALLOW)
    if reasons:
        yield Assessment(join(reason.verdict for reason in reasons.values()), tuple(reasons.values()))


def _is_repository(data_set: str) -> bool:
    return data_set.count("/") <= 1 and "://" not in data_set and len(data_set) <= 200 and bool(data_set.strip("./"))


def _in_fields(card: Model, facts: LicenseFacts) -> Iterator[_Stated]:
    """What a data set's card restricts by its license and its tags."""
    publisher = card.id.removeprefix(PREFIX).partition("/")[0].lower()
    claims = [(card.license, card.license_name), (None, card.license_name)]
    claims += [(tag.partition(":")[2], None) for tag in card.tags if tag.lower().startswith("license:")]
    for license, name in claims:
        for found in licenses_in(identify(license, name, {publisher}, facts.licenses)):
            evidence = f"card of the data set {card.id.removeprefix(PREFIX)}"
            if found.permits.commercial_use == "no":
                yield _Stated("non_commercial", found.title, evidence)
            elif found.permits.train_other_models in _MANY_OUTPUTS:
                yield _Stated("output_restricted", found.title, evidence)


def _in_text(card: Model, facts: LicenseFacts) -> Iterator[_Stated]:
    """What the text of a data set's card restricts."""
    text = _card_text(card)
    for statement in read_statements(text or "", facts.words, facts.licenses, (card.id,)):
        if _restricts_commerce(statement):
            evidence = f"README.md, line {statement.line}: {statement.quote}"
            yield _Stated("non_commercial", f"its card says {_quoted(statement.quote)}", evidence)
            break
    outputs = facts.relation_words.holds_outputs(text) if text else None
    if outputs is not None:
        yield _Stated("output_restricted", f"its card says {_quoted(outputs)}", f"README.md: {outputs[:120]}")


def _restricts_commerce(statement: CardStatement) -> bool:
    """Whether a statement on a data set's card keeps the data from commercial use. No subject means the data here."""
    if statement.about not in ("data", "weights", "base"):
        return False
    if statement.license is not None:
        return statement.license.permits.commercial_use == "no"
    return statement.says in ("non_commercial", "research_only")


def _sources(data_set: str, card: Model | None, facts: LicenseFacts) -> Iterable[str]:
    """What a data set was made from: the table, its card's fields, its card's links after a relation word."""
    found = [source for entry in facts.derived_datasets if entry.matches(data_set) for source in entry.made_from]
    if card is not None:
        found += [name.removeprefix("extended|") for name in (*card.datasets, *data_in_files(card))]
        text = _card_text(card)
        found += (
            [named.id for named in facts.relation_words.parents(text) if named.id.startswith(PREFIX)] if text else []
        )
    plain = (name.removeprefix(PREFIX) for name in found)
    return dict.fromkeys(name for name in plain if name.strip() and name.lower() not in ("original", "extended"))


def _card_text(model: Model) -> str | None:
    return next((text for name, text in model.texts.items() if name.lower() == "readme.md"), None)


def _quoted(sentence: str) -> str:
    return f'"{sentence[:100]}"'
