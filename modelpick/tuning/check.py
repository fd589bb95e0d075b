"""`modelpick data check`: what is wrong with a file of examples, by line, before an hour of GPU time is spent on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.tuning import sensitive, similarity
from modelpick.tuning.dataset import FEWEST_EXAMPLES, DataFile, read
from modelpick.tuning.examples import Example, Problem

Length = Callable[[Example], int]
# English text has about 4 characters a token in BPE vocabularies (OpenAI, "What are tokens"): used, and said to be
# used, only where no tokenizer is at hand.
CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything found in one file, and where duplicates stand."""

    data: DataFile
    problems: tuple[Problem, ...]
    duplicates: tuple[tuple[int, ...], ...]  # groups of lines that say the same, exactly or nearly
    leaks: tuple[tuple[int, int], ...]  # (line here, line in the held-out file)
    tokens_total: int
    tokens_longest: int
    tokens_exact: bool
    sources: tuple[str, ...]
    sources_verdict: str

    @property
    def errors(self) -> int:
        """Problems that stop training."""
        return sum(problem.severity == "error" for problem in self.problems)

    def as_json(self) -> dict[str, Any]:
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
            "tokens": {"total": self.tokens_total, "longest": self.tokens_longest, "exact": self.tokens_exact},
            "declared_sources": {"names": list(self.sources), "verdict": self.sources_verdict},
        }


def check(
    path: Path,
    *,
    held_out: Path | None = None,
    context: int | None = None,
    length: Length | None = None,
    policy: str | None = None,
) -> Report:
    """Check a file: its lines, duplicates, leaks into `held_out`, lengths against `context`, sensitive text, sources.

    `length` counts tokens; without it they are estimated from characters, and the report says so. Raises UsageError for
    a file that is missing, empty or of no known kind.
    """
    from modelpick.tuning.gate import judge_sources

    data = read(path)
    problems = list(data.problems)
    counted = [
        length(example) if length else round(len(example.text) / CHARACTERS_A_TOKEN) for example in data.examples
    ]
    problems += _too_long(data.examples, counted, context)
    problems += _sensitive(data.examples)
    duplicates = _duplicates(data.examples)
    problems += [
        Problem(
            lines[0],
            "duplicate",
            f"lines {', '.join(map(str, lines[:6]))}{'...' if len(lines) > 6 else ''} say the same",
            "warning",
        )
        for lines in duplicates
    ]
    leaks = _leaks(data.examples, read(held_out).examples) if held_out else ()
    problems += [Problem(here, "leak", f"line {there} of the held-out file says the same") for here, there in leaks]
    sources = tuple(sorted({example.source for example in data.examples if example.source}))
    verdict, reasons = judge_sources(sources, policy)
    severity: Any = "error" if verdict == "deny" else "warning"
    problems += [Problem(0, "restricted_source", reason, severity) for reason in dict.fromkeys(reasons)]
    problems += _too_few(data)
    return Report(
        data=data,
        problems=tuple(sorted(problems, key=lambda problem: (problem.line, problem.code))),
        duplicates=duplicates,
        leaks=leaks,
        tokens_total=sum(counted),
        tokens_longest=max(counted, default=0),
        tokens_exact=length is not None,
        sources=sources,
        sources_verdict=verdict,
    )


def _too_few(data: DataFile) -> list[Problem]:
    """What fine-tuning would refuse of the file as a whole."""
    found = []
    if len(data.examples) < FEWEST_EXAMPLES and not data.errors:
        text = f"{len(data.examples)} examples are too few to learn from: give at least {FEWEST_EXAMPLES}"
        found.append(Problem(0, "too_few_examples", text))
    labels = {example.answer for example in data.examples if example.form == "classification"}
    if len(labels) == 1:
        found.append(Problem(0, "one_label", f"every example has the label {labels.pop()!r}"))
    return found


def _too_long(examples: Sequence[Example], counted: Sequence[int], context: int | None) -> list[Problem]:
    if context is None:
        return []
    return [
        Problem(
            example.line,
            "too_long",
            f"{tokens:,} tokens, and the context has {context:,}: its end would be cut",
            "warning",
        )
        for example, tokens in zip(examples, counted, strict=True)
        if tokens > context
    ]


def _sensitive(examples: Sequence[Example]) -> list[Problem]:
    return [
        Problem(example.line, f"{found.kind}_data", f"looks like a {found.name} ({found.hint})", "warning")
        for example in examples
        for found in sensitive.find(example.text)
    ]


def _duplicates(examples: Sequence[Example]) -> tuple[tuple[int, ...], ...]:
    texts = [example.text for example in examples]
    found = similarity.groups(len(texts), similarity.near_duplicates(texts))
    lines = [tuple(sorted({examples[number].line for number in members})) for members in found]
    return tuple(sorted(group for group in lines if len(group) > 1))


def _leaks(train: Sequence[Example], held_out: Sequence[Example]) -> tuple[tuple[int, int], ...]:
    """Pairs of lines on either side whose questions, or whole texts, say the same."""
    border = len(train)
    found: set[tuple[int, int]] = set()
    both = (*train, *held_out)
    for texts in ([example.prompt for example in both], [example.text for example in both]):
        for left, right, _ in similarity.near_duplicates(texts):
            if left < border <= right and texts[left].strip():
                found.add((train[left].line, held_out[right - border].line))
    return tuple(sorted(found))
