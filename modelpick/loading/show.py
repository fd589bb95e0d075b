"""`modelpick data show`: one example as a model is trained on it, token by token."""

import itertools
from dataclasses import dataclass
from typing import Any

from modelpick.catalog.architecture import Kind
from modelpick.datasets.examples import Example, Problem
from modelpick.datasets.read import DataFile
from modelpick.errors import UsageError
from modelpick.loading.tokenize import IGNORED, EncodedRow, tokenized


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token as the tokenizer writes it, and whether it carries loss."""

    id: int
    text: str
    learned: bool


@dataclass(frozen=True, slots=True)
class ShownExample:
    """The rows of one example and what does not hold of them. `parts`: of each row its text, cut where learning begins
    and ends, as (learned, text)."""

    example: Example
    rows: tuple[tuple[ShownToken, ...], ...]
    parts: tuple[tuple[tuple[bool, str], ...], ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> bool:
        """Whether it cannot be trained on."""
        return any(problem.severity == "error" for problem in self.problems)

    def as_json(self) -> dict[str, object]:
        """The object of `data show --json`."""
        return {
            "line": self.example.line,
            "form": self.example.form,
            "rows": [
                [{"id": token.id, "text": token.text, "learned": token.learned} for token in row] for row in self.rows
            ],
            "problems": [problem.as_json() for problem in self.problems],
        }


def shown_example(data: DataFile, line: int | None) -> Example:
    """The example on a line, or the first one. Raises UsageError(code="no_such_line") with what is wrong there."""
    for example in data.examples:
        if line is None or example.line == line:
            return example
    problem = next((problem for problem in data.problems if problem.line == (line or problem.line)), None)
    why = f": {problem.text}" if problem else ""
    where = f"line {line} of {data.path} has no example" if line else f"{data.path} has no example"
    raise UsageError(
        f"{where}{why}", fix=f"see what is wrong with: modelpick data check {data.path}", code="no_such_line"
    )


def show_example(example: Example, tokenizer: Any, kind: Kind) -> ShownExample:
    """An example with its tokens marked; of a preference both sides, the chosen first."""
    labels = [example.answer or ""] if example.form == "classification" else []
    made = tokenized(example.sides(), tokenizer, kind, labels)
    rows = [row for one in made for row in one.rows]
    return ShownExample(
        example,
        tuple(_tokens(row, tokenizer) for row in rows),
        tuple(_parts(row, tokenizer) for row in rows),
        tuple(problem for one in made for problem in one.problems),
    )


def _marked(row: EncodedRow) -> list[tuple[int, bool]]:
    """(token id, learned) of a row; of an encoder-decoder what is read, then what is written."""
    ids, labels = row["input_ids"], row["labels"]
    if isinstance(labels, int):
        return [(id, False) for id in ids]
    if len(labels) == len(ids) and all(label in (id, IGNORED) for id, label in zip(ids, labels, strict=True)):
        return [(id, label != IGNORED) for id, label in zip(ids, labels, strict=True)]
    return [*((id, False) for id in ids), *((id, True) for id in labels)]


def _tokens(row: EncodedRow, tokenizer: Any) -> tuple[ShownToken, ...]:
    marked = _marked(row)
    names = tokenizer.convert_ids_to_tokens([id for id, _ in marked])
    return tuple(ShownToken(id, str(name), learned) for (id, learned), name in zip(marked, names, strict=True))


def _parts(row: EncodedRow, tokenizer: Any) -> tuple[tuple[bool, str], ...]:
    groups = itertools.groupby(_marked(row), key=lambda pair: pair[1])
    return tuple((learned, str(tokenizer.decode([id for id, _ in part]))) for learned, part in groups)
