"""`modelpick doctor`: what is installed, what is configured, how old the embedded facts are. No network."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modelpick import __version__
from modelpick.cli.options import command
from modelpick.cli.output import Output
from modelpick.errors import ModelpickError

if TYPE_CHECKING:
    from rich.console import Console

# What each extra brings, by the module whose presence shows it.
_EXTRAS = {
    "aws": ("boto3",),
    "bom": ("cyclonedx",),
    "train": ("torch", "transformers", "peft", "bitsandbytes", "trl"),
}


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    state: str  # ok | absent | problem
    detail: str
    fix: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "doctor")(doctor)


def doctor(out: Output) -> None:
    """What is installed and configured, and how old the embedded facts are."""
    checks = [*_versions(), *_extras(), *_credentials(), *_data(), _settings()]
    broken = [check for check in checks if check.state == "problem"]
    payload = {
        "healthy": not broken,
        "checks": [
            {"name": check.name, "state": check.state, "detail": check.detail, "fix": check.fix} for check in checks
        ],
        "assumptions": [],
        "sources": [],
    }
    out.answer(payload, lambda console: _draw(console, checks))
    if broken:
        raise typer.Exit(1)


def _versions() -> list[_Check]:
    from importlib import metadata

    system = f"{platform.system()} {platform.machine()}"
    python = f"{platform.python_version()} on {system}"
    rows = [_Check("modelpick", "ok", __version__), _Check("python", "ok", python)]
    for package in ("typer", "rich", "huggingface_hub", "license-expression", "licenseclassifier", "PyYAML"):
        try:
            rows.append(_Check(package, "ok", metadata.version(package)))
        except metadata.PackageNotFoundError:
            rows.append(_Check(package, "problem", "not installed", "install modelpick again"))
    return rows


def _extras() -> list[_Check]:
    rows = []
    for extra, modules in _EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        fix = f'pip install "modelpick[{extra}]"' if missing else None
        detail = f"missing {', '.join(missing)}" if missing else "installed"
        rows.append(_Check(f"extra {extra}", "absent" if missing else "ok", detail, fix))
    return rows


def _credentials() -> list[_Check]:
    """Whether credentials are there; never what they are."""
    home = _home()
    token = os.environ.get("HF_TOKEN") or _exists(os.environ.get("HF_HOME"), "token")
    token = token or _exists(home, ".cache/huggingface/token")
    aws = os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE") or _exists(home, ".aws/credentials")
    aws = aws or _exists(home, ".aws/config")
    return [
        _Check(
            "Hub token",
            "ok" if token else "absent",
            "present" if token else "none: gated models show their card, not their files",
            None if token else "set HF_TOKEN, or hf auth login",
        ),
        _Check(
            "AWS credentials",
            "ok" if aws else "absent",
            "present" if aws else "none: needed only for live prices and up",
            None if aws else "aws configure, or set AWS_PROFILE",
        ),
        _Check("Hub endpoint", "ok", os.environ.get("HF_ENDPOINT") or "the default"),
    ]


def _home() -> str | None:
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def _exists(folder: str | None, name: str) -> bool:
    return folder is not None and (Path(folder) / name).is_file()


def _data() -> list[_Check]:
    from modelpick.catalog import index
    from modelpick.licensing import files
    from modelpick.offers import embedded

    def catalog() -> str:
        loaded = index.load()
        return f"{len(loaded.models)} models, as of {loaded.as_of}"

    def prices() -> str:
        return f"{len(embedded.instances())} instance types, as of {embedded.as_of()}"

    def licenses() -> str:
        return f"{len(files.load_licenses().licenses)} license files"

    return [_probe("catalog", catalog), _probe("prices", prices), _probe("licenses", licenses)]


def _probe(name: str, look: Any) -> _Check:
    try:
        return _Check(name, "ok", look())
    except (ModelpickError, OSError, ValueError) as error:
        fix = error.fix if isinstance(error, ModelpickError) else "install modelpick again"
        return _Check(name, "problem", str(error), fix)


def _settings() -> _Check:
    from modelpick import settings

    try:
        settled = settings.load()
    except ModelpickError as error:
        return _Check("settings", "problem", error.message, error.fix)
    origin = settled.origins
    return _Check(
        "settings",
        "ok",
        f"policy {settled.policy} ({origin['policy']}), region {settled.region} ({origin['region']})",
    )


def _draw(console: "Console", checks: list[_Check]) -> None:
    marks = {"ok": "[green]ok     [/]", "absent": "[yellow]absent [/]", "problem": "[red]problem[/]"}
    width = max(len(check.name) for check in checks)
    for check in checks:
        console.print(f"{marks[check.state]} {check.name:<{width}}  {check.detail}", markup=True)
        if check.fix:
            console.print(f"{'':7} {'':<{width}}  -> {check.fix}", markup=False)
    console.print()
    console.print(
        f"modelpick {__version__}; nothing was asked over the network. Python: {sys.executable}", markup=False
    )
