"""Countries by their ISO 3166-1 codes, and what somebody means who writes a name instead. Pure.

The table is data/countries.csv: codes as ISO 3166-1 has them, names as the Unicode CLDR spells them in English and
in the country's own languages. XK (Kosovo) is not assigned by ISO; the EU and the CLDR use it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from modelpick.errors import nearest


@dataclass(frozen=True, slots=True)
class Country:
    """One country: the two-letter and the three-letter code, its name, and other names it goes by."""

    code: str
    alpha3: str
    name: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Countries:
    """All countries, and `groups`: what people write for a country that is none ("EEA": the European Economic Area)."""

    countries: tuple[Country, ...] = ()
    groups: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.countries)

    @cached_property
    def codes(self) -> frozenset[str]:
        """The two-letter codes."""
        return frozenset(country.code for country in self.countries)

    def remedy(self, text: str) -> str | None:
        """What to write instead of `text`; None where it is the two-letter code of a country."""
        if text in self.codes:
            return None
        plain = _plain(text)
        if (code := self._by_name.get(plain)) is not None:
            return f'write "{code}", the ISO 3166 code of {self._name(code)}'
        if (group := self._groups.get(plain)) is not None:
            return f'"{text}" is {group}, not a country: write the ISO 3166 code of the country, such as "DE"'
        return nearest(text, self.codes | {country.name for country in self.countries}) or (
            'write the two-letter ISO 3166 code of the country, such as "DE" or "US"'
        )

    def _name(self, code: str) -> str:
        return next(country.name for country in self.countries if country.code == code)

    @cached_property
    def _by_name(self) -> Mapping[str, str]:
        return {
            _plain(name): country.code
            for country in self.countries
            for name in (country.code, country.alpha3, country.name, *country.also)
        }

    @cached_property
    def _groups(self) -> Mapping[str, str]:
        return {_plain(name): meaning for name, meaning in self.groups.items()}


def countries_of(rows: Iterable[Mapping[str, str]], groups: Mapping[str, str]) -> Countries:
    """The countries of the rows of countries.csv."""
    return Countries(
        tuple(
            Country(row["code"], row["alpha3"], row["name"], tuple(name for name in row["also"].split("; ") if name))
            for row in rows
        ),
        groups,
    )


def _plain(name: str) -> str:
    """A name as it is compared: letters and digits, in one case."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())
