"""A policy: facts about a company, and rules that turn license facts into verdicts. Pure.

Each rule names a fact about a license (or about the evidence for it) and the verdict that fact demands; the answer is
the strictest of all that apply. So tightening a rule can never loosen an answer. Which fact asks which rule stands in
conditions.py. Territories (countries, unions, cloud regions) are data: policies/territories.toml, data/countries.csv.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from modelpick.errors import UsageError, nearest
from modelpick.licensing.countries import Countries
from modelpick.licensing.outcome import Verdict
from modelpick.schema import IsoDate, Pattern, to_json

FailClosed = Literal["review", "deny"]  # what is not known may not be waved through by a policy
Deployment = Literal["internal", "product", "api"]
Words = Annotated[str, Pattern(r"(?s).*\S.*", "text in quotes")]
# Exact: a contract opens the models that it names. A commit may be named too.
ModelId = Annotated[str, Pattern(r"[\w.-]+/[\w.-]+(@[0-9a-f]{7,64})?", "a model such as org/name, without wildcards")]


@dataclass(frozen=True, slots=True)
class Product:
    """What one product of the company differs in. None: as the company's own fact of the same name."""

    monthly_active_users: float | None = None
    annual_revenue_usd: float | None = None
    deployment: Deployment | None = None
    trains_other_models: bool | None = None
    regions: tuple[str, ...] | None = None
    customers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Purchase:
    """A license that was bought or negotiated: from whom, by which contract, on which days, for exactly which models.

    `until` is the last day of its term, `since` the first (None: it has begun).
    """

    licensor: Words
    contract: Words
    until: IsoDate
    models: tuple[ModelId, ...]
    since: IsoDate | None = None

    def covers(self, model: str, revision: str | None) -> bool:
        """Whether the contract names this model at this commit."""
        for named in self.models:
            id, _, commit = named.partition("@")
            if id.lower() == model.lower() and (not commit or (revision or "").startswith(commit)):
                return True
        return False

    def is_in_force(self, day: str) -> bool:
        """Whether a day (2026-11-23) lies within the term."""
        return (self.since or day) <= day <= self.until


@dataclass(frozen=True, slots=True)
class Company:
    """Who uses the model, and for what. None: unknown, and whatever depends on it then needs a person's decision.

    `domicile`: ISO 3166 code of the country of the principal place of business. `deployment`: internal, in a product,
    or as an API for others. `regions`: cloud regions the model runs in. `customers`: the countries its users are in,
    as far as they are stated. Users per month with affiliates, US dollars a year.
    """

    domicile: str | None = None
    monthly_active_users: float | None = None
    annual_revenue_usd: float | None = None
    deployment: Deployment | None = None
    trains_other_models: bool | None = None
    regions: tuple[str, ...] = ()
    customers: tuple[str, ...] = ()
    products: Mapping[str, Product] = field(default_factory=dict)
    purchased: tuple[Purchase, ...] = ()

    def of_product(self, name: str) -> "Company":
        """The company as the maker of one product.

        Licenses count users and revenue of the whole company with its affiliates, so that a product's own figure
        counts only where it is the larger one, or the only one.
        """
        product, facts = self.products[name], dict[str, Any]()
        for item in fields(Product):
            own, company = getattr(product, item.name), getattr(self, item.name)
            counts = item.name in ("monthly_active_users", "annual_revenue_usd") and None not in (own, company)
            facts[item.name] = max(own, company) if counts else company if own is None else own
        return replace(self, **facts)

    def countries(self) -> list[tuple[str, str]]:
        """Every country that is named, each with its key."""
        named = [("domicile", self.domicile)] if self.domicile is not None else []
        named += [(f"customers[{i}]", country) for i, country in enumerate(self.customers)]
        for name, product in self.products.items():
            named += [(f"products.{name}.customers[{i}]", place) for i, place in enumerate(product.customers or ())]
        return named

    def check(self, countries: Countries, where: str) -> None:
        """Raises UsageError(code="bad_policy_file") for a country that is not an ISO code, naming the code meant, for
        a product named twice, and for a contract that names no model or ends before it begins."""
        for key, text in self.countries():
            if countries and (remedy := countries.remedy(text)) is not None:
                raise UsageError(f"{where}: {key} is {text!r}, not a country code", fix=remedy, code="bad_policy_file")
        seen: dict[str, str] = {}
        for name in self.products:
            twin = seen.setdefault(name.strip().lower(), name)
            if twin != name or not name.strip():
                text = f"the products {twin!r} and {name!r} have one name" if name.strip() else "a product has no name"
                raise UsageError(f"{where}: {text}", fix="give each product a name of its own", code="bad_policy_file")
        for purchase in self.purchased:
            of = f"{where}: the contract {purchase.contract!r} of {purchase.licensor}"
            if not purchase.models:
                raise UsageError(
                    f"{of} names no model", fix='add models = ["org/name"]: it opens those only', code="bad_policy_file"
                )
            if purchase.since is not None and purchase.since > purchase.until:
                text = f"{of} ends on {purchase.until}, before it begins on {purchase.since}"
                raise UsageError(text, fix="correct since or until", code="bad_policy_file")


@dataclass(frozen=True, slots=True)
class TrainingDataRules:
    """What restricted training data demands, in the model's card or in an ancestor's."""

    non_commercial: Verdict = Verdict.REVIEW
    output_restricted: Verdict = Verdict.REVIEW  # another model's outputs, whose terms forbid competing models
    academic_only: Verdict = Verdict.DENY
    unspecified: Verdict = Verdict.REVIEW


@dataclass(frozen=True, slots=True)
class NamedRule:
    """A rule of the company's own: `verdict` for what all of its keys match, in the model or in any of its ancestors.

    `licenses` (ids of policies/licenses/), `publishers` and `models` may end in `*`. `gated`: whether the publisher
    asks for an agreement. `patents`: what the license says of them. `revocable`: the licensor may end the use. It can
    only be stricter than the other rules: the strictest of all that apply counts.
    """

    verdict: Literal["conditions", "review", "deny"]
    because: Words
    licenses: tuple[Words, ...] = ()
    publishers: tuple[Words, ...] = ()
    models: tuple[Words, ...] = ()
    gated: bool | None = None
    patents: Literal["granted", "refused", "unmentioned"] | None = None
    revocable: bool | None = None

    def names_nothing(self) -> bool:
        """Whether no key says what the rule is about."""
        named = (self.licenses, self.publishers, self.models)
        return not any(named) and (self.gated, self.patents, self.revocable) == (None, None, None)


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
    """A policy file with what it inherits, and the company's facts of the settings.

    `sha256` is the hash of all that verdicts depend on (`content`), `file_sha256` that of the file's bytes, `path`
    where it was read. `product`: the one product that is judged for; None: every product, and the strictest counts.
    """

    name: str
    company: Company = field(default_factory=Company)
    rules: PolicyRules = field(default_factory=PolicyRules)
    named_rules: tuple[NamedRule, ...] = ()
    title: str = ""
    sha256: str = field(default="", metadata={"internal": True})
    path: str = field(default="", metadata={"internal": True})
    file_sha256: str = field(default="", metadata={"internal": True})
    product: str | None = field(default=None, metadata={"internal": True})

    def content(self) -> dict[str, object]:
        """The company's facts and the rules, as JSON."""
        named = [to_json(rule) for rule in self.named_rules]
        return {"company": to_json(self.company), "rules": to_json(self.rules), "named_rules": named}

    def sealed(self) -> "Policy":
        """The same policy with the hash of its name and content: another fact or rule gives another hash."""
        text = json.dumps({"name": self.name, **self.content()}, sort_keys=True, ensure_ascii=True)
        return replace(self, sha256=hashlib.sha256(text.encode()).hexdigest())

    def for_product(self, name: str | None) -> "Policy":
        """The policy that judges for one product; None leaves the choice as it is.

        Raises UsageError(code="unknown_product") for a name that the company has no product of.
        """
        if name is None:
            return self
        products = self.company.products
        known = next((own for own in products if own.lower() == name.strip().lower()), None)
        if known is None:
            rest = f"use one of {', '.join(products)}" if products else "add [company.products.NAME] to modelpick.toml"
            raise UsageError(
                f"the policy {self.name} has no product {name!r}",
                fix=nearest(name, products) or rest,
                code="unknown_product",
            )
        return replace(self, product=known)

    def profiles(self) -> "tuple[Policy, ...]":
        """One policy for each product that is judged for, its company that product's; without products: this one."""
        names = (self.product,) if self.product is not None else tuple(self.company.products)
        made = (replace(self, product=name, company=self.company.of_product(name)) for name in names)
        return tuple(made) or (self,)

    def in_region(self, region: str) -> "Policy":
        """The same policy where the model runs in `region` too, for whichever product. Its hash stays."""
        company = self.company
        products = {
            name: product if product.regions is None else replace(product, regions=_with(product.regions, region))
            for name, product in company.products.items()
        }
        return replace(self, company=replace(company, regions=_with(company.regions, region), products=products))

    def check(self, countries: Countries, where: str) -> None:
        """Raises UsageError as `Company.check`, and for a rule that names nothing (it would mean everything)."""
        self.company.check(countries, where)
        for number, rule in enumerate(self.named_rules, 1):
            if rule.names_nothing():
                raise UsageError(
                    f"{where}: [[named_rules]] number {number} does not say what it is about",
                    fix="add licenses, publishers, models, gated, patents or revocable",
                    code="bad_policy_file",
                )

    def as_json(self) -> dict[str, str | None]:
        """The `policy` object of the contract."""
        return {"name": self.name, "sha256": self.sha256, "product": self.product}


_ADDED = ("named_rules", "purchased")  # lists that grow: what a policy inherits cannot lose a prohibition


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables of a policy as one: `above` wins key by key, and its contracts and named rules are added."""
    table = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            table[key] = merged(old, value)
        elif key in _ADDED and isinstance(old, list | tuple) and isinstance(value, list | tuple):
            table[key] = [*old, *(entry for entry in value if entry not in old)]
        else:
            table[key] = value
    return table


def _with(regions: tuple[str, ...], region: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*regions, region)))


@dataclass(frozen=True, slots=True)
class Territories:
    """`unions`: name -> ISO country codes. `regions`: cloud region (may end in *) -> country; the first counts."""

    source: str = ""
    date: IsoDate | None = None
    unions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    regions: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)  # "UK" -> "GB"
    groups: Mapping[str, str] = field(default_factory=dict)  # "EEA" -> what it is, where a country is asked for
    countries: Countries = field(default_factory=Countries, metadata={"internal": True})

    def knows(self, place: str) -> bool:
        """Whether a place is a country or a union; of any other nobody can say where it lies."""
        plain = self._plain(place)
        return not self.countries or plain in self.countries.codes or plain in self.unions

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
