"""Ends the machine: job over, idle, spot notice, time limit. Results are in the bucket before it goes.

What must be known again after a restart lies in /run/modelpick. An error in a round is told and the next round comes;
one that hangs, or a watchdog that dies, systemd starts again; one that cannot live is followed by the plain end of
user-data. Behind all of it stand the power-off timer that the first line of user-data armed (moved with the limit),
the group's scheduled action and the backstop schedule. Standard library only.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import bring_home
import observe
import report
from report import BUCKET, HOME, ROOT, aws

ROUND_SECONDS = float(os.environ.get("MODELPICK_ROUND_SECONDS", "5"))  # spot notices: EC2 advises every 5 seconds
SAVE_SECONDS = float(os.environ.get("MODELPICK_SAVE_SECONDS", "60"))
SAVING_TAKES = timedelta(minutes=5)  # before the limit the job is told to stop, so that its results are out in time
POWER_OFF_AFTER = timedelta(minutes=30)  # the limit: behind both of AWS's switches
SETUP_TAKES = 75 * 60.0  # an hour is what systemd gives it; a job that has not started by then will not start
# Of the two minutes of a spot notice: until the job's state is on disk, and until all of it is in the bucket.
SPOT_JOB_SHARE, SPOT_SPARE_SECONDS = 0.5, 8.0
STOP_SECONDS = 100.0  # the unit's TimeoutStopSec, and some
LONGEST_SAVE = 45 * 60.0  # trying to bring results home, where no limit comes earlier
RETRY_SECONDS = float(os.environ.get("MODELPICK_RETRY_SECONDS", "10"))
_ENDING = False


def main():
    signal.signal(signal.SIGTERM, _going_down)
    tell_systemd("READY=1")
    if report.read("began") is None:
        attempt(lambda: report.write("began", json.dumps(time.monotonic())))
    saver, saved_at, warned = None, -SAVE_SECONDS, False
    while True:
        reason = attempt(due)
        if reason is not None:
            end(reason, saver)
            return
        if not warned and attempt(observe.rebalance_recommended):
            print("EC2 recommends rebalancing: an interruption has become likely", flush=True)
            warned, saved_at = True, -SAVE_SECONDS
        if time.monotonic() - saved_at >= SAVE_SECONDS:
            saved_at = time.monotonic()
            attempt(heed_limit)
            attempt(look)
            if saver is None or saver.poll() is not None:
                saver = attempt(save_beside)
        tell_systemd("WATCHDOG=1")
        time.sleep(ROUND_SECONDS)


def attempt(part):
    """What a part of a round answers; an error in it is reported, and the other parts still run."""
    try:
        return part()
    except Exception:
        traceback.print_exc()
        return None


def due():
    """Why the machine should go now, or None. Each reason is asked for on its own."""
    for reason in (ending, interrupted, over, over_time, idle):
        if said := attempt(reason):
            return said
    return None


def ending():
    """An end that began and whose watchdog died over it."""
    return (report.read("ending") or {}).get("reason")


def interrupted():
    """A spot notice."""
    return "spot interruption" if observe.seconds_to_interruption() is not None else None


def over():
    """A job that ended, by whatever way; or one that never began."""
    if (HOME / "run" / "job.exit").exists():
        return "the job is over"
    unit = observe.job() or {}
    state, began = unit.get("ActiveState"), unit.get("ExecMainStartTimestampMonotonic", "0")
    if state in ("inactive", "failed") and began not in ("0", ""):
        return None if observe.shutting_down() else "the job is over"
    if state in ("inactive", "failed") and time.monotonic() - (report.read("began") or 0.0) > SETUP_TAKES:
        return "the job did not start"
    return None


def over_time():
    """The limit that `up` and `extend` wrote, less what saving takes."""
    stop_at = limit()
    return "the time limit" if stop_at is not None and datetime.now(UTC) >= stop_at - SAVING_TAKES else None


def idle():
    """Nothing done for anybody for as long as the job allows, at the last look: what came since is not known yet."""
    minutes = float(json.loads((HOME / "job.json").read_text()).get("idle_minutes", 30))
    seen = report.read("seen")
    if seen is not None and seen["at"] - seen["active_at"] >= minutes * 60:
        return f"idle for {minutes:g} minutes"
    return None


def limit():
    """The time this machine must be gone by: as last read, else as user-data has it (a template's), else None."""
    told = (report.read("limit") or {}).get("stop_at") or os.environ.get("MODELPICK_STOP_AT")
    return datetime.strptime(told, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) if told else None


def heed_limit():
    """Read the limit again, and move the power-off behind it. What cannot be read stays as it was."""
    done, text = aws("s3", "cp", "--only-show-errors", f"s3://{BUCKET}/bundle/limit.json", "-")
    if done:
        stop_at = json.loads(text)["stop_at"]
        datetime.strptime(stop_at, "%Y-%m-%dT%H:%M:%SZ")
        report.write("limit", json.dumps({"stop_at": stop_at}))
    stop_at = limit()
    if stop_at is None:  # AWS's switches know it; as long as this program lives, its own power-off can wait
        power_off_in(3600)
    else:
        power_off_in(max((stop_at + POWER_OFF_AFTER - datetime.now(UTC)).total_seconds(), 60))


def power_off_in(seconds):
    """Move the power-off timer of user-data. It counts from the boot, as time.monotonic() does, whatever the clock."""
    minutes = int((time.monotonic() + seconds) // 60) + 1
    file = Path(f"{ROOT}/run/systemd/system/modelpick-off.timer.d/limit.conf")
    held = re.search(r"(\d+)min", file.read_text()) if file.exists() else None
    if held and abs(int(held[1]) - minutes) <= 1:
        return  # the same limit: rounding alone is not worth arming again
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"[Timer]\nOnBootSec=\nOnBootSec={minutes}min\n")
    for words in (("daemon-reload",), ("restart", "modelpick-off.timer")):
        subprocess.run(["systemctl", *words], check=True, timeout=60)


def look():
    """Is anything done for anybody? And the GPU's figures to CloudWatch."""
    unit, environment, gpus = observe.job(), {}, observe.gpus()
    if (HOME / "job.json").exists():
        environment = json.loads((HOME / "job.json").read_text()).get("environment", {})
    now, seen = time.monotonic(), report.read("seen") or {}
    counters = observe.counters(unit, environment)
    utilization = [row[0] for row in gpus]
    seconds = now - seen.get("at", now)
    began = (unit or {}).get("ActiveState") not in ("inactive", "failed", None)
    if not began or observe.active(seen.get("counters"), counters, seconds, utilization):
        seen["active_at"] = now
    report.write("seen", json.dumps({"active_at": seen["active_at"], "at": now, "counters": counters}))
    if gpus:
        values = (
            ("GpuUtilization", "Percent", max(utilization)),
            ("GpuMemoryUsed", "Megabytes", max(row[1] for row in gpus)),
            ("GpuMemoryUtilization", "Percent", max(100 * row[1] / row[2] for row in gpus)),
        )
        where = [{"Name": "Deployment", "Value": os.environ["MODELPICK_DEPLOYMENT"]}]
        data = [{"MetricName": n, "Unit": unit, "Value": value, "Dimensions": where} for n, unit, value in values]
        aws("cloudwatch", "put-metric-data", "--namespace", "modelpick", "--metric-data", json.dumps(data))


def save_beside():
    """Results and logs to the bucket, in a process of its own: a long upload must not hide a spot notice."""
    words = [sys.executable, str(Path(__file__).with_name("bring_home.py"))]
    return subprocess.Popen(words, start_new_session=True)


def end(reason, saver=None):
    """Stop the job, bring the results home, delete the data, set the group to zero, power off behind it."""
    global _ENDING
    _ENDING = True
    attempt(lambda: report.write("ending", json.dumps({"reason": reason})))
    tell_systemd("WATCHDOG_USEC=7200000000")  # an end may take an hour; the power-off stands behind it
    deadline, hurry = _deadline()
    attempt(lambda: power_off_in(deadline - time.monotonic() + 600))
    if saver is not None and saver.poll() is None:
        attempt(lambda: os.killpg(saver.pid, signal.SIGKILL))  # the same goes up again, in the order that matters now
    if not hurry:
        attempt(lambda: report.stage("ending", reason))
    attempt(lambda: stop_job(deadline, hurry))
    saved = attempt(lambda: bring_home.bring(deadline, hurry))
    while not saved and time.monotonic() + RETRY_SECONDS < deadline:
        time.sleep(RETRY_SECONDS)
        saved = attempt(lambda: bring_home.bring(deadline, hurry))
    if not attempt(lambda: json.loads((HOME / "job.json").read_text()).get("keep_data")):
        aws("s3", "rm", "--recursive", "--only-show-errors", f"s3://{BUCKET}/data/")
    code = attempt(exit_code)
    said = reason if code is None else f"{reason}; exit code {code}"
    attempt(lambda: report.stage("ended", said if saved else f"{said}; results NOT saved"))
    report.group_to_zero(attempts=20, pause=RETRY_SECONDS)
    subprocess.run(["shutdown", "-P", "+1"], check=False)
    time.sleep(120)
    subprocess.run(["systemctl", "start", "--no-block", "modelpick-off.service"], check=False)


def exit_code():
    """The job's: of one that ended by itself, else of one that was told to stop; None of one that has none."""
    file = HOME / "run" / "job.exit"
    return file.read_text() if file.exists() else report.read("job.exit")


def _deadline():
    """(until when results can be brought home, by time.monotonic(); whether that is a hurry)."""
    now, left = time.monotonic(), observe.seconds_to_interruption()
    if left is not None:
        return now + left - SPOT_SPARE_SECONDS, True
    stop_at = limit()
    left = (stop_at - datetime.now(UTC)).total_seconds() if stop_at is not None else LONGEST_SAVE
    return now + min(max(left - 20, 120.0), LONGEST_SAVE), False


def stop_job(deadline, hurry):
    """Tell the job to stop and wait until it has saved its state; what takes too long is killed."""
    subprocess.run(["systemctl", "stop", "--no-block", observe.JOB_UNIT], check=False, timeout=20)
    now = time.monotonic()
    until = now + (deadline - now) * SPOT_JOB_SHARE if hurry else min(now + STOP_SECONDS, deadline)
    while (observe.job() or {}).get("ActiveState") not in ("inactive", "failed"):
        if time.monotonic() > until:
            subprocess.run(["systemctl", "kill", "--signal=SIGKILL", observe.JOB_UNIT], check=False, timeout=20)
            return
        time.sleep(min(ROUND_SECONDS, 1.0))


def tell_systemd(text):
    """sd_notify(3), where systemd asks for it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        address = "\0" + address[1:] if address.startswith("@") else address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.sendto(text.encode(), address)


def _going_down(_number, _frame):
    """The machine is shut down or restarted from outside (the group, the console, `down`), or the plain end took over:
    what can be saved in a minute is saved."""
    if _ENDING:
        return  # what was begun is finished first
    attempt(lambda: bring_home.bring(time.monotonic() + 60, True))
    sys.exit(0)


if __name__ == "__main__":
    main()
