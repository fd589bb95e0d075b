"""Fewer, better examples: LIMA's lesson (arXiv 2305.11206: a thousand chosen with care suffice) as a tool.

`curate_examples` drops near-duplicates, ranks the rest by plain signs of quality and takes a diverse selection of at
most a given size.
`pick_next` is the active-learning loop's choice from an unlabelled pool: what the model is least sure of, and most
unlike what it has seen. Neither depends on the order of the lines, except between lines that are the same.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelpick.datasets import personal_data
from modelpick.datasets.duplicates import OnProgress, first_matches, first_of_each, normalized, words
from modelpick.datasets.examples import Example
from modelpick.extras import require

_SENTENCE_END = re.compile(r"[.!?:;)\]}\"'`\d。！？」』”]\s*$")
# Phrases in which a model mentions itself or declines: what cleaners of instruction data remove.
_BOILERPLATE = re.compile(r"(?i)\bas an ai\b|\blanguage model\b|\bi cannot (?:help|assist)\b|\bi'm sorry, but\b")
_LOOSE_MARKUP = re.compile(r"<(?:div|span|br|p|table|script)\b|&nbsp;|�")

_SIGNS = 6


@dataclass(frozen=True, slots=True)
class Curated:
    """What was chosen, and where the rest went. Lines are those of the file."""

    chosen: tuple[Example, ...]
    duplicates: tuple[tuple[int, int], ...]  # (line dropped, line kept in its place)
    sensitive: tuple[int, ...]  # lines left out for secrets or personal data
    leaked: tuple[tuple[int, int], ...]  # (line left out, line of the held-out file that it repeats)
    beyond_budget: int
    quality: float  # mean over the chosen
    quality_before: float  # mean over everything read
    coverage: float  # mean cosine of everything the budget left out to its nearest chosen example
    vocabulary: float  # share of the words of at least two candidates that the chosen still have

    @property
    def lines(self) -> tuple[int, ...]:
        """Where the chosen stand in the file."""
        return tuple(example.line for example in self.chosen)

    def as_json(self) -> dict[str, object]:
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


def curate_examples(
    examples: Sequence[Example],
    budget: int,
    *,
    keep_sensitive: bool = False,
    held_out: Sequence[Example] = (),
    on_progress: OnProgress | None = None,
) -> Curated:
    """At most `budget` examples: no near-duplicates (each one's best stays), no sensitive text, diverse, good.

    `examples` are whole conversations, one a line. Examples that repeat one of `held_out` are left out.
    """
    require("data", "sklearn")
    quality = [worth(example) for example in examples]
    flagged = set() if keep_sensitive else _flagged(examples, on_progress)
    order = sorted(
        set(range(len(examples))) - flagged, key=lambda number: (-quality[number], _digest(examples[number]), number)
    )
    leaks = first_matches([examples[number].said for number in order], [one.said for one in held_out], on_progress)
    leaked = {number: there for number, there in zip(order, leaks, strict=True) if there is not None}
    order = [number for number in order if number not in leaked]
    texts = [examples[number].said for number in order]
    firsts = first_of_each(texts, on_progress)
    alone = [place for place, first in enumerate(firsts) if first == place]
    matrix = vectors([texts[place] for place in alone])
    picked, nearest = k_center(
        matrix, budget, [_weight(quality[order[place]]) for place in alone], on_progress=on_progress
    )
    passed_over = sorted(set(range(len(alone))) - set(picked))
    chosen = sorted(order[alone[place]] for place in picked)
    line = [example.line for example in examples]
    return Curated(
        chosen=tuple(examples[number] for number in chosen),
        duplicates=tuple(
            sorted((line[order[place]], line[order[first]]) for place, first in enumerate(firsts) if first != place)
        ),
        sensitive=tuple(sorted(line[number] for number in flagged)),
        leaked=tuple(sorted((line[number], held_out[there].line) for number, there in leaked.items())),
        beyond_budget=len(passed_over),
        quality=sum(quality[number] for number in chosen) / max(1, len(chosen)),
        quality_before=sum(quality) / max(1, len(quality)),
        coverage=float(nearest[passed_over].mean()) if passed_over else 1.0,
        vocabulary=_still_there(matrix, picked),
    )


def _flagged(examples: Sequence[Example], on_progress: OnProgress | None) -> set[int]:
    found = set()
    for number, example in enumerate(examples):
        if on_progress and number % 1000 == 0:
            on_progress("looking for secrets", number, len(examples))
        if personal_data.find(example.text):
            found.add(number)
    return found


def _digest(example: Example) -> bytes:
    """An order among equals that does not depend on the file."""
    return hashlib.blake2b(example.text.encode(), digest_size=8).digest()


def _still_there(matrix: Any, picked: Sequence[int]) -> float:
    """The share of the terms of at least two texts that the picked ones have."""
    several = matrix.getnnz(axis=0) > 1
    return float((matrix[picked].getnnz(axis=0) > 0)[several].mean()) if several.any() else 1.0


def _weight(quality: float) -> float:
    """What a distance counts for: half for each sign that is missing.

    Distances between texts on different things are all near 1, so with a smaller weight what is odd wins over what is
    good: dirt is unlike everything.
    """
    return float(0.5 ** (_SIGNS * (1 - quality)))


def worth(example: Example) -> float:
    """Plain signs of a good example, between 0 and 1: the answer exists, is complete, is not boilerplate, does not
    repeat the question.

    No model is asked, so that the ranking is reproducible and can be explained.
    """
    answer, prompt = (example.answer or "").strip(), example.asked.strip()
    asked = words(prompt)
    if example.form == "classification":
        return 1.0 if len(asked) >= 3 else 0.5
    answered = words(answer)
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
    on_progress: OnProgress | None = None,
) -> list[tuple[Example, float]]:
    """(example, uncertainty) of the `wanted` pool members to label next.

    Uncertainty (0 sure, 1 unsure) times distance to everything seen and already picked: uncertainty sampling (Lewis &
    Gale 1994) joined with k-center coverage (Sener & Savarese, arXiv 1708.00489). Texts seen already are never picked.
    """
    order = sorted(range(len(pool)), key=lambda place: (-uncertainty[place], _digest(pool[place]), place))
    matrix = vectors([*(pool[place].asked for place in order), *(example.asked for example in seen)])
    picked, _ = k_center(
        matrix[: len(order)], wanted, [uncertainty[place] for place in order], matrix[len(order) :], on_progress
    )
    return [(pool[order[place]], uncertainty[order[place]]) for place in picked]


def spread_out(
    pool: Sequence[Example], seen: Sequence[Example], most: int, on_progress: OnProgress | None = None
) -> tuple[Example, ...]:
    """At most `most` members of a pool, as unlike each other and what was seen as can be."""
    if len(pool) <= most:
        return tuple(pool)
    return tuple(example for example, _ in pick_next(pool, seen, [1.0] * len(pool), most, on_progress))


def fresh(pool: Sequence[Example], seen: Sequence[Example]) -> tuple[Example, ...]:
    """The members of a pool whose question is new, each question once."""
    asked = {normalized(example.asked) for example in seen}
    unasked = []
    for example in pool:
        question = normalized(example.asked)
        if question not in asked:
            asked.add(question)
            unasked.append(example)
    return tuple(unasked)


# Among so many texts a term in over a fifth tells them little apart, and such terms are most of the work.
_MANY, _COMMON = 10_000, 0.2


def vectors(texts: Sequence[str]) -> Any:
    """A sparse matrix with a unit row of tf-idf weights for each text.

    Salton & Buckley 1988: log tf, log idf, cosine normalisation. A text without a telling word has an empty row.
    """
    require("data", "sklearn")
    import numpy
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    for common in (_COMMON, 1.0) if len(texts) >= _MANY else (1.0,):
        try:
            weigh = TfidfVectorizer(analyzer=words, sublinear_tf=True, max_df=common, dtype=numpy.float32)
            return weigh.fit_transform(texts)
        except ValueError:  # no term is left: all of them are common, or there are none
            continue
    return csr_matrix((len(texts), 1), dtype=numpy.float32)


def k_center(
    rows: Any, wanted: int, worth: Sequence[float], known: Any = None, on_progress: OnProgress | None = None
) -> tuple[list[int], Any]:
    """Numbers of `wanted` rows, far from each other and from the rows of `known`, weighted by their worth.

    And for every row the highest cosine with anything chosen or known: how well the choice stands for it.

    Greedy k-center (Gonzalez 1985; for active learning Sener & Savarese, arXiv 1708.00489): each time the one with the
    largest distance x worth is taken, the first of equals. The first is the worthiest. Distances are 1 - cosine. One
    sparse product a pick; a row without a telling word has no place and comes last.
    """
    import numpy

    worths = numpy.asarray(worth, dtype=numpy.float32)
    nearest = numpy.zeros(rows.shape[0], dtype=numpy.float32)
    columns = rows.T.tocsr()
    nearest[rows.getnnz(axis=1) == 0] = 1

    def take_note(row: Any) -> None:
        near = row @ columns
        nearest[near.indices] = numpy.maximum(nearest[near.indices], near.data)

    for number in range(0 if known is None else known.shape[0]):
        if on_progress and number % 100 == 0:
            on_progress("comparing with what is known", number, known.shape[0])
        take_note(known[number])
    open_ = numpy.ones(rows.shape[0], dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(wanted, rows.shape[0]):
        if on_progress and len(chosen) % 20 == 0:
            on_progress("choosing", len(chosen), wanted)
        score = numpy.where(open_, numpy.maximum(1 - nearest, 0) * worths, -1)
        best = int(score.argmax())
        chosen.append(best)
        open_[best] = False
        take_note(rows[best])
    return chosen, nearest
