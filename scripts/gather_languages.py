"""Writes facts/measured_languages.csv: the languages that a board found a model able in.

    python scripts/gather_languages.py LEADERBOARDS

LEADERBOARDS is the folder of that name in a clone of github.com/EuroEval/leaderboards (MIT), at the commit that
`[sources.euroeval]` of facts/catalog.toml names. A board of one language gives each model a score from 0, what chance
gives, to 100 in the language's own grammar (telling sentences from spoilt ones), knowledge and common sense. A model is
able in the language if their mean is at least half of that in one of its modes: chosen, not measured. OLMo 2 32B, whose
card names English alone, is able in German by it, and Apertus 70B, made for it, is not: so what a board did not find is
unknown, never a no. Boards of several languages, and of one that lacks any of the three tasks, are not read.
"""

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from modelpick.catalog import index
from modelpick.catalog.languages import code_of

TARGET = Path(__file__).resolve().parent.parent / "facts" / "measured_languages.csv"
ABLE = 50.0
TASKS = ("Linguistic acceptability", "Knowledge", "Common sense reasoning")


def able_in(board: Path) -> Iterator[str]:
    """The repositories, mode left out, that one board finds able. A score that is missing is none."""
    tasks, _, *rows = csv.reader(board.read_text("utf-8").splitlines())
    headings = [_plain(task) for task in tasks]
    if any(headings.count(task) != 1 for task in TASKS):
        return
    columns = [headings.index(task) for task in TASKS]
    for row in rows:
        scores = [re.match(r"-?\d+(\.\d+)?", row[column]) for column in columns]
        known = [float(score[0]) for score in scores if score is not None]
        if len(known) == len(TASKS) and sum(known) / len(TASKS) >= ABLE:
            yield re.split(r"[# ]", _plain(row[0]))[0]


def _plain(cell: str) -> str:
    return re.sub(r"<[^>]*>", "", cell)


def main(folder: Path) -> None:
    """Writes the file: the models of the catalog alone, which gives them their canonical ids."""
    catalog, found = index.load(), dict[str, set[str]]()
    for board in sorted(folder.glob("*_all.csv")):
        code = code_of({"slovene": "slovenian"}.get(name := board.name.removesuffix("_all.csv"), name))
        for id in able_in(board):
            if code is not None and (model := catalog.find(id)) is not None:
                found.setdefault(model.id, set()).add(code)
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("id", "languages"))
        lines.writerows((id, " ".join(sorted(found[id]))) for id in sorted(found, key=str.lower))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
