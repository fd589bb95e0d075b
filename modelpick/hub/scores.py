"""Quality scores from a table, put over those in force: the columns of facts/quality.csv, and the day of each row."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelpick.errors import RemoteError, address
from modelpick.hub import download
from modelpick.hub.overlay import Row, line_of
from modelpick.hub.verification import is_day

COLUMNS = ("id", "score", "low", "high", "status", "boards", "as_of")
_CODE, _FILE = "score_source", "catalog/models.jsonl"
_LARGEST = 50_000_000  # bytes
_STATUS = ("rated", "legacy", "vendor-only")


@dataclass(frozen=True, slots=True)
class ScoresUpdated:
    """The files with the new scores, how many there are, and how many are of models that the catalog has not."""

    texts: Mapping[str, str]
    source: str
    scores: int
    unknown: int


def updated(texts: Mapping[str, str], where: str) -> ScoresUpdated:
    """The data files with the scores of the table at `where`. A model that it does not name keeps its score.

    Raises RemoteError(code="score_source") where a column, a board or a figure is not what it must be.
    """
    body = download.content(where, largest=_LARGEST, code=_CODE)
    try:
        header, *lines = texts[_FILE].splitlines()
        about = json.loads(header)
        scores = _scores(body.decode("utf-8-sig"), about["boards"])
    except (ValueError, TypeError, AttributeError, KeyError, csv.Error) as error:
        raise RemoteError(
            f"{address(where)} cannot be read as a table of scores: {error}",
            fix=f"its columns are {', '.join(COLUMNS)}",
            code=_CODE,
        ) from None
    rows: list[Row] = [json.loads(line) for line in lines]
    known = {row["id"].lower() for row in rows}
    for row in rows:
        if row["id"].lower() in scores:
            row["quality"] = scores[row["id"].lower()]
    for *_, boards, day in scores.values():
        for name in boards:
            about["boards"][name]["as_of"] = max(about["boards"][name]["as_of"] or "", day)
    text = "".join(
        line + "\n" for line in (json.dumps(about, separators=(",", ":"), ensure_ascii=False), *map(line_of, rows))
    )
    return ScoresUpdated({**texts, _FILE: text}, address(where), len(scores), len(set(scores) - known))


def _scores(text: str, boards: Mapping[str, Any]) -> dict[str, list[Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise ValueError(f"its columns are {', '.join(reader.fieldnames or ()) or 'none'}")
    found: dict[str, list[Any]] = {}
    for row in reader:
        score, low, high = (float(row[name]) for name in ("score", "low", "high"))
        if not -100 <= low <= score <= high <= 200:  # mean 50, standard deviation 15: ten of them
            raise ValueError(f"line {reader.line_num}: {low} <= {score} <= {high} does not hold, or is far off")
        named = row["boards"].split()
        if row["status"] not in _STATUS or not named or not set(named) <= set(boards) or not is_day(row["as_of"]):
            raise ValueError(f"line {reader.line_num}: an unknown status or board, or no day")
        if row["id"].lower() in found:
            raise ValueError(f"line {reader.line_num}: {row['id']} stands there twice")
        found[row["id"].lower()] = [score, low, high, row["status"], named, row["as_of"]]
    if not found:
        raise ValueError("it has no row")
    return found
