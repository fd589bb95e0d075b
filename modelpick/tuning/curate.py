"""Fewer, better examples: LIMA's lesson (arXiv 2305.11206: a thousand chosen with care suffice) as a tool. Pure.

`curate` drops near-duplicates, ranks what is left by plain signs of quality and takes a diverse selection to a budget.
`pick_next` is the active-learning loop's choice from an unlabelled pool: what the model is least sure of, and most
unlike what it has seen.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.tuning import sensitive, similarity
from modelpick.tuning.examples import Example

_SENTENCE_END = re.compile(r"[.!?:;)\]}\"'`\d]\s*$")
# Phrases by which a model speaks of itself or declines: what cleaners of instruction data remove.
_BOILERPLATE = re.compile(r"(?i)\bas an ai\b|\blanguage model\b|\bi cannot (?:help|assist)\b|\bi'm sorry, but\b")
_LOOSE_MARKUP = re.compile(r"<(?:div|span|br|p|table|script)\b|&nbsp;|�")


@dataclass(frozen=True, slots=True)
class Curated:
    """What was chosen, and where the rest went."""

    chosen: tuple[Example, ...]
    duplicates: tuple[tuple[int, int], ...]  # (line dropped, line kept)
    sensitive: tuple[int, ...]  # lines left out for secrets or personal data
    beyond_budget: int
    quality: tuple[float, ...]  # of the chosen, in their order
    quality_before: float  # mean over everything read
    coverage: float  # mean cosine of everything left out to its nearest chosen example

    def as_json(self) -> dict[str, Any]:
        """The report of `data curate --json`."""
        return {
            "chosen": len(self.chosen),
            "lines": [example.line for example in self.chosen],
            "duplicates": [{"dropped": dropped, "kept": kept} for dropped, kept in self.duplicates],
            "sensitive_lines": list(self.sensitive),
            "beyond_budget": self.beyond_budget,
            "mean_quality_before": round(self.quality_before, 3),
            "mean_quality": round(sum(self.quality) / max(1, len(self.quality)), 3),
            "coverage": round(self.coverage, 3),
        }


def curate(examples: Sequence[Example], budget: int, *, keep_sensitive: bool = False) -> Curated:
    """At most `budget` examples: no near-duplicates (each group's best stays), no sensitive text, diverse, good."""
    quality = [worth(example) for example in examples]
    flagged = [] if keep_sensitive else [i for i, example in enumerate(examples) if sensitive.find(example.text)]
    unsafe = set(flagged)
    left = [number for number in range(len(examples)) if number not in unsafe]
    texts = [examples[number].text for number in left]
    dropped: dict[int, int] = {}
    for members in similarity.groups(len(texts), similarity.near_duplicates(texts)):
        best = max(members, key=lambda member: (quality[left[member]], -member))
        dropped |= {left[member]: left[best] for member in members if member != best}
    candidates = [number for number in left if number not in dropped]
    vectors = similarity.tfidf([examples[number].text for number in candidates])
    picked, nearest = similarity.spread(vectors, budget, [quality[number] for number in candidates])
    passed_over = set(range(len(candidates))) - set(picked)
    chosen = sorted(candidates[place] for place in picked)
    return Curated(
        chosen=tuple(examples[number] for number in chosen),
        duplicates=tuple(sorted((examples[out].line, examples[kept].line) for out, kept in dropped.items())),
        sensitive=tuple(examples[number].line for number in flagged),
        beyond_budget=len(candidates) - len(chosen),
        quality=tuple(quality[number] for number in chosen),
        quality_before=sum(quality) / max(1, len(quality)),
        coverage=sum(nearest[place] for place in passed_over) / len(passed_over) if passed_over else 1.0,
    )


def worth(example: Example) -> float:
    """Plain signs of a good example, between 0 and 1: an answer that is there, whole, not boilerplate, not an echo.

    No model is asked, so that the ranking is the same everywhere and can be argued with.
    """
    answer, prompt = (example.answer or "").strip(), example.prompt.strip()
    if example.form == "classification":
        return 1.0 if len(prompt.split()) >= 3 else 0.5
    marks = [
        len(prompt.split()) >= 3 or not prompt,
        bool(answer) and similarity.normalized(answer) != similarity.normalized(prompt),
        bool(_SENTENCE_END.search(answer)) or len(answer.split()) <= 5,
        not _BOILERPLATE.search(answer),
        not _LOOSE_MARKUP.search(answer),
        _variety(answer) >= 0.3,
    ]
    return sum(marks) / len(marks)


def pick_next(
    pool: Sequence[Example], seen: Sequence[Example], uncertainty: Sequence[float], wanted: int
) -> list[tuple[Example, float]]:
    """(example, uncertainty) of the `wanted` pool members to label next.

    Uncertainty (0 sure, 1 unsure) times distance to everything seen and already picked: uncertainty sampling (Lewis &
    Gale 1994) joined with k-center coverage (Sener & Savarese, arXiv 1708.00489). Texts seen already are never picked.
    """
    known = {similarity.normalized(example.prompt) for example in seen}
    open_places = [place for place, example in enumerate(pool) if similarity.normalized(example.prompt) not in known]
    vectors = similarity.tfidf([pool[place].prompt for place in open_places] + [example.prompt for example in seen])
    fresh, old = vectors[: len(open_places)], vectors[len(open_places) :]
    picked, _ = similarity.spread(fresh, wanted, [uncertainty[place] for place in open_places], old)
    return [(pool[open_places[place]], uncertainty[open_places[place]]) for place in picked]


def _variety(text: str) -> float:
    words = text.lower().split()
    return len(set(words)) / len(words) if words else 0.0
