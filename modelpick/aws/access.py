"""Access to a machine without open ports: its logs through CloudWatch, its ports through Session Manager."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from modelpick.aws import inventory
from modelpick.aws.account import Account
from modelpick.aws.errors import AwsRefused
from modelpick.aws.inventory import Ec2Machine
from modelpick.aws.names import ResourceNames
from modelpick.errors import RemoteError, UsageError

_POLL = 5.0
_PLUGIN = "session-manager-plugin"
_BY_ENVIRONMENT, _LAST_BY_ARGUMENT = "AWS_SSM_START_SESSION_RESPONSE", (1, 2, 497, 0)


def log_lines(
    account: Account, deployment: str, *, follow: bool = False, since: timedelta | None = None
) -> Iterator[str]:
    """The job's log lines, oldest first; with `follow` until the machine is gone. Raises UsageError without a log."""
    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    start = int(((account.now() - since).timestamp() if since else 0) * 1000)
    seen: set[str] = set()
    while True:
        found = account.find("logs", "filter_log_events", logGroupName=names.log_group, startTime=start)
        if found is None and seen:  # taken down while its log was followed
            return
        if found is None:
            raise UsageError(f"{deployment} has no log", fix="modelpick status", code="no_log")
        while True:
            for event in found["events"]:
                if event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    start = max(start, event["timestamp"])
                    yield str(event["message"])
            if not found.get("nextToken"):
                break
            found = account.call(
                "logs", "filter_log_events", logGroupName=names.log_group, startTime=start, nextToken=found["nextToken"]
            )
        if not follow or not _machine(account, deployment):
            return
        account.sleep(_POLL)


@dataclass(frozen=True, slots=True)
class Session:
    """An open session of Session Manager: the plugin's command, and the environment it needs."""

    words: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # holds the session's token


def session(
    account: Account, deployment: str, *, port: int = 8000, local_port: int | None = None, shell: bool = False
) -> Session:
    """Open a session to the machine, for AWS's own plugin to carry; the AWS CLI is not needed.

    The plugin's arguments are those the AWS CLI gives it (awscli, customizations/sessionmanager.py): the session,
    region, StartSession, profile, the request, the endpoint. Since version 1.2.497.1 the session, which holds a token,
    goes in by the environment, where other users of this computer do not see it.

    Raises UsageError without a machine or the plugin, RemoteError while its agent does not answer.
    """
    instance = _in_service(account, deployment)
    version = _plugin_version()
    request: dict[str, object] = {"Target": instance}
    if not shell:
        request["DocumentName"] = "AWS-StartPortForwardingSession"
        request["Parameters"] = {"portNumber": [str(port)], "localPortNumber": [str(local_port or port)]}
    try:
        opened = account.call("ssm", "start_session", **request)
    except AwsRefused as refused:
        if refused.aws_code != "TargetNotConnected":
            raise
        raise RemoteError(
            f"the machine of {deployment} runs, but its Session Manager agent does not answer yet",
            fix="wait a minute, then re-run the command",
            code="agent_offline",
        ) from None
    session_json = json.dumps({key: opened[key] for key in ("SessionId", "TokenValue", "StreamUrl")})
    environment = {_BY_ENVIRONMENT: session_json} if version > _LAST_BY_ARGUMENT else {}
    first = _BY_ENVIRONMENT if environment else session_json
    words = (_PLUGIN, first, account.region, "StartSession", account.profile or "", json.dumps(request))
    return Session((*words, account.endpoint("ssm")), environment)


def api_key(account: Account, deployment: str) -> str | None:
    """The key of what a deployment serves, from its SecureString; None when it serves nothing."""
    names = ResourceNames(deployment, account.identity()["Account"], account.region)
    found = account.find("ssm", "get_parameter", Name=names.api_key, WithDecryption=True)
    return str(found["Parameter"]["Value"]) if found else None


def connect(held: Session, *, interactive: bool) -> int:
    """Carry a session in the foreground; the plugin's exit code. Ctrl-C goes to it, not to us.

    The plugin's messages about a forwarded port go to stderr.
    """
    process = subprocess.Popen(
        held.words, env={**os.environ, **held.environment}, stdout=None if interactive else sys.stderr.fileno()
    )
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _plugin_version() -> tuple[int, ...]:
    if shutil.which(_PLUGIN) is None:
        raise UsageError(
            f"connecting needs AWS's {_PLUGIN}",
            fix="install it: https://docs.aws.amazon.com/systems-manager/latest/userguide/"
            "session-manager-working-with-install-plugin.html",
            code="missing_program",
        )
    try:
        version = subprocess.run([_PLUGIN, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
        return tuple(int(part) for part in version.strip().split("."))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ()  # as old as can be: it is given everything as arguments


def _in_service(account: Account, deployment: str) -> str:
    """The machine's id. Raises UsageError when none runs, RemoteError while it starts."""
    machine = _machine(account, deployment)
    if machine is None:
        raise UsageError(f"no machine of {deployment} runs", fix="modelpick status", code="not_running")
    if machine.state != "running":
        raise RemoteError(
            f"the machine of {deployment} is starting",
            fix="wait a minute, then re-run the command",
            code="not_in_service",
        )
    return machine.id


def _machine(account: Account, deployment: str) -> Ec2Machine | None:
    return next((machine for machine in inventory.machines(account, deployment) if machine.runs), None)
