"""A policy: facts about a company, and rules that turn license facts into verdicts. Pure.

Each rule names a fact about a license (or about the evidence for it) and the verdict that fact demands; the answer is
the strictest of all that apply. So tightening a rule can never loosen an answer.
"""

from dataclasses import dataclass, field
from typing import Literal

from modelpick.licensing.outcome import Verdict

FailClosed = Literal["review", "deny"]  # what is not known may not be waved through by a policy


@dataclass(frozen=True, slots=True)
class Company:
    """Who uses the model, and for what. None: not said, and then whatever depends on it is a question for a human.

    `domicile`: ISO country code of the principal place of business. `deployment`: internal, in a product, or as an
    API for others. `regions`: cloud regions the model runs in. Users per month with affiliates, US dollars a year.
    """

    domicile: str | None = None
    monthly_active_users: float | None = None
    annual_revenue_usd: float | None = None
    deployment: Literal["internal", "product", "api"] | None = None
    trains_other_models: bool | None = None
    regions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingDataRules:
    """What restricted training data demands, in the model's card or in an ancestor's."""

    non_commercial: Verdict = Verdict.REVIEW
    output_restricted: Verdict = Verdict.REVIEW  # another model's outputs, whose terms forbid competing models
    academic_only: Verdict = Verdict.DENY
    unspecified: Verdict = Verdict.REVIEW


@dataclass(frozen=True, slots=True)
class Rules:
    """Fact -> verdict. The defaults are those of policies/commercial.toml."""

    permissive: Verdict = Verdict.ALLOW
    attribution: Verdict = Verdict.CONDITIONS
    share_alike: Verdict = Verdict.CONDITIONS
    no_derivatives: Verdict = Verdict.CONDITIONS
    use_restrictions: Verdict = Verdict.CONDITIONS  # use restrictions or an acceptable-use policy
    conditional: Verdict = Verdict.CONDITIONS  # the company meets the limits the license sets
    registration: Verdict = Verdict.CONDITIONS
    non_commercial: Verdict = Verdict.DENY
    over_limit: Verdict = Verdict.DENY  # users, revenue, territory, hosting, outputs: the license stops before it
    application: Verdict = Verdict.REVIEW  # commercial use must be applied for
    unknown_license: FailClosed = "review"
    unread_license: FailClosed = "review"  # only its name is known
    no_license: FailClosed = "review"
    contradiction: FailClosed = "review"
    unknown_ancestor: FailClosed = "review"
    training_data: TrainingDataRules = field(default_factory=TrainingDataRules)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy file. `sha256` is the hash of its bytes, `path` where it was read."""

    name: str
    company: Company = field(default_factory=Company)
    rules: Rules = field(default_factory=Rules)
    title: str = ""
    sha256: str = field(default="", metadata={"internal": True})
    path: str = field(default="", metadata={"internal": True})

    def as_json(self) -> dict[str, str]:
        """The `policy` object of the contract."""
        return {"name": self.name, "sha256": self.sha256}
