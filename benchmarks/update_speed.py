"""What `update` of 1,500 models asks of a Hub and costs, and that answers do not slow down with the snapshot.

    python benchmarks/update_speed.py

The Hub is the tests' stand-in on loopback: calls are counted as the Hub would count them, seconds are of CPU (this
process and its children) and hold what modelpick adds, not what a network does. Three times the rows are copies.
"""

import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modelpick.catalog import snapshot
from modelpick.hub import store, update
from modelpick.hub.store import Content
from modelpick.settings import DataSettings
from tests.stand_ins.hub import Hub

ROOT = Path(__file__).resolve().parent.parent
MODELS = 1_500
DAY = datetime.date(2027, 1, 10)


def rows() -> list[dict[str, Any]]:
    """The rows of the embedded catalog."""
    return [json.loads(line) for line in snapshot.embedded_facts().text("catalog/models.jsonl").splitlines()[1:]]


def texts_of(listed: list[dict[str, Any]]) -> dict[str, str]:
    """The embedded data files with these rows as the catalog, of DAY."""
    texts = {file: snapshot.embedded_facts().text(file) for file in snapshot.FILES}
    header = json.loads(texts["catalog/models.jsonl"].partition("\n")[0])
    header |= {"models": len(listed), "as_of": DAY.isoformat()}
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in (header, *listed))
    return texts | {"catalog/models.jsonl": "".join(f"{line}\n" for line in lines)}


def in_force(listed: list[dict[str, Any]]) -> None:
    """A snapshot with these rows is in force, unverified: what is copied would not pass."""
    with store.changing() as root:
        store.put(root, Content(texts_of(listed), DAY.isoformat(), {}), verify=lambda facts: None)


def copies(listed: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """As many rows, those beyond the first round under another name."""
    times = -(-count // len(listed))
    return [{**row, "id": f"{row['id']}{f'-{n}' if n else ''}"} for n in range(times) for row in listed][:count]


def measure_update(hub: Hub, title: str, day: datetime.date) -> None:
    """Prints what one update asked and cost."""
    hub.requests.reset()
    before = time.process_time()
    done = update.update(("models",), DataSettings(), day, lambda what, count, total: None)
    seconds = time.process_time() - before
    print(
        f"update of {MODELS:,} models, {title}: {hub.requests.api} API calls, {hub.requests.files:,} files, "
        f"{hub.requests.sent / 1e6:.1f} MB, {seconds:.2f} s of CPU with the stand-in's, "
        f"{'a new snapshot' if done.changed else 'nothing changed'}"
    )


def cpu_of(*words: str, runs: int = 3) -> float:
    """The least seconds of CPU that `modelpick WORDS` takes in a process of its own."""
    best = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "modelpick", *words], cwd=ROOT, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best


def main() -> None:
    """Print the figures."""
    listed = rows()
    with tempfile.TemporaryDirectory() as home, Hub() as hub:
        os.environ |= {"XDG_DATA_HOME": home, "MODELPICK_DATA": "newest", "HF_ENDPOINT": hub.url}
        os.environ |= {"SOURCE_DATE_EPOCH": "1800000000"}
        many = copies(listed, MODELS)
        for row in many:
            card = json.dumps({key: row[key] for key in ("license", "license_name") if row.get(key) is not None})
            hub.add(row["id"], card, config=row.get("config"), downloads=row.get("downloads") or 0)
        in_force(many)
        measure_update(hub, "first", DAY + datetime.timedelta(days=1))
        measure_update(hub, "again", DAY + datetime.timedelta(days=1))
        moved = many[::15]
        for row in moved:
            hub.add(row["id"], "license: mit", config=row.get("config"), downloads=row.get("downloads") or 0)
        measure_update(hub, f"{len(moved)} of them pushed to", DAY + datetime.timedelta(days=2))
    for title, count in (("embedded", 0), ("snapshot, as many rows", len(listed)), ("three times", 3 * len(listed))):
        with tempfile.TemporaryDirectory() as home:
            os.environ["XDG_DATA_HOME"] = home
            snapshot.forget()
            if count:
                in_force(copies(listed, count))
            start, one, ranked = cpu_of("--help"), cpu_of("catalog", "show", "Qwen/Qwen3-8B"), cpu_of("recommend")
            print(f"{title}: --help {start:.2f} s, catalog show {one:.2f} s, recommend {ranked:.2f} s of CPU")


if __name__ == "__main__":
    main()
