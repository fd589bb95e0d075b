"""A policy: facts about a company, and rules that turn license facts into verdicts. Pure.

Each rule names a fact about a license (or about the evidence for it) and the verdict that fact demands; the answer is
the strictest of all that apply. So tightening a rule can never loosen an answer. Which fact asks which rule stands in
conditions.py. Territories (countries, unions, cloud regions) are data too: policies/territories.toml.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal

from modelpick.licensing.outcome import Verdict
from modelpick.schema import IsoDate

FailClosed = Literal["review", "deny"]  # what is not known may not be waved through by a policy


@dataclass(frozen=True, slots=True)
class Company:
    """Who uses the model, and for what. None: unknown, and whatever depends on it then needs a person's decision.

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
class PolicyRules:
    """Fact -> verdict. The defaults, those of policies/commercial.toml, hold where a policy file lacks a key."""

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
    revocable: Verdict = Verdict.CONDITIONS  # the licensor may restrict or end the use
    no_patent_grant: Verdict = Verdict.ALLOW  # the license says that it grants no patent rights
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
    rules: PolicyRules = field(default_factory=PolicyRules)
    title: str = ""
    sha256: str = field(default="", metadata={"internal": True})
    path: str = field(default="", metadata={"internal": True})

    def in_region(self, region: str) -> "Policy":
        """The same policy where the model runs in `region` too."""
        regions = tuple(dict.fromkeys((*self.company.regions, region)))
        return replace(self, company=replace(self.company, regions=regions))

    def as_json(self) -> dict[str, str]:
        """The `policy` object of the contract."""
        return {"name": self.name, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Territories:
    """`unions`: name -> ISO country codes. `regions`: cloud region (may end in *) -> country; the first counts."""

    source: str = ""
    date: IsoDate | None = None
    unions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)  # "UK" -> "GB"

    def within(self, place: str, named: tuple[str, ...]) -> bool:
        """Whether a country (or a union itself) lies in any of the territories a license names."""
        asked = self._plain(place)
        codes = {self._plain(code) for code in named}
        members = {self._plain(member) for code in codes for member in self.unions.get(code, ())}
        # A company that only says "EU" lies in every part of it that a license may name.
        parts = {self._plain(member) for member in self.unions.get(asked, ())}
        return asked in codes or asked in members or bool(parts & codes)

    def of_region(self, region: str) -> str | None:
        """The country a cloud region lies in; None when the data does not tell."""
        return next((country for key, country in self.regions.items() if fnmatchcase(region, key)), None)

    def _plain(self, code: str) -> str:
        upper = code.strip().upper()
        return self.aliases.get(upper, upper)
