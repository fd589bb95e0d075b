"""Ends the machine: job over, idle, spot notice, time limit. Results are in the bucket before it goes.

Everything is read again each round, nothing is remembered that a restart would lose. Behind it stand the power-off that
user-data armed (moved with the limit), the group's scheduled action and the backstop schedule. Standard library only.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import report
from report import BUCKET, HOME, aws

METADATA = os.environ.get("MODELPICK_METADATA", "http://169.254.169.254")
ROUND_SECONDS = float(os.environ.get("MODELPICK_ROUND_SECONDS", "5"))  # spot notices: EC2 advises every 5 seconds
SAVE_SECONDS = float(os.environ.get("MODELPICK_SAVE_SECONDS", "60"))
SAVING_TAKES = timedelta(minutes=5)  # before the limit the job is told to stop, so that its results are out in time
BUSY_PERCENT = 5  # a GPU below this does nothing for anybody
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def metadata(path):
    """A value of the instance metadata service (version 2), or None."""
    try:
        head = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        ask = urllib.request.Request(f"{METADATA}/latest/api/token", method="PUT", headers=head)
        with _DIRECT.open(ask, timeout=2) as answer:
            token = answer.read().decode()
        get = urllib.request.Request(f"{METADATA}/latest/{path}", headers={"X-aws-ec2-metadata-token": token})
        with _DIRECT.open(get, timeout=2) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError, ValueError):
        return None


def spot_notice():
    """Whether EC2 takes the machine back within two minutes."""
    return metadata("meta-data/spot/instance-action") is not None


def limit():
    """The time this machine must be gone by, as `up` and `extend` wrote it; None when it cannot be read."""
    done, text = aws("s3", "cp", "--only-show-errors", f"s3://{BUCKET}/bundle/limit.json", "-")
    try:
        told = json.loads(text)["stop_at"] if done else None
        return datetime.strptime(told, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) if told else None
    except (ValueError, KeyError):
        return None


def arm_power_off(stop_at):
    """Move the hard power-off behind the limit: 30 minutes after it, behind both of AWS's switches."""
    minutes = int((stop_at + timedelta(minutes=30) - datetime.now(UTC)).total_seconds() // 60)
    subprocess.run(["shutdown", "-P", f"+{max(minutes, 1)}"], check=False, capture_output=True)


def busy():
    """Whether a GPU works right now; unknown counts as busy."""
    ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True)
        values = [float(line) for line in done.stdout.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return True
    aws(
        "cloudwatch", "put-metric-data", "--namespace", "modelpick", "--metric-name", "GpuUtilization",
        "--unit", "Percent", "--value", str(max(values, default=0.0)),
        "--dimensions", f"Deployment={os.environ['MODELPICK_DEPLOYMENT']}",
    )  # fmt: skip
    return max(values, default=100.0) >= BUSY_PERCENT


def save():
    """Results and progress to the bucket; whether all of it is there."""
    done, _ = aws("s3", "sync", "--only-show-errors", f"{HOME}/results/", f"s3://{BUCKET}/results/", timeout=3600)
    log = HOME / "run" / "job.log"
    if log.exists():
        done = aws("s3", "cp", "--only-show-errors", str(log), f"s3://{BUCKET}/progress/job.log")[0] and done
        send_log(log)
    return done


def send_log(log):
    """What is new in the job's log, to CloudWatch: at most 500 lines a time, where it got to in a file."""
    mark = HOME / "run" / "job.log.sent"
    sent = int(mark.read_text()) if mark.exists() else 0
    with log.open("rb") as source:
        source.seek(sent)
        lines = source.readlines()[:500]
    lines = lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]
    if not lines:
        return
    now = int(time.time() * 1000)
    # An event holds 256 KiB at most (CloudWatch Logs quotas); a line of a job does not need more than 8.
    events = [{"timestamp": now, "message": line.decode("utf-8", "replace").strip()[:8192] or " "} for line in lines]
    named = ("--log-group-name", os.environ["MODELPICK_LOG_GROUP"], "--log-stream-name", "job")
    if sent == 0:
        aws("logs", "create-log-stream", *named)
    if aws("logs", "put-log-events", *named, "--log-events", json.dumps(events))[0]:
        mark.write_text(str(sent + sum(len(line) for line in lines)))


def end(reason):
    """Stop the job, bring the results home, delete the data, set the group to zero, power off behind it."""
    report.stage("ending", reason)
    subprocess.run(["systemctl", "stop", "modelpick-job.service"], check=False, timeout=180)
    saved = save()
    aws("s3", "rm", "--recursive", "--only-show-errors", f"s3://{BUCKET}/data/")
    code = HOME / "run" / "job.exit"
    said = f"{reason}; exit code {code.read_text()}" if code.exists() else reason
    report.stage("ended", said if saved else f"{said}; results NOT saved")
    report.group_to_zero(attempts=3)
    subprocess.run(["shutdown", "-P", "+1"], check=False)


def reason_to_end(job, stop_at, idle_since):
    """Why the machine should go now, or None."""
    if spot_notice():
        return "spot interruption"
    if (HOME / "run" / "job.exit").exists():
        return "the job is over"
    if stop_at is not None and datetime.now(UTC) >= stop_at - SAVING_TAKES:
        return "the time limit"
    idle = float(job.get("idle_minutes", 30))
    if idle_since is not None and time.monotonic() - idle_since >= idle * 60:
        return f"idle for {idle:g} minutes"
    return None


def main():
    job_file = HOME / "job.json"
    saved_at = idle_since = stop_at = None
    while True:
        job = json.loads(job_file.read_text()) if job_file.exists() else {}
        if saved_at is None or time.monotonic() - saved_at >= SAVE_SECONDS:
            stop_at = limit() or stop_at
            if stop_at is not None:
                arm_power_off(stop_at)
            save()
            started = (HOME / "run" / "job.started").exists()  # what comes before it is not idleness
            idle_since = None if busy() or not started else idle_since or time.monotonic()
            saved_at = time.monotonic()
        if reason := reason_to_end(job, stop_at, idle_since):
            end(reason)
            return
        time.sleep(ROUND_SECONDS)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--end"]:
        end(" ".join(sys.argv[2:]))
    else:
        main()
