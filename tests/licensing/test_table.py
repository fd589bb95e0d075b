"""The verdict table, through the real client against the stand-in Hub: no wrong allow, and agreement as documented."""

from pathlib import Path

import pytest
import yaml

from modelpick.catalog import hub as hub_client
from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, Verdict, judge
from tests.licensing.conftest import TODAY
from tests.licensing.table import PARENTS, Row, rows
from tests.stand_ins.hub import Hub

AGREEMENT = 0.97


@pytest.fixture
def judged(hub: Hub, facts: LicenseFacts, commercial: Policy) -> list[tuple[Row, Judgement]]:
    table = list(rows())
    for id, license in PARENTS.items():
        hub.add(id, card=f"license: {license}")
    for row in table:
        if row.id not in PARENTS:
            hub.add(row.id, card=yaml.safe_dump(dict(row.card)), gated="manual" if row.gated else False)
    found = hub_client.look_up([row.id for row in table], offline=False, catalog=index.load())
    answers = []
    for row, model in zip(table, found.results, strict=True):
        assert not isinstance(model, ModelpickError), model
        answers.append((row, judge(model, commercial, facts, found.find, TODAY)))
    return answers


def test_the_table_of_real_models(judged: list[tuple[Row, Judgement]], repository: Path) -> None:
    wrong_allows = [row.id for row, answer in judged if answer.verdict is Verdict.ALLOW and row.expected != "allow"]
    assert wrong_allows == []
    differing = {
        row.id: (row.expected, answer.verdict.value) for row, answer in judged if answer.verdict != row.expected
    }
    assert 1 - len(differing) / len(judged) >= AGREEMENT, differing
    documented = (repository / "docs" / "license_disagreements.md").read_text()
    assert [id for id in differing if f"`{id}`" not in documented] == []


def test_every_answer_of_the_table_has_reasons_and_evidence(judged: list[tuple[Row, Judgement]]) -> None:
    for row, answer in judged:
        assert answer.reasons, row.id
        assert all(reason.evidence and reason.text for reason in answer.reasons), row.id
        assert max(reason.verdict for reason in answer.reasons) == answer.verdict, row.id
        assert answer.obligations or answer.verdict in (Verdict.DENY, Verdict.REVIEW, Verdict.ALLOW), row.id
