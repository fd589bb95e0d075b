"""How long `data check` and `data curate` take, and what finding near-duplicates costs and misses.

python benchmarks/data_speed.py [--lines 100000] [--datasketch]

Makes lines of about a hundred words, one in twenty a copy of an earlier line with up to four words changed: as prose,
and as instructions that share a template of sixty words. The words are made up, and as uneven as a language's (Zipf).
Every row is measured in a process of its own. `--datasketch` (pip install datasketch) also measures MinHash and LSH,
every candidate verified, which decision 0040 weighs; a row that takes over five minutes is given up.
"""

import argparse
import itertools
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from modelpick.datasets import duplicates, read
from modelpick.datasets.check import check_data
from modelpick.datasets.curate import curate_examples
from modelpick.datasets.duplicates import words

KINDS = ("prose", "templated")
_PATIENCE = 300  # seconds
_BANDS, _ROWS = 25, 5  # proposes all but one in 20,000 pairs of similarity 0.8


def corpus(kind: str, count: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Texts, and the planted pairs (copy, original)."""
    chance = random.Random(0)
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]
    vocabulary = sorted({"".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(60_000)})
    chance.shuffle(vocabulary)
    weights = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(vocabulary))))

    def some(number: int) -> list[str]:
        return chance.choices(vocabulary, cum_weights=weights, k=number)

    templates = [some(60) for _ in range(10)]
    texts: list[str] = []
    planted = []
    for number in range(count):
        if number > 10 and chance.random() < 0.05:
            original = chance.randrange(number)
            made = texts[original].split()
            for _ in range(chance.randint(0, 4)):
                made[chance.randrange(len(made))] = chance.choice(vocabulary)
            planted.append((number, original))
        elif kind == "prose":
            made = some(chance.randint(80, 120))
        else:
            made = [*chance.choice(templates), *some(chance.randint(30, 50))]
        texts.append(" ".join(made))
    return texts, planted


def with_datasketch(texts: list[str]) -> list[int]:
    """The same answer as `duplicates.first_of_each`, by the library."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    triples = [_checksums(text) for text in texts]
    sketches = MinHash.generator(triples, num_perm=_BANDS * _ROWS, hashfunc=lambda number: number)
    found: list[int] = []
    for number, sketch in enumerate(sketches):
        for other in sorted(index.query(sketch)):
            if _jaccard(triples[number], triples[other]) >= duplicates.NEAR:
                found.append(other)
                break
        else:
            index.insert(number, sketch, check_duplication=False)
            found.append(number)
    return found


def _checksums(text: str) -> frozenset[int]:
    said = words(text)
    return frozenset(zlib.crc32(" ".join(said[i : i + 3]).encode()) for i in range(max(1, len(said) - 2)))


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)


def finding(find: Callable[[list[str]], list[int]], kind: str, count: int) -> str:
    """Time, memory and the planted pairs that were missed: both kept although one is the other's near-duplicate."""
    texts, planted = corpus(kind, count)
    before, start = _peak(), time.process_time()
    found = find(texts)
    seconds, memory = time.process_time() - start, _peak() - before
    near_pairs = [pair for pair in planted if _jaccard(*(_checksums(texts[one]) for one in pair)) >= duplicates.NEAR]
    missed = sum(found[copy] == copy and found[original] == original for copy, original in near_pairs)
    return f"{seconds:7.1f} s CPU {memory:6.0f} MB more, missed {missed} of {len(near_pairs)} planted"


def whole(command: str, kind: str, count: int) -> str:
    """A command without its screen, from the file to the answer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.jsonl"
        with file.open("w", encoding="utf-8") as opened:
            for text in corpus(kind, count)[0]:
                said = text.split()
                row = {
                    "instruction": " ".join(said[: len(said) // 2]),
                    "output": " ".join(said[len(said) // 2 :]) + ".",
                }
                opened.write(json.dumps(row) + "\n")
        start = time.process_time()
        if command == "check":
            check_data(file)
        else:
            chosen = curate_examples(read.read_for_training(file).wholes, 1000)
            read.copy_lines(file, set(chosen.lines), Path(folder) / "few.jsonl")
    return f"{time.process_time() - start:7.1f} s CPU {_peak():6.0f} MB in all"


def _peak() -> float:
    """The most memory this process has had, in MB."""
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def measured(measure: Callable[..., str], *given: object) -> str:
    """A row, measured in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            return pool.apply_async(measure, given).get(_PATIENCE)
        except multiprocessing.TimeoutError:
            return f"    given up after {_PATIENCE} s"


def main() -> None:
    """Print one line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--datasketch", action="store_true")
    asked = parser.parse_args()
    for kind in KINDS:
        for command in ("check", "curate"):
            row = measured(whole, command, kind, asked.lines)
            print(f"{asked.lines:,} lines, {kind:9} data {command:18} {row}", flush=True)
        finders = {
            "near-duplicates": duplicates.first_of_each,
            **({"datasketch": with_datasketch} if asked.datasketch else {}),
        }
        for name, find in finders.items():
            row = measured(finding, find, kind, asked.lines)
            print(f"{asked.lines:,} lines, {kind:9} {name:23} {row}", flush=True)


if __name__ == "__main__":
    main()
