"""`modelpick data check`: what is wrong with a file of examples, by line, before an hour of GPU time is spent on it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.datasets import personal_data
from modelpick.datasets.duplicates import OnProgress, first_matches, first_of_each, normalized
from modelpick.datasets.examples import Example, Problem
from modelpick.datasets.hub_data import source_of
from modelpick.datasets.read import FEWEST_EXAMPLES, DataFile, read
from modelpick.licensing.license_check import judge_sources

# How a model is trained on examples: the tokens of each, and what does not hold of its template and its tokens.
AsTrained = Callable[[Sequence[Example]], tuple[list[int], list[Problem]]]
# English text has about 4 characters per token in BPE vocabularies (OpenAI, "What are tokens"): used, with a note,
# only where no tokenizer is available.
CHARACTERS_A_TOKEN = 4.0
# A class this much rarer than its fair share (one over the number of classes) is hardly learned: cleanlab's threshold
# for class imbalance.
RARE_CLASS = 0.1
_SHORTEST_BAR = 16  # tokens: the upper end of the first bar of the lengths


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found in one file, and where duplicates stand."""

    data: DataFile
    problems: tuple[Problem, ...]
    duplicates: tuple[tuple[int, ...], ...]  # groups of lines that are the same, exactly or nearly
    leaks: tuple[tuple[int, int], ...]  # (line here, line in the held-out file)
    tokens: tuple[int, ...]  # of each example, in order
    tokens_exact: bool
    context: int | None
    labels: tuple[tuple[str, int], ...]  # (label, examples), the most frequent first
    sources: tuple[str, ...]
    sources_verdict: str

    @property
    def errors(self) -> int:
        """Problems that stop training."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def too_long(self) -> int:
        """Examples that the context would cut."""
        return sum(tokens > self.context for tokens in self.tokens) if self.context else 0

    def quantile(self, share: float) -> int:
        """The tokens that a share of the examples have at most (nearest rank)."""
        ordered = sorted(self.tokens)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0

    def bars(self) -> list[tuple[int, int]]:
        """(tokens at most, examples) by doublings, from the shortest example to the longest."""
        if not self.tokens:
            return []
        ends = [_SHORTEST_BAR]
        while ends[-1] < max(self.tokens):
            ends.append(2 * ends[-1])
        counts = Counter(next(end for end in ends if tokens <= end) for tokens in self.tokens)
        return [(end, counts[end]) for end in ends if end >= min(counts)]

    def as_json(self) -> dict[str, object]:
        """The object of `data check --json`."""
        return {
            "file": str(self.data.path),
            "sha256": self.data.sha256,
            "form": self.data.form,
            "examples": len(self.data.examples),
            "errors": self.errors,
            "warnings": len(self.problems) - self.errors,
            "problems": [problem.as_json() for problem in self.problems],
            "duplicates": [list(lines) for lines in self.duplicates],
            "leaks": [{"line": here, "held_out_line": there} for here, there in self.leaks],
            "tokens": {
                "total": sum(self.tokens),
                "median": self.quantile(0.5),
                "p95": self.quantile(0.95),
                "longest": max(self.tokens, default=0),
                "exact": self.tokens_exact,
                "context": self.context,
                "too_long": self.too_long,
                "bars": [{"up_to": end, "examples": count} for end, count in self.bars()],
            },
            "labels": dict(self.labels),
            "declared_sources": {"names": list(self.sources), "verdict": self.sources_verdict},
        }


def check_data(
    path: Path,
    *,
    held_out: Path | None = None,
    context: int | None = None,
    as_trained: AsTrained | None = None,
    columns: Mapping[str, str] | None = None,
    policy: str | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Check a file: its lines, duplicates, leaks into `held_out`, lengths against `context`, sensitive text, sources.

    `as_trained` counts tokens and checks what is learned; without it tokens are estimated from characters, and the
    report says so. Raises UsageError for a file that is missing, empty or of no known kind.
    """

    data = read(path, columns=columns, on_progress=on_progress)
    counted, untrained = as_trained(data.examples) if as_trained else (list(map(estimated_tokens, data.examples)), [])
    labels = Counter(example.answer or "" for example in data.examples if example.form == "classification")
    duplicates = _duplicates(data.wholes, on_progress)
    leaks = (
        _leaks(data.examples, read(held_out, columns=columns, on_progress=on_progress).examples, on_progress)
        if held_out
        else ()
    )
    of_hub = source_of(path)
    sources = tuple(sorted({example.source for example in data.examples if example.source}.union(of_hub)))
    verdict, reasons = judge_sources(sources, policy, offline=not of_hub)
    severity: Any = "error" if verdict == "deny" else "warning"
    problems = [
        *data.problems,
        *untrained,
        *_too_long(data.examples, counted, context),
        *_sensitive(data.wholes, on_progress),
        *(Problem(group[0], "duplicate", _same(group), "warning") for group in duplicates),
        *(Problem(here, "leak", f"line {there} of the held-out file repeats it", "warning") for here, there in leaks),
        *(Problem(0, "restricted_source", reason, severity) for reason in dict.fromkeys(reasons)),
        *_conflicts(data.examples),
        *_few_or_uneven(data, labels),
    ]
    return Report(
        data=data,
        problems=tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.code))),
        duplicates=duplicates,
        leaks=leaks,
        tokens=tuple(counted),
        tokens_exact=as_trained is not None,
        context=context,
        labels=tuple(labels.most_common()),
        sources=sources,
        sources_verdict=verdict,
    )


def estimated_tokens(example: Example) -> int:
    """The tokens of an example, estimated from its characters."""
    return max(1, round(len(example.text) / CHARACTERS_A_TOKEN))


def _few_or_uneven(data: DataFile, labels: Counter[str]) -> list[Problem]:
    """What is wrong with the file as a whole: what fine-tuning would refuse, and rare classes."""
    found = []
    if len(data.examples) < FEWEST_EXAMPLES and not data.errors:
        text = f"{len(data.examples)} examples are too few to learn from: give at least {FEWEST_EXAMPLES}"
        found.append(Problem(0, "too_few_examples", text))
    if len(labels) == 1:
        found.append(Problem(0, "one_label", f"every example has the label {next(iter(labels))!r}"))
    for label, count in labels.items():
        if len(labels) > 1 and count < RARE_CLASS * labels.total() / len(labels):
            text = f"label {label!r} has {count:,} of {labels.total():,} examples: too few to learn well"
            found.append(Problem(0, "rare_label", text, "warning"))
    return found


def _conflicts(examples: Sequence[Example]) -> list[Problem]:
    """The same text under two labels: one of them is wrong, and nothing can be learned from both."""
    first: dict[str, Example] = {}
    found = []
    for example in examples:
        if example.form != "classification":
            continue
        before = first.setdefault(normalized(example.prompt), example)
        if before.answer != example.answer:
            text = f"labelled {example.answer!r}, but line {before.line} labels the same text {before.answer!r}"
            found.append(Problem(example.line, "conflicting_labels", text, "warning"))
    return found


def _too_long(examples: Sequence[Example], counted: Sequence[int], context: int | None) -> list[Problem]:
    if context is None:
        return []
    return [
        Problem(
            example.line,
            "too_long",
            f"{tokens:,} tokens, more than the context of {context:,}: the end would be cut",
            "warning",
        )
        for example, tokens in zip(examples, counted, strict=True)
        if tokens > context
    ]


def _sensitive(examples: Sequence[Example], on_progress: OnProgress | None) -> list[Problem]:
    problems = []
    for number, example in enumerate(examples):
        if on_progress and number % 1000 == 0:
            on_progress("looking for secrets", number, len(examples))
        for found in personal_data.find(example.text):
            text = f"looks like {found.article} {found.name} ({found.hint})"
            problems.append(Problem(example.line, f"{found.kind}_data", text, "warning"))
    return problems


def _same(lines: Sequence[int]) -> str:
    return f"lines {', '.join(map(str, lines[:6]))}{', ...' if len(lines) > 6 else ''} are the same"


def _duplicates(examples: Sequence[Example], on_progress: OnProgress | None) -> tuple[tuple[int, ...], ...]:
    """Groups of lines, the first of which the others repeat."""
    groups: dict[int, list[int]] = {}
    firsts = first_of_each([example.said for example in examples], on_progress)
    for example, first in zip(examples, firsts, strict=True):
        groups.setdefault(first, []).append(example.line)
    return tuple(sorted(tuple(lines) for lines in groups.values() if len(lines) > 1))


def _leaks(
    train: Sequence[Example], held_out: Sequence[Example], on_progress: OnProgress | None
) -> tuple[tuple[int, int], ...]:
    """Pairs of lines: of each training example, the first held-out one whose question, or whole text, is the same."""
    found: set[tuple[int, int]] = set()
    for mine, theirs in (
        ([example.asked for example in train], [example.asked for example in held_out]),
        ([example.said for example in train], [example.said for example in held_out]),
    ):
        for here, there in zip(train, first_matches(mine, theirs, on_progress), strict=True):
            if there is not None:
                found.add((here.line, held_out[there].line))
    return tuple(sorted(found))
