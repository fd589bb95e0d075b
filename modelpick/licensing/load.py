"""Reads policies/: the policy itself, and the facts it is applied to. The I/O of this package."""

import hashlib
import json
import re
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from modelpick import files
from modelpick.errors import UsageError, nearest
from modelpick.licensing.card_prose import Prose
from modelpick.licensing.facts import Facts
from modelpick.licensing.fingerprint import Fingerprint, Fingerprints, unpack
from modelpick.licensing.license import License, LicenseBook
from modelpick.licensing.namesakes import Namesakes
from modelpick.licensing.overrides import Approval, Families, Family, KnownModel, KnownModels, RestrictedDataset
from modelpick.licensing.policy import Policy
from modelpick.licensing.territory import Territories
from modelpick.schema import read

LARGEST = 1_000_000  # bytes; a policy file is some hundred lines

T = TypeVar("T")


def policies_directory() -> Path:
    """Where the embedded policies and license facts lie."""
    return files.directory("policies")


def policy_names() -> tuple[str, ...]:
    """The embedded policies, by name."""
    found = (path.stem for path in policies_directory().glob("*.toml"))
    return tuple(sorted(name for name in found if name not in _FACTS))


def load_policy(name_or_path: str | Path) -> Policy:
    """A policy by the name of an embedded one, or by the path of a file.

    Raises UsageError for a name that is not known, and for a file that is not a policy: with the file, the key, and
    the key probably meant.
    """
    path = Path(name_or_path)
    if str(name_or_path) in policy_names():
        path = policies_directory() / f"{name_or_path}.toml"
    elif not path.is_file():
        names = policy_names()
        raise UsageError(
            f"no policy {str(name_or_path)!r}",
            fix=nearest(str(name_or_path), names) or f"use one of {', '.join(names)}, or the path of a policy file",
            code="unknown_policy",
        )
    table, digest = _toml(path, "bad_policy_file")
    return replace(read(Policy, table, str(path)), sha256=digest, path=str(path))


def load_licenses(directory: Path | None = None) -> LicenseBook:
    """All of policies/licenses/. Raises UsageError naming the file and key that is wrong."""
    folder = directory or policies_directory() / "licenses"
    return LicenseBook(_licenses(folder))


def load_known_models(path: Path | None = None) -> KnownModels:
    """policies/known_models.toml."""
    return KnownModels(_entries(path or policies_directory() / "known_models.toml", "model", KnownModel))


def load_families(path: Path | None = None) -> Families:
    """policies/families.toml: names and shapes that betray whose weights a repository holds."""
    where = path or policies_directory() / "families.toml"
    try:
        return Families(_entries(where, "family", Family))
    except re.error as error:
        raise _no_expression(where, error, "mend it in names or but_not") from error


def load_restricted_datasets(path: Path | None = None) -> tuple[RestrictedDataset, ...]:
    """policies/restricted_datasets.toml."""
    return tuple(_entries(path or policies_directory() / "restricted_datasets.toml", "dataset", RestrictedDataset))


def load_territories(path: Path | None = None) -> Territories:
    """policies/territories.toml."""
    where = path or policies_directory() / "territories.toml"
    return read(Territories, _toml(where, "bad_policy_file")[0], str(where))


def load_prose(path: Path | None = None) -> Prose:
    """policies/prose.toml."""
    where = path or policies_directory() / "prose.toml"
    prose = read(Prose, _toml(where, "bad_policy_file")[0], str(where))
    try:
        prose.check()
    except re.error as error:
        raise _no_expression(where, error, "mend that pattern") from error
    return prose


def load_approvals(path: Path | None = None) -> tuple[Approval, ...]:
    """An approvals file; one that does not exist holds no approvals."""
    where = path or policies_directory() / "approvals.toml"
    return tuple(_entries(where, "approval", Approval)) if where.is_file() else ()


# The files of facts beside the policies, by what each is called, with what reads it.
_FACTS: Mapping[str, Callable[[Path], object]] = {
    "known_models": load_known_models,
    "families": load_families,
    "restricted_datasets": load_restricted_datasets,
    "territories": load_territories,
    "prose": load_prose,
    "approvals": load_approvals,
}


def is_facts(path: Path) -> bool:
    """Whether a file is one of the facts that policies are applied to, by its name."""
    return path.suffix == ".toml" and path.stem in _FACTS


def check_facts(path: Path) -> None:
    """Read one of the files of facts. Raises UsageError naming what is wrong in it."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}", fix="name a file of facts or a policy", code="unknown_policy")
    _FACTS[path.stem](path)


def load_fingerprints() -> Iterator[Fingerprint]:
    """policies/licenses/*.prints: one line of JSON for each text (scripts/build_fingerprints.py writes them)."""
    for path in sorted((policies_directory() / "licenses").glob("*.prints")):
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            runs = unpack(b64decode(entry["runs"]))
            yield Fingerprint(path.name.removesuffix(".prints"), entry["source"], entry["stride"], runs)


def _catalog_ids() -> Iterable[str]:
    from modelpick.catalog import index

    return index.load().models


def load_facts(approvals: Path | None = None) -> Facts:
    """Everything `verdict.judge` needs besides the model and the policy."""
    facts = Facts(
        licenses=load_licenses(),
        known=load_known_models(),
        families=load_families(),
        datasets=load_restricted_datasets(),
        territories=load_territories(),
        prose=load_prose(),
        approvals=load_approvals(approvals),
        prints=Fingerprints(load_fingerprints),
        namesakes=Namesakes(_catalog_ids),
    )
    _check_references(facts)
    return facts


def _licenses(folder: Path) -> Iterator[License]:
    for path in sorted(folder.glob("*.toml")):
        table, _ = _toml(path, "bad_license_file")
        if "id" in table:
            raise UsageError(f"{path}: unknown key 'id'", fix="the file's name is the id", code="bad_license_file")
        yield read(License, {"id": path.name.removesuffix(".toml"), **table}, str(path), "bad_license_file")


def _entries(path: Path, key: str, kind: type[T]) -> Iterator[T]:
    table, _ = _toml(path, "bad_policy_file")
    unknown = next((name for name in table if name != key), None)
    if unknown is not None:
        raise UsageError(
            f"{path}: unknown key {unknown!r}", fix=f"entries begin with [[{key}]]", code="bad_policy_file"
        )
    entries = table.get(key, [])
    if not isinstance(entries, list):
        raise UsageError(f"{path}: {key} is not a list", fix=f"entries begin with [[{key}]]", code="bad_policy_file")
    for number, entry in enumerate(entries, 1):
        yield read(kind, entry, f"{path}: [[{key}]] number {number}")


def _no_expression(path: Path, error: re.error, fix: str) -> UsageError:
    told = f"{path}: {str(error.pattern)[:80]!r} is no regular expression ({error.msg})"
    return UsageError(told, fix=fix, code="bad_policy_file")


def _toml(path: Path, code: str) -> tuple[Mapping[str, Any], str]:
    """A TOML file and the SHA-256 of its bytes; a byte-order mark and CRLF are no fault."""
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is over {LARGEST:,} bytes", fix="name a policy file", code=code)
        data = path.read_bytes()
        return tomllib.loads(data.decode("utf-8-sig")), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", fix="check the path and its rights", code=code
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", fix="save it as UTF-8", code=code) from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise UsageError(f"{path} is not TOML: {error}", fix="mend that line", code=code) from error


def _check_references(facts: Facts) -> None:
    """Every license id that known_models or families name exists: a wrong one would fail in the middle of an answer."""
    used = {(entry.id, one) for entry in facts.known for one in (entry.license,) if one}
    used |= {(family.name, one) for family in facts.families for one in (family.license, *family.licenses) if one}
    for who, license_id in sorted(used):
        if license_id not in facts.licenses.by_id:
            raise UsageError(
                f"policies: {who} names a license {license_id!r} that has no file",
                fix=nearest(license_id, facts.licenses.by_id) or "add it to policies/licenses/",
                code="bad_policy_file",
            )
