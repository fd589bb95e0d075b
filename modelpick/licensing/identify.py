"""From what a card says about its license to license facts: a claim, as a small tree of all-of and any-of. Pure.

Cards err in every way there is, so whatever is not plainly an identity is `Unknown` with a reason, never a guess.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from modelpick.licensing.license import License, LicenseIndex

PLACEHOLDERS = frozenset({"other", "unknown"})  # Hub ids that name no license
LONGEST_EXPRESSION = 400  # characters; a longer "identifier" is prose


@dataclass(frozen=True, slots=True)
class Known:
    """One license, or several candidates nothing could tell apart (then the strictest counts).

    `certain` is False when a name was used by somebody it does not belong to: candidates, and a question.
    """

    candidates: tuple[License, ...]
    evidence: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """No license could be made of what was evidence: `code` no_license or unknown_license, `text` why."""

    code: str
    text: str
    evidence: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part binds: AND, or a list whose meaning the Hub does not define."""

    parts: tuple["Claim", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The licensee may choose: OR."""

    parts: tuple["Claim", ...]


Claim = Known | Unknown | AllOf | AnyOf


def identify(value: object, name: object, organisations: Collection[str], license_index: LicenseIndex) -> Claim:
    """The claim made by a card's `license` (any YAML type) and `license_name`.

    `organisations`, in lower case: those whose names count here, the repository's own and those of its ancestors.
    """
    if value is None or value == "":
        if isinstance(name, str) and name.strip():
            return _from_name(name, organisations, license_index)
        return Unknown("no_license", "the card names no license", "no license field")
    if isinstance(value, list | tuple):
        if not value:
            return Unknown("no_license", "the card's list of licenses is empty", "license: []")
        parts = tuple(identify(item, name, organisations, license_index) for item in value)
        return parts[0] if len(parts) == 1 else AllOf(parts)
    if not isinstance(value, str):
        return Unknown(
            "unknown_license",
            f"the card's license is not text but {type(value).__name__} {_short(value)}: an error in its YAML",
            f"license: {_short(value)}",
        )
    text = value.strip()
    if text.lower() in PLACEHOLDERS:
        if isinstance(name, str) and name.strip():
            return _from_name(name, organisations, license_index)
        evidence = f"license: {text}"
        return Unknown("unknown_license", f"the card says {text!r} and does not say which license that is", evidence)
    return _from_text(text, f"license: {_short(text)}", organisations, license_index)


def names_a_license(value: object, name: object) -> bool:
    """Whether a card's `license` or `license_name` names a license, be it known or not."""
    texts = [text.strip().lower() for text in (value, name) if isinstance(text, str)]
    return any(text and text not in PLACEHOLDERS for text in texts)


def unknown(claim: Claim) -> bool:
    """Whether the claim says nothing at all that identifies a license."""
    if isinstance(claim, AllOf | AnyOf):
        return all(unknown(part) for part in claim.parts)
    return isinstance(claim, Unknown)


def licenses_in(claim: Claim) -> tuple[License, ...]:
    """Every license a claim names, candidates included."""
    if isinstance(claim, AllOf | AnyOf):
        return tuple(dict.fromkeys(license for part in claim.parts for license in licenses_in(part)))
    return claim.candidates if isinstance(claim, Known) else ()


def _from_name(name: str, organisations: Collection[str], license_index: LicenseIndex) -> Claim:
    return _from_text(name.strip(), f"license_name: {_short(name)}", organisations, license_index)


def _from_text(text: str, evidence: str, organisations: Collection[str], license_index: LicenseIndex) -> Claim:
    named = license_index.by_name(text)
    owned = tuple(license for license in named if license.named and _speaks_for(license.named.by, organisations))
    if owned:
        return Known(owned, evidence)
    if (exact := license_index.by_key(text)) is not None:
        return Known((exact,), evidence)
    if named:
        return Known(named, evidence, certain=False)
    if _looks_like_expression(text):
        return _expression(text, evidence, license_index)
    if len(text) <= LONGEST_EXPRESSION and (spoken := license_index.mentioned(text)):
        return Known(spoken, evidence, certain=False)  # "Apache License 2.0": no identifier, but not nothing
    return Unknown("unknown_license", f"{_short(text)!r} is a license that modelpick does not know", evidence)


def _speaks_for(owners: tuple[str, ...], organisations: Collection[str]) -> bool:
    return not owners or any(owner.lower() in organisations for owner in owners)


def _looks_like_expression(text: str) -> bool:
    words = text.upper().replace("(", " ").replace(")", " ").split()
    return len(text) <= LONGEST_EXPRESSION and any(word in ("AND", "OR", "WITH") for word in words)


def _expression(text: str, evidence: str, license_index: LicenseIndex) -> Claim:
    from license_expression import ExpressionError, Licensing  # 30 ms to import, and rarely needed

    try:
        parsed = Licensing().parse(text)
    except (ExpressionError, RecursionError):
        parsed = None
    if parsed is None:
        return Unknown("unknown_license", f"{_short(text)!r} is not an SPDX license expression", evidence)
    return _tree(parsed, evidence, license_index)


def _tree(node: object, evidence: str, license_index: LicenseIndex) -> Claim:
    operator = getattr(node, "operator", "").strip()
    if operator in ("AND", "OR"):
        parts = tuple(_tree(part, evidence, license_index) for part in node.args)  # type: ignore[attr-defined]
        return AllOf(parts) if operator == "AND" else AnyOf(parts)
    symbol = getattr(node, "license_symbol", node)
    exception = getattr(node, "exception_symbol", None)
    key = str(getattr(symbol, "key", symbol))
    if exception is not None and str(exception.key).lower() not in _exceptions():
        text = f"{_short(key)!r} WITH {_short(str(exception.key))!r}, an exception that SPDX does not list"
        return Unknown("unknown_license", text, evidence)
    found = license_index.by_key(key)
    if found is None:
        return Unknown("unknown_license", f"{_short(key)!r} is a license that modelpick does not know", evidence)
    return Known((found,), evidence)


@cache
def _exceptions() -> frozenset[str]:
    """The exceptions of SPDX's list, in lower case. Each only adds permissions, so the license alone is the careful
    reading (https://spdx.dev/learn/handling-license-info, "WITH"); Commons-Clause, which takes away, is not on it."""
    from license_expression import get_license_index

    entries = (entry for entry in get_license_index() if entry.get("is_exception"))
    keys = (str(entry.get("spdx_license_key") or "") for entry in entries)
    return frozenset(key.lower() for key in keys if key and not key.startswith("LicenseRef-"))


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
