"""How long verdicts take, in milliseconds of CPU: python benchmarks/license_speed.py"""

import datetime
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from modelpick.catalog import index
from modelpick.licensing import load
from modelpick.licensing.license_text import read_text
from modelpick.licensing.verdict import judge


def main() -> None:
    """Print one line a figure, the best of five runs."""
    catalog, facts, policy, today = (
        index.load(),
        load.load_facts(),
        load.load_policy("commercial"),
        datetime.date.today(),
    )
    models = [catalog.models[id] for id in catalog.models]
    text = (Path(__file__).resolve().parents[1] / "LICENSE").read_text()
    cached = replace(
        models[0], origin="hub", revision="0" * 40, texts={"LICENSE": text, "README.md": "# A model\n" * 500}
    )

    def judge_all() -> None:
        facts.memo.clear()
        for model in models:
            judge(model, policy, facts, catalog.find, today)

    report("load policies/", lambda: load.load_facts())
    report(f"verdicts of {len(models)} catalog models", judge_all)
    report("one cached model with its files", lambda: judge(cached, policy, facts, catalog.find, today))
    report("one license text identified", lambda: read_text(text, facts.fingerprints, facts.licenses))


def report(name: str, run: Callable[[], object]) -> None:
    """The best of five, in milliseconds of CPU."""
    spent = []
    for _ in range(5):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    print(f"{name:40}{min(spent) * 1000:>9.1f} ms")


if __name__ == "__main__":
    main()
