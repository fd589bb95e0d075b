"""What the user has set, and where: flag > MODELPICK_* > ./modelpick.toml > user config > default.

policy = "commercial"
region = "eu-central-1"
[company]                       # facts that override the policy's profile
domicile = "DE"
[discounts]                     # negotiated, per instance family, as a fraction
g5 = 0.12
"""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError, nearest

_FILE = "modelpick.toml"
_TEXT_KEYS = {"policy": "commercial", "region": "us-east-1"}
_TABLES = ("company", "discounts")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settled values. `origins` says where each came from (`MODELPICK_REGION`, a file's path, `default`)."""

    policy: str = _TEXT_KEYS["policy"]
    region: str = _TEXT_KEYS["region"]
    company: Mapping[str, Any] = field(default_factory=dict)
    discounts: Mapping[str, float] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)


def load(flags: Mapping[str, str | None] | None = None, *, folder: Path | None = None) -> Settings:
    """The settings in force for a command run in `folder` with `flags`; raises UsageError for a bad file."""
    texts: dict[str, str] = dict(_TEXT_KEYS)
    tables: dict[str, dict[str, Any]] = {name: {} for name in _TABLES}
    origins = dict.fromkeys(texts, "default")
    for path in _files(folder):
        content = _read(path)
        for key in _TEXT_KEYS:
            if key in content:
                texts[key], origins[key] = content[key], str(path)
        for name in _TABLES:
            for key, value in content.get(name, {}).items():
                tables[name][key], origins[f"{name}.{key}"] = value, str(path)
    for key in _TEXT_KEYS:
        if value := os.environ.get(f"MODELPICK_{key.upper()}"):
            texts[key], origins[key] = value, f"MODELPICK_{key.upper()}"
        if flags and flags.get(key):
            texts[key], origins[key] = str(flags[key]), f"--{key}"
    return Settings(texts["policy"], texts["region"], tables["company"], tables["discounts"], origins)


def state_folder(name: str) -> Path:
    """Where this user's programs keep what outlives a command (XDG base directories), below it `modelpick/name`."""
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "modelpick" / name
    except RuntimeError:
        raise UsageError(
            "there is no home folder to keep things in", fix="set HOME or XDG_STATE_HOME", code="no_home"
        ) from None


def _files(folder: Path | None) -> list[Path]:
    """Existing settings files, the weakest first."""
    here = (folder or Path()) / _FILE
    return [path for path in (*_user_files(), here) if path.is_file()]


def _user_files() -> list[Path]:
    base = os.environ.get("XDG_CONFIG_HOME") or os.environ.get("APPDATA")
    if base:
        return [Path(base) / "modelpick" / _FILE]
    try:
        return [Path.home() / ".config" / "modelpick" / _FILE]
    except RuntimeError:  # no HOME and no user database: there is no user config then
        return []


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", fix="mend or remove it", code="bad_settings") from None
    known = (*_TEXT_KEYS, *_TABLES)
    for key, value in content.items():
        if key not in known:
            fix = nearest(key, known) or f"use one of {', '.join(known)}"
            raise UsageError(f"{path}: unknown key {key!r}", fix=fix, code="bad_settings")
        wanted = dict if key in _TABLES else str
        if not isinstance(value, wanted):
            fix = f"make it a {'table' if wanted is dict else 'text'}"
            raise UsageError(f"{path}: {key} is {value!r}", fix=fix, code="bad_settings")
    for family, discount in content.get("discounts", {}).items():
        number = isinstance(discount, int | float) and not isinstance(discount, bool) and math.isfinite(discount)
        if not number or not 0 <= discount < 1:
            raise UsageError(
                f"{path}: discounts.{family} is {discount!r}",
                fix="give a fraction from 0 to below 1",
                code="bad_settings",
            )
    return content
