"""What the commands that use an AWS account share: options, the caller's account, the user's agreement."""

import re
import sys
from datetime import timedelta
from typing import Annotated

import typer

from modelpick import settings
from modelpick.aws.account import Account
from modelpick.cli.output import Output
from modelpick.errors import UsageError
from modelpick.offers import embedded

Profile = Annotated[str | None, typer.Option("--profile", metavar="NAME", help="AWS profile. Default: AWS_PROFILE.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Deployment = Annotated[str, typer.Argument(metavar="NAME", help="Deployment name (`modelpick status`).")]
Subnet = Annotated[str | None, typer.Option("--subnet", metavar="ID", help="Subnet. Default: one of the default VPC.")]
KmsKey = Annotated[str | None, typer.Option("--kms-key", metavar="ARN", help="KMS key to encrypt with.")]
Boundary = Annotated[
    str | None, typer.Option("--permission-boundary", metavar="ARN", help="Permission boundary for created roles.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Tag for everything created; repeatable.")
]
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([mhd])\Z")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def account(region: str | None, profile: str | None) -> Account:
    """The caller's account in the region in force. Raises UsageError without boto3, RemoteError without credentials."""
    return Account(embedded.check_region(settings.load({"region": region}).region), profile)


def span(flag: str, text: str) -> timedelta:
    """A length of time such as 30m, 6h, 2d. Raises UsageError."""
    match = _SPAN.match(text.strip().lower())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= 30 * 86400:
        raise UsageError(f"{flag} is {text!r}", fix="give a time such as 30m, 6h or 2d, at most 30d", code="bad_time")
    return timedelta(seconds=seconds)


def tags(words: list[str]) -> dict[str, str]:
    """KEY=VALUE words as tags. Raises UsageError."""
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"--tag is {word!r}", fix="give KEY=VALUE", code="bad_tag")
        values[key] = value
    return values


def agree(out: Output, question: str, *, yes: bool) -> None:
    """Ask before money or data is at stake. Without a terminal only --yes agrees.

    Raises UsageError(code="needs_yes") where nobody can be asked, and typer.Exit for a no.
    """
    if yes:
        return
    if out.as_json or not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal for the question", fix="add --yes", code="needs_yes")
    if not typer.confirm(question, err=True):
        out.note("cancelled: nothing was done")
        raise typer.Exit(1)
