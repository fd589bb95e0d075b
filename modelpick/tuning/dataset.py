"""Reading training data from JSONL, CSV or Parquet, with the line of everything that is wrong."""

import csv
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError
from modelpick.tuning.examples import BadExampleError, Example, Form, Problem, examples_from
from modelpick.tuning.extra import require

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
# A tenth held out must hold at least one example, and one left over to learn from is no training: ten is the floor.
FEWEST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class DataFile:
    """What one file held: its examples, its form, what was wrong, and the hash that pins it."""

    path: Path
    sha256: str
    form: Form | None
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def read(path: Path, *, labelled: bool = True) -> DataFile:
    """Every example of a file, and every line that is none.

    Raises UsageError when the file is missing, empty or of no known kind; what is wrong within is in `problems`.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not a file", fix="give a .jsonl, .csv or .parquet file", code="no_data_file")
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path} is neither JSONL, CSV nor Parquet", fix=f"name it {', '.join(SUFFIXES)}", code="unknown_data_kind"
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty", fix="put one example on each line", code="empty_data")
    examples: list[Example] = []
    problems: list[Problem] = []
    form: Form | None = None
    first = 0
    for line, record in _records(path):
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            made = examples_from(record, line, labelled=labelled)
        except BadExampleError as error:
            problems.append(Problem(line, error.code, str(error)))
            continue
        form, first = (form, first) if form else (made[0].form, line)
        if made[0].form != form:
            problems.append(Problem(line, "mixed_forms", f"written as {made[0].form}, while line {first} is {form}"))
            continue
        examples.extend(made)
    if not examples and not problems:
        raise UsageError(f"{path} holds no example", fix="put one example on each line", code="empty_data")
    return DataFile(path, sha256_of(path), form, tuple(examples), tuple(problems))


def read_for_training(path: Path) -> DataFile:
    """`read`, refusing a file with any bad line or with too few examples.

    Raises UsageError(code="bad_data") naming the first bad line and how many there are, or code="too_few_examples".
    """
    data = read(path)
    if data.errors:
        first, more = data.errors[0], len(data.errors) - 1
        raise UsageError(
            f"{path}, line {first.line}: {first.text}"
            + (f" (and {more:,} more bad line{'s' if more > 1 else ''})" if more else ""),
            fix=f"see them all with: modelpick data check {path}",
            code="bad_data",
        )
    if len(data.examples) < FEWEST_EXAMPLES:
        count = len(data.examples)
        raise UsageError(
            f"{path} holds {count} example{'s' if count != 1 else ''}, too few to learn from and to hold any out",
            fix=f"give at least {FEWEST_EXAMPLES}; some hundreds of good ones do well",
            code="too_few_examples",
        )
    return data


def split(examples: Sequence[Example], held_out: float, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(training, held-out) examples, drawn by `seed`; examples of one line, or with one prompt, stay on one side."""
    groups: dict[str, list[Example]] = {}
    owner: dict[int, str] = {}
    for example in examples:
        key = owner.setdefault(example.line, " ".join(example.turns[0].content.lower().split()) or example.text)
        groups.setdefault(key, []).append(example)
    keys = sorted(groups)
    random.Random(seed).shuffle(keys)
    wanted = max(1, round(held_out * len(examples))) if held_out > 0 else 0
    test: list[Example] = []
    while keys and len(test) < wanted and len(keys) > 1:
        test.extend(groups[keys.pop()])
    train = [example for key in keys for example in groups[key]]
    return tuple(sorted(train, key=lambda e: e.line)), tuple(sorted(test, key=lambda e: e.line))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_jsonl(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as chat (or text/label) records, one a line."""
    with path.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(as_record(example), ensure_ascii=False) + "\n")


def as_record(example: Example) -> dict[str, Any]:
    """One example in the form it came in, so that what was curated trains the same way."""
    source = {} if example.source is None else {"source": example.source}
    if example.form == "classification":
        return {"text": example.prompt, "label": example.answer, **source}
    if example.form == "completion":
        if not example.prompt:
            return {"text": example.answer, **source}
        return {
            "prompt": example.prompt,
            **({} if example.answer is None else {"completion": example.answer}),
            **source,
        }
    messages = example.messages()
    if example.answer is not None:
        messages.append({"role": "assistant", "content": example.answer})
    return {"messages": messages, **source}


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in (".csv", ".tsv"):
        return _csv(path, "\t" if suffix == ".tsv" else ",")
    if suffix == ".json":
        return _json(path)
    return _jsonl(path)


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if text:
                    yield line, json.loads(text)
            except UnicodeDecodeError as error:
                yield line, Problem(line, "not_utf8", f"not UTF-8 at byte {error.start}")
            except json.JSONDecodeError as error:
                yield line, Problem(line, "broken_json", f"{error.msg} at column {error.colno}")
            except (RecursionError, ValueError):
                yield line, Problem(line, "broken_json", "nested too deeply, or a number too long")


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    """A JSON list of records (as Alpaca's is); a file of JSON lines under this name is read as such."""
    with path.open("rb") as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first != b"[":
        yield from _jsonl(path)
        return
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        yield line, Problem(line, "broken_json", getattr(error, "msg", "not UTF-8, or nested too deeply"))
        return
    yield from enumerate(records, start=1)


def _csv(path: Path, delimiter: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(2**31 - 1)  # a long field is reported as too_large by its reader, not by a csv.Error
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    yield line, Problem(line, "ragged_row", "more or fewer fields than the header names")
                else:
                    yield line, {key: value for key, value in row.items() if value != ""}
    except UnicodeDecodeError:
        yield line, Problem(line + 1, "not_utf8", "not UTF-8")
    except csv.Error as error:
        yield line, Problem(line + 1, "broken_csv", str(error))


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    require("train", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        row = 0
        for batch in table.iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                row += 1
                yield row, record
    except (pyarrow.ArrowException, OSError) as error:
        yield 1, Problem(1, "broken_parquet", str(error).splitlines()[0][:200])
