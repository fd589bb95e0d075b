"""The words a license answer is made of: verdict, reason, obligation, finding. Pure.

A verdict is ordered by strictness and joined by taking the strictest, so no piece of evidence can make an answer
weaker than another piece made it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from modelpick.licensing.quotes import Clause

EvidenceSource = Literal[
    "card", "catalog", "license_file", "use_policy", "body", "adapter_config", "gguf", "lineage", "training_data",
    "known_models", "approval", "gate",
]  # fmt: skip

Basis = Literal["tag", "card", "files"]
BASES: tuple[Basis, ...] = ("tag", "card", "files")
"""What a verdict stands on, the weakest first: a tag in the catalog, the repository's card, its files of terms."""


class Verdict(StrEnum):
    """What a company may do, ordered by strictness: allow < conditions < review < deny."""

    ALLOW = "allow"
    CONDITIONS = "conditions"
    REVIEW = "review"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """0 for allow up to 3 for deny."""
        return _STRICTNESS[self.value]

    def __lt__(self, other: str) -> bool:
        return self.strictness < Verdict(other).strictness

    def __le__(self, other: str) -> bool:
        return self.strictness <= Verdict(other).strictness

    def __gt__(self, other: str) -> bool:
        return self.strictness > Verdict(other).strictness

    def __ge__(self, other: str) -> bool:
        return self.strictness >= Verdict(other).strictness


_STRICTNESS = {"allow": 0, "conditions": 1, "review": 2, "deny": 3}


def join(verdicts: Iterable[Verdict]) -> Verdict:
    """The strictest of the verdicts; of none at all, review: without evidence nothing is allowed."""
    return max(verdicts, key=lambda verdict: verdict.strictness, default=Verdict.REVIEW)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable snake_case code for programs, a sentence for people, what it rests on, and what it demands.

    `evidence`: the words about the model that led here. `clause`: the words of the license, where it is one.
    """

    code: str
    text: str
    evidence: str
    verdict: Verdict
    clause: Clause | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, object]:
        """One element of `reasons` in the contract."""
        return {
            "code": self.code, "text": self.text, "evidence": self.evidence, "verdict": self.verdict.value,
            "clause": self.clause.as_json() if self.clause else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Obligation:
    """What you must do if you use the model."""

    code: str
    text: str
    clause: Clause | None = field(default=None, compare=False)

    def as_json(self) -> dict[str, object]:
        """One element of `obligations` in the contract."""
        return {"code": self.code, "text": self.text, "clause": self.clause.as_json() if self.clause else None}


@dataclass(frozen=True, slots=True)
class LicenseFinding:
    """A license seen somewhere: its id here, its SPDX id if it has one, where it was seen, and the words seen."""

    id: str
    spdx: str | None
    source: EvidenceSource
    evidence: str

    def as_json(self) -> dict[str, object]:
        """One element of `licenses` in the contract."""
        return {"id": self.id, "spdx": self.spdx, "from": self.source, "evidence": self.evidence}


@dataclass(frozen=True, slots=True)
class LineageStep:
    """One ancestor in the answer: its license ids (None: not known) and its own verdict."""

    model: str
    relation: str
    license: str | None
    verdict: Verdict
    child: str = ""  # the model it is an ancestor of
    basis: Basis | None = None  # what its verdict stands on; None: it was not found, or is a family and no repository

    def as_json(self) -> dict[str, object]:
        """One element of `lineage` in the contract."""
        return {
            "model": self.model, "relation": self.relation, "license": self.license, "verdict": self.verdict.value,
            "child": self.child, "basis": self.basis,
        }  # fmt: skip
