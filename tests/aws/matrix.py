"""Kills a forked, warmed process at one call, and says what must hold afterwards."""

import os
import signal
from collections.abc import Callable
from typing import Any

from modelpick.aws import teardown
from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.stand_ins.aws_account import Aws


def killed(aws: Aws, action: Callable[[], Any], *, call: int, when: str) -> bool:
    """Run `action` in a fork that the account SIGKILLs before or after the effect of its `call`-th mutating call.

    Whether it was killed; False when it ended by itself before that.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(read, 1)
        try:
            action()
        except ModelpickError:
            os._exit(1)
        except BaseException:
            os._exit(70)
        os._exit(0)
    aws.kill(pid, call=call, when=when)
    os.write(write, b"g")
    _, status = os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    aws.forgive()
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) in (0, 1), "the command broke"
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def faults(aws: Aws) -> list[str]:
    """Everything that breaks the guarantee at this instant: a machine, or a wish for one, without both switches."""
    state = aws.state()
    return [
        *(f"unwatched: {item}" for item in state["unwatched"]),
        *(f"wanting, unwatched: {item}" for item in state["wanting_unwatched"]),
        *(f"launched unarmed: {item}" for item in state["launched_unarmed"]),
        *(f"never forgotten: {item}" for item in state["unforgetting"]),
    ]


def faults_after_limit(aws: Aws, hours: float = 8.0) -> list[str]:
    """What still bills for a machine once every limit has passed."""
    with aws.saved():
        aws.advance(hours=hours)
        state = aws.state()
        bill = {item: state["bill"].get(item, 0.0) for item in ("machine", "address", "disk")}
        aws.advance(hours=1)
        later = aws.state()["bill"]
        return [f"still billing {item}" for item, usd in bill.items() if later.get(item, 0.0) != usd] + faults(aws)


def faults_after_down(aws: Aws, account: Account, name: str = "demo") -> list[str]:
    """What is left after `down`."""
    with aws.saved():
        teardown.down(account, name, keep=teardown.Retention(results=False))
        return [f"left: {item}" for item in aws.state()["left"]] + faults(aws)


def faults_after_again(aws: Aws, action: Callable[[], Any], machines: tuple[int, ...]) -> list[str]:
    """What is wrong after the same command again: `machines` are the numbers of machines that are right."""
    try:
        action()
    except ModelpickError as error:
        said = error.code
    else:
        said = "done"
    count = len(aws.state()["machines"])
    wrong = [] if count in machines else [f"{count} machines after the same command again ({said})"]
    return wrong + faults(aws)
