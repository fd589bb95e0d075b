"""Brings home what must outlive the machine: results to the bucket, logs there and to CloudWatch. Standard library.

bring_home.py     once; exit 0 when everything is there. The watchdog runs it as a separate process: an upload may take
long, and a spot notice leaves two minutes.
"""

import contextlib
import hashlib
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from report import BUCKET, HOME, ROOT, aws, read, write

RESULTS = HOME / "results"
# Written last by whoever writes a checkpoint, so it goes up last: in the bucket, too, its presence means whole.
SEAL = "complete.json"
LOGS = (("job", HOME / "run" / "job.log"), ("boot", Path(f"{ROOT}/var/log/modelpick.log")))
# PutLogEvents takes 1,048,576 bytes and 10,000 events, an event counting 26 bytes more than its text
# (CloudWatch Logs API reference). A line of a log does not need more than 8 KiB.
BATCH_BYTES, BATCH_EVENTS, LINE_BYTES, EVENT_EXTRA = 900_000, 5_000, 8192, 26
CHUNK_BYTES = 4_000_000  # of a log, at a time


def bring(deadline=None, hurry=False):
    """Results, then logs, until `deadline` (time.monotonic()); whether all results are there.

    In a hurry what a next machine needs to go on comes first: small state, the newest sealed checkpoint, the rest. What
    fails ends the order: a seal never goes up before what it seals. Without a deadline (the watchdog's every minute)
    what has not changed since it was brought is not asked about again; at the end everything is.
    """
    changed, known = _signature(RESULTS), read("brought") if deadline is None else None
    there = known == changed or all(_sync(*words, deadline=deadline) for words in _order(hurry))
    if there:
        write("brought", json.dumps(changed))
    for stream, path in LOGS:
        try:
            there = _copy_log(stream, path, deadline) and there
        except OSError as error:
            print(f"log {stream}: {error}", file=sys.stderr)
    return there


def _signature(folder):
    """Names, sizes and times of all files below, as one hash."""
    files = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):  # a checkpoint may be on its way out
            files.append((str(path), path.stat().st_size, path.stat().st_mtime_ns))
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _order(hurry):
    seal = f"*{SEAL}"
    if hurry:
        yield "", ("--exclude", "*", "--include", "*.json", "--include", "*.jsonl", "--exclude", seal)
        for folder in _newest_sealed():
            yield folder, ("--exclude", SEAL)
            yield folder, ()
    yield "", ("--exclude", seal)
    yield "", ()


def _newest_sealed():
    """The folder (below results/) that was sealed last, if any."""
    seals = sorted(RESULTS.rglob(SEAL), key=lambda path: path.stat().st_mtime)
    return [f"{seals[-1].parent.relative_to(RESULTS).as_posix()}/"] if seals else []


def _sync(folder, filters, *, deadline):
    left = 3600 if deadline is None else deadline - time.monotonic()
    if left <= 0:
        return False
    source, target = f"{RESULTS}/{folder}", f"s3://{BUCKET}/results/{folder}"
    done, said = aws("s3", "sync", "--only-show-errors", source, target, *filters, timeout=left)
    if not done:
        print(f"results/{folder}: {said.strip()[-500:]}", file=sys.stderr)
    return done


def _copy_log(stream, path, deadline):
    if not path.exists():
        return True
    size, left = path.stat().st_size, 300 if deadline is None else min(deadline - time.monotonic(), 300)
    if left <= 0:
        return False
    done = deadline is None and read(f"{stream}.copied") == size
    if not done:
        words = ("s3", "cp", "--only-show-errors", str(path), f"s3://{BUCKET}/progress/{stream}.log")
        done, _ = aws(*words, timeout=left)
    if done:
        write(f"{stream}.copied", json.dumps(size))
    while send_log(stream, path, final=deadline is not None) and (deadline is None or time.monotonic() < deadline):
        pass
    return done


def send_log(stream, path, final=False):
    """What is new in a log, to CloudWatch, one batch; whether there is more. `final`: a last line without end too."""
    mark = HOME / "run" / f"{stream}.sent"
    sent = int(mark.read_text()) if mark.exists() else 0
    with path.open("rb") as source:
        source.seek(sent)
        chunk = source.read(CHUNK_BYTES)
    lines = chunk.splitlines(keepends=True)
    if lines and not lines[-1].endswith((b"\n", b"\r")) and not final and len(chunk) < CHUNK_BYTES:
        lines.pop()
    events, taken = _batch(lines)
    if not taken:
        return False
    named = ("--log-group-name", os.environ["MODELPICK_LOG_GROUP"], "--log-stream-name", stream)
    if sent == 0:
        aws("logs", "create-log-stream", *named)
    # By a file: one argument of a command holds 128 KiB at most (Linux, MAX_ARG_STRLEN).
    file = write(f"{stream}.events", json.dumps(events))
    if events and not aws("logs", "put-log-events", *named, "--log-events", f"file://{file}")[0]:
        return False
    mark.write_text(str(sent + taken))
    return sent + taken < path.stat().st_size and bool(events)


def _batch(lines):
    """(events, bytes of the log they are): as many as one call takes. A progress bar redraws by a carriage return:
    of what it drew in one batch only the last is told."""
    now, events, taken, size = int(time.time() * 1000), [], 0, 0
    for index, line in enumerate(lines):
        redrawn = line.endswith(b"\r") and index + 1 < len(lines)
        text = line.strip()[:LINE_BYTES].decode("utf-8", "replace")
        cost = len(text.encode()) + EVENT_EXTRA
        if size + cost > BATCH_BYTES or len(events) == BATCH_EVENTS:
            break
        taken += len(line)
        if text and not redrawn:
            events.append({"timestamp": now, "message": text})
            size += cost
    return events, taken


if __name__ == "__main__":
    sys.exit(0 if bring() else 1)
