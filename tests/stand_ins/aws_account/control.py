"""The tests' handle on the stand-in account."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Aws:
    """One running stand-in account at `endpoint`."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to this account and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }  # fmt: skip

    def world(self, **facts: Any) -> None:
        """Set facts of the account: quotas, denied, usd_per_hour, blocked, launch_error, iam_settles_in, offset,
        policy (an IAM document that every call is held to)."""
        self._ask("world", facts)

    def no_capacity(self, type: str | None = None, zone: str | None = None, market: str | None = None) -> None:
        """No capacity for what matches (None: any), until capacity() is called."""
        self._ask("world", {"blocked": [{"type": type, "zone": zone, "market": market}]})

    def capacity(self) -> None:
        """Capacity again, everywhere."""
        self._ask("world", {"blocked": []})

    def kill(self, pid: int, *, call: int | None = None, action: str | None = None, when: str) -> None:
        """SIGKILL `pid` before or after the effect of its `call`-th mutating call from now, or at `action`."""
        self._ask("plan", {"what": "kill", "pid": pid, "call": call, "action": action, "when": when})

    def fail(
        self, action: str | None = None, *, what: str = "fail", call: int | None = None, times: int = 1, **how: Any
    ) -> None:
        """Make calls fail: what = fail (refused with `code`), lost (done, but 500), drop (done, no answer), ignored
        (not done, but 200)."""
        self._ask("plan", {"what": what, "action": action, "call": call, "times": times, **how})

    def forgive(self) -> None:
        """Nothing planned goes wrong any more."""
        self._ask("forgive", {})

    def advance(self, *, hours: float = 0.0, seconds: float = 0.0) -> None:
        """Let simulated time pass."""
        self._ask("advance", {"seconds": hours * 3600 + seconds})

    def power_off(self, instance_id: str) -> None:
        """The machine shuts itself down."""
        self._ask("power_off", {"instance_id": instance_id})

    def state(self) -> dict[str, Any]:
        """What runs, what watches it, what is left, what was spent."""
        answer: dict[str, Any] = self._ask("state", {})
        return answer

    def calls(self, *, clear: bool = False) -> list[tuple[str, bool]]:
        """(service:Action, mutating) of every call since the start or the last clearing."""
        return [(name, mutating) for name, mutating in self._ask("calls", {"clear": clear})]

    @contextmanager
    def saved(self) -> Iterator[None]:
        """Whatever happens inside is undone."""
        self._ask("save", {})
        try:
            yield
        finally:
            self._ask("restore", {})

    def stop(self) -> None:
        """End the account."""
        self._ask("stop", {})

    def _ask(self, verb: str, value: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self.endpoint}/stand-in/{verb}", json.dumps(value).encode(), method="POST")
        with _DIRECT.open(request, timeout=60) as answer:
            return json.loads(answer.read())


@contextmanager
def serve(**facts: Any) -> Iterator[Aws]:
    """A fresh account in a process of its own, ended afterwards."""
    read, write = os.pipe()
    code = f"from tests.stand_ins.aws_account.server import run; run({write})"
    environment = {
        "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(_ROOT), "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "stand-in", "AWS_SECRET_ACCESS_KEY": "stand-in",
    }  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=(write,), env=environment, cwd=_ROOT)
    os.close(write)
    with os.fdopen(read) as line:
        port = int(line.readline())
    aws = Aws(f"http://127.0.0.1:{port}")
    aws.world(**facts)
    try:
        yield aws
    finally:
        aws.stop()
        process.wait(30)
