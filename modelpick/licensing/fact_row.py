"""What a row of the table in conditions.py looks at, and what it can say: a license in the hands of a company. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modelpick.licensing.license import License
from modelpick.licensing.policy import Company, Territories

Modality = Literal["text", "multimodal", "unknown"]
Stage = Literal["permission", "limit", "no_limit", "condition", "no_condition", "note"]


@dataclass(frozen=True, slots=True)
class LicenseCase:
    """One license in the hands of one company: what a row looks at."""

    license: License
    company: Company
    territories: Territories
    modality: Modality

    @property
    def licensor(self) -> str:
        """Who gives the license, for a sentence."""
        return self.license.steward or "the licensor"

    @property
    def excluded(self) -> tuple[str, ...]:
        """The territories the license excludes for this model; a text model is outside a multimodal exclusion."""
        limits = self.license.limits
        return () if limits.territory_scope == "multimodal" and self.modality == "text" else limits.territory_excluded

    @property
    def home(self) -> str | None:
        """The company's domicile; None where it is not given, or nobody knows the place."""
        home = self.company.domicile
        return home if home is not None and self.territories.knows(home) else None

    @property
    def excludes_home(self) -> bool:
        """Whether the company's domicile lies in an excluded territory."""
        return self.home is not None and bool(self.excluded) and self.territories.within(self.home, self.excluded)

    @property
    def customers_there(self) -> tuple[str, ...]:
        """The countries of the company's customers in an excluded territory; a place nobody knows counts as such."""
        places, known = self.company.customers if self.excluded else (), self.territories
        return tuple(place for place in places if not known.knows(place) or known.within(place, self.excluded))

    @property
    def excluded_customers(self) -> tuple[str, ...]:
        """Those of them that the exclusion reaches: none where it spares end users."""
        return () if self.license.limits.territory_spares_end_users else self.customers_there

    @property
    def is_excluded_if_multimodal(self) -> bool:
        """Whether it depends on the model's unknown modality that the company is excluded."""
        open_question = self.license.limits.territory_scope == "multimodal" and self.modality == "unknown"
        excluded = self.excludes_home or self.home is None or bool(self.excluded_customers)
        return open_question and bool(self.excluded) and excluded

    def regions(self, *, known: bool) -> tuple[str, ...]:
        """The company's cloud regions that an exclusion reaches, or (known=False) those nobody can place."""
        if not self.excluded or self.is_excluded_if_multimodal:
            return ()
        placed = [(region, self.territories.of_region(region)) for region in self.company.regions]
        if not known:
            return tuple(region for region, country in placed if country is None)
        return tuple(
            f"{region} ({country})" for region, country in placed
            if country is not None and self.territories.within(country, self.excluded)
        )  # fmt: skip


Sentence = str | Callable[[LicenseCase], str]


@dataclass(frozen=True, slots=True)
class FactRow:
    """One thing a license fact can mean.

    `field`: the fact, as "permits.", "limits." or "owes." and its name. `when`: whether the row applies to a case.
    `code` and `sentence`: the reason shown, after the license's title; empty where the fact only brings an obligation.
    `rule`: the policy rule that decides the reason's verdict; None for a reason that is only stated.
    `obligation`: code and sentence of what the user must do. A sentence may use {title}, {licensor} and {fact}.

    `stage` says when a reason counts. "permission": where one applies, the license cannot be relied on and its limits
    are not looked at. "limit": where the permission stops. "no_limit": only where no limit applied. "condition": what
    is asked in return. "no_condition": only where nothing above applied. "note": stated in addition to all of these.
    """

    field: str
    when: Callable[[LicenseCase], bool]
    code: str = ""
    sentence: Sentence = ""
    rule: str | None = None
    obligation: tuple[str, Sentence] | None = None
    stage: Stage = "condition"

    def text(self, sentence: Sentence, case: LicenseCase) -> str:
        """A sentence of this row with the case's facts in it."""
        if not isinstance(sentence, str):
            return sentence(case)
        return sentence.format(title=case.license.title, licensor=case.licensor, fact=self.fact(case))

    @property
    def name(self) -> str:
        """The name of the row's fact, without its section."""
        return self.field.partition(".")[2]

    def fact(self, case: LicenseCase) -> object:
        """The value of the row's field."""
        return getattr(getattr(case.license, self.field.partition(".")[0]), self.name)
