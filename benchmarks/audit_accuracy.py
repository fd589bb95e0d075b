"""Which of the models that four public code bases use `modelpick audit` finds: python benchmarks/audit_accuracy.py DIR

DIR holds a checkout of each, at the commit below, in a folder of its name. The labels (audit_labels.jsonl) say by
hand which ids a file uses: every string that looks like `org/name` was taken from every file, and kept where the code,
a setting or a script uses the model; comments, docstrings, prose, folders, images and data sets were left out. One use
is one id in one file. Printed for each code base: recall, precision, what was missed and what was no use of a model;
and what the scan takes in CPU time.
"""

import argparse
import json
import os
import time
from pathlib import Path

from modelpick.audit.run import known_names
from modelpick.audit.scan import scan

LABELS = Path(__file__).resolve().with_name("audit_labels.jsonl")
CODE_BASES = {
    "axolotl": "axolotl-ai-cloud/axolotl@067b021c8b87a9e5e380b9173c704cf7340e30f5",
    "LLaMA-Factory": "hiyouga/LLaMA-Factory@ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30",
    "production-stack": "vllm-project/production-stack@a6c01db05f65f556235413ba8dbcfb0c01132fff",
    "transformers.js-examples": "huggingface/transformers.js-examples@204b0948e88cd2bdc046316e78b754359653caea",
}


def main() -> None:
    """Scan each code base and compare with the labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    os.chdir(parser.parse_args().folder)
    known = known_names()
    totals = [0, 0, 0]
    for name, source in CODE_BASES.items():
        used = _labels(name)
        begun = time.process_time()
        scanned = scan([name], known)
        spent = time.process_time() - begun
        found = {
            (place.path.removeprefix(f"{name}/"), place.written.partition("@")[0].removeprefix("hf.co/"))
            for places in scanned.models.values()
            for place in places
        }
        found = {(path, _id(written)) for path, written in found}
        hits, missed, wrong = used & found, used - found, found - used
        for at, count in enumerate((len(hits), len(used), len(found))):
            totals[at] += count
        print(f"{source}\n  {_line(len(hits), len(used), len(found))}, {spent:.1f} s of CPU for {scanned.files} files")
        for word, rows in (("missed", missed), ("no use", wrong)):
            for path, id in sorted(rows):
                print(f"  {word}: {id} in {path}")
    print(f"all: {_line(*totals)}")


def _labels(name: str) -> set[tuple[str, str]]:
    rows = (json.loads(line) for line in LABELS.open(encoding="utf-8"))
    return {(row["path"], id) for row in rows if row["code_base"] == name for id in row["models"]}


def _id(written: str) -> str:
    """An address on the Hub as the id in it."""
    _, host, rest = written.partition("huggingface.co/")
    return "/".join(rest.split("/")[:2]) if host else written.partition(":")[0]


def _line(hits: int, used: int, found: int) -> str:
    return f"recall {hits / used:.1%} ({hits} of {used} uses), precision {hits / found:.1%} ({found} found)"


if __name__ == "__main__":
    main()
