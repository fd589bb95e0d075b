"""The records of a data file, one after another, in bounded memory: JSON, CSV, Parquet, Arrow; compressed or zipped."""

import codecs
import csv
import hashlib
import io
import json
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from modelpick.datasets.examples import Problem
from modelpick.errors import UsageError, first_line
from modelpick.extras import require
from modelpick.files import read_json

# One line longer than this is not read into memory: an example may have a million characters (forms.py), which
# JSON can write in six bytes each; the record's other fields have as much room again, and more.
LONGEST_LINE = 16 << 20
Records = Iterator[tuple[int, Any]]
_NOTES = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json")  # of the library datasets
_COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
_TOO_LARGE = f"a line of over {LONGEST_LINE >> 20} MB"
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def records(path: Path) -> Records:
    """(line, record) of everything in a file or folder, a Problem in place of a record that cannot be read.

    `line` counts from 1: the line of a text file, where a CSV row begins, the element of a JSON list, the row of a
    table.
    """
    line = 0
    try:
        for line, record in _READERS[kind_of(path)[0]](path):
            yield line, record
    except _BROKEN as error:
        yield line + 1, Problem(line + 1, "broken_file", f"the file cannot be read from here on: {first_line(error)}")


def kind_of(path: Path) -> tuple[str, str]:
    """(suffix, compression) of a file by its name: `a.JSONL.gz` is (".jsonl", ".gz"), `a.csv` is (".csv", "").

    A zip file is what the one data file within it is; a folder of tables is the kind of its tables.
    """
    if path.is_dir():
        files = table_files(path)
        return (files[0].suffix.lower(), "") if files else ("", "")
    last = path.suffix.lower()
    if last == ".zip":
        return _by_name(Path(zipped_name(path)))[0], ".zip"
    return _by_name(path)


def _by_name(path: Path) -> tuple[str, str]:
    last = path.suffix.lower()
    if last in _COMPRESSED or last == ".zst":
        return Path(path.stem).suffix.lower(), last
    return last, ""


def zipped_name(path: Path) -> str:
    """The name of the one data file in a zip file. Raises UsageError where there is none, or several."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not _is_hidden(name)]
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} cannot be unpacked: {first_line(error)}", fix="make the zip file again", code="broken_file"
        ) from None
    data = [name for name in names if _by_name(Path(name))[0] in (*SUFFIXES, *_SHEETS)]
    if len(data) != 1 or Path(data[0]).suffix.lower() not in _TEXTS:
        held = f"holds {', '.join(sorted(data)[:4])}" if data else "has no JSON or CSV file in it"
        raise UsageError(
            f"{path} {held}", fix="give a zip file with one .jsonl, .json or .csv", code="unknown_data_kind"
        )
    return data[0]


def _is_hidden(name: str) -> bool:
    """What macOS and Windows add to the files that were meant."""
    return name.startswith("__MACOSX/") or Path(name).name.startswith(".") or Path(name).name == "Thumbs.db"


def _opened(path: Path) -> BinaryIO:
    compression = kind_of(path)[1]
    if not compression:
        return path.open("rb")
    if compression == ".zip":
        member: Any = zipfile.ZipFile(path).open(zipped_name(path))  # noqa: SIM115 - the member keeps it open
        return io.BufferedReader(member)
    if compression == ".zst":
        require("data", "pyarrow")
        import pyarrow

        stream: Any = pyarrow.input_stream(str(path), compression="zstd")
        return io.BufferedReader(stream)
    opened: BinaryIO = import_module(_COMPRESSED[compression]).open(path, "rb")
    return opened


# JSON ----------------------------------------------------------------------------------------------------------------


def _jsonl(path: Path) -> Records:
    lines = _lines_of_utf16(path) if _is_utf16(path) else _lines(path)
    for line, text in lines:
        if isinstance(text, Problem):
            yield line, text
        elif text := text.strip("\ufeff \t\r\n"):  # files put together leave their marks within
            yield line, _parsed(text, line)


def _lines(path: Path) -> Iterator[tuple[int, str | Problem]]:
    """Every line with its number; a Problem for one that is too long to be held, or is not UTF-8."""
    number = 0
    with _opened(path) as file:
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                yield number, Problem(number, "too_large", _TOO_LARGE)
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(1 << 20)
                continue
            try:
                yield number, raw.decode("utf-8")
            except UnicodeDecodeError as error:
                yield number, Problem(number, "not_utf8", f"not UTF-8 at byte {error.start + 1}")


def _lines_of_utf16(path: Path) -> Iterator[tuple[int, str | Problem]]:
    """The same of a file that begins with the mark of UTF-16."""
    number = 0
    with _opened(path) as binary, io.TextIOWrapper(binary, "utf-16", newline="\n") as file:
        try:
            while text := file.readline(LONGEST_LINE + 1):
                number += 1
                if len(text) > LONGEST_LINE:
                    yield number, Problem(number, "too_large", _TOO_LARGE)
                    while text and not text.endswith("\n"):
                        text = file.readline(1 << 20)
                else:
                    yield number, text
        except UnicodeError:
            yield number + 1, Problem(number + 1, "not_utf8", "not UTF-16 from here on")


class _TwiceError(ValueError):
    """An object has one key twice: which was meant is not known."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return record


_decoder = json.JSONDecoder(object_pairs_hook=_object)
_fast = json.JSONDecoder()


def _parsed(text: str, line: int) -> Any:
    try:
        record = _fast.decode(text)
        # As many keys as there are quotes before colons: none stands twice. Else look, which takes longer.
        return record if _keys(record) == text.count('":') and '" :' not in text else _decoder.decode(text)
    except json.JSONDecodeError as error:
        return _broken(error, text, line)
    except _TwiceError as error:
        return Problem(line, "duplicate_key", f"the key {str(error)!r} appears twice in one object")
    except (RecursionError, ValueError):
        return Problem(line, "broken_json", "nested too deeply, or a number too long")


def _keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_keys(item) for item in value.values() if item.__class__ in (dict, list))
    if isinstance(value, list):
        return sum(_keys(item) for item in value if item.__class__ in (dict, list))
    return 0


def _broken(error: json.JSONDecodeError, text: str, line: int) -> Problem:
    if "\0" in text:
        return Problem(line, "broken_json", "contains NUL bytes: it is UTF-16, or was cut off by a crash")
    spread = "; put each example on one line" if text in ("{", "[", "[{") else ""
    return Problem(line, "broken_json", f"{error.msg} at column {error.colno}{spread}")


def _json(path: Path) -> Records:
    """A JSON list of records (as Alpaca's is), an element at a time; JSON lines under this name are read as such."""
    encoding = "utf-16" if _is_utf16(path) else "utf-8-sig"
    with _opened(path) as file:
        first = file.read(4096).decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n")[:1]
    if first != "[":
        yield from _jsonl(path)
        return
    with _opened(path) as binary, io.TextIOWrapper(binary, encoding) as file_:
        yield from _elements(_Window(file_))


class _Window:
    """A piece of a long text: what was read and not yet used, and the line on which it begins."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._file = file
        self._piece = 1 << 16
        self.text = ""
        self.line = 1
        self.ended = False

    def more(self) -> None:
        """Read on, twice as much each time that what was read was not enough."""
        piece = self._file.read(self._piece)
        self._piece = min(2 * self._piece, LONGEST_LINE)
        self.ended = not piece
        self.text += piece

    def use(self, end: int) -> None:
        """Drop what was read up to `end`, and the white space after it."""
        rest = self.text[end:]
        kept = rest.lstrip(" \t\r\n\ufeff")
        self.line += self.text.count("\n", 0, len(self.text) - len(kept))
        self.text = kept
        self._piece = 1 << 16


def _elements(window: _Window) -> Records:
    """The elements of a JSON list, each with its number."""
    number = 0
    try:
        window.more()
        window.use(0)
        window.use(1)  # the bracket
        while True:
            while not window.text and not window.ended:
                window.more()
                window.use(0)
            if window.text[:1] == "]":
                yield from _after_the_list(window)
                return
            if number:
                if window.text[:1] != ",":
                    yield _no_list(window, "Expecting ',' delimiter")
                    return
                window.use(1)
            number += 1
            record = _element(window, number)
            yield number, record
            if isinstance(record, Problem):
                return
    except UnicodeError:
        yield window.line, Problem(window.line, "not_utf8", "not UTF-8, on this line or soon after")


def _after_the_list(window: _Window) -> Records:
    """A Problem where a list is not the end of its file: two lists put together, or lines after a list."""
    window.use(1)
    while not window.text and not window.ended:
        window.more()
        window.use(0)
    if window.text:
        text = "something follows the end of the list: make one list of it, or one example a line"
        yield window.line, Problem(window.line, "broken_json", text)


def _element(window: _Window, number: int) -> Any:
    """The next element of a list, or the Problem with it."""
    while True:
        try:
            if not window.text:
                raise json.JSONDecodeError("Expecting value", "", 0)
            record, end = _decoder.raw_decode(window.text)
            if end == len(window.text) and not window.ended:  # a number may go on
                raise json.JSONDecodeError("Expecting ',' delimiter", window.text, end)
            window.use(end)
            return record
        except json.JSONDecodeError as error:
            if window.ended:
                line = window.line + error.lineno - 1
                return Problem(line, "broken_json", f"{error.msg} at column {error.colno}")
            if len(window.text) > LONGEST_LINE:
                return Problem(number, "too_large", f"an element of over {LONGEST_LINE >> 20} MB, or broken JSON")
            window.more()
            if not window.text.strip():
                window.use(0)
        except _TwiceError as error:
            return Problem(number, "duplicate_key", f"the key {str(error)!r} appears twice in one object")
        except (ValueError, RecursionError):
            return Problem(number, "broken_json", "nested too deeply, or a number too long")


def _no_list(window: _Window, message: str) -> tuple[int, Problem]:
    return window.line, Problem(window.line, "broken_json", f"{message}, on this line or the next")


# CSV -----------------------------------------------------------------------------------------------------------------


class _TooLong(csv.Error):
    """A line that is not held."""


def _csv(path: Path) -> Records:
    csv.field_size_limit(LONGEST_LINE)
    encoding, line = _encoding(path), 0
    if encoding == "cp1252":
        text = "not UTF-8: read as Windows-1252, which Excel writes; save it as UTF-8 if letters look wrong"
        yield 0, Problem(0, "read_as_cp1252", text, "warning")
    try:
        with _opened(path) as binary, io.TextIOWrapper(binary, encoding) as text_file:
            header = text_file.readline(LONGEST_LINE)
        named = _named_separator(header)
        with _opened(path) as binary, io.TextIOWrapper(binary, encoding, newline="") as text_file:
            lines = _bounded(text_file)
            if named:
                line = 1
                next(lines)
            # Spreadsheets write semicolons where the comma is the decimal mark, and tabs into files named .csv.
            usual = "\t" if kind_of(path)[0] == ".tsv" else ","
            delimiter = named or max((usual, ",", ";", "\t"), key=header.count)
            reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
            names = [(name or "").strip() for name in reader.fieldnames or ()]
            # Spreadsheets save columns without a name: those of numbered rows, and what lies right of the table.
            names = [name or f"(column {place} without a name)" for place, name in enumerate(names, start=1)]
            if twice := next((name for name in names if names.count(name) > 1), None):
                yield 1, Problem(1, "bad_header", f"two columns are named {twice!r}")
                return
            reader.fieldnames = [name.lower() for name in names]
            before = line
            line = before + reader.line_num
            for row in reader:
                begun, line = line + 1, before + reader.line_num
                if None in row or None in row.values():
                    yield begun, Problem(begun, "ragged_row", "more or fewer fields than the header names")
                elif any(row.values()):  # spreadsheets save empty rows as well
                    yield begun, {key: value for key, value in row.items() if value != ""}
    except UnicodeError:
        yield line + 1, Problem(line + 1, "not_utf8", "not UTF-8, in this row or soon after")
    except csv.Error as error:
        large = isinstance(error, _TooLong) or "field larger" in str(error)
        yield line + 1, Problem(line + 1, "too_large" if large else "broken_csv", _TOO_LARGE if large else str(error))


def _bounded(file: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a file. Raises _TooLong for one that is not held."""
    while text := file.readline(LONGEST_LINE + 1):
        if len(text) > LONGEST_LINE:
            raise _TooLong(_TOO_LARGE)
        yield text


def _named_separator(line: str) -> str | None:
    """The delimiter that a first line such as `sep=;` names, which Excel reads; None for any other line."""
    bare = line.lstrip("\ufeff").strip("\r\n \"'")
    return (bare[4:5] or "\t") if bare[:4].lower() == "sep=" and len(bare) <= 5 else None


def _is_utf16(path: Path) -> bool:
    """Whether a file begins with the mark of UTF-16, which spreadsheets call "Unicode text"."""
    with _opened(path) as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _encoding(path: Path) -> str:
    """The encoding of a table of text: UTF-16 by its mark, else UTF-8, else what Excel writes on Windows."""
    if _is_utf16(path):
        return "utf-16"
    return next((name for name in ("utf-8-sig", "cp1252") if _decodes(path, name)), "utf-8-sig")


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with _opened(path) as file:
            while piece := file.read(1 << 20):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    except _BROKEN:
        return True  # as far as it can be read
    return True


# Tables --------------------------------------------------------------------------------------------------------------


def table_files(folder: Path) -> list[Path]:
    """The tables of a folder that the library datasets saved, or that holds parts of one Parquet or Arrow table.

    Raises UsageError for a folder of several splits, or of several tables.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(part.name for part in folder.iterdir() if (part / "state.json").is_file())
        shown = ", ".join(str(folder / name) for name in splits[:4])
        raise UsageError(f"{folder} holds several splits", fix=f"give one of them: {shown}", code="no_data_file")
    state = folder / "state.json"
    if state.is_file():
        listed = read_json(state, code="broken_file")
        names = [str(part.get("filename")) for part in listed.get("_data_files", ()) if isinstance(part, dict)]
        return [folder / Path(name).name for name in names]
    for suffix in (".parquet", ".arrow"):
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix)
        if found:
            _refuse_several(folder, found)
            return found
    return []


def _refuse_several(folder: Path, tables: list[Path]) -> None:
    """Raise UsageError where the files of a folder are not the parts of one table: their names differ by more than
    a number, or other files of data are there too."""
    others = [
        path
        for path in sorted(folder.iterdir())
        if path not in tables and _by_name(path)[0] in SUFFIXES and path.name not in _NOTES and path.is_file()
    ]
    first_of = {re.sub(r"\d+", "0", path.stem): path for path in reversed(tables)}
    several = [*first_of.values(), *others]
    if len(several) > 1:
        shown = ", ".join(str(path) for path in sorted(several)[:4])
        raise UsageError(f"{folder} holds several tables", fix=f"give one of them: {shown}", code="no_data_file")


def _tables(path: Path) -> Records:
    require("data", "pyarrow")
    import pyarrow

    row = 0
    for file in table_files(path) if path.is_dir() else [path]:
        try:
            names = _label_names(file)
            for batch in _parquet_batches(file) if file.suffix.lower() == ".parquet" else _arrow_batches(file):
                for place in range(batch.num_rows):
                    row += 1
                    try:
                        yield row, _named(_without_nulls(batch.slice(place, 1).to_pylist()[0]), names)
                    except (ValueError, OverflowError) as error:  # bytes that are not text, a date beyond Python's
                        yield row, Problem(row, "broken_parquet", first_line(error))
        except (pyarrow.ArrowException, OSError) as error:
            yield row + 1, Problem(row + 1, "broken_parquet", first_line(error))
            return


def _parquet_batches(file: Path) -> Iterator[Any]:
    import pyarrow.parquet

    yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1024)


def _arrow_batches(file: Path) -> Iterator[Any]:
    """The batches of an Arrow file: a stream, which the library datasets writes, or one with a footer."""
    import pyarrow.ipc

    with pyarrow.memory_map(str(file)) as source:
        try:
            reader: Any = pyarrow.ipc.open_stream(source)
        except pyarrow.ArrowInvalid:
            source.seek(0)
            whole = pyarrow.ipc.open_file(source)
            reader = (whole.get_batch(number) for number in range(whole.num_record_batches))
        for batch in reader:
            for start in range(0, batch.num_rows, 1024):
                yield batch.slice(start, 1024)


def _label_names(file: Path) -> Mapping[str, list[str]]:
    """The names of a table's classes by column, where the library datasets has noted them (ClassLabel)."""
    import pyarrow.parquet

    noted: Any = None
    info = file.parent / "dataset_info.json"
    if file.suffix.lower() == ".parquet":
        metadata = pyarrow.parquet.ParquetFile(file).schema_arrow.metadata or {}
        try:
            noted = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features")
        except (ValueError, AttributeError):
            noted = None
    elif info.is_file():
        noted = read_json(info, code="broken_file").get("features")
    if not isinstance(noted, Mapping):
        return {}
    classes = {
        column: feature.get("names")
        for column, feature in noted.items()
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel"
    }
    return {column: list(map(str, names)) for column, names in classes.items() if isinstance(names, list)}


def _named(record: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A row with the names of its classes in place of their numbers; -1 stands for none."""
    for column, listed in names.items():
        number = record.get(column)
        if isinstance(number, int) and number < len(listed):
            record[column] = listed[number] if number >= 0 else None
    return record


def _without_nulls(value: Any) -> Any:
    """A row as it was before the table gave every object every key of its column."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _tables,
    ".arrow": _tables,
}  # fmt: skip
_TEXTS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_SHEETS = (".xlsx", ".xls", ".ods", ".zip")  # not read, and yet perhaps the examples that were meant
SUFFIXES = tuple(_READERS)


def refuse_unreadable(path: Path) -> None:
    """Raise UsageError for what is not a file or folder of data that can be read, or is empty."""
    if path.is_dir() and not table_files(path):
        within = sorted(file.name for file in path.iterdir() if _by_name(file)[0] in SUFFIXES)
        fix = f"give one of its files: {', '.join(within[:4])}" if within else "give a .jsonl, .csv or .parquet file"
        raise UsageError(f"{path} is a folder", fix=fix, code="no_data_file")
    if not path.exists() or not (path.is_file() or path.is_dir()):
        raise UsageError(f"{path} is not a file", fix="give a .jsonl, .csv or .parquet file", code="no_data_file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"you may not read {path}", fix="change its permissions", code="no_data_file")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{path} is empty", fix="put one example on each line", code="empty_data")
    suffix, compression = kind_of(path)
    if suffix not in SUFFIXES or (compression and suffix not in _TEXTS):
        raise UsageError(
            f"{path} does not have the name of a JSONL, CSV or Parquet file",
            fix=f"name it {', '.join(SUFFIXES)}; text may be compressed: .jsonl.gz, .csv.zst, .zip",
            code="unknown_data_kind",
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, read in pieces; of a folder of tables that of their names and contents, in order."""
    digest = hashlib.sha256()
    for file in table_files(path) if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(f"{file.name}\0".encode())
        with file.open("rb") as opened:
            while piece := opened.read(1 << 20):
                digest.update(piece)
    return digest.hexdigest()
