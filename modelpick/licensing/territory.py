"""Which country lies in which union, and which cloud region lies in which country. Pure; the facts are data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from modelpick.schema import IsoDate


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
        here = self._plain(place)
        codes = {self._plain(code) for code in named}
        members = {self._plain(member) for code in codes for member in self.unions.get(code, ())}
        # A company that only says "EU" lies in every part of it that a license may name.
        parts = {self._plain(member) for member in self.unions.get(here, ())}
        return here in codes or here in members or bool(parts & codes)

    def of_region(self, region: str) -> str | None:
        """The country a cloud region lies in; None when the data does not tell."""
        return next((country for key, country in self.regions.items() if fnmatchcase(region, key)), None)

    def _plain(self, code: str) -> str:
        upper = code.strip().upper()
        return self.aliases.get(upper, upper)
