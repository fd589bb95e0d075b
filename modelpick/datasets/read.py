"""Reading training data from JSONL, CSV or Parquet, with the line of everything that is wrong."""

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick.datasets.examples import BadExampleError, Example, Form, Problem, examples_from
from modelpick.datasets.records import SUFFIXES, kind_of, records
from modelpick.datasets.similarity import Tell
from modelpick.errors import UsageError

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
    def wholes(self) -> tuple[Example, ...]:
        """One example a line: of a chat with several answers the last, which holds all that came before."""
        return tuple({example.line: example for example in self.examples}.values())

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that stop training."""
        return tuple(problem for problem in self.problems if problem.severity == "error")


def read(path: Path, *, labelled: bool = True, tell: Tell | None = None) -> DataFile:
    """Every example of a file, and every line that is none.

    The form is the one that most lines have; the others are problems. Raises UsageError when the file is missing, empty
    or of no known kind; what is wrong within is in `problems`.
    """
    _refuse_unreadable(path)
    examples: list[Example] = []
    problems: list[Problem] = []
    first: dict[Form, int] = {}
    counts: Counter[Form] = Counter()
    for done, (line, record) in enumerate(records(path)):
        if tell and done % 1000 == 0:
            tell("reading", done, None)
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            made = examples_from(record, line, labelled=labelled)
        except BadExampleError as error:
            problems.append(Problem(line, error.code, str(error)))
            continue
        counts[made[0].form] += 1
        first.setdefault(made[0].form, line)
        examples.extend(made)
    if not examples and not problems:
        raise UsageError(f"{path} holds no example", fix="put one example on each line", code="empty_data")
    form = counts.most_common(1)[0][0] if counts else None
    if form and len(counts) > 1:
        others = {example.line: example.form for example in examples if example.form != form}
        problems += [
            Problem(line, "mixed_forms", f"written as {other}, while most, as line {first[form]}, are {form}")
            for line, other in others.items()
        ]
        examples = [example for example in examples if example.form == form]
        problems.sort(key=lambda problem: problem.line)
    return DataFile(path, sha256_of(path), form, tuple(examples), tuple(problems))


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        within = sorted(file.name for file in path.iterdir() if kind_of(file)[0] in SUFFIXES)
        fix = f"give one of its files: {', '.join(within[:4])}" if within else "give a .jsonl, .csv or .parquet file"
        raise UsageError(f"{path} is a folder", fix=fix, code="no_data_file")
    if not path.is_file():
        raise UsageError(f"{path} is not a file", fix="give a .jsonl, .csv or .parquet file", code="no_data_file")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} may not be read", fix="give yourself the right to read it", code="no_data_file")
    suffix, compression = kind_of(path)
    if suffix not in SUFFIXES or (compression and suffix == ".parquet"):
        raise UsageError(
            f"{path} is neither JSONL, CSV nor Parquet by its name",
            fix=f"name it {', '.join(SUFFIXES)}; text may be compressed: .jsonl.gz, .csv.zst",
            code="unknown_data_kind",
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty", fix="put one example on each line", code="empty_data")


def read_for_training(path: Path, *, tell: Tell | None = None) -> DataFile:
    """`read`, refusing a file with any bad line or with too few examples.

    Raises UsageError(code="bad_data") naming the first bad line and how many there are, or code="too_few_examples".
    """
    data = read(path, tell=tell)
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


def copy_lines(source: Path, lines: Collection[int], target: Path) -> None:
    """Write the records that stand at `lines` of `source` to `target` as JSON lines, with every field they have.

    `target` is there whole or not at all. Raises UsageError(code="cannot_write") when it cannot be written.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for line, record in records(source):
                if line in lines:
                    file.write(json.dumps(record, ensure_ascii=False, default=str) + "\n")
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", fix="name another with --output", code="cannot_write"
        ) from None
