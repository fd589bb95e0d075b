"""Builds all embedded facts from facts/, byte for byte: `make facts`. Over a minute on one core, most of it the fit.

    python scripts/build_facts.py [--check] [--no-fit]

--check writes nothing: it names the files that differ from what facts/ gives, and exits 1. --no-fit leaves out the
constants of speed (modelpick/speed/data/efficiency.json), whose fit takes a minute or more; the rest takes two seconds.
A fact that no builder reads is refused: nobody would notice if it were wrong.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import build_catalog
import build_fms_cases
import build_memory_cases
import build_offers
import build_server_weights
import build_speed_rows
from facts_folder import Facts

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "benchmarks"))


def from_facts(facts: Facts) -> Iterator[tuple[str, str]]:
    """Each file that is built from facts/ alone: its path in the repository, and its text."""
    yield "modelpick/catalog/data/models.jsonl", build_catalog.build(facts)
    yield "modelpick/catalog/data/languages.csv", _languages(facts)
    yield from ((f"modelpick/offers/data/{name}", text) for name, text in build_offers.build(facts).items())
    yield "modelpick/offers/data/own_gpus.jsonl", build_offers.own_gpus(facts)
    yield from ((f"benchmarks/data/{name}", text) for name, text in build_speed_rows.build(facts).items())
    yield "modelpick/speed/data/operators.json", build_speed_rows.operators(facts)
    yield "benchmarks/data/memory_cases.jsonl", build_memory_cases.build(facts)
    yield "benchmarks/data/memory_cases_fms.jsonl", build_fms_cases.build(facts)
    yield "benchmarks/data/server_weights.jsonl", build_server_weights.build(facts)


def _languages(facts: Facts) -> str:
    """The table as it is, by code."""
    rows = sorted((row["code"], row["also"] or "", row["name"]) for row in facts.csv("languages.csv"))
    return "".join(f"{','.join(row)}\n" for row in [("code", "also", "name"), *rows])


def calibrated(*, fit: bool) -> Iterator[tuple[str, str]]:
    """Each file that benchmarks/ calibrates on the files of `from_facts`, which must stand in the repository."""
    import calibrate_memory  # both read the files of `from_facts` when they are imported
    import speed_accuracy

    programs: dict[str, Callable[[], str]] = {"modelpick/memory/data/intervals.json": calibrate_memory.build}
    if fit:
        programs["modelpick/speed/data/efficiency.json"] = speed_accuracy.build
    yield from ((name, build()) for name, build in programs.items())


def main() -> int:
    """Writes the files, or checks them; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    parser.add_argument("--no-fit", action="store_true", help="leave out the constants of speed")
    options = parser.parse_args()
    facts = Facts()
    differing = [name for name, text in from_facts(facts) if _differs(name, text, write=not options.check)]
    if unread := facts.unread():
        print(f"facts that no builder reads: {unread}", file=sys.stderr)
        return 1
    calibrations = calibrated(fit=not options.no_fit)
    differing += [name for name, text in calibrations if _differs(name, text, write=not options.check)]
    for name in differing:
        print(f"{name}: {'not what facts/ gives; run make facts' if options.check else 'written'}")
    return 1 if options.check and differing else 0


def _differs(name: str, text: str, *, write: bool) -> bool:
    """Whether a file of the repository is not `text`, to the byte; writes it then, if asked to."""
    path = REPOSITORY / name
    if path.exists() and path.read_bytes() == text.encode():
        return False
    if write:
        path.write_text(text, encoding="utf-8", newline="\n")
    return True


if __name__ == "__main__":
    sys.exit(main())
