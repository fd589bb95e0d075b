"""How often is a license verdict right, and how often is it a wrong yes? modelpick, a tag filter, foretop-lading.

    python benchmarks/license_accuracy.py [--lading PYTHON]

PYTHON is the interpreter of an environment of its own with foretop-lading in it (it needs Python 3.12 or later):

    python3.12 -m venv /tmp/lading && /tmp/lading/bin/pip install foretop-lading==0.4.0
    python benchmarks/license_accuracy.py --lading /tmp/lading/bin/python

All judge the same table (tests/licensing/data/verdicts.csv): the same cards, of which lading reads the license through
its own code with the network replaced. Its pass, warn and fail count as allow, review and deny. A wrong allow is an
`allow` for a model that is not; an abstention is a `review`. The table was known when the rules were written: the
line without known_models.toml says more about models outside it.

Then what the prose of cards says: short cards labelled before the rules were run on them (statements_a.jsonl, by the
author of the rules; statements_b.jsonl, by somebody else; statements_c and _d, by the author again, after mending). The
figures of their first runs stand in docs/decisions/0062; the rules were mended since. Missed is a restriction of the
weights with which a model tagged apache-2.0 comes to `allow`; falsely asked is a harmless text with which it does not.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modelpick.catalog import card as cards
from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.overrides import Curations
from modelpick.licensing.verdict import judge
from tests.licensing.statement_cards import TABLES, StatementCard, asked
from tests.licensing.statement_cards import cards as statement_cards
from tests.licensing.table import PARENTS, Row, rows

# What a filter on the tag lets through: the permissive ids of the Hub's own list.
PERMISSIVE = frozenset(
    {"apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "cc0-1.0", "unlicense", "wtfpl"}
)

_LADING = """
import json, sys
from pathlib import Path
import httpx, lading
from lading.curate import curate_model
from lading.licences import load_licences
from lading.model_overrides import load_model_overrides
from lading.policy import evaluate, resolve_policy

data = Path(lading.__file__).parent / "data"
licences = load_licences(data / "licences.yaml")
overrides = load_model_overrides(data / "model_overrides.yaml")
asked = json.load(sys.stdin)
reply = lambda request: httpx.Response(200, json={"cardData": asked["cards"][request.url.path.split("/models/")[1]]})
client, policy = httpx.Client(transport=httpx.MockTransport(reply)), resolve_policy(asked["policy"])
found = {id: evaluate(curate_model(client, id, overrides, licences), policy).decision for id in asked["cards"]}
json.dump(found, sys.stdout)
"""


def main() -> None:
    """Print the table of figures."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lading", metavar="PYTHON", help="interpreter of an environment with foretop-lading")
    given = options.parse_args()
    table = list(rows())
    print(f"{len(table)} models of tests/licensing/data/verdicts.csv, policy commercial\n")
    print(f"{'':44}{'agreement':>12}{'wrong allows':>14}{'abstentions':>13}{'denies let by':>15}")
    facts = load.load_facts()
    report("modelpick", table, modelpick(table, facts))
    report(
        "modelpick, nothing known of any repository", table, modelpick(table, replace(facts, curations=Curations([])))
    )
    report("tag filter", table, tag_filter(table))
    for policy in ("permissive-only", "no-field-of-use-restrictions"):
        if given.lading:
            report(f"foretop-lading --policy {policy}", table, lading(table, policy, given.lading))
        else:
            print(f"{f'foretop-lading --policy {policy}':44}    not run: give --lading PYTHON")
    report_prose(facts)


def report(name: str, table: Sequence[Row], found: Mapping[str, str]) -> None:
    """One line: the share that agrees, wrong allows, reviews, and models to deny that were not denied."""
    agree = sum(found[row.id] == row.expected for row in table)
    wrong = sum(found[row.id] == "allow" and row.expected != "allow" for row in table)
    abstain = sum(found[row.id] == "review" for row in table)
    let_by = sum(found[row.id] != "deny" and row.expected == "deny" for row in table)
    print(f"{name:44}{agree / len(table):>12.1%}{wrong:>14}{abstain:>13}{let_by:>15}")


def report_prose(facts: LicenseFacts) -> None:
    """How often a restriction in a card's prose is missed, and how often a harmless text is asked about."""
    policy = load.load_policy("commercial")
    start = time.process_time()
    found = [(table, card, asked(card, policy, facts)) for table in TABLES for card in statement_cards(table)]
    spent = time.process_time() - start
    print(f"\n{len(found)} short cards of tests/licensing/data/statements_*.jsonl, tagged apache-2.0\n")
    print(f"{'':44}{'cards':>8}{'missed':>16}{'falsely asked':>18}")
    print(f"(prose: {spent / len(found) * 1000:.2f} ms a card)", file=sys.stderr)
    _share("all", [(card, yes) for _, card, yes in found])
    for name in TABLES:
        _share(f"statements_{name}.jsonl", [(card, yes) for table, card, yes in found if table == name])
    for field in ("language", "kind"):
        print()
        for value in sorted({getattr(card, field) for _, card, _ in found}):
            _share(f"{field} {value}", [(card, yes) for _, card, yes in found if getattr(card, field) == value])


def _share(name: str, found: Sequence[tuple[StatementCard, bool]]) -> None:
    restricting = [yes for card, yes in found if card.restricts]
    harmless = [yes for card, yes in found if not card.restricts]
    missed, falsely = len(restricting) - sum(restricting), sum(harmless)

    def shown(count: int, of: int) -> str:
        return f"{count}/{of} {count / of:.1%}" if of else "-"

    print(f"{name:44}{len(found):>8}{shown(missed, len(restricting)):>16}{shown(falsely, len(harmless)):>18}")


def modelpick(table: Sequence[Row], facts: LicenseFacts) -> Mapping[str, str]:
    """The verdicts of this program; ancestors come from the table and from the embedded catalog."""
    catalog, policy = index.load(), load.load_policy("commercial")
    known = {id.lower(): _model(id, {"license": license}, False) for id, license in PARENTS.items()}
    known |= {row.id.lower(): _model(row.id, row.card, row.gated) for row in table}
    start = time.process_time()
    found = {
        row.id: judge(
            known[row.id.lower()],
            policy,
            facts,
            lambda id: known.get(id.lower()) or catalog.find(id),
            datetime.date.today(),
        ).verdict.value
        for row in table
    }
    spent = time.process_time() - start
    print(f"(modelpick: {spent / len(table) * 1000:.2f} ms a model)", file=sys.stderr)
    return found


def tag_filter(table: Sequence[Row]) -> Mapping[str, str]:
    """What a filter on the card's license tag says: permissive ids pass, `nc` and nothing are refused or asked."""

    def verdict(row: Row) -> str:
        tag = str(row.card.get("license") or "").lower()
        if tag in PERMISSIVE:
            return "allow"
        return "deny" if "-nc" in tag else "review" if tag in ("", "other", "unknown") else "conditions"

    return {row.id: verdict(row) for row in table}


def lading(table: Sequence[Row], policy: str, python: str) -> Mapping[str, str]:
    """The decisions of foretop-lading, run in its own environment."""
    asked = {"policy": policy, "cards": {row.id: dict(row.card) for row in table if "/" in row.id}}
    ran = subprocess.run(
        [python, "-W", "ignore", "-c", _LADING], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(f"foretop-lading did not run in {python}:\n{ran.stderr[-2000:]}")
    words = {"pass": "allow", "warn": "review", "fail": "deny"}
    return {row.id: words[json.loads(ran.stdout).get(row.id, "warn")] for row in table}


def _model(id: str, metadata: Mapping[str, object], gated: bool) -> Model:
    told = cards.facts(cards.Card(metadata, ""))
    return Model(
        id=id, origin="hub", revision="0" * 40, license=told.license, license_name=told.license_name,
        base_models=told.base_models, datasets=told.datasets, gated=gated,
    )  # fmt: skip


if __name__ == "__main__":
    main()
