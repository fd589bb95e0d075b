"""What the machine tells and asks of AWS, by the AWS CLI of its image. Standard library only.

report.py stage NAME [DETAIL]     write progress/machine.json to the bucket

Small state lies in /run/modelpick: in memory, so that a full disk cannot keep the machine from ending.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = os.environ.get("MODELPICK_ROOT", "")
HOME = Path(f"{ROOT}/opt/modelpick")
RUN = Path(f"{ROOT}/run/modelpick")
BUCKET = os.environ.get("MODELPICK_BUCKET", "")
GROUP = os.environ.get("MODELPICK_GROUP", "")
STAGES = ("driver", "packages", "job", "running", "ending", "ended", "failed")


def aws(*words, timeout=60):
    """Run one AWS CLI command; whether it succeeded, and what it printed."""
    try:
        done = subprocess.run(["aws", *words], capture_output=True, timeout=max(timeout, 1), check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    said = done.stdout if done.returncode == 0 else done.stderr
    return done.returncode == 0, said.decode("utf-8", "replace")


def stage(name, detail=""):
    """Tell the bucket, and so the user, how far the machine is; whether it could be told."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = write("machine.json", json.dumps({"schema_version": 1, "stage": name, "detail": detail, "at": at}))
    return aws("s3", "cp", "--only-show-errors", str(path), f"s3://{BUCKET}/progress/machine.json")[0]


def write(name, text):
    """A small state file, whole or as it was before."""
    RUN.mkdir(parents=True, exist_ok=True)
    partial = RUN / f".{name}"
    partial.write_text(text)
    return partial.replace(RUN / name)


def read(name):
    """The content of a small state file as JSON; None where there is none."""
    try:
        return json.loads((RUN / name).read_text())
    except (OSError, ValueError):
        return None


def group_to_zero(attempts=30, pause=10.0):
    """Set the machine's own group to zero; the power-off behind it ends the machine even if this never succeeds."""
    sizes = ("--min-size", "0", "--max-size", "0", "--desired-capacity", "0")
    for _ in range(attempts):
        if aws("autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", GROUP, *sizes)[0]:
            return True
        time.sleep(pause)
    return False


if __name__ == "__main__":
    sys.exit(0 if stage(sys.argv[2], " ".join(sys.argv[3:])) else 1)
