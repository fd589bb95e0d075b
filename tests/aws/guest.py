"""A machine on this machine: user-data's own commands, install.sh and the units' programs, really run as processes.

Real: sh, bash, sha256sum, tar, python, pip, the AWS CLI, the bundle, the stand-in account. Stand-ins: the metadata
service, nvidia-smi, systemd (tests/stand_ins/systemd.py obeys the unit files), apt-get, shutdown (writes down when).
What they hide stands in docs/proving-on-aws.md.
"""

import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from modelpick.aws import bundle
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import Spec
from tests.stand_ins import systemd
from tests.stand_ins.aws_account import Aws

SYSTEMCTL = """#!/bin/bash
exec "$PYTHON" -I -S "$STAND_IN_SYSTEMD" "$@"
"""
NVIDIA_SMI = """#!/bin/bash
[ -f "$MODELPICK_ROOT/no-gpu" ] && { echo "NVIDIA-SMI has failed" >&2; exit 9; }
case "$*" in
  *utilization*) echo "$(cat "$MODELPICK_ROOT/utilization"), 10000, 23028" ;;
  *) echo "NVIDIA A10G, 23028 MiB, $(cat "$MODELPICK_ROOT/driver")" ;;
esac
"""
SHUTDOWN = """#!/bin/bash
echo "$*" >>"$MODELPICK_ROOT/shutdown"
"""
QUICK_PYTHON = """#!/bin/bash
# python3 without the seconds that a virtual environment takes: it and its pip are empty shells.
[ "$1 $2" = "-m venv" ] || exec "$PYTHON" "$@"
mkdir -p "$3/bin"; printf '#!/bin/bash\\n' >"$3/bin/pip"; chmod +x "$3/bin/pip"
"""


NOTHING = """#!/bin/bash
exit 0
"""
QUICK_AWS = """#!/bin/bash
# aws over a folder, where little is asked of it: objects lie below $MODELPICK_ROOT/s3, all that was asked in asked.
echo "$*" >>"$MODELPICK_ROOT/asked"
here() { case "$1" in s3://*) echo "$MODELPICK_ROOT/s3/${1#s3://*/}" ;; *) echo "$1" ;; esac; }
words=()
for word in "${@:3}"; do [[ $word == --* ]] || words+=("$word"); done
from=$(here "${words[0]}") to=$(here "${words[1]}")
case "$1 $2" in
  "s3 rm") rm -rf "$from" ;;
  "s3 sync") mkdir -p "$from" "$to" && cp -r "$from/." "$to" ;;
  "s3 cp")
    [ "$to" != - ] || exec cat "$from"
    mkdir -p "${to%/*}"
    if [ "$from" = - ]; then cat >"$to"; else cp "$from" "$to"; fi ;;
  "ssm get-parameter")
    [[ $* == *api-key* ]] || { echo ParameterNotFound >&2; exit 255; }
    echo '{"Parameter": {"Value": "sk-secret"}}' ;;
esac
"""


class Metadata(http.server.ThreadingHTTPServer):
    """An instance metadata service, version 2: a token first; spot notices when told."""

    notice = rebalance = False
    seconds = 120.0  # of the notice

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MetadataHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _MetadataHandler(http.server.BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        self._answer(200, "token") if self.path == "/latest/api/token" else self._answer(404, "")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._answer(401, "")
        elif self.path == "/latest/meta-data/spot/instance-action" and self.server.notice:
            at = datetime.now(UTC) + timedelta(seconds=self.server.seconds)
            self._answer(200, json.dumps({"action": "terminate", "time": f"{at:%Y-%m-%dT%H:%M:%SZ}"}))
        elif self.path == "/latest/meta-data/events/recommendations/rebalance" and self.server.rebalance:
            self._answer(200, "{}")
        else:
            self._answer(404, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


class Machine:
    """One machine under `root`, as user-data finds it."""

    def __init__(self, root: Path, aws: Aws, spec: Spec, names: ResourceNames, *, real_venv: bool = False) -> None:
        self.root, self.metadata = root, Metadata()
        programs = root / "bin"
        programs.mkdir(parents=True)
        listed = (("systemctl", SYSTEMCTL), ("nvidia-smi", NVIDIA_SMI), ("shutdown", SHUTDOWN), ("apt-get", NOTHING))
        for name, text in (*listed, *([] if real_venv else [("python3", QUICK_PYTHON)])):
            self.program(name, text)
        (root / "utilization").write_text("97\n")
        (root / "driver").write_text("595.91.07\n")
        payload = bundle.payload(spec, names)
        (root / "s3" / "bundle").mkdir(parents=True)  # for QUICK_AWS
        (root / "s3" / "bundle" / f"{payload.bundle_sha256}.tar.gz").write_bytes(payload.bundle)
        self.document = yaml.safe_load(payload.user_data)
        for entry in self.document["write_files"]:
            path = root / entry["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(entry["content"])
            path.chmod(int(entry.get("permissions", "0644"), 8))
        self.environment = {
            **aws.environment, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(root),
            "MODELPICK_ROOT": str(root), "STAND_IN_SYSTEMD": str(Path(systemd.__file__)),
            "MODELPICK_METADATA": f"http://127.0.0.1:{self.metadata.server_port}", "MODELPICK_ROUND_SECONDS": "0.2",
            "MODELPICK_SAVE_SECONDS": "3", "MODELPICK_RETRY_SECONDS": "0", "PYTHON": sys.executable,
        }  # fmt: skip

    def program(self, name: str, text: str) -> None:
        """A program of this machine's, before those of the computer it is pretended on."""
        (self.root / "bin" / name).write_text(text)
        (self.root / "bin" / name).chmod(0o755)

    def boot(self, *, wait: bool = True) -> "subprocess.CompletedProcess[str]":
        """What cloud-init does at an instance's first boot; with `wait` until set-up has ended. The units go on.

        The return code is set-up's.
        """
        self.start_of_boot()
        for line in self.document["runcmd"]:
            self._run(line)
        unit = "modelpick-setup.service"
        while wait and systemd_says(self.root, unit).get("ActiveState") in ("activating", "deactivating"):
            time.sleep(0.1)
        code = int(str(systemd_says(self.root, unit).get("code", 1)))
        return subprocess.CompletedProcess([unit], code, self.boot_log(), self.boot_log())

    def start_of_boot(self) -> None:
        """What cloud-init does at every boot, before everything else."""
        (self.root / "run" / "systemd" / "system").mkdir(parents=True, exist_ok=True)  # as on every systemd
        for line in self.document["bootcmd"]:
            self._run(line.replace("/run/systemd", f"{self.root}/run/systemd"))

    def reboot(self) -> None:
        """The processes are gone, /run is empty; then what a boot that is not the first does."""
        self.kill()
        shutil.rmtree(self.root / "run")
        self.start_of_boot()
        for unit in sorted(self.root.glob("enabled-*")):
            self._run(f"systemctl start --no-block {unit.name.removeprefix('enabled-')}")

    def _run(self, line: str) -> None:
        subprocess.run(["/bin/sh", "-c", line], env=self.environment, timeout=120, check=True)

    def boot_log(self) -> str:
        """What set-up said."""
        path = self.root / "var" / "log" / "modelpick.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def timers(self) -> list[str]:
        """Every power-off that was armed, `UNIT SPAN`."""
        path = self.root / "timers"
        return path.read_text().splitlines() if path.exists() else []

    def shutdowns(self) -> list[str]:
        """The arguments of every `shutdown`."""
        path = self.root / "shutdown"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, name: str, seconds: float = 900.0) -> None:
        """Until a file is there."""
        deadline = time.monotonic() + seconds
        while not (self.root / name).exists():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def wait_for_end(self, seconds: float = 1200.0, how: str = "-P +1") -> None:
        """Until the watchdog has ended the machine, or (`how` is poweroff) the plain end."""
        deadline = time.monotonic() + seconds
        while how not in self.shutdowns():
            if time.monotonic() > deadline:
                raise AssertionError(self.logs())
            time.sleep(0.2)

    def logs(self) -> str:
        """What set-up and the units printed."""
        files = (self.root / "run" / "stand-in").glob("*.log")
        return "\n".join([self.boot_log(), *(f"{path.name}: {path.read_text(errors='replace')}" for path in files)])

    def kill(self) -> None:
        """Every process of this machine ends, in whatever session. Its environment tells which."""
        mine = f"MODELPICK_ROOT={self.root}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):  # it has just ended, or is not ours to look at
                if mine in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)

    def off(self) -> None:
        """The power goes."""
        self.kill()
        self.kill()  # what the first round's processes started while it ran
        self.metadata.shutdown()
        self.metadata.server_close()
        shutil.rmtree(self.root, ignore_errors=True)


def systemd_says(root: Path, unit: str) -> dict[str, object]:
    """A unit's state on the pretended machine."""
    path = root / "run" / "stand-in" / unit
    return dict(json.loads(path.read_text())) if path.exists() else {}
