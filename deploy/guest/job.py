"""Runs the job of job.json and leaves its exit code: data in, command, results out. Standard library only.

job.json: {"schema_version": 1, "command": [...], "environment": {...}, "kind": "job" | "service", "idle_minutes": N}
The command runs in /opt/modelpick with data/ filled; what it writes to results/ is what is kept. A job ends by itself;
a service ends when it has been idle, and finds the API key it is to ask for in run/api-key.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import report


def hub_token():
    """The Hub token from its SecureString, or None; it is never written down."""
    name = os.environ.get("MODELPICK_TOKEN_PARAMETER")
    return secret(name) if name else None


def secret(name):
    """The value of a SecureString, or None."""
    done, text = report.aws(
        "ssm", "get-parameter", "--with-decryption", "--name", name, "--query", "Parameter.Value", "--output", "text"
    )
    return text.strip() if done else None


def put_api_key(path, attempts=5):
    """Put the deployment's API key where only its owner reads it; whether it could be had."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(float(os.environ.get("MODELPICK_RETRY_SECONDS", "20")))
        if key := secret(f"/modelpick/{os.environ['MODELPICK_DEPLOYMENT']}/api-key"):
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{key}\n")
            return True
    return False


def main():
    home = report.HOME
    exit_file = home / "run" / "job.exit"
    exit_file.unlink(missing_ok=True)
    job = json.loads((home / "job.json").read_text())
    environment = {**os.environ, **job.get("environment", {}), "PATH": f"{home}/venv/bin:{os.environ['PATH']}"}
    if token := hub_token():
        environment["HF_TOKEN"] = token
    for prefix in ("data", "results"):  # results: what an interrupted machine before this one had saved
        source = f"s3://{report.BUCKET}/{prefix}/"
        report.aws("s3", "sync", "--only-show-errors", source, f"{home}/{prefix}/", timeout=3600)
    if job.get("kind") == "service" and not put_api_key(home / "run" / "api-key"):
        # A service with another key than its user has would run for nobody, and be paid for.
        (home / "run" / "job.log").write_text("the API key cannot be read from its SecureString\n")
        exit_file.write_text("4")
        return 0
    report.stage("running")
    (home / "run" / "job.started").touch()
    told, child = [], None

    def forward(number, _frame):
        told.append(number)
        if child is not None:
            os.killpg(child.pid, number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    with (home / "run" / "job.log").open("ab") as log:
        child = subprocess.Popen(
            job["command"], cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        for number in told:  # told to stop before there was anything to tell
            os.killpg(child.pid, number)
        code = child.wait()
    exit_file.write_text(str(code if code >= 0 else 128 - code))  # 128 + the signal's number, as shells tell it
    return 0


if __name__ == "__main__":
    sys.exit(main())
