"""A verdict from a name: looks the models up, reads the policy and facts in force, and judges. I/O."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelpick import settings
from modelpick.catalog.lookup import look_up_all
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy, merged
from modelpick.licensing.verdict import Judgement, judge
from modelpick.schema import to_json

APPROVALS = Path("approvals.toml")
"""Where a project keeps its approvals: next to modelpick.toml."""


def policy_in_force(name: str | Policy | None = None, *, product: str | None = None) -> Policy:
    """A policy by name or file (default: the settings' choice), with the settings' company facts put in.

    One that is in force already stays as it is. `product`: the one to judge for (default: the settings' choice, else
    every product, and the strictest counts).
    Raises UsageError for an unknown name or a bad file.
    """
    if isinstance(name, Policy):
        return name.for_product(product)
    settled = settings.load({"policy": name, "product": product})
    chosen = load.load_policy(settled.policy)
    if settled.company_tables:
        facts: dict[str, Any] = to_json(chosen.company)
        for origin, table in settled.company_tables.items():
            load.read_company(table, f"{origin}: [company]")
            facts = merged(facts, table)
        company = load.read_company(facts, f"{', '.join(settled.company_tables)}: [company]")
        chosen = replace(chosen, company=company).sealed()
    if settled.runs_in is not None:
        chosen = chosen.in_region(settled.runs_in)
    return chosen.for_product(settled.product)


def facts_in_force() -> LicenseFacts:
    """License facts, what is known of particular repositories, and the approvals in force (./approvals.toml)."""
    return load.load_facts(APPROVALS if APPROVALS.is_file() else None)


def judge_model(model: str | Model, *, policy: str | Policy | None = None, offline: bool = True) -> Judgement:
    """The license verdict on one model (a Hub id, a folder, or a Model) under a policy, with its evidence.

    Raises UsageError for a bad policy, RemoteError for an id that neither the catalog nor a reachable Hub knows.
    """
    answer = judge_models([model], policy=policy, offline=offline)[0]
    if isinstance(answer, ModelpickError):
        raise answer
    return answer


def judge_models(
    models: Sequence[str | Model], *, policy: str | Policy | None = None, offline: bool = True
) -> list[Judgement | ModelpickError]:
    """One verdict, or the error in its place, for each of `models`, in order. Raises UsageError for a bad policy."""
    answers = judge_pairs(models, policy=policy, offline=offline)
    return [answer if isinstance(answer, ModelpickError) else answer[1] for answer in answers]


def judge_pairs(
    models: Sequence[str | Model], *, policy: str | Policy | None = None, offline: bool = True
) -> list[tuple[Model, Judgement] | ModelpickError]:
    """As `judge_models`, each verdict with the facts it was made from: their texts are what a lock freezes."""
    subjects, find = look_up_all(models, offline, ancestors=True)
    facts, today = facts_in_force(), datetime.date.today()
    chosen = policy_in_force(policy)

    def judged(subject: Model | ModelpickError, asked: str | Model) -> tuple[Model, Judgement] | ModelpickError:
        if isinstance(subject, ModelpickError):
            remembered = _remembered(asked, subject, facts)
            if remembered is None:
                return subject
            subject = remembered
        return subject, judge(subject, chosen, facts, find, today)

    return [judged(subject, asked) for subject, asked in zip(subjects, models, strict=True)]


def _remembered(asked: str | Model, error: ModelpickError, facts: LicenseFacts) -> Model | None:
    """A repository that cannot be looked at now (deleted, or no Hub) but that policies/known_models.toml describes."""
    if not isinstance(asked, str) or error.code not in ("model_unknown", "model_not_found"):
        return None
    if not facts.curations.about(asked):
        return None
    note = f"{error.message}: judged by this repository alone"
    return Model(id=asked, origin="catalog", notes=(note,))
