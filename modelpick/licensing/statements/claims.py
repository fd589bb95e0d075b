"""What a clause claims: that commerce is excluded, that somebody must be asked, paid, ... or nothing of the kind. Pure.

The rules are the same for every language; only the words differ. A negation takes hold of the nearest word that it can
turn: "no restriction", "not required", "not permitted". What is left is read strictly: a claim that nothing takes back
counts.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from modelpick.licensing.statements.vocabulary import Concept, FoundWord

ClaimKind = Literal["non_commercial", "research_only", "permission", "fee", "contact", "no_derivatives"]
_NEAR_AND = 4  # words
FAR = 9  # words between `only` and what it limits; three times as many characters where a script has no spaces

_NEEDS: frozenset[Concept] = frozenset({"ask", "consent", "fee", "paid_license", "need"})
_LIMITS: frozenset[Concept] = frozenset({"limit", "ban", "only", "non_commercial", "no_derivatives"})
_TURNED: frozenset[Concept] = frozenset(
    {*_NEEDS, "may", "ban", "limit", "only", "commercial", "non_commercial", "use", "company", "no_derivatives"}
)


@dataclass(frozen=True, slots=True)
class Claim:
    """`kind`, and the tokens from the first to the last word that make it."""

    kind: ClaimKind
    first: int
    last: int


class CardClause:
    """The words of a clause, with what its negations do to them."""

    def __init__(self, words: Sequence[FoundWord], *, verb_last: bool, unspaced: bool = False) -> None:
        self.words = [word for word in words if word.concept not in ("filler", "neutral")]
        self._far = FAR * 3 if unspaced else FAR
        self.denied: set[int] = set()  # indexes into words
        for place, word in enumerate(self.words):
            if word.concept == "not":
                self._deny(place, verb_last)
        self.denied |= self._any_use()
        if any(word.concept == "lifted" for word in self.words):
            self.denied |= {place for place, word in enumerate(self.words) if word.concept in _LIMITS}
        if any(word.concept == "unneeded" for word in self.words):
            self.denied |= {place for place, word in enumerate(self.words) if word.concept in _NEEDS}

    def _deny(self, place: int, verb_last: bool) -> None:
        """What one negation turns, and the needs that are listed after it ("no need to ask for permission")."""
        after = range(place + 1, len(self.words))
        before = range(place - 1, -1, -1)
        for way in (before, after) if verb_last else (after, before):
            target = self._target(way)
            if target is None:
                if any(self.words[at].concept in _TURNED for at in way):
                    return
                continue
            self.denied |= {at for at, word in enumerate(self.words) if word[1:] == self.words[target][1:]}
            if self.words[target].concept in _NEEDS:
                for at in way:
                    if self.words[at].concept in ("may", "ban", "but"):
                        break
                    if self.words[at].concept in _NEEDS:
                        self.denied.add(at)
            return

    def _any_use(self) -> set[int]:
        """Of "commercial and non-commercial" the second: together they mean any use."""
        found = set()
        for place, word in enumerate(self.words):
            if word.concept == "and":
                before, after = self._beside(place, -1), self._beside(place, 1)
                if before is not None and after is not None:
                    found |= {at for at in (before, after) if self.words[at].concept == "non_commercial"}
        return found

    def _beside(self, place: int, step: int) -> int | None:
        """The word of commerce next to an "and", with at most the word "use" between."""
        at = place + step
        while 0 <= at < len(self.words) and self.words[at].concept in ("use", "may", "and"):
            at += step
        near = 0 <= at < len(self.words) and _gap(self.words[at], self.words[place]) <= _NEAR_AND
        commerce = ("commercial", "non_commercial", "free", "research")
        return at if near and self.words[at].concept in commerce else None

    def _target(self, way: range) -> int | None:
        """The nearest word that can be turned; of "no commercial use restriction" it is the restriction."""
        target = None
        for at in way:
            concept = self.words[at].concept
            if target is None and concept in _TURNED and at in self.denied:
                break  # two negations of one thing: "ne ... pas"
            if concept in ("not", "but") or (target is not None and concept in ("may", "ban", *_NEEDS)):
                break
            if at not in self.denied and concept in _TURNED and (target is None or concept == "limit"):
                target = at
        return target

    def stated(self, *concepts: Concept) -> list[FoundWord]:
        """The words of these concepts that nothing denies."""
        return [word for at, word in enumerate(self.words) if word.concept in concepts and at not in self.denied]

    def denied_words(self, *concepts: Concept) -> list[FoundWord]:
        """The words of these concepts that a negation turns."""
        return [word for at, word in enumerate(self.words) if word.concept in concepts and at in self.denied]

    def has(self, *concepts: Concept) -> bool:
        """Whether a word of these concepts stands here, denied or not."""
        return any(word.concept in concepts for word in self.words)

    @property
    def permits(self) -> bool:
        """Whether the clause says that something is permitted, or that a limit or a need does not exist."""
        return bool(self.stated("may", "free", "unneeded") or self.denied_words("limit", "ban", "only", "need"))

    @property
    def bans(self) -> list[FoundWord]:
        """The words by which it forbids."""
        return self.stated("ban") + self.denied_words("may", "use")

    def claim(self, in_license: bool = False) -> Claim | None:
        """The strictest thing it claims. `in_license`: it stands where a license is named ("License: research")."""
        return (
            self._non_commercial()
            or self._no_derivatives()
            or self._research_only(in_license)
            or self._fee()
            or self._permission()
            or self._contact()
        )

    def _non_commercial(self) -> Claim | None:
        plain = self.stated("non_commercial")
        lifted = self.denied_words("limit", "ban", "only")
        if plain and not lifted:
            return _claim("non_commercial", plain)
        commerce = self.stated("commercial") or self.stated("company")
        denied = self.denied_words("commercial")
        if denied and not lifted and not self.stated("free"):
            return _claim("non_commercial", denied)
        if commerce and self.bans and not self.denied_words("ban", "limit"):
            return _claim("non_commercial", commerce + self.bans)
        limits = self.stated("limit")
        if self.stated("commercial") and limits and not self.permits:
            return _claim("non_commercial", self.stated("commercial") + limits)
        return None

    def _no_derivatives(self) -> Claim | None:
        found = self.stated("no_derivatives")
        return _claim("no_derivatives", found) if found else None

    def _research_only(self, in_license: bool) -> Claim | None:
        research, only = self.stated("research"), self.stated("only")
        if not research or self.stated("free") or (self.stated("commercial") and not self.bans):
            return None
        near = [word for word in research if any(_gap(word, limit) <= self._far for limit in only)]
        if near:
            return _claim("research_only", near + only)
        if in_license and not self.stated("may", "commercial"):
            return _claim("research_only", research)
        return None

    def _fee(self) -> Claim | None:
        fees, who, bought = self.stated("fee"), self.stated("company", "commercial"), self.stated("paid_license")
        if bought:
            return _claim("fee", bought + fees)
        if self.stated("free") and not self.stated("need"):
            return None
        if self.has("support") and not self.has("license"):
            return None
        priced = len(fees) > 1 and self.stated("use")
        if fees and (who or priced or self.stated("license") or (self.stated("need") and self.stated("use"))):
            return _claim("fee", fees + who)
        return None

    def _permission(self) -> Claim | None:
        consent, who = self.stated("consent"), self.stated("company", "commercial")
        asked = self.stated("need", "ask", "only", "ban")
        if self.stated("free") and not self.stated("need"):
            return None
        who += self.stated("free") if self.stated("need", "only") else []  # "commercial use is fine with our consent"
        licenses = self.stated("license")
        if who and licenses and self.stated("need") and not self.permits and not self.has("access"):
            return _claim("permission", who + licenses)
        also = {word[1:] for word in self.stated("license", "may")}  # words that mean a license as well
        if who and any(word[1:] not in also for word in consent):
            return _claim("permission", consent + who)
        if not consent or not asked:
            return None
        if who or (self.stated("use", "weights") and not self.has("access")):
            return _claim("permission", consent + asked + who)
        return None

    def _contact(self) -> Claim | None:
        asks, who = self.stated("ask"), self.stated("company", "commercial")
        if not asks or self.stated("free"):
            return None
        commerce = self.stated("commercial")
        if self.has("support") and not self.has("license", "use"):
            return None
        if commerce or (who and self.stated("use", "license")):
            return _claim("contact", asks + who)
        if self.stated("license") and self.stated("need") and self.stated("use", "license"):
            return _claim("contact", asks + self.stated("license"))
        return None


def _claim(kind: ClaimKind, words: Collection[FoundWord]) -> Claim:
    return Claim(kind, min(word.first for word in words), max(word.last for word in words))


def _gap(one: FoundWord, other: FoundWord) -> int:
    return max(one.first - other.last, other.first - one.last)
