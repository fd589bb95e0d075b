"""What the user has set, and where: flag > MODELPICK_* > ./modelpick.toml > user config > default.

policy = "commercial"
region = "eu-central-1"
[company]                       # facts that override the policy's profile
domicile = "DE"
[discounts]                     # negotiated, per instance family, as a fraction
g5 = 0.12
[data]                          # which facts are in force, and where `modelpick update` gets newer ones
release = "https://example.com/modelpick_data.whl"
"""

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from modelpick.errors import UsageError, address
from modelpick.files import read_toml
from modelpick.schema import Bounds, Help, Pattern, Source, read, settings_of

_FILE = "modelpick.toml"
_WORD = Pattern(r"(?s).*\S.*", "text in quotes")
_LISTS = ("audit_own", "audit_ignore")
_TEXTS = ("policy", "region", "product", "runs_in")
DATA_VARIABLE = "MODELPICK_DATA"
"""The environment's word for `[data] use`: `embedded`, `newest`, or the name of a snapshot."""


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Which facts are in force, and where `modelpick update` gets newer ones (docs/updating.md)."""

    use: Annotated[
        str,
        _WORD,
        Help("Facts in force: newest, embedded, or the name of a snapshot.", metavar="NAME"),
        Source("docs/updating.md"),
    ] = "newest"
    release: Annotated[
        str | None,
        _WORD,
        Help("Address or file of a published data release.", metavar="URL|FILE", default="the sources themselves"),
        Source("the company, or who publishes for it"),
    ] = None
    release_sha256: Annotated[
        str | None,
        Pattern("[0-9a-f]{64}", "64 hexadecimal digits"),
        Help("Hash of the release.", metavar="HASH", default="read from its address with .sha256 added"),
        Source("who publishes it"),
    ] = None
    prices: Annotated[
        str | None,
        _WORD,
        Help("Address or file of a price catalog.", metavar="URL|FILE", default="SkyPilot's public one"),
        Source("docs/updating.md"),
    ] = None
    scores: Annotated[
        str | None,
        _WORD,
        Help("Address or file of quality scores, as in facts/quality.csv.", metavar="URL|FILE", default="none"),
        Source("docs/updating.md"),
    ] = None


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """What a settings file may hold. The company's facts are checked where the policy is (licensing/policy.py)."""

    policy: Annotated[
        str,
        _WORD,
        Help("License policy: a name or a file.", metavar="NAME|FILE"),
        Source("policies/commercial.toml: what most companies may do"),
    ] = "commercial"
    region: Annotated[
        str,
        _WORD,
        Help("AWS region.", metavar="R"),
        Source("AWS's first region, with the widest choice of instance types"),
    ] = "us-east-1"
    product: Annotated[
        str | None,
        _WORD,
        Help("Product of the company to judge for.", metavar="NAME", default="every product; the strictest counts"),
        Source("docs/policies.md"),
    ] = None
    runs_in: Annotated[
        str | None,
        _WORD,
        Help("Cloud region this machine runs models in, besides company.regions. Written by `up`.", metavar="R"),
        Source("the plan that the machine was made from"),
    ] = None
    company: Annotated[
        Mapping[str, object],
        Help("Facts about the company, which override the policy's profile.", metavar="TABLE"),
        Source("docs/policies.md"),
    ] = field(default_factory=dict)
    audit_own: Annotated[
        tuple[Annotated[str, _WORD], ...],
        Help("Ids of the company's own models, which `audit` does not judge; * stands for anything.", metavar="LIST"),
        Source("docs/audit.md"),
    ] = ()
    audit_ignore: Annotated[
        tuple[Annotated[str, _WORD], ...],
        Help("Ids that `audit` leaves out; * stands for anything.", metavar="LIST"),
        Source("docs/audit.md"),
    ] = ()
    discounts: Annotated[
        Mapping[str, Annotated[float, Bounds(0, 1, below=True)]],
        Help("Negotiated discounts by instance family, as a fraction of the list price.", metavar="TABLE"),
        Source("the user's contract"),
    ] = field(default_factory=dict)
    data: Annotated[
        DataSettings,
        Help("Which facts are in force, and where newer ones come from: see below.", metavar="TABLE", default=""),
        Source("docs/updating.md"),
    ] = field(default_factory=DataSettings)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. `origins` says where each came from (`MODELPICK_REGION`, a file's path, `default`)."""

    policy: str
    region: str
    product: str | None = None
    company_tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """The company's facts by the file that says them, the weakest first, so that an error can name it."""
    discounts: Mapping[str, float] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    runs_in: str | None = None
    audit_own: tuple[str, ...] = ()
    audit_ignore: tuple[str, ...] = ()
    data: DataSettings = field(default_factory=DataSettings)

    @property
    def company(self) -> dict[str, object]:
        """The company's facts, each as the nearest file says it."""
        return {name: value for table in self.company_tables.values() for name, value in table.items()}


def load(flags: Mapping[str, str | None] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings in force for a command run in `folder` with `flags`.

    Raises UsageError for a bad file, and for an HF_ENDPOINT that is not a web address: the libraries that read it fail
    on it while they are imported, wherever that is.
    """
    hub_endpoint()
    texts: dict[str, Any] = {item.name: item.default for item in settings_of(SettingsFile) if item.name in _TEXTS}
    company_tables: dict[str, Mapping[str, object]] = {}
    discounts: dict[str, float] = {}
    lists: dict[str, Any] = {}
    data: dict[str, Any] = {}
    origins = {name: "default" for name, value in texts.items() if value is not None}
    for path in _files(folder):
        table = read_toml(path, code="bad_settings")
        content = read(SettingsFile, table, str(path), "bad_settings")
        for name in _TEXTS:
            if name in table:
                texts[name], origins[name] = getattr(content, name), str(path)
        if content.company:
            company_tables[str(path)] = content.company
        discounts |= content.discounts
        data |= {name: getattr(content.data, name) for name in _keys(table.get("data"))}
        for name in _LISTS:
            if name in table:
                lists[name] = (*lists.get(name, ()), *getattr(content, name))
                origins[name] = str(path)
        origins |= {f"company.{key}": str(path) for key in content.company}
        origins |= {f"discounts.{key}": str(path) for key in content.discounts}
    for name in _TEXTS:
        if value := os.environ.get(f"MODELPICK_{name.upper()}"):
            texts[name], origins[name] = value, f"MODELPICK_{name.upper()}"
        if flags and flags.get(name):
            texts[name], origins[name] = str(flags[name]), f"--{name}"
    if value := os.environ.get(DATA_VARIABLE):
        data["use"] = value
    return Settings(
        company_tables=company_tables,
        discounts=discounts,
        origins=origins,
        data=DataSettings(**data),
        **texts,
        **lists,
    )


def _keys(table: object) -> tuple[str, ...]:
    return tuple(table) if isinstance(table, Mapping) else ()


def today() -> datetime.date:
    """The day that the age of a fact is counted to: the clock's, in UTC, or the one that SOURCE_DATE_EPOCH names.

    That variable (seconds since 1970, reproducible-builds.org/specs/source-date-epoch) makes the same answer the same
    text on another day. Raises UsageError(code="bad_date") for what is not a time.
    """
    typed = os.environ.get("SOURCE_DATE_EPOCH")
    if not typed:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.datetime.fromtimestamp(int(typed), datetime.UTC).date()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"SOURCE_DATE_EPOCH is {typed[:40]!r}", fix="set it to seconds since 1970, or unset it", code="bad_date"
        ) from None


def hub_endpoint() -> str | None:
    """The Hub's address that HF_ENDPOINT names, without a trailing slash; None where it names none.

    Raises UsageError(code="bad_endpoint") for what is not a web address, before anything is asked of it.
    """
    typed = os.environ.get("HF_ENDPOINT", "").strip()
    if not typed:
        return None
    try:
        parts = urlsplit(typed)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        known = known and not parts.query and not parts.fragment
    except ValueError:  # a port that is not a number, or a bracket without its pair
        known = False
    if not known or any(sign.isspace() or not sign.isprintable() for sign in typed):
        raise UsageError(
            f"HF_ENDPOINT is not a web address: {address(typed).rpartition('@')[2][:100]}",
            fix="set it to an address such as https://huggingface.co, or unset it",
            code="bad_endpoint",
        )
    return typed.rstrip("/")


def state_folder(name: str) -> Path:
    """Where this user's programs keep what outlives a command (XDG base directories), below it `modelpick/name`."""
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "modelpick" / name
    except RuntimeError:
        raise UsageError(
            "there is no home folder to store files in", fix="set HOME or XDG_STATE_HOME", code="no_home"
        ) from None


def _files(folder: Path | None) -> list[Path]:
    """The settings files that there are, the weakest first. What is there and is not a file is refused when read."""
    return [path for path in (*_user_files(), (folder or Path()) / _FILE) if os.path.lexists(path)]


def _user_files() -> list[Path]:
    base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    if base:
        return [Path(base) / "modelpick" / _FILE]
    try:
        return [Path.home() / ".config" / "modelpick" / _FILE]
    except RuntimeError:  # no HOME and no user database: there is no user config then
        return []
