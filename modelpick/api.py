"""The public Python API: recommend, judge, estimate, offers. The command line is its thin face.

    from modelpick import api

    answer = api.recommend(policy="commercial")
    for row in answer.recommendations.passed[:3]:
        print(row.model.id, row.judgement.verdict.value, row.seat.offer.instance.name, row.seat.offer.usd_per_hour)

    api.judge("tiiuae/falcon-7b").verdict
    api.estimate("Qwen/Qwen3-8B", method="lora-int8").high

Nothing here prints, prompts or exits; what goes wrong is a `modelpick.errors.ModelpickError`.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from modelpick import settings as _settings
from modelpick.catalog import index, lookup
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError, UsageError, nearest
from modelpick.licensing import load
from modelpick.licensing.facts import Facts
from modelpick.licensing.lineage import Find
from modelpick.licensing.policy import Company, Policy
from modelpick.licensing.verdict import Judgement
from modelpick.licensing.verdict import judge as _judge
from modelpick.memory.estimate import MemoryEstimate, architecture_of, estimate_model
from modelpick.offers import embedded, rules
from modelpick.offers.price import Market, Offer
from modelpick.planning import cost, fit, job
from modelpick.planning.answer import FINETUNE_WORKLOAD, Answer
from modelpick.planning.cases import CaseResult, models_named
from modelpick.planning.cases import estimate_cases as _estimate_cases
from modelpick.planning.recommend import Families, Recommendation, Rejection, Seat, Tools, Wanted, eligible_offers, seat
from modelpick.planning.recommend import recommend as _recommend
from modelpick.planning.report import MemoryReport
from modelpick.planning.report import report as _report
from modelpick.ranges import exactly
from modelpick.schema import read as read_table
from modelpick.speed import calibration as efficiency
from modelpick.speed import roofline
from modelpick.speed import speed as timing
from modelpick.workload import Workload, workload_from

__all__ = [
    "Answer",
    "Families",
    "MemoryReport",
    "Wanted",
    "Workload",
    "estimate",
    "estimate_cases",
    "estimate_many",
    "facts",
    "families",
    "judge",
    "judge_many",
    "judge_pairs",
    "offers",
    "policy",
    "recommend",
    "workload_from",
]

APPROVALS = Path("approvals.toml")
"""Where a project keeps what its people approved: beside modelpick.toml."""

# arXiv 2305.11206 (LIMA), section 2: 1,000 examples, about 750,000 tokens in all. Three epochs: the usual upper end of
# LoRA recipes (LLaMA-Factory, Unsloth; docs/data.md).
LIMA_EXAMPLES = 1_000
LIMA_TOKENS_PER_EXAMPLE = 750
EPOCHS = 3


def recommend(
    *,
    policy: str | None = None,
    workload: Workload | Mapping[str, Any] | None = None,
    wanted: Wanted | None = None,
    region: str | None = None,
    market: Market = "on-demand",
    finetune_rows: int = 20,
) -> Answer:
    """Rank the embedded catalog: allowed, fits, affordable. Makes no network call.

    `policy` is a name or a file, `workload` a Workload or its names, `wanted` the filters; what is not given comes from
    the settings. The first `finetune_rows` rows also get what LoRA over int8 takes. Raises UsageError for what cannot
    be meant.
    """
    settled = _settings.load({"region": region})
    wanted = wanted or Wanted()
    work = workload if isinstance(workload, Workload) else workload_from(workload or {})
    catalog = index.load()
    chosen_policy = _policy(policy)
    priced = offers(region=settled.region, market=market, discounts=settled.discounts)
    tools = _tools(chosen_policy, catalog.find, facts())
    found = _recommend(catalog.models.values(), work, wanted, priced, tools)
    head = [_completed(row, wanted, priced, tools) for row in found.passed[:finetune_rows]]
    found = replace(found, passed=(*head, *found.passed[finetune_rows:]))
    where = embedded.check_region(settled.region)
    return Answer(found, chosen_policy, work, wanted, where, market, catalog)


def policy(name: str | None = None) -> Policy:
    """A policy by name or file (default: the settings' choice), with the settings' company facts put in.

    Raises UsageError for an unknown name or a bad file.
    """
    settled = _settings.load({"policy": name})
    chosen = load.load_policy(settled.policy)
    if not settled.company:
        return chosen
    said = read_table(Company, settled.company, "modelpick.toml: company")
    return replace(chosen, company=replace(chosen.company, **{key: getattr(said, key) for key in settled.company}))


def judge(model: str | Model, *, policy: str | None = None, offline: bool = True) -> Judgement:
    """The license verdict on one model (a Hub id, a folder, or a Model) under a policy, with its evidence.

    Raises UsageError for a bad policy, RemoteError for an id that neither the catalog nor a reachable Hub knows.
    """
    found = judge_many([model], policy=policy, offline=offline)[0]
    if isinstance(found, ModelpickError):
        raise found
    return found


def judge_many(
    models: Sequence[str | Model], *, policy: str | None = None, offline: bool = True
) -> list[Judgement | ModelpickError]:
    """One verdict, or the error in its place, for each of `models`, in order. Raises UsageError for a bad policy."""
    found = judge_pairs(models, policy=policy, offline=offline)
    return [one if isinstance(one, ModelpickError) else one[1] for one in found]


def judge_pairs(
    models: Sequence[str | Model], *, policy: str | None = None, offline: bool = True
) -> list[tuple[Model, Judgement] | ModelpickError]:
    """As `judge_many`, each verdict with the facts it was made from: their texts are what a lock freezes."""
    subjects, find = _subjects(models, offline, ancestors=True)
    known = facts()
    tools = _tools(_policy(policy), find, known)

    def one(subject: Model | ModelpickError, asked: str | Model) -> tuple[Model, Judgement] | ModelpickError:
        if isinstance(subject, ModelpickError):
            remembered = _remembered(asked, subject, known)
            if remembered is None:
                return subject
            subject = remembered
        return subject, tools.judge(subject)

    return [one(subject, asked) for subject, asked in zip(subjects, models, strict=True)]


def _remembered(asked: str | Model, error: ModelpickError, known: Facts) -> Model | None:
    """A repository that nobody can look at now (deleted, or the Hub is out of reach) but that known_models tells of."""
    if not isinstance(asked, str) or error.code not in ("model_unknown", "model_not_found"):
        return None
    if not known.known.about(asked):
        return None
    note = f"{error.message}: judged by what is known of this repository alone"
    return Model(id=asked, origin="catalog", notes=(note,))


def estimate_many(
    models: Sequence[str | Model],
    workload: Workload | Mapping[str, Any],
    *,
    instance: str | None = None,
    region: str | None = None,
    offline: bool = True,
) -> list[MemoryReport | ModelpickError]:
    """One report, or the error in its place, for each of `models`: memory by part, and every card it is held against.

    `instance` is the type the report is about. Raises UsageError for a workload or an instance that cannot be meant.
    """
    work = workload if isinstance(workload, Workload) else workload_from(workload)
    settled = _settings.load({"region": region})
    priced = offers(region=settled.region, discounts=settled.discounts)
    on = None
    if instance is not None:
        named = embedded.instance(instance).name
        on = next(offer for offer in priced if offer.instance.name == named)

    def one(subject: Model | ModelpickError) -> MemoryReport | ModelpickError:
        if isinstance(subject, ModelpickError):
            return subject
        try:
            return _report(subject, work, priced, on)
        except ModelpickError as error:
            return error

    return [one(subject) for subject in _subjects(models, offline)[0]]


def estimate(model: str | Model, *, offline: bool = True, **workload: Any) -> MemoryEstimate:
    """GPU memory of a workload on one model, by part; keyword arguments are the workload's names.

    Raises UsageError for a contradictory workload, CannotTellError for an architecture that is not understood.
    """
    subject = _subjects([model], offline)[0][0]
    if isinstance(subject, ModelpickError):
        raise subject
    return estimate_model(subject, workload_from(workload))


def estimate_cases(path: str | Path, *, offline: bool = True) -> list[CaseResult]:
    """An answer for every line of a JSON-lines file: `model` and the workload's names. Bad lines are errors in place.

    All models are looked up in one batch. Raises UsageError for a file that cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path} cannot be read: {why}", fix="give a file of JSON lines", code="no_cases") from None
    names = models_named(lines)
    looked = dict(zip(names, _subjects(names, offline)[0], strict=True))

    def find(name: str) -> Model:
        found = looked[name]
        if isinstance(found, ModelpickError):
            raise found
        return found

    return list(_estimate_cases(lines, find))


def offers(
    *, region: str = embedded.DEFAULT_REGION, market: str = "on-demand", discounts: Mapping[str, float] | None = None
) -> tuple[Offer, ...]:
    """Every NVIDIA instance type with its price in `region` (None where unknown), negotiated discounts taken off.

    `market` is on-demand or spot. Raises UsageError for an unknown region or market.
    """
    asked = cast(Market, market)  # embedded.offers refuses any other word
    return tuple(offer.discounted(discounts or {}) for offer in embedded.offers(region, asked))


def facts() -> Facts:
    """License facts, what is known of particular repositories, and the approvals in force (./approvals.toml)."""
    return load.load_facts(APPROVALS if APPROVALS.is_file() else None)


def families(text: str | None) -> Families:
    """The instance families a user named: None means the G families, `any`, or names joined by commas."""
    if text is None:
        return Families(gpu_class="G")
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words == ("any",):
        return Families()
    known = {instance.family for instance in embedded.instances().values()}
    for word in words:
        if word not in known:
            fix = nearest(word, known) or f"use any, or some of {', '.join(sorted(known))}"
            raise UsageError(f"unknown instance family {word!r}", fix=fix, code="unknown_family")
    if not words:
        raise UsageError("--family is empty", fix="use any, or names joined by commas", code="unknown_family")
    return Families(names=words)


_policy = policy  # the name is also a parameter of the functions above


def _subjects(
    models: Sequence[str | Model], offline: bool, *, ancestors: bool = False
) -> tuple[list[Model | ModelpickError], Find]:
    """Each model as facts, what was typed looked up in one batch; and how to find their ancestors."""
    typed = [model for model in models if isinstance(model, str)]
    looked = lookup.look_up(typed, catalog=index.load(), offline=offline, ancestors=ancestors)
    results = iter(looked.results)
    return [next(results) if isinstance(model, str) else model for model in models], looked.find


def _tools(policy: Policy, find: Find, known: Facts) -> Tools:
    """The sibling packages' functions, bound to one policy and to the facts at hand."""
    today = datetime.date.today()
    return Tools(
        judge=lambda model: _judge(model, policy, known, find, today),
        estimate=estimate_model,
        fits=fit.fits,
        cannot_run=rules.cannot_run,
        checkpoint=_checkpoint,
    )


def _checkpoint(model: Model) -> str | None:
    """The method of the weights as they lie in the repository; None: unquantized, or not known."""
    try:
        held = architecture_of(model).checkpoint
    except CannotTellError:
        return None
    return held.method if held is not None else None


def _completed(row: Recommendation, wanted: Wanted, priced: Sequence[Offer], tools: Tools) -> Recommendation:
    """The row with its monthly cost and with what fine-tuning takes."""
    rates = embedded.billing_rates()
    serving = replace(row.seat, cost=_month(row.seat, rates))
    tuned = seat(row.model, FINETUNE_WORKLOAD, eligible_offers(priced, FINETUNE_WORKLOAD, wanted), tools)
    if isinstance(tuned, Rejection):
        return replace(row, seat=serving, finetune_why=tuned.reason)
    return replace(row, seat=serving, finetune=replace(tuned, cost=_tuning_cost(row.model, tuned, rates)))


def _tuning_cost(model: Model, taken: Seat, rates: cost.BillingRates) -> Mapping[str, Any]:
    """Hours and dollars of the job everybody plans first: a thousand good examples, three times over (LIMA)."""
    workload, kind = taken.memory.workload, taken.offer.instance
    calibration = efficiency.training(workload.stack, workload.method)
    shape = roofline.shape_of(architecture_of(model))
    speed = timing.training_speed(shape, kind, calibration, workload, length=LIMA_TOKENS_PER_EXAMPLE)
    downloaded = taken.memory.parameters * 2 / 1e9  # in 16 bits
    adapter = taken.memory.parts.adapter / 1e9
    tokens = exactly(LIMA_EXAMPLES * LIMA_TOKENS_PER_EXAMPLE * EPOCHS)
    hours = job.job_time(kind, speed, tokens, weights_gb=downloaded, result_gb=adapter)
    dollars = job.job_cost(taken.offer, hours, rates, weights_gb=downloaded, result_gb=adapter)
    return {
        "examples": LIMA_EXAMPLES,
        "tokens_per_example": LIMA_TOKENS_PER_EXAMPLE,
        "epochs": EPOCHS,
        "time": hours.as_json(),
        "usd": dollars.as_json() if dollars is not None else None,
    }


def _month(taken: Seat, rates: Any) -> Mapping[str, Any]:
    month = cost.serving_month(taken.offer, rates)
    return month.as_json() if month is not None else {}
