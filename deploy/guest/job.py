"""Runs the job of job.json and leaves its exit code: data in, command, results out. Standard library only.

job.json: {"schema_version": 1, "command": [...], "environment": {...}, "kind": "job" | "service", "idle_minutes": N,
"vllm": whether its environment is wanted, "keep_data": whether data/ outlives the machine}
The command runs in /opt/modelpick with data/ filled; what it writes to results/ is what is kept. A job ends by itself;
a service ends when it has been idle, and finds the API key it is to ask for in run/api-key.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import report
from report import HOME, aws

PAUSE = float(os.environ.get("MODELPICK_RETRY_SECONDS", "10"))
ATTEMPTS = 5
NOT_FOR_THE_JOB = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NOTHING_RUN = 4  # what it needs could not be had: modelpick's own exit code for credentials and AWS
LEFT_OVERS_SECONDS = 80.0  # what the command leaves running may save its state that long: less than TimeoutStopSec


class CannotBeginError(Exception):
    """What the job needs could not be had."""


def main():
    home = HOME
    job = json.loads((home / "job.json").read_text())
    told, running = [], []

    def forward(number, _frame):
        told.append(number)
        if not running:
            sys.exit(128 + number)  # nothing has begun that could be lost
        _tell(running[0].pid, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    with (home / "run" / "job.log").open("ab") as log:
        try:
            environment = {key: value for key, value in os.environ.items() if key not in NOT_FOR_THE_JOB}
            environment |= job.get("environment", {})
            environment["PATH"] = f"{home}/venv/bin:{os.environ['PATH']}"
            if vllm := environment.get("MODELPICK_VLLM"):
                # It compiles at its start, with what lies in its own environment (ninja) and in the image (nvcc).
                environment["PATH"] += f":{Path(vllm).parent}:/usr/local/cuda/bin"
            if token := secret(os.environ.get("MODELPICK_TOKEN_PARAMETER"), must=False):
                environment["HF_TOKEN"] = token
            if job.get("kind") == "service":
                put_api_key(home / "run" / "api-key")
            fetch()
        except Exception as error:
            said = error if isinstance(error, CannotBeginError) else traceback.format_exc()
            log.write(f"{said}\n".encode())
            (home / "run" / "job.exit").write_text(str(NOTHING_RUN))
            return 1
        report.stage("running")
        child = subprocess.Popen(
            job["command"], cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        running.append(child)
        code = child.wait()
        _outlive(child.pid)
    code = code if code >= 0 else 128 - code  # 128 + the signal's number, as shells tell it
    report.write("job.exit", str(code))
    if not told:  # one that was told to stop is not finished: after a reboot it goes on
        (home / "run" / "job.exit").write_text(str(code))
    return 0


def _outlive(group):
    """Wait for what the command started: a shell is gone before its child has saved its state, and when this process
    ends, systemd kills the rest."""
    until = time.monotonic() + LEFT_OVERS_SECONDS
    while _tell(group, 0):
        if time.monotonic() > until:
            _tell(group, signal.SIGKILL)
        time.sleep(0.2)


def secret(name, *, must):
    """The value of a SecureString; None where there is none and none `must` be."""
    words = ("ssm", "get-parameter", "--with-decryption", "--name", str(name), "--output", "json")
    text = "no parameter is configured"
    for attempt in range(ATTEMPTS if name else 0):
        done, text = aws(*words)
        if done:
            return json.loads(text)["Parameter"]["Value"]
        if "ParameterNotFound" in text and not must:
            return None
        _pause(attempt)
    if name or must:
        raise CannotBeginError(f"{name} cannot be read from its SecureString: {text.strip()}")
    return None


def put_api_key(path):
    """Put the deployment's API key where only its owner reads it: a service with another key than its user has would
    run for nobody, and be paid for."""
    key = secret(f"/modelpick/{os.environ['MODELPICK_DEPLOYMENT']}/api-key", must=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{key}\n")


def fetch():
    """data/, and once on a machine what an interrupted machine before this one had saved of results/.

    Once: after a reboot the disk knows more than the bucket, and a sync would put the older files in its place.
    """
    fetched = HOME / "run" / "fetched"
    if fetched.exists():
        return
    for prefix in ("data", "results"):
        for attempt in range(ATTEMPTS):
            words = ("s3", "sync", "--only-show-errors", f"s3://{report.BUCKET}/{prefix}/", f"{HOME}/{prefix}/")
            done, text = aws(*words, timeout=7200)
            if done:
                break
            _pause(attempt)
        else:
            raise CannotBeginError(f"{prefix}/ could not be fetched: {text.strip()[-500:]}")
    fetched.touch()


def _pause(attempt):
    if attempt + 1 < ATTEMPTS:
        time.sleep(PAUSE * 2**attempt)


def _tell(group, number):
    """Signal a process group; whether there is one (0: only ask)."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
