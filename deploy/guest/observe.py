"""What the machine can see of itself: notices, GPU, job, requests. Nothing is changed here. Standard library only."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

METADATA = os.environ.get("MODELPICK_METADATA", "http://169.254.169.254")
JOB_UNIT = "modelpick-job.service"
BUSY_PERCENT = 5  # a GPU below this does nothing for anybody
BUSY_CORES = 0.1  # loading, tokenizing, merging, saving take more; a process that only waits takes less
BUSY_BYTES_PER_SECOND = 100_000  # weights and data on their way
# Counters of the servers that count tokens themselves: vLLM's and llama.cpp's Prometheus metrics.
_TOKENS = re.compile(r"^(?:vllm|llamacpp):\w*tokens\w*_total(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)
_ASKED = re.compile(rb'"uri":"/v1/[a-z/]*completions')
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a company's proxy


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


def seconds_to_interruption():
    """How long until EC2 takes the machine back, None when it does not say so. Two minutes where it names no time."""
    text = metadata("meta-data/spot/instance-action")
    if text is None:
        return None
    try:
        at = datetime.strptime(json.loads(text)["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        left = (at - datetime.now(UTC)).total_seconds()
    except (ValueError, KeyError, TypeError):
        return 120.0
    return min(max(left, 0.0), 120.0)  # a clock that is wrong does not make more of it


def rebalance_recommended():
    """Whether EC2 warns that an interruption has become likely."""
    return metadata("meta-data/events/recommendations/rebalance") is not None


def job():
    """The job's unit as systemd knows it (the properties asked for), None when systemd does not answer."""
    asked = "--property=ActiveState,ExecMainStartTimestampMonotonic,CPUUsageNSec,IPIngressBytes"
    text = _said("systemctl", "show", JOB_UNIT, asked)
    return None if text is None else dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def shutting_down():
    """Whether somebody else is shutting the machine down or restarting it."""
    return (_said("systemctl", "is-system-running", any_code=True) or "").strip() == "stopping"


def gpus():
    """Per GPU (utilization in percent, memory used in MiB, memory in MiB); empty when the driver does not answer."""
    asked = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
    text = _said("nvidia-smi", *asked) or ""
    try:
        return [tuple(float(cell) for cell in line.split(",")) for line in text.splitlines() if line.strip()]
    except ValueError:
        return []


def counters(unit, environment):
    """What only grows while somebody is served or the job works: {"requests", "cpu_s", "bytes", "serving"}."""
    servers = [folder for folder in _state(environment).glob("serve-*") if (folder / "ready").exists()]
    return {
        "serving": bool(servers),
        "requests": sum(_requests(folder) + _tokens(folder) for folder in servers),
        "cpu_s": _number(unit, "CPUUsageNSec") / 1e9,
        "bytes": _number(unit, "IPIngressBytes"),
    }


def active(before, now, seconds, utilization):
    """Whether something was done for anybody in the `seconds` between two looks at the counters.

    A server that is up works when it is asked (a loaded one idles at 0 % of the GPU and, spinning, at 100 % of a core);
    anything else works when it computes or loads. An unknown counts as no work: in doubt the machine ends.
    """
    if max(utilization, default=0.0) >= BUSY_PERCENT or before is None:
        return True
    if now["serving"]:
        return now["requests"] != before["requests"] or not before["serving"]
    cores = (now["cpu_s"] - before["cpu_s"]) / max(seconds, 1e-3)
    rate = (now["bytes"] - before["bytes"]) / max(seconds, 1e-3)
    return cores >= BUSY_CORES or rate >= BUSY_BYTES_PER_SECOND


def _state(environment):
    base = environment.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(os.environ.get("HOME", "/root")) / ".local" / "state") / "modelpick"


def _requests(folder):
    """Answers that clients asked for, by the proxy's log: a dashboard that looks at /health or /v1/models asks none."""
    try:
        with (folder / "requests.jsonl").open("rb") as log:
            return sum(1 for line in log if _ASKED.search(line))
    except OSError:
        return 0


def _tokens(folder):
    """Tokens read and written, by the server's own metrics."""
    try:
        told = json.loads((folder / "serve.json").read_text())
        if told.get("proxy"):
            return 0
        key = Path(told["key_file"]).read_text().strip()
        ask = urllib.request.Request(told["metrics"], headers={"Authorization": f"Bearer {key}"})
        with _DIRECT.open(ask, timeout=5) as answer:
            return sum(float(value) for value in _TOKENS.findall(answer.read().decode("utf-8", "replace")))
    except (OSError, ValueError, KeyError):
        return 0


def _number(unit, name):
    """A counter of systemd's; 0 where it keeps none ("[not set]", or the largest number there is)."""
    text = (unit or {}).get(name, "")
    return float(text) if text.isdigit() and int(text) < 2**63 else 0.0


def _said(*words, any_code=False):
    try:
        done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if any_code or done.returncode == 0 else None
