"""A machine on this machine: the user-data's own script, install.sh and the units' commands, really run as processes.

Real: bash, sha256sum, tar, python, pip, the AWS CLI, the bundle, the stand-in account. Stand-ins: the metadata service,
nvidia-smi, systemctl (starts what the unit files say), shutdown (writes down when).
"""

import contextlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import yaml

from modelpick.aws import bundle
from modelpick.aws.names import Names
from modelpick.aws.spec import Spec
from tests.stand_ins.aws_account import Aws

SYSTEMCTL = """#!/bin/bash
# enable --now UNIT: start what the unit's ExecStart says; stop UNIT: SIGTERM, and wait for its end.
run="$MODELPICK_ROOT/run"; mkdir -p "$run"
unit="${@: -1}"
case "$1" in
  enable)
    file="$MODELPICK_ROOT/etc/systemd/system/$unit"
    words=$(sed -n 's/^ExecStart=//p' "$file")
    words=${words//\\/opt\\/modelpick/$MODELPICK_ROOT/opt/modelpick}
    words=${words/\\/usr\\/bin\\/python3/$PYTHON}
    for env in $(sed -n 's/^EnvironmentFile=//p' "$file"); do set -a; . "$MODELPICK_ROOT$env"; set +a; done
    setsid $words >>"$run/$unit.log" 2>&1 &
    echo $! >"$run/$unit.pid" ;;
  stop)
    [ -f "$run/$unit.pid" ] || exit 0
    pid=$(cat "$run/$unit.pid"); kill -TERM "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done ;;
esac
"""
NVIDIA_SMI = """#!/bin/bash
[ -f "$MODELPICK_ROOT/no-gpu" ] && { echo "NVIDIA-SMI has failed" >&2; exit 9; }
case "$*" in
  *utilization*) cat "$MODELPICK_ROOT/utilization" ;;
  *) echo "NVIDIA A10G, 23028 MiB, 570.86.15" ;;
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


class Metadata(http.server.ThreadingHTTPServer):
    """An instance metadata service, version 2: a token first; spot notices when told."""

    notice = False

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
            self._answer(200, '{"action": "terminate"}')
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

    def __init__(self, root: Path, aws: Aws, spec: Spec, names: Names, *, real_venv: bool = False) -> None:
        self.root, self.metadata = root, Metadata()
        programs = root / "bin"
        programs.mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("nvidia-smi", NVIDIA_SMI), ("shutdown", SHUTDOWN)):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        if not real_venv:
            (programs / "python3").write_text(QUICK_PYTHON)
            (programs / "python3").chmod(0o755)
        (root / "utilization").write_text("97\n")
        document = yaml.safe_load(bundle.payload(spec, names).user_data)
        for entry in document["write_files"]:
            path = root / entry["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(entry["content"])
            path.chmod(int(entry["permissions"], 8))
        self.command = [str(root / document["runcmd"][0][0].lstrip("/"))]
        self.environment = {
            **aws.environment, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(root),
            "MODELPICK_ROOT": str(root),
            "MODELPICK_METADATA": f"http://127.0.0.1:{self.metadata.server_port}", "MODELPICK_ROUND_SECONDS": "0.2",
            "MODELPICK_SAVE_SECONDS": "1", "MODELPICK_RETRY_SECONDS": "0", "PYTHON": sys.executable,
        }  # fmt: skip

    def boot(self) -> "subprocess.CompletedProcess[str]":
        """Run what runcmd runs, to its end; the units go on."""
        return subprocess.run(
            self.command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )

    def shutdowns(self) -> list[str]:
        """The arguments of every `shutdown`."""
        path = self.root / "shutdown"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, name: str, seconds: float = 60.0) -> None:
        """Until a file is there."""
        deadline = time.monotonic() + seconds
        while not (self.root / name).exists():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def wait_for_end(self, seconds: float = 90.0) -> None:
        """Until the watchdog has ended the machine."""
        deadline = time.monotonic() + seconds
        while "-P +1" not in self.shutdowns():
            if time.monotonic() > deadline:
                raise AssertionError(self.logs())
            time.sleep(0.2)

    def logs(self) -> str:
        """What the units printed."""
        return "\n".join(f"{path.name}: {path.read_text()}" for path in (self.root / "run").glob("*.log"))

    def off(self) -> None:
        """The power goes."""
        for path in (self.root / "run").glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.killpg(int(path.read_text()), signal.SIGKILL)
        self.metadata.shutdown()
        self.metadata.server_close()
        shutil.rmtree(self.root, ignore_errors=True)
