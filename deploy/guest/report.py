"""What the machine tells and asks of AWS, by the AWS CLI of its image. Standard library only.

report.py stage NAME [DETAIL]     write progress/machine.json to the bucket
report.py suspend                 nothing replaces this machine
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
BUCKET = os.environ.get("MODELPICK_BUCKET", "")
GROUP = os.environ.get("MODELPICK_GROUP", "")
STAGES = ("driver", "packages", "job", "running", "ending", "ended", "failed")


def aws(*words, timeout=60):
    """Run one AWS CLI command; whether it succeeded, and what it printed."""
    try:
        done = subprocess.run(["aws", *words], capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def stage(name, detail=""):
    """Tell the bucket, and so the user, how far the machine is. The last one stays on disk."""
    told = {
        "schema_version": 1,
        "stage": name,
        "detail": detail,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    path = HOME / "run" / "machine.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))
    return aws("s3", "cp", "--only-show-errors", str(path), f"s3://{BUCKET}/progress/machine.json")[0]


def suspend():
    """Suspend what would replace a machine that ends itself."""
    named = ("--auto-scaling-group-name", GROUP, "--scaling-processes", "Launch", "ReplaceUnhealthy", "AZRebalance")
    return aws("autoscaling", "suspend-processes", *named)[0]


def group_to_zero(attempts=30, pause=10.0):
    """Set the machine's own group to zero; the power-off behind it ends the machine even if this never succeeds."""
    sizes = ("--min-size", "0", "--max-size", "0", "--desired-capacity", "0")
    for _ in range(attempts):
        if aws("autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", GROUP, *sizes)[0]:
            return True
        time.sleep(pause)
    return False


if __name__ == "__main__":
    if sys.argv[1] == "stage":
        stage(sys.argv[2], " ".join(sys.argv[3:]))
    elif sys.argv[1] == "suspend" and not suspend():
        print("the group could not be told not to replace this machine", file=sys.stderr)
