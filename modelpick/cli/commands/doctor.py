"""`modelpick doctor`: what is installed, what is configured, how old the embedded facts are. No network."""

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick import __version__, settings
from modelpick.aws import preflight, prices
from modelpick.aws.account import Account
from modelpick.aws.iam import operator_policy
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import InstanceCandidate
from modelpick.catalog import index
from modelpick.cli import aws_options
from modelpick.cli.aws_options import Boundary, KmsKey, Profile, Subnet, Tags
from modelpick.cli.options import Instance, Region
from modelpick.cli.output import Console, Output, styled
from modelpick.errors import ModelpickError, RemoteError, UsageError, address
from modelpick.licensing import load
from modelpick.offers import embedded
from modelpick.offers.price import Offer
from modelpick.schema import to_json
from modelpick.speed import calibration_file
from modelpick.speed.calibration_file import CalibrationReport, MeasuredGroup, MemoryGroup

if TYPE_CHECKING:
    from rich.table import Table

# What each extra brings, by the module whose presence shows it.
_EXTRAS = {
    "aws": ("boto3",),
    "bom": ("cyclonedx",),
    "data": ("sklearn", "scipy", "pyarrow"),
    "train": ("torch", "transformers", "peft", "bitsandbytes", "trl"),
    "serve": ("fastapi", "uvicorn", "openai"),
}


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    state: str  # ok | absent | problem
    detail: str
    fix: str | None = None


def doctor(
    out: Output,
    aws: Annotated[bool, typer.Option("--aws", help="Also check in the AWS account whether `up` would work.")] = False,
    iam_policy: Annotated[
        bool, typer.Option("--iam-policy", help="With --aws: print the smallest sufficient IAM policy.")
    ] = False,
    instance: Instance = None,
    market: Annotated[
        str, typer.Option("--market", metavar="on-demand|spot", help="Market whose quota to check.")
    ] = "on-demand",
    subnet: Subnet = None,
    kms_key: KmsKey = None,
    permission_boundary: Boundary = None,
    tag: Tags = None,
    region: Region = None,
    profile: Profile = None,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Print what your own measurements say, to use or to contribute.")
    ] = False,
) -> None:
    """Check what is installed and configured, and how old facts are."""
    if calibration:
        if aws or iam_policy:
            raise UsageError("--calibration asks nothing of AWS", fix="leave out --aws", code="contradiction")
        found = calibration_file.report()
        out.answer({"calibration": to_json(found)}, lambda console: _draw_calibration(console, found))
        return
    if iam_policy:
        if not aws:
            raise UsageError("--iam-policy needs the account number", fix="add --aws", code="contradiction")
        _show_policy(out, region, profile, kms_key)
        return
    if market not in ("on-demand", "spot"):
        raise UsageError(f"unknown market {market!r}", fix="use on-demand or spot", code="unknown_market")
    checks = [*_versions(), *_extras(), *_credentials(), *_data(), _settings()]
    if aws:
        company = {"subnet": subnet, "kms_key": kms_key, "permission_boundary": permission_boundary}
        checks += _account(region, profile, instance or "g5.xlarge", market == "spot", tag or [], company)
    broken = [check for check in checks if check.state == "problem"]
    payload = {
        "healthy": not broken,
        "checks": [
            {"name": check.name, "state": check.state, "detail": check.detail, "fix": check.fix} for check in checks
        ],
        "assumptions": [],
        "sources": [],
    }
    out.answer(payload, lambda console: _draw(console, checks, asked=aws))
    if broken:
        raise typer.Exit(1)


def _draw_calibration(console: Console, found: CalibrationReport) -> None:
    from rich.table import Table

    if not found.groups and not found.memory:
        where = found.file or "a home folder, which you do not have"
        console.print(
            f"no measurements of yours yet; finetune, serve and `bench --plan FILE` write {where}", markup=False
        )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("stack", "weights", "GPU"):
        table.add_column(title, no_wrap=True)
    for title in ("measured", "of predicted", "latest"):
        table.add_column(title, justify="right", no_wrap=True)
    for group in found.groups:
        count = str(group.measurements) + (f", {group.unbelievable} ignored" if group.unbelievable else "")
        table.add_row(group.stack, group.method, group.gpu, count, _ratio(group), group.latest_at[:10])
    if found.groups:
        console.print("Speed: measured over predicted", markup=False)
        console.print(table)
    if found.memory:
        console.print("Memory: peak over estimate", markup=False)
        console.print(_memory_table(found.memory))
    console.print(f"{found.file}, sha256 {(found.sha256 or '')[:12]}", markup=False, soft_wrap=True)
    console.print("it names no model and no machine; `--json` has the same for an issue of this project", markup=False)


def _memory_table(groups: Sequence[MemoryGroup]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("engine", "weights", "GPU"):
        table.add_column(title, no_wrap=title != "engine")
    for title in ("runs", "of estimate", "loaded in", "latest"):
        table.add_column(title, justify="right", no_wrap=True)
    for group in groups:
        count = str(group.runs) + (f", {group.unbelievable} ignored" if group.unbelievable else "")
        load = f"{group.median_load_s:.0f} s" if group.median_load_s is not None else "-"
        name = f"{group.engine} {group.version}"
        table.add_row(name, group.method, group.gpu, count, _ratio(group), load, group.latest_at[:10])
    return table


def _ratio(group: MeasuredGroup | MemoryGroup) -> str:
    if group.median_ratio is None:
        return "not believable" if group.unbelievable else "-"
    return f"{group.median_ratio:.2f} ({group.low_ratio:.2f}-{group.high_ratio:.2f})"


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
            "present" if token else "none: of gated models only the card can be read",
            None if token else "set HF_TOKEN, or hf auth login",
        ),
        _Check(
            "AWS credentials",
            "ok" if aws else "absent",
            "present" if aws else "none: needed only for live prices and up",
            None if aws else "aws configure, or set AWS_PROFILE",
        ),
        _endpoint(),
    ]


def _endpoint() -> _Check:
    try:
        return _Check("Hub endpoint", "ok", address(settings.hub_endpoint() or "the default"))
    except ModelpickError as error:
        return _Check("Hub endpoint", "problem", error.message, error.fix)


def _home() -> str | None:
    try:
        return str(Path.home())
    except RuntimeError:
        return None


def _exists(folder: str | None, name: str) -> bool:
    return folder is not None and (Path(folder) / name).is_file()


def _data() -> list[_Check]:
    def catalog() -> str:
        loaded = index.load()
        return f"{len(loaded.models)} models, as of {loaded.as_of}"

    def prices() -> str:
        return f"{len(embedded.instances())} instance types, as of {embedded.as_of()}"

    def licenses() -> str:
        return f"{len(load.load_licenses().licenses)} license files"

    return [_probe("catalog", catalog), _probe("prices", prices), _probe("licenses", licenses)]


def _probe(name: str, look: Any) -> _Check:
    try:
        return _Check(name, "ok", look())
    except (ModelpickError, OSError, ValueError) as error:
        fix = error.fix if isinstance(error, ModelpickError) else "install modelpick again"
        return _Check(name, "problem", str(error), fix)


def _settings() -> _Check:
    try:
        settled = settings.load()
    except ModelpickError as error:
        return _Check("settings", "problem", error.message, error.fix)
    origin = settled.origins
    return _Check(
        "settings", "ok", f"policy {settled.policy} ({origin['policy']}), region {settled.region} ({origin['region']})"
    )


def _account(
    region: str | None, profile: str | None, instance: str, spot: bool, tag: list[str], company: dict[str, str | None]
) -> list[_Check]:
    """The account, looked at as `up` would; nothing is made."""
    kind = embedded.instance(instance)
    account = aws_options.account(region, profile)
    offer = embedded.offer(kind.name, account.region)
    candidate = InstanceCandidate(kind.name, offer.usd_per_hour or 0.0, kind.vcpus, kind.cpu)
    wanted = preflight.PreflightRequest([candidate], spot=spot, tags=aws_options.tags(tag), **company)
    found = preflight.check(account, wanted)
    states = {"ok": "ok", "problem": "problem", "unknown": "absent"}
    checks = [_Check(check.name, states[check.state], check.detail, check.fix) for check in found]
    return [*checks, _price(account, offer)]


def _price(account: Account, offer: Offer) -> _Check:
    """The embedded price, how old it is, and what AWS says today."""
    from datetime import UTC, date, datetime

    name, today = f"price of {offer.instance.name}", datetime.now(UTC).date()
    known = "none embedded"
    if offer.usd_per_hour is not None and offer.as_of:
        known = f"${offer.usd_per_hour:.3f} an hour, {(today - date.fromisoformat(offer.as_of)).days} days old"
    try:
        (live,) = prices.on_demand([offer], today, make=account.client_in)
    except RemoteError as error:
        return _Check(name, "absent", f"{known}; AWS's price could not be read: {error.message}", error.fix)
    if live.usd_per_hour is None:
        return _Check(name, "absent", f"{known}; AWS lists none", "choose another --region or --instance")
    comparison = f"{known}; AWS says ${live.usd_per_hour:.3f} today"
    if live.held:
        return _Check(name, "problem", f"{comparison}: too far away", "if that is right: modelpick up ... --confirm")
    return _Check(name, "ok", comparison)


def _show_policy(out: Output, region: str | None, profile: str | None, kms_key: str | None) -> None:
    """The policy itself: `modelpick doctor --aws --iam-policy > policy.json`."""
    import json

    account = aws_options.account(region, profile)
    names = ResourceNames("any", account.identity()["Account"], account.region)
    document = operator_policy(names.account, names.partition, kms_key)
    text = json.dumps(document, indent=2)
    out.answer(
        {"policy": document, "assumptions": [], "sources": []},
        lambda console: console.print(text, markup=False, soft_wrap=True),
    )


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, max(width, 30), break_long_words=False, break_on_hyphens=False) or [""]


def _draw(console: Console, checks: list[_Check], *, asked: bool = False) -> None:
    marks = {"ok": ("ok     ", "green"), "absent": ("missing", "yellow"), "problem": ("problem", "red")}
    width = max(len(check.name) for check in checks)
    for check in checks:
        lines = _wrapped(check.detail, console.width - width - 10)
        lines += [] if check.fix is None else _wrapped(f"-> {check.fix}", console.width - width - 10)
        console.print(styled(marks[check.state], f" {check.name:<{width}}  {lines[0]}"), soft_wrap=True)
        for line in lines[1:]:
            console.print(f"{'':7} {'':<{width}}  {line}", markup=False, soft_wrap=True)
    console.print()
    network = "AWS was asked; nothing was created" if asked else "no network access"
    console.print(f"modelpick {__version__}; {network}. Python: {sys.executable}", markup=False)
