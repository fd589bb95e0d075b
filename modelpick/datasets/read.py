"""The examples of a data file, with a problem for every line that is not one."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelpick.datasets.duplicates import OnProgress
from modelpick.datasets.examples import BadExampleError, Example, Form, Problem
from modelpick.datasets.forms import columns_of, read_record, renamed
from modelpick.datasets.records import records, refuse_unreadable, sha256_of
from modelpick.errors import UsageError, printable, printable_json
from modelpick.files import replacing

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


def read(
    path: Path,
    *,
    labelled: bool = True,
    columns: Mapping[str, str] | None = None,
    on_progress: OnProgress | None = None,
) -> DataFile:
    """Every example of a file, and a problem for every line that is not one.

    `columns` says which of the file's columns are ours (ours -> theirs). The form is the one that most lines have; the
    others are problems. Raises UsageError when the file is missing, empty or of no known kind, or lacks one of the
    columns; what is wrong within is in `problems`.
    """
    refuse_unreadable(path)
    examples: list[Example] = []
    problems: list[Problem] = []
    first: dict[Form, int] = {}
    counts: Counter[Form] = Counter()
    unread: dict[str, list[int]] = {}  # key -> the first line that has it, and how many have
    lacking = set((columns or {}).values())
    for done, (line, record) in enumerate(records(path)):
        if on_progress and done % 1000 == 0:
            on_progress("reading", done, None)
        if isinstance(record, Problem):
            problems.append(record)
            continue
        replaced: frozenset[str] = frozenset()
        if columns:
            lacking -= columns_of(record, lacking).keys()
            record, replaced = renamed(record, columns)
        try:
            example, _, ignored = read_record(record, line, labelled=labelled, mapped=bool(columns))
        except BadExampleError as error:
            problems.append(Problem(line, error.code, str(error)))
            continue
        for key in ignored | replaced:
            unread.setdefault(key, [line, 0])[1] += 1
        counts[example.form] += 1
        first.setdefault(example.form, line)
        examples.append(example)
    if lacking:
        absent = ", ".join(sorted(lacking))
        raise UsageError(f"{path} has no column {absent}", fix="name its columns in --columns", code="bad_columns")
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


def read_for_training(
    path: Path, *, columns: Mapping[str, str] | None = None, on_progress: OnProgress | None = None
) -> DataFile:
    """`read`, refusing a file with any bad line or with too few examples.

    Raises UsageError(code="bad_data") naming the first bad line and how many there are, or code="too_few_examples".
    """
    data = read(path, columns=columns, on_progress=on_progress)
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


def copy_lines(source: Path, lines: Collection[int], target: Path) -> None:
    """Write the records that stand at `lines` of `source` to `target` as JSON lines, with every field they have.

    `target` is there whole or not at all. Raises UsageError(code="cannot_write") when it cannot be written.
    """
    with replacing(target, fix="name another file with --output") as file:
        for line, record in records(source):
            if line in lines:
                text = printable_json(json.dumps(record, ensure_ascii=False, default=str))
                file.write(text.encode() + b"\n")
