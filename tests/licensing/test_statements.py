"""What the prose of cards says of the weights: the labelled cards, and the rules one by one."""

import pytest

from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.statements.markup import badge_text, passages
from modelpick.licensing.statements.reading import ENOUGH, LONGEST_QUOTE, LONGEST_TEXT, CardStatement, read_statements
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, model
from tests.licensing.statement_cards import TABLES, asked, cards

CARDS = [card for table in TABLES for card in cards(table)]
MOST_MISSED, MOST_FALSELY_ASKED = 0.02, 0.05


def test_the_table_is_large_and_each_language_and_kind_has_both_labels() -> None:
    assert len(CARDS) >= 400
    languages = {card.language.partition("-")[0] for card in CARDS}
    assert len(languages) >= 20
    for label in ("restricts", "harmless"):
        assert {card.language.partition("-")[0] for card in CARDS if card.label == label} == languages


def test_few_restrictions_are_missed_and_few_harmless_texts_asked_about(
    facts: LicenseFacts, commercial: Policy
) -> None:
    restricting = [card for card in CARDS if card.restricts]
    harmless = [card for card in CARDS if not card.restricts]
    missed = [card.id for card in restricting if not asked(card, commercial, facts)]
    falsely = [card.id for card in harmless if asked(card, commercial, facts)]
    assert len(missed) <= MOST_MISSED * len(restricting), missed
    assert len(falsely) <= MOST_FALSELY_ASKED * len(harmless), falsely


Read = list[tuple[str, str]]


@pytest.fixture
def read(facts: LicenseFacts):  # type: ignore[no-untyped-def]
    def run(text: str, *names: str) -> Read:
        return [(one.about, one.says) for one in read_statements(text, facts.words, facts.licenses, names)]

    return run


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("The weights are for non-commercial use only.", "weights"),
        ("For non-commercial use only.", "weights"),
        ("The code is for non-commercial use only.", "code"),
        ("The data set is for non-commercial use only.", "data"),
        ("The demo of this model is for non-commercial use only.", "demo"),
        ("The weights and the data set are for non-commercial use only.", "weights"),
        ("The original model is for non-commercial use only.", "base"),
        ("This model is based on LLaMA, which is for non-commercial use only.", "base"),
        ("Unlike LLaMA, which is for non-commercial use only, it is free.", "others"),
        ("## Training data\n\nFor non-commercial use only.", "data"),
        ("## License\n\nFor non-commercial use only.", "weights"),
    ],
)
def test_a_statement_is_about_what_it_names_and_else_about_the_weights(read, text: str, about: str) -> None:  # type: ignore[no-untyped-def]
    assert ((about, "non_commercial") in read(text)) or ((about, "research_only") in read(text)), read(text)


def test_a_models_own_name_is_no_other_model(read) -> None:  # type: ignore[no-untyped-def]
    text = "Falcon is for non-commercial use only."
    assert read(text) == [("others", "non_commercial")]
    assert read(text, "tiiuae/falcon-7b") == [("weights", "non_commercial")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Commercial use requires prior written permission.", "permission"),
        ("Companies need a paid subscription.", "fee"),
        ("For commercial use, contact us.", "contact"),
        ("No derivatives of the model may be shared: CC BY-ND.", "no_derivatives"),
        ("Released strictly for academic research.", "research_only"),
        ("Released under CC BY-NC-SA 4.0.", "named_license"),
        ("Commercial use? Not allowed.", "non_commercial"),
        ("## Commercial use\n\nPlease contact us first.", "contact"),
        ("## License\n\n```\nNot for commercial use.\n```", "non_commercial"),
        ("You may not:\n- use it commercially", "non_commercial"),
        ("| | |\n|---|---|\n| Commercial use | \u274c |", "non_commercial"),
    ],
)
def test_a_restriction_is_told_from_another(read, text: str, says: str) -> None:  # type: ignore[no-untyped-def]
    assert ("weights", says) in read(text), read(text)


@pytest.mark.parametrize(
    "text",
    [
        "There is no restriction on commercial use.",
        "Nothing here prohibits commercial use.",
        "Commercial use does not require permission, a fee or contacting us.",
        "It is no longer limited to research.",
        "The non-commercial restriction was lifted.",
        "Not only for research but also for companies.",
        "Commercial use? Yes, of course.",
        "~~CC BY-NC 4.0~~ Apache 2.0",
        "<!-- for non-commercial use only -->",
        "## Usage\n\n```\nNot for commercial use.\n```",
    ],
)
def test_what_a_negation_takes_back_is_no_restriction(judged: Judged, text: str) -> None:
    assert judged(model("a/b", "apache-2.0", texts={"README.md": text})).verdict is Verdict.ALLOW


def test_the_reason_names_the_words_and_the_place(judged: Judged) -> None:
    text = "---\nlicense: apache-2.0\n---\n# A\n\n## Terms\n\nHello.\n\nNot for commercial use" + " at all" * 50 + "."
    answer = judged(model("a/b", "apache-2.0", texts={"README.md": text}))
    reason = next(reason for reason in answer.reasons if reason.code == "contradiction")
    assert "forbids commercial use" in reason.text
    assert reason.evidence.startswith("README.md, line 10, under 'Terms': Not for commercial use at all")
    assert len(reason.evidence.partition("': ")[2]) <= LONGEST_QUOTE


def test_a_restriction_of_data_is_told_and_does_not_count(judged: Judged) -> None:
    text = "The training data are for non-commercial use only. The weights are Apache 2.0."
    answer = judged(model("a/b", "apache-2.0", texts={"README.md": text}))
    assert answer.verdict is Verdict.ALLOW
    assert "stated_of_something_else" in {reason.code for reason in answer.reasons}


def test_statements_are_the_same_whatever_hides_in_the_text(facts: LicenseFacts) -> None:
    plain = "This model is for non-commercial use only."
    disguised = "Th\u200bis m\u043edel is for non\u2011com\u00admercial u\u0455e \uff4fnly."

    def of(text: str) -> tuple[CardStatement, ...]:
        return read_statements(text, facts.words, facts.licenses)

    assert of(plain) == of(disguised)
    assert of(plain)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://img.shields.io/badge/License-CC%20BY--NC%204.0-lightgrey.svg", "License: CC BY-NC 4.0"),
        ("https://img.shields.io/badge/model_license-research__only-red?style=flat", "model license: research_only"),
        ("https://img.shields.io/static/v1?label=License&message=CC%20BY-NC&color=red", "License: CC BY-NC"),
        ("https://img.shields.io/badge/MIT-blue", "MIT"),
    ],
)
def test_a_badge_is_read_as_it_is_shown(address: str, shown: str) -> None:
    assert badge_text(address) == shown


def test_passages_know_their_line() -> None:
    text = "---\na: b\n---\n# One\n<p>two\nthree</p>\n\n| a | b |\n|---|---|\n| c | d |\n- e\n"
    found = {passage.text: passage.line for passage in passages(text)}
    assert found["One"] == 4
    assert found["two three"] == 5
    assert found["d"] == 10
    assert found["e"] == 11


HOSTILE = {
    "words": "commercial license contact ",
    "marks": "[]()|*_~`>#-",
    "table": "| a | b |\n|---|---|\n",
    "pipes": "|",
    "list": "- x:\n",
    "quotes": ">",
    "links": "[a](b",
    "tags": "<a href=x",
    "entities": "&#8203;",
    "fences": "```\n",
    "invisible": "n\u200bo\u0301",
    "mixed": "\u0430a",
    "ligatures": "\ufdfa",
    "characters": "\u7981\u6b62\u5546\u7528",
    "lines": "a\n",
    "questions": "commercial? ",
    "badges": "https://img.shields.io/badge/a-b-c ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_read_to_an_end(facts: LicenseFacts, name: str) -> None:
    """A pattern that takes the square of the length would not end within the time that a test has."""
    text = (HOSTILE[name] * (LONGEST_TEXT // len(HOSTILE[name]) + 1))[:LONGEST_TEXT]
    found = read_statements(text, facts.words, facts.licenses)
    assert len(found) <= 2 * ENOUGH


def test_what_stands_behind_a_hostile_text_is_found(facts: LicenseFacts) -> None:
    for name, piece in HOSTILE.items():
        text = f"{(piece * 20_000)[:20_000]}\n\n# License\n\nNot for commercial use.\n"
        found = {one.says for one in read_statements(text, facts.words, facts.licenses) if one.about == "weights"}
        assert "non_commercial" in found, name
