"""How many tokens a data file has, counted or estimated, in constant memory. Reads the file once; no network.

JSON lines are counted row by row (all texts in a row), anything else as plain text. Without the model's tokenizer the
count is an estimate from bytes, with an interval.
"""

import codecs
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from modelpick.errors import UsageError
from modelpick.ranges import Range

CHUNK = 1 << 20
LONGEST_ROW = 64 << 20  # bytes: one training example is never longer; it also bounds the memory
# UTF-8 bytes of a token: 4 is the rule of thumb for English with vocabularies of 30 to 150 thousand; code and other
# scripts have fewer bytes a token, terse English more.
BYTES_PER_TOKEN = Range(3.0, 4.0, 4.8)
TEMPLATE_TOKENS = 8  # what a chat template adds to a row

Counter = Callable[[str], int]
Progress = Callable[[int, int], None]  # bytes read, bytes in all


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one pass over the data trains on. `rows` is None for plain text, which is packed."""

    name: str
    sha256: str
    bytes: int
    rows: int | None
    count: Range
    counted: bool  # by the model's tokenizer; False: estimated from bytes
    truncated_rows: int  # longer than the context, cut there

    @property
    def mean_length(self) -> float | None:
        """Tokens of an average row."""
        return self.count.likely / self.rows if self.rows else None

    @property
    def assumptions(self) -> list[str]:
        """The basis of the count."""
        sentences = []
        if not self.counted:
            sentences.append("tokens are estimated: 4 bytes each (3.0-4.8); the model's tokenizer was not available")
        if self.truncated_rows:
            sentences.append(f"{self.truncated_rows} rows are longer than the context and are cut")
        return sentences


def measure(path: Path, context: int, counter: Counter | None = None, progress: Progress | None = None) -> Tokens:
    """Reads `path` once. `context` cuts rows; `counter` is the model's tokenizer (see `counter_at_hand`).

    Raises UsageError for a file that is missing, empty, binary, not UTF-8, or has a broken or endless row.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size == 0:
                raise UsageError(f"{path} is empty", fix="give a file with text or JSON lines", code="empty_data")
            meter = _Meter(file, path, size, progress)
            by_rows = path.suffix.lower() in (".jsonl", ".ndjson")
            tally = _rows(meter, context, counter) if by_rows else _text(meter, counter)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", fix="give an existing file", code="no_data_file"
        ) from None
    if tally.likely_tokens <= 0:
        raise UsageError(f"{path} contains no text", fix="give a file with text or JSON lines", code="empty_data")
    return Tokens(
        path.name, meter.hash.hexdigest(), size, tally.rows, tally.range(), counter is not None, tally.truncated
    )


def counter_at_hand(tokenizer_json: Path | None) -> Counter | None:
    """The tokenizer as a counting function, where its file and the `tokenizers` library are here; else None."""
    if tokenizer_json is None or not tokenizer_json.is_file():
        return None
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    loaded = Tokenizer.from_file(str(tokenizer_json))
    return lambda text: len(loaded.encode(text, add_special_tokens=False).ids)


@dataclass(slots=True)
class _Tally:
    """Running sums of one pass."""

    low: float = 0.0
    likely_tokens: float = 0.0
    high: float = 0.0
    rows: int | None = None
    truncated: int = 0

    def add(self, one: Range) -> None:
        self.low, self.likely_tokens, self.high = (
            self.low + one.low,
            self.likely_tokens + one.likely,
            self.high + one.high,
        )

    def range(self) -> Range:
        return Range(self.low, self.likely_tokens, self.high)


class _Meter:
    """A file that is hashed and reported on while it is read."""

    def __init__(self, file: BinaryIO, path: Path, size: int, progress: Progress | None) -> None:
        self.file, self.path, self.size, self.progress = file, path, size, progress
        self.hash, self.read, self._said = hashlib.sha256(), 0, 0

    def took(self, chunk: bytes) -> bytes:
        self.hash.update(chunk)
        self.read += len(chunk)
        if self.progress is not None and (self.read - self._said >= CHUNK or self.read == self.size):
            self._said = self.read
            self.progress(self.read, self.size)
        if b"\0" in chunk:
            raise self.refuse("is binary", "give text or JSON lines", "binary_data")
        return chunk

    def refuse(self, what: str, fix: str, code: str) -> UsageError:
        return UsageError(f"{self.path} {what}", fix=fix, code=code)


def _rows(meter: _Meter, context: int, counter: Counter | None) -> _Tally:
    tally = _Tally(rows=0)
    number = 0
    while line := meter.file.readline(LONGEST_ROW):
        number += 1
        meter.took(line)
        if len(line) == LONGEST_ROW and not line.endswith(b"\n"):
            raise meter.refuse(
                f"has a row of more than 64 MiB (row {number})", "write one example per line", "row_too_long"
            )
        if not line.strip():
            continue
        row = _parsed(meter, line, number)
        texts = "\n".join(_texts(row))
        tokens = _tokens(texts, counter)
        whole = Range(*(end + TEMPLATE_TOKENS for end in (tokens.low, tokens.likely, tokens.high)))
        if whole.likely > context:
            tally.truncated += 1
        tally.add(Range(*(min(end, context) for end in (whole.low, whole.likely, whole.high))))
        tally.rows = (tally.rows or 0) + 1
    return tally


def _parsed(meter: _Meter, line: bytes, number: int) -> Any:
    try:
        return json.loads(line)
    except UnicodeDecodeError:
        raise meter.refuse(f"is not UTF-8 (row {number})", "save it as UTF-8", "binary_data") from None
    except (ValueError, RecursionError):
        raise meter.refuse(
            f"has a row that is not JSON (row {number})", "write one JSON object per line", "bad_row"
        ) from None


def _texts(value: Any) -> Iterator[str]:
    """Every string in a row, without the keys: prompts, answers, turns of a chat."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != "role":
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _text(meter: _Meter, counter: Counter | None) -> _Tally:
    tally = _Tally()
    decoder = codecs.getincrementaldecoder("utf-8")()
    while chunk := meter.file.read(CHUNK):
        try:
            text = decoder.decode(meter.took(chunk))
        except UnicodeDecodeError:
            raise meter.refuse("is not UTF-8 text", "give text or JSON lines, saved as UTF-8", "binary_data") from None
        if text.strip():
            tally.add(_tokens(text, counter))
    return tally


def _tokens(text: str, counter: Counter | None) -> Range:
    if counter is not None:
        exact = float(counter(text))
        return Range(exact, exact, exact)
    size = len(text.encode("utf-8", "surrogatepass"))
    return Range(size / BYTES_PER_TOKEN.high, size / BYTES_PER_TOKEN.likely, size / BYTES_PER_TOKEN.low)
