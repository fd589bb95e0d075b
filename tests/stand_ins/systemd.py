"""A systemd small enough to read, for one pretended machine below $MODELPICK_ROOT. Standard library only.

It obeys what the unit files say of: ExecStart, EnvironmentFile, ConditionPathExists=!, Type=notify, Restart=always,
StartLimitBurst, WatchdogSec (in haste), OnFailure, StandardOutput=append:, OnBootSec and drop-ins of
timers. As the real one it kills what a unit leaves behind when its main process is gone. Timers only write down when.

systemd.py start|stop|restart|enable|kill|show|is-system-running|poweroff|daemon-reload ...     as systemctl
systemd.py --mind UNIT                                                                          one unit's life
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(os.environ.get("MODELPICK_ROOT", "/nowhere"))
STATE = ROOT / "run" / "stand-in"
NOT_FROM_FILES = ("PATH", "HOME", "AWS_DEFAULT_REGION")  # of a real machine


def main() -> int:
    STATE.mkdir(parents=True, exist_ok=True)
    verb, words = sys.argv[1], sys.argv[2:]
    units = [word for word in words if not word.startswith("-")]
    if verb == "--mind":
        mind(units[0])
    elif verb in ("start", "restart", "enable"):
        for unit in units:
            if verb == "enable":
                (ROOT / f"enabled-{unit}").touch()
            if verb != "enable" or "--now" in words:
                start(unit, wait="--no-block" not in words)
    elif verb == "stop":
        for unit in (unit if "." in unit else f"{unit}.service" for unit in units):
            stop(unit, wait="--no-block" not in words)
    elif verb == "kill":
        kill_all(mark(units[0]))
    elif verb == "show":
        show(units[0], words[-1].split("=", 1)[1].split(","))
    elif verb == "is-system-running":
        print("running")
    elif verb == "poweroff":
        with (ROOT / "shutdown").open("a") as told:
            told.write("poweroff\n")
        kill_all(f"MODELPICK_ROOT={ROOT}")
    return 0


def settings(unit: str) -> dict[str, list[str]]:
    """What a unit file and its drop-ins say; an empty value resets."""
    said: dict[str, list[str]] = {}
    files = [path for base in ("etc", "run") for path in [ROOT / base / "systemd/system" / unit] if path.exists()]
    files += sorted((ROOT / "run/systemd/system" / f"{unit}.d").glob("*.conf"))
    for path in files:
        for line in path.read_text().splitlines():
            key, found, value = line.partition("=")
            if found and not line.startswith("#"):
                said[key] = [*said.get(key, []), value] if value else []
    return said


def start(unit: str, *, wait: bool) -> None:
    said = settings(unit)
    if unit.endswith(".timer"):
        with (ROOT / "timers").open("a") as armed:
            armed.write(f"{unit} {said['OnBootSec'][-1]}\n")
        return
    for condition in said.get("ConditionPathExists", []):
        if (ROOT / condition.removeprefix("!/")).exists():
            return
    if not said:
        return  # a unit of the image's that is not here
    note(unit, ActiveState="activating")
    outside = {key: value for key, value in os.environ.items() if key != "MODELPICK_UNIT"}  # not of the unit that asks
    with (STATE / f"{unit}.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, "--mind", unit], start_new_session=True, env=outside,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    while wait and told(unit)["ActiveState"] == "activating":
        time.sleep(0.05)


def stop(unit: str, *, wait: bool) -> None:
    now = told(unit)
    if now.get("ActiveState") not in ("active", "activating"):
        return
    note(unit, ActiveState="deactivating")
    tell(now.get("pid", 0), signal.SIGTERM)
    while wait and told(unit)["ActiveState"] == "deactivating":
        time.sleep(0.05)


def mind(unit: str) -> None:
    """Run a unit until it is stopped, or ends for good."""
    said, starts = settings(unit), 0
    while True:
        starts += 1
        code = run(unit, said)
        kill_all(mark(unit))
        if told(unit)["ActiveState"] == "deactivating":
            note(unit, ActiveState="inactive")
            return
        if said.get("Restart") == ["always"] and starts < int(said.get("StartLimitBurst", ["5"])[0]):
            time.sleep(0.1)
            continue
        failed = code != 0 or said.get("Restart") == ["always"]
        note(unit, ActiveState="failed" if failed else "inactive", code=code)
        for next_unit in said.get("OnFailure", []) if failed else []:
            os.environ["MONITOR_UNIT"] = unit
            start(next_unit, wait=False)
        return


def run(unit: str, said: dict[str, list[str]]) -> int:
    """One life of a unit's main process; its exit code."""
    environment = {**os.environ, **dict([mark(unit).split("=", 1)])}
    for file in said.get("EnvironmentFile", []):
        for setting in (ROOT / file.lstrip("/")).read_text().splitlines():
            key, _, value = setting.partition("=")
            if key not in NOT_FROM_FILES:
                environment[key] = value
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = f"modelpick-{os.getpid()}-{time.monotonic_ns()}"
    line.bind(f"\0{address}")
    environment["NOTIFY_SOCKET"] = f"@{address}"
    output = said.get("StandardOutput", [""])[0].removeprefix("append:")
    path = ROOT / output.lstrip("/") if output else STATE / f"{unit}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        process = subprocess.Popen(
            command(said["ExecStart"][0]), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    if told(unit)["ActiveState"] == "deactivating":
        process.terminate()
    ready = said.get("Type") in (["exec"], ["simple"])
    note(unit, ExecMainStartTimestampMonotonic=time.monotonic_ns() // 1000, pid=process.pid)
    if ready:
        note(unit, over="activating", ActiveState="active")
    threading.Thread(target=watch, args=(unit, said, line, process), daemon=True).start()
    code = process.wait()
    line.close()
    return code


def watch(unit: str, said: dict[str, list[str]], line: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    """What a unit notifies; one that is silent for too long is killed."""
    haste = float(os.environ.get("STAND_IN_HASTE", "0"))  # this many times faster than the unit says; 0: never
    seconds = seconds_of(said.get("WatchdogSec", ["0"])[0]) / haste if haste else None
    while True:
        line.settimeout(seconds)
        try:
            message = line.recv(4096).decode()
        except TimeoutError:
            process.send_signal(signal.SIGABRT)
            time.sleep(0.2)
            process.kill()
            return
        except OSError:
            return
        if "READY=1" in message:
            note(unit, over="activating", ActiveState="active")
        if found := re.search(r"WATCHDOG_USEC=(\d+)", message):
            seconds = int(found[1]) / 1e6 / haste if haste else None


def seconds_of(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(min|h|s|)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"min": 60, "h": 3600}.get(unit, 1)


def command(line: str) -> list[str]:
    """ExecStart with the machine's paths below its root."""
    words = line.split()
    known = {"/usr/bin/python3": os.environ["PYTHON"], "/usr/bin/systemctl": str(ROOT / "bin" / "systemctl")}
    return [known.get(word) or (f"{ROOT}{word}" if word.startswith("/") else word) for word in words]


def show(unit: str, names: list[str]) -> None:
    facts = {"ActiveState": "inactive", "ExecMainStartTimestampMonotonic": 0, **told(unit)}
    facts |= {"CPUUsageNSec": cpu_nanoseconds(unit), "IPIngressBytes": "[no data]"}
    for name in names:
        print(f"{name}={facts[name]}")


def cpu_nanoseconds(unit: str) -> int:
    """What the unit's processes and those they waited for have computed."""
    ticks = 0
    for folder in processes(mark(unit)):
        with contextlib.suppress(OSError):
            ticks += sum(int(field) for field in (folder / "stat").read_text().rpartition(")")[2].split()[11:15])
    return ticks * 10**9 // os.sysconf("SC_CLK_TCK")


def told(unit: str) -> dict[str, object]:
    try:
        return dict(json.loads((STATE / unit).read_text()))
    except (OSError, ValueError):
        return {}


def note(unit: str, over: str | None = None, **facts: object) -> None:
    """Change a unit's state; with `over` only when it is in that one."""
    now = told(unit)
    if over is not None and now.get("ActiveState") != over:
        return
    partial = STATE / f".{unit}.{os.getpid()}.{threading.get_ident()}"
    partial.write_text(json.dumps({**now, **facts}))
    partial.replace(STATE / unit)


def tell(pid: object, number: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.kill(int(str(pid)), number)


def mark(unit: str) -> str:
    """What the environment of every process of a unit has: this stand-in's control group."""
    return f"MODELPICK_UNIT={ROOT}:{unit}"


def processes(mark: str) -> list[Path]:
    """Every process whose environment has `mark`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder)
    return found


def kill_all(mark: str) -> None:
    """SIGKILL for each of them, but not for this one."""
    for folder in processes(mark):
        if int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                os.kill(int(folder.name), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
