"""Fewer, better examples: LIMA's lesson (arXiv 2305.11206: a thousand chosen with care suffice) as a tool.

`curate` drops near-duplicates, ranks what is left by plain signs of quality and takes a diverse selection to a budget.
`pick_next` is the active-learning loop's choice from an unlabelled pool: what the model is least sure of, and most
unlike what it has seen. Neither depends on the order of the lines, except between lines that are the same.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.datasets import duplicates as near
from modelpick.datasets import personal_data as sensitive
from modelpick.datasets import similarity
from modelpick.datasets.examples import Example
from modelpick.datasets.kcenter import spread, vectors
from modelpick.datasets.similarity import Tell
from modelpick.extras import require

_SENTENCE_END = re.compile(r"[.!?:;)\]}\"'`\d。！？」』”]\s*$")
# Phrases by which a model speaks of itself or declines: what cleaners of instruction data remove.
_BOILERPLATE = re.compile(r"(?i)\bas an ai\b|\blanguage model\b|\bi cannot (?:help|assist)\b|\bi'm sorry, but\b")
_LOOSE_MARKUP = re.compile(r"<(?:div|span|br|p|table|script)\b|&nbsp;|�")

_SIGNS = 6


@dataclass(frozen=True, slots=True)
class Curated:
    """What was chosen, and where the rest went. Lines are those of the file."""

    chosen: tuple[Example, ...]
    duplicates: tuple[tuple[int, int], ...]  # (line dropped, line kept in its place)
    sensitive: tuple[int, ...]  # lines left out for secrets or personal data
    leaked: tuple[tuple[int, int], ...]  # (line left out, line of the held-out file that says the same)
    beyond_budget: int
    quality: float  # mean over the chosen
    quality_before: float  # mean over everything read
    coverage: float  # mean cosine of everything the budget left out to its nearest chosen example
    vocabulary: float  # share of the words of at least two candidates that the chosen still have

    @property
    def lines(self) -> tuple[int, ...]:
        """Where the chosen stand in the file."""
        return tuple(example.line for example in self.chosen)

    def as_json(self) -> dict[str, Any]:
        """The report of `data curate --json`."""
        return {
            "chosen": len(self.chosen),
            "lines": list(self.lines),
            "duplicates": [{"dropped": dropped, "kept": kept} for dropped, kept in self.duplicates],
            "sensitive_lines": list(self.sensitive),
            "leaks": [{"line": here, "held_out_line": there} for here, there in self.leaked],
            "beyond_budget": self.beyond_budget,
            "mean_quality_before": round(self.quality_before, 3),
            "mean_quality": round(self.quality, 3),
            "coverage": round(self.coverage, 3),
            "vocabulary_kept": round(self.vocabulary, 3),
        }


def curate(
    examples: Sequence[Example],
    budget: int,
    *,
    keep_sensitive: bool = False,
    held_out: Sequence[Example] = (),
    tell: Tell | None = None,
) -> Curated:
    """At most `budget` examples: no near-duplicates (each one's best stays), no sensitive text, diverse, good.

    `examples` are whole conversations, one a line. What says the same as one of `held_out` is left out.
    """
    require("data", "sklearn")
    quality = [worth(example) for example in examples]
    flagged = set() if keep_sensitive else _flagged(examples, tell)
    order = sorted(
        set(range(len(examples))) - flagged, key=lambda number: (-quality[number], _digest(examples[number]), number)
    )
    leaks = near.found_in([examples[number].said for number in order], [one.said for one in held_out], tell)
    leaked = {number: there for number, there in zip(order, leaks, strict=True) if there is not None}
    order = [number for number in order if number not in leaked]
    texts = [examples[number].said for number in order]
    kept = near.repeats(texts, tell)
    alone = [place for place, first in enumerate(kept) if first == place]
    matrix = vectors([texts[place] for place in alone])
    picked, nearest = spread(matrix, budget, [_weight(quality[order[place]]) for place in alone], tell=tell)
    passed_over = sorted(set(range(len(alone))) - set(picked))
    chosen = sorted(order[alone[place]] for place in picked)
    line = [example.line for example in examples]
    return Curated(
        chosen=tuple(examples[number] for number in chosen),
        duplicates=tuple(
            sorted((line[order[place]], line[order[first]]) for place, first in enumerate(kept) if first != place)
        ),
        sensitive=tuple(sorted(line[number] for number in flagged)),
        leaked=tuple(sorted((line[number], held_out[there].line) for number, there in leaked.items())),
        beyond_budget=len(passed_over),
        quality=sum(quality[number] for number in chosen) / max(1, len(chosen)),
        quality_before=sum(quality) / max(1, len(quality)),
        coverage=float(nearest[passed_over].mean()) if passed_over else 1.0,
        vocabulary=_still_there(matrix, picked),
    )


def _flagged(examples: Sequence[Example], tell: Tell | None) -> set[int]:
    found = set()
    for number, example in enumerate(examples):
        if tell and number % 1000 == 0:
            tell("looking for secrets", number, len(examples))
        if sensitive.find(example.text):
            found.add(number)
    return found


def _digest(example: Example) -> bytes:
    """An order among equals that is no property of the file."""
    return hashlib.blake2b(example.text.encode(), digest_size=8).digest()


def _still_there(matrix: Any, picked: Sequence[int]) -> float:
    """The share of the terms of at least two texts that the picked ones have."""
    several = matrix.getnnz(axis=0) > 1
    return float((matrix[picked].getnnz(axis=0) > 0)[several].mean()) if several.any() else 1.0


def _weight(quality: float) -> float:
    """What a distance counts for: half for each sign that is missing.

    Distances between texts on different things are all near 1, so a gentler weight lets what is odd win over what is
    good: dirt is unlike everything.
    """
    return float(0.5 ** (_SIGNS * (1 - quality)))


def worth(example: Example) -> float:
    """Plain signs of a good example, between 0 and 1: an answer that is there, whole, not boilerplate, not an echo.

    No model is asked, so that the ranking is the same everywhere and can be argued with.
    """
    answer, prompt = (example.answer or "").strip(), example.asked.strip()
    asked = similarity.words(prompt)
    if example.form == "classification":
        return 1.0 if len(asked) >= 3 else 0.5
    answered = similarity.words(answer)
    marks = [
        len(asked) >= 3 or not prompt,
        bool(answer) and answered != asked,
        bool(_SENTENCE_END.search(answer)) or len(answered) <= 5,
        not _BOILERPLATE.search(answer),
        not _LOOSE_MARKUP.search(answer),
        bool(answered) and len(set(answered)) >= 0.3 * len(answered),
    ]
    return sum(marks) / _SIGNS


def pick_next(
    pool: Sequence[Example],
    seen: Sequence[Example],
    uncertainty: Sequence[float],
    wanted: int,
    tell: Tell | None = None,
) -> list[tuple[Example, float]]:
    """(example, uncertainty) of the `wanted` pool members to label next.

    Uncertainty (0 sure, 1 unsure) times distance to everything seen and already picked: uncertainty sampling (Lewis &
    Gale 1994) joined with k-center coverage (Sener & Savarese, arXiv 1708.00489). Texts seen already are never picked.
    """
    order = sorted(range(len(pool)), key=lambda place: (-uncertainty[place], _digest(pool[place]), place))
    matrix = vectors([*(pool[place].asked for place in order), *(example.asked for example in seen)])
    picked, _ = spread(
        matrix[: len(order)], wanted, [uncertainty[place] for place in order], matrix[len(order) :], tell
    )
    return [(pool[order[place]], uncertainty[order[place]]) for place in picked]


def spread_out(
    pool: Sequence[Example], seen: Sequence[Example], most: int, tell: Tell | None = None
) -> tuple[Example, ...]:
    """At most `most` members of a pool, as unlike each other and what was seen as can be."""
    if len(pool) <= most:
        return tuple(pool)
    return tuple(example for example, _ in pick_next(pool, seen, [1.0] * len(pool), most, tell))


def fresh(pool: Sequence[Example], seen: Sequence[Example]) -> tuple[Example, ...]:
    """The members of a pool that ask what was not asked before, each question once."""
    asked = {similarity.normalized(example.asked) for example in seen}
    found = []
    for example in pool:
        words = similarity.normalized(example.asked)
        if words not in asked:
            asked.add(words)
            found.append(example)
    return tuple(found)
