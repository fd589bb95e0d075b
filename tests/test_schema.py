"""The dataclass is the schema: what it says is what is read, refused, written and listed."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.schema import (
    Bounds,
    FormerNames,
    Help,
    IsoDate,
    Pattern,
    Source,
    read,
    read_value,
    settings_of,
    to_json,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


Share = Annotated[float, Bounds(0, 1, below=True), Help("A share."), Source("here")]


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    share: Share = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    count: Annotated[int, Bounds(1, 10), Help("How many."), Source("a paper"), FormerNames(("number", "amount"))]
    share: Share | None = None
    kind: Literal["adamw", "sgd"] = "adamw"
    colour: Colour = Colour.RED
    version: Annotated[str | None, Pattern(r"\d+\.\d+", "a version such as 4.42")] = None
    flag: bool | None = None
    day: IsoDate | None = None
    folder: Path | None = None
    parts: tuple[Inner, ...] = ()
    pair: tuple[int, str] = (1, "a")
    sizes: Mapping[str, int] = field(default_factory=dict)
    inner: Inner | None = None
    either: Literal["unknown"] | int = 0
    anything: Any = None
    private: str = field(default="", metadata={"internal": True})


FULL: dict[str, Any] = {
    "count": 3, "share": 0.5, "kind": "sgd", "colour": "blue", "version": "4.42", "flag": True, "day": "2026-11-23",
    "folder": "a/b", "parts": [{"name": "x", "share": 0.25}], "pair": [2, "b"], "sizes": {"a": 1},
    "inner": {"name": "y", "share": 0.0}, "either": "unknown", "anything": {"x": [None]},
}  # fmt: skip


def test_what_is_written_is_read_back() -> None:
    record = read(Record, FULL)
    assert to_json(record) == FULL
    assert read(Record, to_json(record)) == record
    assert (record.colour, record.folder, record.parts[0]) == (Colour.BLUE, Path("a/b"), Inner("x", 0.25))
    empty = Record(1)
    assert read(Record, to_json(empty)) == empty


def test_a_number_is_made_of_the_annotated_type() -> None:
    assert repr(read(Inner, {"name": "x", "share": 0}).share) == "0.0"
    assert repr(read(Record, {"count": 2.0}).count) == "2"


@pytest.mark.parametrize(
    ("table", "message", "fix"),
    [
        ({}, "'count' is missing", "add the key count"),
        ({"count": 0}, "count is 0", "a whole number from 1 to 10"),
        ({"count": 11}, "count is 11", "a whole number from 1 to 10"),
        ({"count": 1.5}, "count is 1.5", "a whole number from 1 to 10"),
        ({"count": True}, "count is True", "a whole number"),
        ({"count": None}, "count is None", "a whole number"),
        ({"count": float("nan")}, "count is nan", "a whole number"),
        ({"count": float("inf")}, "count is inf", "a whole number"),
        ({"count": 1, "share": 1}, "share is 1", "a number from 0 to below 1"),
        ({"count": 1, "share": "0.1"}, "share is '0.1'", "a number from 0 to below 1"),
        ({"count": 1, "kind": "adam"}, "kind is 'adam'", "did you mean adamw"),
        ({"count": 1, "kind": []}, "kind is []", "one of adamw, sgd"),
        ({"count": 1, "colour": "green"}, "colour is 'green'", "one of red, blue"),
        ({"count": 1, "colour": []}, "colour is []", "one of red, blue"),
        ({"count": 1, "version": "new"}, "version is 'new'", "a version such as 4.42"),
        ({"count": 1, "flag": 1}, "flag is 1", "true or false"),
        ({"count": 1, "day": "tomorrow"}, "day is 'tomorrow'", "a date"),
        ({"count": 1, "folder": ""}, "folder is ''", "a path"),
        ({"count": 1, "parts": {}}, "parts is {}", "a list"),
        ({"count": 1, "parts": [{"nam": "x"}]}, "[parts[0]]: unknown key 'nam'", "did you mean name"),
        ({"count": 1, "pair": [1]}, "pair is [1]", "a list of 2 values"),
        ({"count": 1, "sizes": {"a": -1}}, "sizes.a is -1", "0 or more"),
        ({"count": 1, "sizes": []}, "sizes is []", "a table"),
        ({"count": 1, "inner": 5}, "[inner]: expected a table", "keys and values"),
        ({"count": 1, "either": "unknow"}, "either is 'unknow'", "did you mean unknown"),
        ({"count": 1, "flg": True}, "unknown key 'flg'", "did you mean flag"),
        ({"count": 1, "private": "x"}, "unknown key 'private'", ""),
        ([], "expected a table", ""),
    ],
)
def test_what_is_wrong_is_said_exactly(table: object, message: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(Record, table, "run.json", "my_code")
    assert caught.value.message.startswith("run.json: ")
    assert message in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.code == "my_code"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_any_value_of_any_key_is_taken_or_refused(value: object) -> None:
    for setting in settings_of(Record):
        try:
            read(Record, {"count": 1, setting.name: value})
        except UsageError:
            continue


def test_a_former_name_is_read_and_never_written() -> None:
    assert read(Record, {"number": 4}) == read(Record, {"amount": 4}) == Record(4)
    assert read(Record, {"number": 4, "count": 5}).count == 5
    assert "number" not in to_json(Record(4))


def test_a_key_of_a_newer_version_can_be_passed_over() -> None:
    assert read(Inner, {"name": "x", "new": 1}, ignore_unknown=True) == Inner("x")


def test_the_settings_are_the_fields() -> None:
    settings = {setting.name: setting for setting in settings_of(Record)}
    assert list(settings) == list(FULL)
    count, share = settings["count"], settings["share"]
    assert (count.kind, count.bounds, count.help, count.source) == (int, Bounds(1, 10), "How many.", "a paper")
    assert (count.default, count.optional, count.former_names) == (MISSING, False, ("number", "amount"))
    assert (share.kind, share.optional, share.bounds, share.help) == (float, True, Bounds(0, 1, below=True), "A share.")
    assert settings["kind"].choices == ("adamw", "sgd")
    assert settings["colour"].choices == ("red", "blue")
    assert settings["sizes"].default == {}


@given(st.integers(-5, 20))
def test_one_value_is_checked_as_the_whole_is(value: int) -> None:
    def outcome(action: Any) -> object:
        try:
            return action()
        except UsageError as error:
            return error.message, error.fix

    alone = outcome(lambda: read_value(Record, "count", value, "f", "c"))
    assert alone == outcome(lambda: read(Record, {"count": value}, "f", "c").count)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(1, 10), "from 1 to 10"),
        (Bounds(0, 1, below=True), "from 0 to below 1"),
        (Bounds(0, 1, above=True), "above 0 and at most 1"),
        (Bounds(1), "1 or more"),
        (Bounds(0, above=True), "above 0"),
        (Bounds(0.5, 1), "from 0.5 to 1"),
    ],
)
def test_bounds_are_read_as_words(bounds: Bounds, words: str) -> None:
    assert str(bounds) == words
