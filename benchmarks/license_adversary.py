"""How often do repositories that are made to mislead get a wrong yes, and how often is a harmless twin asked about?

    python benchmarks/license_adversary.py [--kind WORDS] [--no-mutants] [-v]

Each kind has repositories that look freer than they are and twins that may be used; both are judged under the policy
`commercial`, by the real client against the stand-in Hub of the tests and in local folders. Prints by kind: `missed`,
misleading repositories that came to allow or conditions, and `asked`, harmless ones that did not. Then the same table
is run against our own code with a defect planted: the last lines say how often the kinds that have to notice it do
(nobody: the table is blind to it). Exit code 1 where anything was missed.

A kind is added in a module of tests/licensing/adversary/: a function that yields cases, under `@kind(name, why)`; the
package's first lines show one. A new module is named in its `_MODULES`. A defect is a row of `MUTANTS` in
tests/licensing/adversary/mutants.py. tests/licensing/test_adversary.py runs all kinds, and each defect.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modelpick.licensing import load
from tests.licensing.adversary import all_kinds
from tests.licensing.adversary.mutants import MUTANTS
from tests.licensing.adversary.run import Answer, answers


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kind", metavar="WORDS", default="", help="only kinds whose name contains this")
    options.add_argument("--no-mutants", action="store_true", help="do not plant defects")
    options.add_argument("-v", "--verbose", action="store_true", help="name each repository that came out wrong")
    given = options.parse_args()
    logging.disable(logging.WARNING)
    kinds = [kind for kind in all_kinds() if given.kind.lower() in kind.name.lower()]
    start = time.perf_counter()
    found = run(given.kind)
    print(f"{'kind':60}{'misleading':>11}{'missed':>8}{'harmless':>10}{'asked':>7}")
    for kind in kinds:
        print(line(kind.name, [answer for answer in found if answer.kind == kind.name]))
        for answer in found if given.verbose else ():
            if answer.kind == kind.name and not answer.is_right:
                codes = ", ".join(answer.reasons)
                print(f"    {answer.place}: {answer.case.repositories[0].id} came to {answer.verdict} ({codes})")
    print(line(f"all {len(kinds)} kinds ({time.perf_counter() - start:.1f} s)", found))
    for mutant in () if given.no_mutants or given.kind else MUTANTS:
        with mutant.planted():
            missed = [answer for answer in run(*mutant.noticed_by) if answer.case.misleads and not answer.is_right]
        wrong = Counter(answer.kind for answer in missed)
        by = ", ".join(f"{name} ({count})" for name, count in wrong.items()) or "NOBODY"
        print(f"defect: {mutant.name}: noticed by {by}")
    sys.exit(any(answer.case.misleads and not answer.is_right for answer in found))


def run(*words: str) -> list[Answer]:
    """The answers of the kinds whose name contains one of `words`, with facts and folders of their own."""
    kinds = [kind for kind in all_kinds() if any(some.lower() in kind.name.lower() for some in words)]
    with tempfile.TemporaryDirectory() as scratch:
        return answers(kinds, load.load_policy("commercial"), load.load_facts(), Path(scratch))


def line(name: str, found: list[Answer]) -> str:
    """One row: how many of each sort, and how many of them came out wrong."""
    bad = [answer for answer in found if answer.case.misleads]
    good = [answer for answer in found if not answer.case.misleads]
    missed, asked = (sum(not answer.is_right for answer in some) for some in (bad, good))
    return f"{name:60}{len(bad):>11}{missed:>8}{len(good):>10}{asked:>7}"


if __name__ == "__main__":
    main()
