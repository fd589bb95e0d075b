"""Reads the folder facts/, and remembers which of its fields were read: a fact that nobody reads is not kept.

Text is UTF-8. A CSV cell that is empty is null; a JSON key or TOML key that is absent is null.
"""

import csv
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FACTS = Path(__file__).resolve().parent.parent / "facts"


class Row(Mapping[str, Any]):
    """One row of a file: a mapping that notes in `seen`, shared by all rows of the file, which fields are read."""

    def __init__(self, values: dict[str, Any], seen: set[str]) -> None:
        self._values = values
        self._seen = seen

    def __getitem__(self, name: str) -> Any:
        self._seen.add(name)
        return self._values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or `default` where the row lacks the field. Either way the field counts as read."""
        self._seen.add(name)
        return self._values.get(name, default)

    def __contains__(self, name: object) -> bool:
        self._seen.add(str(name))
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def over(self, other: "Row") -> "Row":
        """This row, completed by what only `other` tells; a table inside both is completed likewise."""
        merged = {**other._values, **self._values}
        for name, value in self._values.items():
            if isinstance(value, dict) and isinstance(other._values.get(name), dict):
                merged[name] = {**other._values[name], **value}
        return Row(merged, self._seen)

    def with_values(self, **values: Any) -> "Row":
        """This row with some fields replaced."""
        return Row({**self._values, **values}, self._seen)


class Facts:
    """The files of one folder of facts."""

    def __init__(self, folder: Path = FACTS) -> None:
        self._folder = folder
        self._opened: set[str] = set()
        self._fields: dict[str, set[str]] = {}
        self._seen: dict[str, set[str]] = {}

    def csv(self, name: str, empty: str | None = None) -> list[Row]:
        """The rows of a CSV file with a head line; a cell without text is `empty`.

        Raises ValueError for a row that is longer or shorter than the head line.
        """
        head, *cells = csv.reader(self._text(name).splitlines(), strict=True)
        if wrong := [number for number, row in enumerate(cells, 2) if len(row) != len(head)]:
            raise ValueError(f"{name}, line {wrong[0]}: {len(cells[wrong[0] - 2])} cells under {len(head)} names")
        return self._rows(name, [dict(zip(head, (cell or empty for cell in row), strict=True)) for row in cells])

    def jsonl(self, name: str) -> list[Row]:
        """The rows of a file with one JSON object a line."""
        return self._rows(name, [json.loads(line) for line in self._text(name).splitlines()])

    def toml(self, name: str) -> Row:
        """A TOML file as one row: its keys are its fields."""
        return self._rows(name, [tomllib.loads(self._text(name))])[0]

    def named(self, name: str, tables: Mapping[str, dict[str, Any]]) -> dict[str, Row]:
        """Tables of one kind inside the file `name` as rows, by their names."""
        return dict(zip(tables, self._rows(f"{name} tables", list(tables.values())), strict=True))

    def lines(self, name: str) -> list[str]:
        """The lines of a text file, without empty ones and comments (`#`)."""
        return [line for line in self._text(name).splitlines() if line and line[0] != "#"]

    def unread(self) -> dict[str, list[str]]:
        """File -> the fields its rows have and nobody has read; a file that nobody has opened counts as a field."""
        rest = {name: sorted(fields - self._seen[name]) for name, fields in self._fields.items()}
        files = {path.name for path in self._folder.iterdir() if path.is_file()} - {"README.md"}
        rest |= {name: ["the whole file"] for name in files - self._opened}
        return {name: fields for name, fields in sorted(rest.items()) if fields}

    def _text(self, name: str) -> str:
        self._opened.add(name)
        return (self._folder / name).read_text("utf-8")

    def _rows(self, name: str, rows: list[dict[str, Any]]) -> list[Row]:
        seen = self._seen.setdefault(name, set())
        self._fields.setdefault(name, set()).update(*rows)
        return [Row(values, seen) for values in rows]


def number(text: str | None) -> int | float | None:
    """A CSV cell as the number it is written as: `4` is an int, `4.0` a float; null stays null."""
    if text is None:
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def truth(text: str | None) -> bool | None:
    """A CSV cell that says yes or no; null stays null. Raises KeyError for any other word."""
    return None if text is None else {"yes": True, "no": False}[text]
