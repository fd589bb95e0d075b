"""What an estimate costs: one in-process, every model of the catalog, and 10,000 lines of a cases file. CPU seconds.

python benchmarks/memory_speed.py
"""

import json
import time
from contextlib import suppress
from itertools import cycle, islice

from modelpick.catalog import index
from modelpick.errors import CannotTellError, ModelpickError
from modelpick.memory.estimate import architecture_of, estimate
from modelpick.offers import embedded
from modelpick.planning import catalog_search
from modelpick.planning.report import estimate_cases
from modelpick.workload import workload_from

METHODS = ("bf16", "int8", "nf4", "lora", "lora-int8", "qlora", "full")


def main() -> None:
    """Prints the three costs."""
    catalog = index.load()
    readable = []
    started = time.process_time()
    for model in catalog.models.values():
        try:
            readable.append((model, architecture_of(model)))
        except ModelpickError:
            continue
    print(f"{len(readable)} architectures read in {time.process_time() - started:.3f} s")
    workloads = [workload_from({"method": method}) for method in METHODS]
    counted = 0
    started = time.process_time()
    for model, shape in readable:
        for workload in workloads:
            with suppress(CannotTellError):  # layers that are only guessed are not trained
                estimate(shape, workload, model.parameters)
                counted += 1
    spent = time.process_time() - started
    print(f"one estimate: {spent / counted * 1e6:.0f} microseconds")
    pairs = islice(cycle((model.id, method) for model, _ in readable for method in METHODS), 10_000)
    lines = [json.dumps({"model": name, "method": method}) for name, method in pairs]
    started = time.process_time()
    answered = sum(
        "error" not in result.body
        for result in estimate_cases(lines, catalog.find, embedded.offers(), catalog_search.facts())
    )
    print(f"10,000 cases, {answered} answered, in {time.process_time() - started:.2f} s")


if __name__ == "__main__":
    main()
