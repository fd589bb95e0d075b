"""A license as facts: who it is, what it permits, where it stops, what it requires. Pure.

One file in policies/licenses/ is one `License`; its name without .toml is the id. What a company makes of the facts
is the policy's business (policy.py, assess.py).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from modelpick.licensing.quotes import Clause, Quote
from modelpick.schema import IsoDate

CommercialUse = Literal["yes", "conditional", "no", "unknown"]
Derivatives = Literal["own-license", "same-restrictions", "same-license", "not-shared"]
TrainOthers = Literal["yes", "if-attributed", "if-named", "as-derivative", "no"]
Confidence = Literal["high", "medium", "low"]
ShareAlike = Literal["work", "module", "file", "library"]
Category = Literal[
    "permissive", "weak-copyleft", "strong-copyleft", "community", "use-restricted", "research-only", "non-commercial",
    "no-derivatives", "data", "unknown",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LicenseSource:
    """Where the facts were read, and on which day. The first of `texts` is the license itself, if it was read."""

    texts: tuple[str, ...]
    read_on: IsoDate
    policy: str | None = None  # the use policy's text
    links: tuple[str, ...] = ()  # addresses that mean this license: compared without scheme, from the start
    titles: tuple[str, ...] = ()  # what the text calls itself, in its first lines
    spoken: tuple[str, ...] = ()  # how people write it in prose


@dataclass(frozen=True, slots=True)
class Named:
    """`license_name` values that mean this license when one of the organisations in `by` says them.

    Two makers may use one name for two texts ("modified-mit"), so a name counts only together with its maker.
    An empty `by`: a public license whose name anyone uses for the one text (PolyForm).
    """

    names: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Permits:
    """What the license allows. None: it says nothing, or it was not read."""

    commercial_use: CommercialUse
    derivatives: Derivatives | None = None
    hosting: Literal["yes", "conditional", "no"] | None = None  # offering the model to others as a service
    train_other_models: TrainOthers | None = None  # with its outputs
    patents: bool | None = None  # a patent grant; False: expressly none
    ends_on_litigation: bool = False
    revocable: bool = False  # the licensor may restrict or end the use from afar
    made_for: Literal["models", "data", "fonts"] = "models"


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure up to which a permission reaches, in the license's own way: exactly one of the two is given."""

    at_most: int | None = None  # "more than" it needs another license
    less_than: int | None = None  # the figure itself needs one already

    def allows(self, figure: float) -> bool:
        """Whether the permission reaches a company with this figure."""
        if self.less_than is not None:
            return figure < self.less_than
        return self.at_most is not None and figure <= self.at_most

    @property
    def within(self) -> str:
        """What may be used, in words: "up to 100"."""
        return f"below {self.less_than:,}" if self.less_than is not None else f"up to {self.at_most or 0:,}"

    @property
    def beyond(self) -> str:
        """What may not, in words: "above 100"."""
        return f"at or above {self.less_than:,}" if self.less_than is not None else f"above {self.at_most or 0:,}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the permission stops. Users per month and US dollars; territories as ISO country codes or "EU"."""

    monthly_active_users: Bound | None = None
    annual_revenue_usd: Bound | None = None
    territory_excluded: tuple[str, ...] = ()
    territory_scope: Literal["all", "multimodal"] = "all"
    territory_spares_end_users: bool = False  # the exclusion binds who builds on the model, not who uses the product
    application: bool = False  # commercial use must be applied for, and granted
    royalties: bool = False
    display_above_monthly_users: int | None = None  # the attribution is owed only above these
    display_above_monthly_revenue_usd: int | None = None


@dataclass(frozen=True, slots=True)
class Owes:
    """What whoever uses the model has to do. Texts are the license's own required words, letter for letter."""

    notice: bool = False  # keep license and copyright notices
    notice_file: str | None = None  # the name of the text file that travels with copies
    notice_text: str | None = None  # what it must say
    copy_of_license: bool = False
    mark_changes: bool = False
    credit: bool = False  # name the authors, the license and a link to it, in words of one's own
    attribution: str | None = None  # a line to be shown
    attribution_on: Literal["use", "derived"] = "use"  # derived: only on a model made with this one
    name_prefix: str | None = None
    use_policy: str | None = None  # where it stands
    use_restrictions: bool = False
    pass_on: bool = False  # the restrictions must stand in downstream terms
    share_alike: ShareAlike | None = None
    network_source: bool = False  # running it as a network service counts as sharing
    registration: bool = False  # tell the licensor before commercial use
    keep_guardrails: bool = False
    latest_version: bool = False
    rename_changed: bool = False
    forbidden: tuple[str, ...] = ()
    venue: str | None = None  # the courts or the arbitration that disputes go to


@dataclass(frozen=True, slots=True, eq=False)  # one object per file: compared, and hashed, by identity
class License:
    """One license. `confidence`: high, its text was read; medium, a secondary statement or part of it; low, the name.

    `family` marks a Hub id that stands for several licenses which differ in what they permit (cc, gpl, openrail).
    `quotes`: the name of a fact -> the words of the text that it stands on.
    """

    id: str
    title: str
    category: Category
    confidence: Confidence
    source: LicenseSource
    permits: Permits
    steward: str | None = None
    year: int | None = None
    spdx: str | None = None
    hub_ids: tuple[str, ...] = ()
    family: bool = False
    note: str | None = None
    named: Named | None = None
    limits: Limits = field(default_factory=Limits)
    owes: Owes = field(default_factory=Owes)
    quotes: Mapping[str, Quote] = field(default_factory=dict)

    def clause(self, fact: str) -> Clause | None:
        """The words that a fact stands on, with the place they were read at; None where none are quoted."""
        quote = self.quotes.get(fact)
        if quote is None:
            return None
        of_policy = quote.text is not None and quote.text.endswith(".use_policy")
        source = self.source.policy if of_policy and self.source.policy else self.source.texts[0]
        address = self.owes.use_policy if of_policy else next(iter(self.source.links), None)
        link = address if address is None or "://" in address else f"https://{address}"
        return Clause(self.id, quote.section, quote.words, source, self.source.read_on, link)

    @property
    def headings(self) -> tuple[str, ...]:
        """The titles as plain lower-case words."""
        return tuple(" ".join(_WORD.findall(title.lower())) for title in self.source.titles)


_WORD = re.compile(r"[^\W_]+(?:\.\d+)*")


class LicenseIndex:
    """All licenses, looked up by any of their identities. Immutable once made."""

    def __init__(self, licenses: Iterable[License]) -> None:
        self._by_id: dict[str, License] = {license.id: license for license in licenses}
        self._by_key: dict[str, License] = {}
        self._by_link: dict[str, License] = {}
        self._by_name: dict[str, tuple[License, ...]] = {}
        for license in self._by_id.values():
            for key in (license.spdx, *license.hub_ids):
                if key:
                    self._by_key.setdefault(spdx_key(key), license)
            for link in license.source.links:
                self._by_link[_address(link)] = license
            for name in license.named.names if license.named else ():
                self._by_name[_name(name)] = (*self._by_name.get(_name(name), ()), license)

    @property
    def by_id(self) -> Mapping[str, License]:
        """Every license by its id (its file's name without .toml)."""
        return self._by_id

    @property
    def licenses(self) -> tuple[License, ...]:
        """Every license."""
        return tuple(self._by_id.values())

    def by_key(self, key: str) -> License | None:
        """The license with this Hub or SPDX id; case, `-only`, `-or-later` and `+` do not matter."""
        return self._by_key.get(spdx_key(key))

    def by_name(self, name: str) -> tuple[License, ...]:
        """Every license that somebody calls `name`: candidates, until an organisation or a text decides."""
        return self._by_name.get(_name(name), ())

    def mentioned(self, sentence: str) -> tuple[License, ...]:
        """The licenses a sentence names by id, by title or by what their texts call themselves, in its order."""
        return tuple(dict.fromkeys(license for license, _, _ in self.mentions(sentence)))

    def mentions(self, sentence: str) -> Iterator[tuple[License, int, int]]:
        """Each name of a license in a sentence, with the characters at which it begins and ends.

        Of phrases that begin at one word the longest counts, and its words are not looked at again.
        """
        found = list(_WORD.finditer(sentence.lower()))
        words = [match[0] for match in found]
        start = 0
        while start < len(words):
            length = next((n for n in self._lengths.get(words[start], ()) if self._phrase(words, start, n)), 0)
            if length:
                license = self._by_phrase[" ".join(words[start : start + length])]
                yield license, found[start].start(), found[start + length - 1].end()
            start += length or 1

    def _phrase(self, words: list[str], start: int, length: int) -> bool:
        return " ".join(words[start : start + length]) in self._by_phrase and start + length <= len(words)

    @cached_property
    def _by_phrase(self) -> dict[str, License]:
        phrases: dict[str, License] = {}
        for license in self._by_id.values():
            for name in (
                *license.hub_ids,
                license.spdx or "",
                license.title,
                *license.source.titles,
                *license.source.spoken,
            ):
                words = _WORD.findall(name.lower())
                # A single word is a license's name only where the data says so ("MIT"); "other" and "bsd" are words.
                if len(words) > 1 or name in license.source.spoken:
                    phrases.setdefault(" ".join(words), license)
        return phrases

    @cached_property
    def _lengths(self) -> dict[str, tuple[int, ...]]:
        """The lengths in words, longest first, of the phrases that begin with a word."""
        lengths: dict[str, set[int]] = {}
        for phrase in self._by_phrase:
            words = phrase.split()
            lengths.setdefault(words[0], set()).add(len(words))
        return {word: tuple(sorted(counts, reverse=True)) for word, counts in lengths.items()}

    def by_link(self, url: str) -> License | None:
        """The license an address leads to; the longest known beginning of the address decides."""
        address = _address(url)
        while address:
            if address in self._by_link:
                return self._by_link[address]
            address = address[: max(address.rfind("/"), 0)]
        return None


def _name(name: str) -> str:
    return re.sub(r"[\s_]+", "-", name.strip().lower())


def _address(url: str) -> str:
    plain = url.strip().lower().partition("://")[2] or url.strip().lower()
    plain = plain.partition("#")[0].partition("?")[0].removeprefix("www.").rstrip("/")
    return re.sub(r"\.(html?|md|txt|php)$|/(legalcode|deed)([./][a-z]{2})?$", "", plain)


def spdx_key(key: str) -> str:
    """An SPDX or Hub id reduced to what decides the terms: `GPL-3.0-or-later`, `GPL-3.0+` and `gpl-3.0` are one.

    A licensee may always choose the named version, so "or later" never grants less than the plain id.
    """
    plain = key.strip().lower().removesuffix("-only").removesuffix("-or-later")
    return plain[:-1] if plain.endswith("+") and not plain.endswith("++") else plain
