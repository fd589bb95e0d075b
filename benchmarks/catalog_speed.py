"""How long it takes to load the catalog, to look a model up in it, and to look one up on a Hub that was asked before.

    python benchmarks/catalog_speed.py

The Hub is the tests' stand-in on loopback, so the figures hold what modelpick adds, not what a network does.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modelpick.catalog import hub, index, snapshot
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from tests.stand_ins.hub import Hub


def milliseconds(work: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of `times` runs on a clock: wall, or CPU (time.process_time)."""
    runs = []
    for _ in range(times):
        before = clock()
        work()
        runs.append(clock() - before)
    return 1000 * statistics.median(runs)


def _read() -> Catalog:
    """What `index.load` does at its first call."""
    file = "catalog/models.jsonl"
    return index.catalog_from(snapshot.in_force().text(file), Path(file))


def load_all() -> list[Model]:
    """The catalog, every row of it understood."""
    return list(_read().models.values())


def load_one() -> Model | None:
    """The catalog, one row of it understood."""
    return _read().find("google/flan-t5-base")


def main() -> None:
    cpu = time.process_time
    print(f"catalog, all {len(index.load().models):,} models: {milliseconds(load_all, 15, cpu):6.1f} ms of CPU")
    print(f"catalog, one model:         {milliseconds(load_one, 15, cpu):6.1f} ms of CPU")
    catalog = index.load()
    ids = [f"org/model-{number}" for number in range(1000)]
    with Hub() as stand_in, tempfile.TemporaryDirectory() as folder:
        os.environ["HF_ENDPOINT"] = stand_in.url
        for id in ids:
            stand_in.add(id, card="license: apache-2.0", config={"model_type": "llama"}, files={"LICENSE": "text"})

        def look(wanted: list[str]) -> hub.LookUp:
            return hub.look_up(wanted, offline=False, catalog=catalog, cache=Path(folder))

        for title, wanted in (
            ("1,000 models, first", ids),
            ("1,000 models, again", ids),
            ("one model, again", ids[:1]),
        ):
            stand_in.requests.reset()
            took = milliseconds(partial(look, wanted), 1)
            asked = stand_in.requests
            print(f"Hub, {title + ':':22} {took:6.1f} ms, {asked.api} API calls, {asked.files} files")


if __name__ == "__main__":
    main()
