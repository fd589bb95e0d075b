"""The table of model cards whose sentences were labelled by a reader: its form, not what the code says of it.

Nobody who writes the rules for card statements labelled it, so that it can measure them.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

HELD_OUT = Path(__file__).with_name("data") / "statements_b.jsonl"
KEYS = {"id", "language", "kind", "about", "label", "text", "why"}
ABOUT = {"weights", "code", "data", "demo", "paper", "other_model"}
LABELS = {"restricts", "harmless"}

ROWS = [json.loads(line) for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]


def test_every_row_has_the_same_filled_keys() -> None:
    for row in ROWS:
        assert set(row) == KEYS, row["id"]
        assert all(isinstance(value, str) and value.strip() for value in row.values()), row["id"]
        assert row["about"] in ABOUT, row["id"]
        assert row["label"] in LABELS, row["id"]


def test_no_id_and_no_text_comes_twice() -> None:
    for key in ("id", "text"):
        twice = [value for value, count in Counter(row[key] for row in ROWS).items() if count > 1]
        assert not twice


def test_a_card_is_as_short_as_a_statement_is_on_the_hub() -> None:
    long = [row["id"] for row in ROWS if len(row["text"].splitlines()) > 12]
    assert not long


def test_only_what_is_said_of_the_weights_restricts_the_weights() -> None:
    wrong = [row["id"] for row in ROWS if row["label"] == "restricts" and row["about"] != "weights"]
    assert not wrong


@pytest.mark.parametrize("language", sorted({row["language"] for row in ROWS}))
def test_a_language_has_both_labels_about_equally(language: str) -> None:
    labels = Counter(row["label"] for row in ROWS if row["language"] == language)
    assert sum(labels.values()) >= 10
    assert min(labels[label] for label in LABELS) >= 4


def test_the_table_has_the_languages_that_cards_are_written_in() -> None:
    assert len({row["language"] for row in ROWS}) == 22
    assert len(ROWS) >= 215
