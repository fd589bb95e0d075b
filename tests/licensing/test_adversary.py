"""Repositories made to mislead never come to a yes, their harmless twins do, and the table notices planted defects.

The table is in tests/licensing/adversary/; benchmarks/license_adversary.py prints it kind by kind.
"""

from pathlib import Path

import pytest

from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from tests.licensing.adversary import all_kinds
from tests.licensing.adversary.mutants import MUTANTS, Mutant
from tests.licensing.adversary.run import answers

KINDS = {kind.name: kind for kind in all_kinds()}


@pytest.mark.parametrize("name", KINDS)
def test_misleading_repositories_are_asked_about_and_their_twins_are_not(
    name: str, commercial: Policy, facts: LicenseFacts, tmp_path: Path
) -> None:
    found = answers([KINDS[name]], commercial, facts, tmp_path)
    assert {answer.case.misleads for answer in found} == {True, False}, "a kind has both"
    wrong = [
        (answer.place, answer.case.repositories[0].id, answer.verdict, answer.reasons)
        for answer in found
        if not answer.is_right
    ]
    assert wrong == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_table_notices_a_defect(mutant: Mutant, commercial: Policy, tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS.values() if kind.name in mutant.noticed_by]
    assert {kind.name for kind in kinds} == set(mutant.noticed_by)
    with mutant.planted():
        found = answers(kinds, commercial, load.load_facts(), tmp_path, (mutant.place,))
    assert any(answer.case.misleads and not answer.is_right for answer in found)
