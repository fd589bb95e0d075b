"""Reading training data from JSONL, CSV or Parquet, with the line of every problem."""

import codecs
import csv
import hashlib
import io
import json
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from modelpick.datasets.duplicates import OnProgress
from modelpick.datasets.examples import BadExampleError, Example, Form, Problem
from modelpick.datasets.forms import read_record
from modelpick.errors import UsageError, first_line, printable, printable_json
from modelpick.extras import require
from modelpick.files import replacing

# One line longer than this is not read into memory: an example may have a million characters (examples.py), which
# JSON can write in six bytes each; the record's other fields have as much room again, and more.
LONGEST_LINE = 16 << 20
Records = Iterator[tuple[int, Any]]
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}


def records(path: Path) -> Records:
    """(line, record) of everything in a file, a Problem in place of a record that cannot be read.

    `line` counts from 1: the line of a text file, where a CSV row begins, the element of a JSON list, the row of a
    table.
    """
    line = 0
    try:
        for line, record in _READERS[kind_of(path)[0]](path):
            yield line, record
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        yield line + 1, Problem(line + 1, "broken_file", f"the file cannot be read from here on: {first_line(error)}")


def kind_of(path: Path) -> tuple[str, str]:
    """(suffix, compression) of a file by its name: `a.JSONL.gz` is (".jsonl", ".gz"), `a.csv` is (".csv", "")."""
    last = path.suffix.lower()
    if last in _COMPRESSED or last == ".zst":
        return Path(path.stem).suffix.lower(), last
    return last, ""


def _opened(path: Path) -> BinaryIO:
    compression = kind_of(path)[1]
    if not compression:
        return path.open("rb")
    if compression == ".zst":
        require("data", "pyarrow")
        import pyarrow

        stream: Any = pyarrow.input_stream(str(path), compression="zstd")
        return io.BufferedReader(stream)
    opened: BinaryIO = import_module(_COMPRESSED[compression]).open(path, "rb")
    return opened


def _jsonl(path: Path) -> Records:
    if _encoding(path) == "utf-16":
        yield 1, Problem(1, "not_utf8", "written in UTF-16; save the file as UTF-8")
        return
    with _opened(path) as file:
        for line, raw in _lines(file):
            if raw is None:
                yield line, Problem(line, "too_large", f"a line of over {LONGEST_LINE >> 20} MB")
                continue
            try:
                text = raw.decode("utf-8").strip("\ufeff \t\r\n")  # files put together leave their marks within
            except UnicodeDecodeError as error:
                yield line, Problem(line, "not_utf8", f"not UTF-8 at byte {error.start + 1}")
                continue
            if text:
                yield line, _parsed(text, line)


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Every line with its number; None for one that is too long to be held."""
    number = 0
    while raw := file.readline(LONGEST_LINE + 1):
        number += 1
        whole = len(raw) <= LONGEST_LINE
        yield number, raw if whole else None
        while not whole and raw and not raw.endswith(b"\n"):
            raw = file.readline(1 << 20)


class _TwiceError(ValueError):
    """An object has one key twice: which was meant is not known."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return record


_decode = json.JSONDecoder(object_pairs_hook=_object).decode


def _parsed(text: str, line: int) -> Any:
    try:
        return _decode(text)
    except json.JSONDecodeError as error:
        if "\0" in text:
            return Problem(line, "broken_json", "contains NUL bytes: it is UTF-16, or was cut off by a crash")
        spread = "; put each example on one line" if text in ("{", "[", "[{") else ""
        return Problem(line, "broken_json", f"{error.msg} at column {error.colno}{spread}")
    except _TwiceError as error:
        return Problem(line, "duplicate_key", f"the key {str(error)!r} appears twice in one object")
    except (RecursionError, ValueError):
        return Problem(line, "broken_json", "nested too deeply, or a number too long")


def _json(path: Path) -> Records:
    """A JSON list of records (as Alpaca's is); a file of JSON lines under this name is read as such."""
    with _opened(path) as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first != b"[":
        yield from _jsonl(path)
        return
    with _opened(path) as file:
        raw = file.read()
    try:
        records = _decode(raw.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        yield error.lineno, Problem(error.lineno, "broken_json", f"{error.msg} at column {error.colno}")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield line, Problem(line, "not_utf8", f"not UTF-8 at byte {error.start + 1} of the file")
    except _TwiceError as error:
        yield 1, Problem(1, "duplicate_key", f"the key {str(error)!r} appears twice in one object")
    except (ValueError, RecursionError):
        yield 1, Problem(1, "broken_json", "nested too deeply, or a number too long")
    else:
        yield from enumerate(records, start=1)


def _csv(path: Path) -> Records:
    csv.field_size_limit(2**31 - 1)  # a long field is reported as too_large by its reader, not by a csv.Error
    encoding, line = _encoding(path), 0
    try:
        with _opened(path) as binary, io.TextIOWrapper(binary, encoding) as text:
            header = text.readline(LONGEST_LINE)
        with _opened(path) as binary, io.TextIOWrapper(binary, encoding, newline="") as text:
            # Spreadsheets write semicolons where the comma is the decimal mark, and tabs into files named .csv.
            usual = "\t" if kind_of(path)[0] == ".tsv" else ","
            delimiter = max((usual, ",", ";", "\t"), key=header.count)
            reader = csv.DictReader(text, delimiter=delimiter, strict=True)
            names = [(name or "").strip() for name in reader.fieldnames or ()]
            if twice := next((name for name in names if names.count(name) > 1), None):
                yield 1, Problem(1, "bad_header", f"two columns are named {twice!r}")
                return
            reader.fieldnames = [name.lower() for name in names]
            line = reader.line_num
            for row in reader:
                begun, line = line + 1, reader.line_num
                if None in row or None in row.values():
                    yield begun, Problem(begun, "ragged_row", "more or fewer fields than the header names")
                else:
                    yield begun, {key: value for key, value in row.items() if value != ""}
    except UnicodeError:
        yield line + 1, Problem(line + 1, "not_utf8", "not UTF-8, in this row or soon after")
    except csv.Error as error:
        yield line + 1, Problem(line + 1, "broken_csv", str(error))


def _encoding(path: Path) -> str:
    """UTF-8, or UTF-16 where the file begins with its mark: what spreadsheets call "Unicode text"."""
    with _opened(path) as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _parquet(path: Path) -> Records:
    require("data", "pyarrow")
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for place in range(batch.num_rows):
                row += 1
                try:
                    yield row, batch.slice(place, 1).to_pylist()[0]
                except (ValueError, OverflowError) as error:  # bytes that are not text, a date beyond Python's
                    yield row, Problem(row, "broken_parquet", first_line(error))
    except (pyarrow.ArrowException, OSError) as error:
        yield row + 1, Problem(row + 1, "broken_parquet", first_line(error))


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet,
}  # fmt: skip
SUFFIXES = tuple(_READERS)


# A tenth held out must hold at least one example, and one example left to learn from is too few: ten is the floor.
FEWEST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class DataFile:
    """The content of one file: its examples, its form, what was wrong, and the hash that pins it."""

    path: Path
    sha256: str
    form: Form | None
    examples: tuple[Example, ...]
    problems: tuple[Problem, ...]

    @property
    def wholes(self) -> tuple[Example, ...]:
        """One example a line: each is a whole chat."""
        return self.examples

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a run should say of the file: keys that are not read."""
        return tuple(problem.text for problem in self.problems if problem.severity == "warning")

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def read(path: Path, *, labelled: bool = True, on_progress: OnProgress | None = None) -> DataFile:
    """Every example of a file, and a problem for every line that is not one.

    The form is the one that most lines have; the others are problems. Raises UsageError when the file is missing, empty
    or of no known kind; what is wrong within is in `problems`.
    """
    _refuse_unreadable(path)
    examples: list[Example] = []
    problems: list[Problem] = []
    first: dict[Form, int] = {}
    counts: Counter[Form] = Counter()
    unread: dict[str, list[int]] = {}  # key -> the first line that has it, and how many have
    for done, (line, record) in enumerate(records(path)):
        if on_progress and done % 1000 == 0:
            on_progress("reading", done, None)
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            example, _, ignored = read_record(record, line, labelled=labelled)
        except BadExampleError as error:
            problems.append(Problem(line, error.code, str(error)))
            continue
        for key in ignored:
            unread.setdefault(key, [line, 0])[1] += 1
        counts[example.form] += 1
        first.setdefault(example.form, line)
        examples.append(example)
    if not examples and not problems:
        raise UsageError(f"{path} contains no example", fix="put one example on each line", code="empty_data")
    form = counts.most_common(1)[0][0] if counts else None
    if form and len(counts) > 1:
        others = {example.line: example.form for example in examples if example.form != form}
        problems += [
            Problem(line, "mixed_forms", f"written as {other}, while most, as line {first[form]}, are {form}")
            for line, other in others.items()
        ]
        examples = [example for example in examples if example.form == form]
        problems.sort(key=lambda problem: problem.line)
    problems[:0] = [_ignored_key(key, line, count) for key, (line, count) in sorted(unread.items())]
    return DataFile(path, sha256_of(path), form, tuple(examples), tuple(problems))


def _ignored_key(key: str, line: int, count: int) -> Problem:
    lines = f"line {line}" if count == 1 else f"{count:,} lines, first in line {line}"
    return Problem(0, "ignored_key", f"{printable(key)} is not read ({lines})", "warning")


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        within = sorted(file.name for file in path.iterdir() if kind_of(file)[0] in SUFFIXES)
        fix = f"give one of its files: {', '.join(within[:4])}" if within else "give a .jsonl, .csv or .parquet file"
        raise UsageError(f"{path} is a folder", fix=fix, code="no_data_file")
    if not path.is_file():
        raise UsageError(f"{path} is not a file", fix="give a .jsonl, .csv or .parquet file", code="no_data_file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"you may not read {path}", fix="change its permissions", code="no_data_file")
    suffix, compression = kind_of(path)
    if suffix not in SUFFIXES or (compression and suffix == ".parquet"):
        raise UsageError(
            f"{path} does not have the name of a JSONL, CSV or Parquet file",
            fix=f"name it {', '.join(SUFFIXES)}; text may be compressed: .jsonl.gz, .csv.zst",
            code="unknown_data_kind",
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty", fix="put one example on each line", code="empty_data")


def read_for_training(path: Path, *, on_progress: OnProgress | None = None) -> DataFile:
    """`read`, refusing a file with any bad line or with too few examples.

    Raises UsageError(code="bad_data") naming the first bad line and how many there are, or code="too_few_examples".
    """
    data = read(path, on_progress=on_progress)
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
            f"{path} holds {count} example{'s' if count != 1 else ''}, too few to train on and to hold any out",
            fix=f"give at least {FEWEST_EXAMPLES}; a few hundred good ones work well",
            code="too_few_examples",
        )
    return data


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def copy_lines(source: Path, lines: Collection[int], target: Path) -> None:
    """Write the records that stand at `lines` of `source` to `target` as JSON lines, with every field they have.

    `target` is there whole or not at all. Raises UsageError(code="cannot_write") when it cannot be written.
    """
    with replacing(target, fix="name another file with --output") as file:
        for line, record in records(source):
            if line in lines:
                text = printable_json(json.dumps(record, ensure_ascii=False, default=str))
                file.write(text.encode() + b"\n")
