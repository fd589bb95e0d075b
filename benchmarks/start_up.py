"""What starting costs: `modelpick --help` against a bare typer program, and the whole of `recommend --commercial`.

    python benchmarks/start_up.py

CPU is user + system time of the process and its children, the median of several runs; memory is the peak resident set.
Aims: --help at most 1.1x a bare typer program; recommend at most 3.5x and 120 MB; its pure core is verdicts, estimates,
offers and ranking of the whole catalog.
"""

import datetime
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from modelpick.licensing.judge_models import facts_in_force, policy_in_force

_BARE = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def one(count: int = 1) -> None: ...
@app.command()
def two(count: int = 1) -> None: ...
app()
"""


def _cpu(words: list[str], runs: int) -> tuple[float, float]:
    """Median CPU seconds and peak MB of a command."""
    seconds, peak = [], 0.0
    for _ in range(runs + 1):  # the first warms the file cache
        with open(os.devnull, "w") as null:
            process = subprocess.Popen(words, stdout=null, stderr=null)
            _, _, usage = os.wait4(process.pid, 0)
        seconds.append(usage.ru_utime + usage.ru_stime)
        peak = max(peak, usage.ru_maxrss / 1024)
    return statistics.median(seconds[1:]), peak


def _core_ms(runs: int = 5) -> tuple[float, int]:
    """Median milliseconds of the pure core over the catalog, in this process, facts already read."""
    from modelpick import api
    from modelpick.catalog import index
    from modelpick.planning import catalog_search
    from modelpick.planning.filters import Filters
    from modelpick.planning.placement import place
    from modelpick.planning.recommend import Ranking
    from modelpick.planning.request import Caps
    from modelpick.workload import workload_from

    catalog = index.load()
    models = list(catalog.models.values())
    policy = policy_in_force("commercial")
    offers = api.offers()
    times = []
    for _ in range(runs):
        verdict = partial(_judged, policy=policy, facts=facts_in_force(), find=catalog.find)
        start = time.process_time()
        Ranking(
            workload_from({}), Filters(), offers, verdict,
            lambda request, tried, caps: place(request, tried, caps, catalog_search.facts(), cheapest_only=True),
            Caps(), copies_of=lambda model: catalog.copies_of(model.id),
        ).of(models)  # fmt: skip
        times.append((time.process_time() - start) * 1e3)
    return statistics.median(times), len(models)


def _judged(model: Any, policy: Any, facts: Any, find: Any) -> Any:
    from modelpick.licensing.verdict import judge

    return judge(model, policy, facts, find, datetime.date.today())


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(_BARE)
        floor, _ = _cpu([sys.executable, str(bare), "--help"], 15)
        help_, _ = _cpu([sys.executable, "-m", "modelpick", "--help"], 15)
    whole, peak = _cpu([sys.executable, "-m", "modelpick", "recommend", "--commercial"], 7)
    core, models = _core_ms()
    print(f"bare typer --help            {floor:6.3f} s CPU")
    print(f"modelpick --help             {help_:6.3f} s CPU, {help_ / floor:.2f}x (at most 1.1x)")
    print(f"recommend --commercial       {whole:6.3f} s CPU, {whole / floor:.1f}x (at most 3.5x)")
    print(f"its memory                   {peak:6.0f} MB (at most 120)")
    print(f"its core over {models} models {core:6.0f} ms CPU")


if __name__ == "__main__":
    main()
