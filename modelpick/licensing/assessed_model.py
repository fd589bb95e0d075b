"""One model under assessment, with what every source of evidence needs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from modelpick.catalog.model import Model
from modelpick.licensing.conditions import Assessment, Modality, assess_claim
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.identify import Claim
from modelpick.licensing.lineage import Ancestor
from modelpick.licensing.outcome import EvidenceSource
from modelpick.licensing.overrides import Curation
from modelpick.licensing.policy import Policy

TEXT_PIPELINES = frozenset(
    {"text-generation", "text2text-generation", "fill-mask", "text-classification", "feature-extraction",
     "sentence-similarity", "token-classification", "translation", "summarization", "question-answering"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AssessedModel:
    """One model under assessment, with what every source of evidence needs."""

    model: Model
    id: str  # the repository's id, see `repository_of`
    ancestors: Sequence[Ancestor]
    curations: tuple[Curation, ...]
    modality: Modality
    policy: Policy
    facts: LicenseFacts

    @property
    def organisations(self) -> frozenset[str]:
        """Those whose license names count here, in lower case: the repository's own, and its ancestors'."""
        return frozenset(organisation_of(name) for name in (self.id, *(other.id for other in self.ancestors)))

    def assess(self, claim: Claim, source: EvidenceSource) -> Assessment:
        return assess_known(claim, source, self.policy, self.facts, self.modality)


def modality_of(model: Model) -> Modality:
    """Whether a model takes more than text, as far as its facts tell."""
    config = model.config or {}
    if "vision_config" in config or "audio_config" in config:
        return "multimodal"
    if "vision" in model.id.lower():
        return "multimodal"
    if model.pipeline_tag is None:
        return "text" if config.get("num_hidden_layers") else "unknown"
    return "text" if model.pipeline_tag in TEXT_PIPELINES else "multimodal"


def assess_known(
    claim: Claim, source: EvidenceSource, policy: Policy, facts: LicenseFacts, modality: Modality
) -> Assessment:
    """`assess_claim`, remembered: a thousand models share some seventy claims.

    The key is all that the answer depends on. A policy is compared by identity, and kept so that its id stays its own;
    territories belong to the same `facts` as the memory.
    """
    key = ("claim", id(policy), claim, source, modality)
    remembered = facts.memo.get(key)
    if remembered is None:
        remembered = facts.memo[key] = (policy, assess_claim(claim, source, policy, facts.territories, modality))
    assessment: Assessment = remembered[1]
    return assessment


def organisation_of(id: str) -> str:
    return id.partition("/")[0].lower() if "/" in id else ""
