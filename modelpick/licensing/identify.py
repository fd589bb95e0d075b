"""From what a card says about its license to license facts: a claim, as a small tree of all-of and any-of. Pure.

Cards err in every way there is, so whatever is not plainly an identity is `Unknown` with a reason, never a guess.
"""

from collections.abc import Collection
from dataclasses import dataclass

from modelpick.licensing.license import License, LicenseIndex

PLACEHOLDERS = frozenset({"other", "unknown"})  # Hub ids that name no license
LONGEST_EXPRESSION = 400  # characters; a longer "identifier" is prose


@dataclass(frozen=True, slots=True)
class Known:
    """One license, or several candidates nothing could tell apart (then the strictest counts).

    `certain` is False when a name was used by somebody it does not belong to: candidates, and a question.
    """

    candidates: tuple[License, ...]
    said: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """No license could be made of what was said: `code` no_license or unknown_license, `text` why."""

    code: str
    text: str
    said: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part binds: AND, or a list whose meaning the Hub does not define."""

    parts: tuple["Claim", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The licensee may choose: OR."""

    parts: tuple["Claim", ...]


Claim = Known | Unknown | AllOf | AnyOf


def identify(value: object, name: object, by: Collection[str], license_index: LicenseIndex) -> Claim:
    """The claim made by a card's `license` (any YAML type) and `license_name`.

    `by`: the organisations, in lower case, whose names count here: the repository's own and those of its ancestors.
    """
    if value is None or value == "":
        if isinstance(name, str) and name.strip():
            return _from_name(name, by, license_index)
        return Unknown("no_license", "the card names no license", "no license field")
    if isinstance(value, list | tuple):
        if not value:
            return Unknown("no_license", "the card's list of licenses is empty", "license: []")
        parts = tuple(identify(item, name, by, license_index) for item in value)
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
            return _from_name(name, by, license_index)
        said = f"license: {text}"
        return Unknown("unknown_license", f"the card says {text!r} and does not say which license that is", said)
    return _from_text(text, f"license: {_short(text)}", by, license_index)


def unknown(claim: Claim) -> bool:
    """Whether the claim says nothing at all that identifies a license."""
    if isinstance(claim, AllOf | AnyOf):
        return all(unknown(part) for part in claim.parts)
    return isinstance(claim, Unknown)


def licenses_in(claim: Claim) -> tuple[License, ...]:
    """Every license a claim names, candidates included."""
    if isinstance(claim, AllOf | AnyOf):
        return tuple(dict.fromkeys(one for part in claim.parts for one in licenses_in(part)))
    return claim.candidates if isinstance(claim, Known) else ()


def _from_name(name: str, by: Collection[str], license_index: LicenseIndex) -> Claim:
    return _from_text(name.strip(), f"license_name: {_short(name)}", by, license_index)


def _from_text(text: str, said: str, by: Collection[str], license_index: LicenseIndex) -> Claim:
    named = license_index.by_name(text)
    owned = tuple(one for one in named if one.named and _speaks_for(one.named.by, by))
    if owned:
        return Known(owned, said)
    if (exact := license_index.by_key(text)) is not None:
        return Known((exact,), said)
    if named:
        return Known(named, said, certain=False)
    if _looks_like_expression(text):
        return _expression(text, said, license_index)
    if len(text) <= LONGEST_EXPRESSION and (spoken := license_index.mentioned(text)):
        return Known(spoken, said, certain=False)  # "Apache License 2.0": no identifier, but not nothing
    return Unknown("unknown_license", f"{_short(text)!r} is a license nothing is known of here", said)


def _speaks_for(owners: tuple[str, ...], by: Collection[str]) -> bool:
    return not owners or any(owner.lower() in by for owner in owners)


def _looks_like_expression(text: str) -> bool:
    words = text.upper().replace("(", " ").replace(")", " ").split()
    return len(text) <= LONGEST_EXPRESSION and any(word in ("AND", "OR", "WITH") for word in words)


def _expression(text: str, said: str, license_index: LicenseIndex) -> Claim:
    from license_expression import ExpressionError, Licensing  # 30 ms to import, and rarely needed

    try:
        parsed = Licensing().parse(text)
    except (ExpressionError, RecursionError):
        parsed = None
    if parsed is None:
        return Unknown("unknown_license", f"{_short(text)!r} is not an SPDX license expression", said)
    return _tree(parsed, said, license_index)


def _tree(node: object, said: str, license_index: LicenseIndex) -> Claim:
    operator = getattr(node, "operator", "").strip()
    if operator in ("AND", "OR"):
        parts = tuple(_tree(part, said, license_index) for part in node.args)  # type: ignore[attr-defined]
        return AllOf(parts) if operator == "AND" else AnyOf(parts)
    # `X WITH exception` only adds permissions to X, so X alone is the careful reading.
    symbol = getattr(node, "license_symbol", node)
    key = str(getattr(symbol, "key", symbol))
    found = license_index.by_key(key)
    if found is None:
        return Unknown("unknown_license", f"{_short(key)!r} is a license nothing is known of here", said)
    return Known((found,), said)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
