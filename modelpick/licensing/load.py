"""Reads policies/: the policy itself, and the facts it is applied to. The I/O of this package."""

import csv
import glob
import hashlib
import io
import json
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from modelpick import files
from modelpick.catalog import index
from modelpick.errors import UsageError, nearest
from modelpick.licensing.card_links import RelationWords
from modelpick.licensing.conditions import fields_without_a_row
from modelpick.licensing.countries import Countries, countries_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import Fingerprint, Fingerprints, KnownRuns, KnownText, unpack, words_of
from modelpick.licensing.license import Bound, License, LicenseIndex
from modelpick.licensing.name_matches import NameMatches
from modelpick.licensing.overrides import (
    Approval,
    Curation,
    Curations,
    DerivedDataset,
    RestrictedDataset,
    WeightFamilies,
    WeightFamily,
)
from modelpick.licensing.policy import Company, Policy, Territories, merged
from modelpick.licensing.quotes import unpacked
from modelpick.licensing.statements.vocabulary import Language, Vocabulary, WordsFile, languages_of
from modelpick.schema import read

LARGEST = 1_000_000  # bytes; a policy file is some hundred lines

_TEXT_NAME = re.compile(r"(?P<id>.+?)(\.version-\d+)?(\.use_policy)?\.(txt|runs)")

T = TypeVar("T")


def policies_directory() -> Path:
    """Where the embedded policies and license facts lie."""
    return files.directory("policies")


def policy_names() -> tuple[str, ...]:
    """The embedded policies, by name."""
    names = (path.stem for path in policies_directory().glob("*.toml"))
    return tuple(sorted(name for name in names if name not in _FACTS))


def load_policy(name_or_path: str | Path) -> Policy:
    """A policy by the name of an embedded one, or by the path of a file, with what it inherits (`extends`).

    Rules that neither has take their defaults. Raises UsageError for a name that is not known, for a file that is not a
    policy (with the file, the key, and the key probably meant), for a policy that extends itself, for a country that is
    not an ISO code.
    """
    path = _policy_path(name_or_path, Path())
    if path is None:
        names = policy_names()
        raise UsageError(
            f"no policy {str(name_or_path)!r}",
            fix=nearest(str(name_or_path), names) or f"use one of {', '.join(names)}, or the path of a policy file",
            code="unknown_policy",
        )
    return read_policy(_policy_table(path, ()), path)


def read_policy(table: Mapping[str, Any], path: Path) -> Policy:
    """The policy of a table whose inheritance is resolved. Raises UsageError as `load_policy`."""
    digest = hashlib.sha256(files.read_bytes(path, code="bad_policy_file", largest=LARGEST)).hexdigest()
    policy = replace(read(Policy, table, str(path)), file_sha256=digest, path=str(path))
    policy.check(load_countries(), str(path))
    if any(rule.licenses for rule in policy.named_rules):
        _check_named_licenses(policy, path)
    return policy.sealed()


def _check_named_licenses(policy: Policy, path: Path) -> None:
    """Raise UsageError for a rule about a license that nobody knows: it would forbid nothing."""
    known = {name for license in load_licenses().licenses for name in (license.id, license.spdx) if name}
    for number, rule in enumerate(policy.named_rules, 1):
        for pattern in rule.licenses:
            if not any(fnmatchcase(name.lower(), pattern.lower()) for name in known):
                text = f"[[named_rules]] number {number} names {pattern!r}, a license that modelpick does not know"
                raise UsageError(
                    f"{path}: {text}",
                    fix=nearest(pattern, known) or "use the name of a file in policies/licenses/, without .toml",
                    code="bad_policy_file",
                )


def read_company(table: object, where: str) -> Company:
    """The company's facts of a [company] table. `where` names it in errors. Raises UsageError as `load_policy`."""
    company = read(Company, table, where)
    company.check(load_countries(), where)
    return company


def _policy_path(name_or_path: str | Path, folder: Path) -> Path | None:
    if str(name_or_path) in policy_names():
        return policies_directory() / f"{name_or_path}.toml"
    path = folder / name_or_path
    return path if path.is_file() else None


def _policy_table(path: Path, heirs: tuple[Path, ...]) -> dict[str, Any]:
    """The table of a policy file over that of the policy it extends. `heirs`: the files that led here."""
    here = path.resolve()
    own = dict(_toml(path))
    base = own.pop("extends", None)
    if here in heirs:
        chain = " extends ".join(one.name for one in (*heirs[heirs.index(here) :], here))
        raise UsageError(
            f"{path}: the policy extends itself: {chain}",
            fix="remove the line extends from one of them",
            code="bad_policy_file",
        )
    read(Policy, own, str(path)).check(load_countries(), str(path))  # so that an error names the file it is in
    if base is None:
        return own
    if not isinstance(base, str) or not base.strip():
        raise UsageError(
            f"{path}: extends is {base!r}", fix='name a policy: extends = "commercial"', code="bad_policy_file"
        )
    below = _policy_path(base, path.parent) or _policy_path(f"{base}.toml", path.parent)
    if below is None:
        itself = base == own.get("name")
        text = f"the policy extends itself: {base}" if itself else f"extends names no policy: {base!r}"
        fix = f"use one of {', '.join(policy_names())}, or the path of a policy file from {path.parent}"
        raise UsageError(f"{path}: {text}", fix=nearest(base, policy_names()) or fix, code="bad_policy_file")
    inherited = _policy_table(below, (*heirs, here))
    return merged({key: value for key, value in inherited.items() if key not in ("name", "title")}, own)


@cache
def load_countries() -> Countries:
    """The embedded countries.csv, and the groups of territories.toml that are taken for countries."""
    text = files.read_text(files.data_file("licensing", "countries.csv"), code="broken_installation")
    return countries_of(csv.DictReader(io.StringIO(text)), _territories().groups)


def load_licenses(directory: Path | None = None) -> LicenseIndex:
    """All of policies/licenses/. Raises UsageError naming the file and key that is wrong."""
    return LicenseIndex(_licenses(directory or policies_directory() / "licenses"))


def load_curations(path: Path | None = None) -> Curations:
    """policies/known_models.toml."""
    return Curations(_entries(path or policies_directory() / "known_models.toml", "model", Curation))


def load_families(path: Path | None = None) -> WeightFamilies:
    """policies/families.toml: name and config patterns that identify the base model."""
    where = path or policies_directory() / "families.toml"
    try:
        return WeightFamilies(_entries(where, "family", WeightFamily))
    except re.error as error:
        raise _bad_expression(where, error, "fix it in names or but_not") from error


def load_restricted_datasets(path: Path | None = None) -> tuple[RestrictedDataset, ...]:
    """policies/restricted_datasets.toml."""
    return tuple(_entries(path or policies_directory() / "restricted_datasets.toml", "dataset", RestrictedDataset))


def load_derived_datasets(path: Path | None = None) -> tuple[DerivedDataset, ...]:
    """policies/derived_datasets.toml."""
    return tuple(_entries(path or policies_directory() / "derived_datasets.toml", "dataset", DerivedDataset))


def load_territories(path: Path | None = None) -> Territories:
    """policies/territories.toml, and the embedded countries."""
    return replace(_territories(path), countries=load_countries())


def _territories(path: Path | None = None) -> Territories:
    where = path or policies_directory() / "territories.toml"
    return read(Territories, _toml(where), str(where))


def load_words(path: Path | None = None) -> Mapping[str, Language]:
    """policies/words.toml: the words in which cards state terms, by language."""
    where = path or policies_directory() / "words.toml"
    try:
        return languages_of(read(WordsFile, _toml(where), str(where)))
    except ValueError as error:
        raise UsageError(f"{where}: {error}", fix="correct that entry", code="bad_policy_file") from error


def load_relation_words(path: Path | None = None) -> RelationWords:
    """policies/relations.toml: the words by which a card says what something was made from."""
    where = path or policies_directory() / "relations.toml"
    words = read(RelationWords, _toml(where), str(where))
    try:
        words.check()
    except re.error as error:
        raise _bad_expression(where, error, "fix that pattern") from error
    return words


def load_approvals(path: Path | None = None) -> tuple[Approval, ...]:
    """An approvals file; a missing file means no approvals."""
    where = path or policies_directory() / "approvals.toml"
    return tuple(_entries(where, "approval", Approval)) if where.exists() else ()


# The fact files next to the policies: file name -> the function that reads it.
_FACTS: Mapping[str, Callable[[Path], object]] = {
    "known_models": load_curations,
    "families": load_families,
    "restricted_datasets": load_restricted_datasets,
    "derived_datasets": load_derived_datasets,
    "territories": load_territories,
    "relations": load_relation_words,
    "words": load_words,
    "approvals": load_approvals,
}


def is_facts(path: Path) -> bool:
    """Whether a file is one of the facts that policies are applied to, by its name."""
    return path.suffix == ".toml" and path.stem in _FACTS


def check_facts(path: Path) -> None:
    """Read one of the files of facts. Raises UsageError naming what is wrong in it."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist", fix="name a file of facts or a policy", code="unknown_policy")
    _FACTS[path.stem](path)


def load_fingerprints() -> Iterator[Fingerprint]:
    """policies/licenses/*.prints: one line of JSON for each text (scripts/build_fingerprints.py writes them)."""
    for path in sorted((policies_directory() / "licenses").glob("*.prints")):
        for line in files.read_text(path, code="bad_license_file").splitlines():
            entry = json.loads(line)
            runs = unpack(b64decode(entry["runs"]))
            yield Fingerprint(path.name.removesuffix(".prints"), entry["source"], entry["stride"], runs)


def texts_directory() -> Path:
    """Where the license texts lie: facts/license_texts/ in a checkout, inside the package in a wheel."""
    inside = files.directory("license_texts")
    return inside if inside.is_dir() else files.directory("facts") / "license_texts"


def license_text(license: str) -> str | None:
    """The text of a license, word for word; None where none is kept, or only the hashes of its runs."""
    path = texts_directory() / f"{license}.txt"
    return files.read_text(path, code="bad_license_file") if path.is_file() else None


def license_of_text(file_name: str) -> str | None:
    """The license whose text, other version or use policy a file of license_texts/ holds; None: another file."""
    found = _TEXT_NAME.fullmatch(file_name)
    return found["id"] if found else None


def known_text(path: Path) -> KnownText:
    """A file of license_texts/ as it is compared: ID.txt is a text, ID.runs the hashes of its runs."""
    content = files.read_text(path, code="bad_license_file")
    return KnownRuns(unpacked(content)) if path.suffix == ".runs" else words_of(content)


def load_texts(license: str) -> Iterator[KnownText]:
    """Every text that is known of a license, each version and its use policy."""
    folder = texts_directory()
    for path in sorted(
        path for each in (folder, folder / "compared") for path in each.glob(f"{glob.escape(license)}.*")
    ):
        if license_of_text(path.name) == license:
            yield known_text(path)


def _catalog_ids() -> Iterable[str]:
    return index.load().models


def load_facts(approvals: Path | None = None) -> LicenseFacts:
    """Everything `verdict.judge` needs besides the model and the policy."""
    facts = LicenseFacts(
        licenses=load_licenses(),
        curations=load_curations(),
        families=load_families(),
        datasets=load_restricted_datasets(),
        derived_datasets=load_derived_datasets(),
        territories=load_territories(),
        relation_words=load_relation_words(),
        words=Vocabulary(load_words),
        approvals=load_approvals(approvals),
        fingerprints=Fingerprints(load_fingerprints, load_texts),
        name_matches=NameMatches(_catalog_ids),
    )
    _check_references(facts)
    return facts


def _licenses(folder: Path) -> Iterator[License]:
    unread = fields_without_a_row()
    if unread:
        raise UsageError(
            f"no row of licensing/conditions.py says what {', '.join(unread)} means",
            fix="add a row for each to ROWS",
            code="bad_license_file",
        )
    paths = sorted(folder.glob("*.toml"))
    compiled = _compiled(paths)
    for path in paths:
        id = path.name.removesuffix(".toml")
        table = compiled.get(id) or files.read_toml(path, code="bad_license_file", largest=LARGEST)
        if "id" in table:
            raise UsageError(f"{path}: unknown key 'id'", fix="the file's name is the id", code="bad_license_file")
        license = read(License, {"id": id, **table}, str(path), "bad_license_file")
        _check_bounds(license, path)
        yield license


def _check_bounds(license: License, path: Path) -> None:
    for name in ("monthly_active_users", "annual_revenue_usd"):
        bound: Bound | None = getattr(license.limits, name)
        if bound is not None and (bound.at_most is None) == (bound.less_than is None):
            raise UsageError(
                f"{path}: {name} gives not exactly one of at_most and less_than",
                fix="write { at_most = 5 } where more than 5 needs another license, { less_than = 5 } where 5 does",
                code="bad_license_file",
            )


def compiled_path() -> Path:
    """The license files as one JSON file, which scripts/build_license_facts.py writes: parsing it takes 0.3 ms
    instead of 11 (144 files)."""
    return files.data_file("licensing", "licenses.json")


def compiled_licenses(folder: Path) -> str:
    """What the compiled file holds for the license files of a folder."""
    paths = sorted(folder.glob("*.toml"))
    tables = {path.name.removesuffix(".toml"): files.read_toml(path, code="bad_license_file") for path in paths}
    compiled = {"sha256": _digest_of(paths), "licenses": tables}
    return json.dumps(compiled, indent=1, ensure_ascii=False, default=str) + "\n"  # a date becomes its ISO text


def _compiled(paths: Sequence[Path]) -> Mapping[str, dict[str, object]]:
    """The tables of these files from the compiled file; none where it is absent or was made from other files."""
    try:
        compiled = json.loads(files.read_bytes(compiled_path(), code="broken_installation"))
        tables = compiled["licenses"] if compiled["sha256"] == _digest_of(paths) else {}
        return {id: table for id, table in tables.items() if isinstance(table, dict)}
    except (UsageError, ValueError, KeyError, TypeError, AttributeError):  # absent, or not the file that it should be
        return {}


def _digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of the names and bytes of files, each with its length before it."""
    digest = hashlib.sha256()
    for path in paths:
        content = files.read_bytes(path, code="bad_license_file") if path.is_file() else b""
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _entries(path: Path, key: str, kind: type[T]) -> Iterator[T]:
    table = _toml(path)
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


def _toml(path: Path) -> Mapping[str, object]:
    return files.read_toml(path, code="bad_policy_file", largest=LARGEST)


def _bad_expression(path: Path, error: re.error, fix: str) -> UsageError:
    text = f"{path}: {str(error.pattern)[:80]!r} is not a regular expression ({error.msg})"
    return UsageError(text, fix=fix, code="bad_policy_file")


def _check_references(facts: LicenseFacts) -> None:
    """Every license id that known_models or families name exists: a wrong one would fail in the middle of an answer.

    Every territory that a license excludes is a country or a union: a wrong one would exclude nobody.
    """
    for license in facts.licenses.licenses:
        for place in license.limits.territory_excluded:
            if not facts.territories.knows(place):
                raise UsageError(
                    f"policies: {license.id} excludes {place!r}, which is not a territory",
                    fix="use an ISO 3166 code, or add the union to policies/territories.toml",
                    code="bad_license_file",
                )
    named = {(entry.id, entry.license) for entry in facts.curations if entry.license}
    named |= {(family.name, id) for family in facts.families for id in (family.license, *family.licenses) if id}
    for owner, license_id in sorted(named):
        if license_id not in facts.licenses.by_id:
            raise UsageError(
                f"policies: {owner} names a license {license_id!r} that has no file",
                fix=nearest(license_id, facts.licenses.by_id) or "add it to policies/licenses/",
                code="bad_policy_file",
            )
