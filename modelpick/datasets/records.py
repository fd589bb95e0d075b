"""The records of a data file, each with its line: JSON lines, a JSON list, CSV or Parquet, compressed or not."""

import codecs
import csv
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from modelpick.datasets.examples import Problem
from modelpick.errors import first_line
from modelpick.extras import require

# One line longer than this is not read into memory: an example may have a million characters (examples.py), which
# JSON can write in six bytes each; what lies beside it in the record has as much room again, and more.
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
    """An object names one key twice, and nobody can tell which was meant."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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
            return Problem(line, "broken_json", "holds NUL bytes: written in UTF-16, or cut off when a machine stopped")
        spread = "; an example must stand on one line" if text in ("{", "[", "[{") else ""
        return Problem(line, "broken_json", f"{error.msg} at column {error.colno}{spread}")
    except _TwiceError as error:
        return Problem(line, "duplicate_key", f"the key {str(error)!r} stands twice in one object")
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
        yield 1, Problem(1, "duplicate_key", f"the key {str(error)!r} stands twice in one object")
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
                except (ValueError, OverflowError) as error:  # bytes that are no text, a date beyond Python's
                    yield row, Problem(row, "broken_parquet", first_line(error))
    except (pyarrow.ArrowException, OSError) as error:
        yield row + 1, Problem(row + 1, "broken_parquet", first_line(error))


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet,
}  # fmt: skip
SUFFIXES = tuple(_READERS)
