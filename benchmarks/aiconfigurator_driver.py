"""Asks NVIDIA's aiconfigurator for many configurations in one process, with the Python of its own environment.

    ENVIRONMENT/bin/python aiconfigurator_driver.py < asked.jsonl > answers.jsonl

Each input line is a list of arguments for its `cli_estimate` (what its command `aiconfigurator cli estimate` calls), to
be tried in this order; each output line the first answer (milliseconds to the first token and per token, which of the
list it was, and whether it warns that requests queue), or why there is none.
"""

import importlib
import json
import logging
import sys
from typing import Any


def main() -> None:
    """Answers every line of the standard input."""
    logging.disable(logging.CRITICAL)
    estimate = importlib.import_module("aiconfigurator.cli.api").cli_estimate
    answers, sys.stdout = sys.stdout, sys.stderr  # what the tool prints is no answer
    for line in sys.stdin.read().splitlines():
        print(json.dumps(_first(estimate, json.loads(line))), file=answers, flush=True)


def _first(estimate: Any, asked: list[dict[str, Any]]) -> dict[str, Any]:
    failure = "no name of the GPU, the format, the shape or the load"
    for number, arguments in enumerate(asked):
        try:
            found = estimate(**arguments)
        except Exception as error:  # whatever it raises is its answer to this row
            failure = f"{type(error).__name__}: {error}"
            continue
        return {"first": found.ttft, "each": found.tpot, "number": number, "queues": bool(found.kv_cache_warning)}
    return {"failure": failure}


if __name__ == "__main__":
    main()
