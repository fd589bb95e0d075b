"""Ways to a machine that lets nothing in: its logs through CloudWatch, its ports through Session Manager."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta

from modelpick.aws import inventory
from modelpick.aws.account import Account
from modelpick.aws.names import Names
from modelpick.errors import UsageError

_POLL = 5.0


def log_lines(
    account: Account, deployment: str, *, follow: bool = False, since: timedelta | None = None
) -> Iterator[str]:
    """The job's log lines, oldest first; with `follow` until the machine is gone. Raises UsageError without a log."""
    names = Names(deployment, account.identity()["Account"], account.region)
    start = int(((account.now() - since).timestamp() if since else 0) * 1000)
    seen: set[str] = set()
    while True:
        found = account.find("logs", "filter_log_events", logGroupName=names.log_group, startTime=start)
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


def session(
    account: Account, deployment: str, *, port: int = 8000, local_port: int | None = None, shell: bool = False
) -> list[str]:
    """The command that connects: AWS CLI and its session plugin, which the user must have. Raises UsageError."""
    instance = _machine(account, deployment)
    if instance is None:
        raise UsageError(f"no machine of {deployment} runs", fix="modelpick status", code="not_running")
    missing = [name for name in ("aws", "session-manager-plugin") if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"connecting needs {' and '.join(missing)}",
            fix="install the AWS CLI and its Session Manager plugin",
            code="missing_program",
        )
    words = ["aws", "ssm", "start-session", "--region", account.region, "--target", instance]
    if shell:
        return words
    ports = f"portNumber={port},localPortNumber={local_port or port}"
    return [*words, "--document-name", "AWS-StartPortForwardingSession", "--parameters", ports]


def api_key(account: Account, deployment: str) -> str:
    """The key of what a deployment serves, from its SecureString. Raises UsageError when it serves nothing."""
    names = Names(deployment, account.identity()["Account"], account.region)
    found = account.find("ssm", "get_parameter", Name=names.api_key, WithDecryption=True)
    if found is None:
        raise UsageError(
            f"{deployment} has no API key: it serves nothing",
            fix="modelpick up MODEL --serve makes one that does; --shell connects without",
            code="no_key",
        )
    return str(found["Parameter"]["Value"])


def connect(words: list[str]) -> int:
    """Run a session in the foreground; its exit code. Ctrl-C goes to it, not to us."""
    process = subprocess.Popen(words)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _machine(account: Account, deployment: str) -> str | None:
    running = [
        item for item in inventory.instances(account, deployment) if item["State"]["Name"] in ("pending", "running")
    ]
    return str(running[0]["InstanceId"]) if running else None
