"""Real facts, real policies, models built by hand."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from modelpick.catalog.model import BaseModel, Model
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge

TODAY = datetime.date(2026, 11, 23)


@pytest.fixture(scope="session")
def facts() -> LicenseFacts:
    return load.load_facts()


@pytest.fixture(scope="session")
def commercial() -> Policy:
    return load.load_policy("commercial")


def model(id: str, license: object = None, *, bases: tuple[str, ...] = (), **fields: Any) -> Model:
    """A model as the Hub client would hand it over."""
    parents = tuple(BaseModel(base, "finetune") for base in bases)
    return Model(
        id=id, origin="hub", revision=fields.pop("revision", "a" * 40), license=license, base_models=parents, **fields
    )


Judged = Callable[..., Judgement]


@pytest.fixture
def judged(facts: LicenseFacts, commercial: Policy) -> Judged:
    """Judge a model among others: `judged(model(...), model(...), ..., policy=...)`, the first is the one asked for."""

    def run(asked: Model, *others: Model, policy: Policy | None = None, facts: LicenseFacts = facts) -> Judgement:
        by_id: Mapping[str, Model] = {one.id.lower(): one for one in (asked, *others)}
        return judge(asked, policy or commercial, facts, lambda id: by_id.get(id.lower()), TODAY)

    return run


def codes(judgement: Judgement) -> set[str]:
    return {reason.code for reason in judgement.reasons}
