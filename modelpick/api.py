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
from typing import Any

from modelpick import settings as _settings
from modelpick.catalog import index
from modelpick.catalog.lookup import look_up_all
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.licensing.facts import Facts
from modelpick.licensing.judge_models import facts_in_force, judge_models, policy_in_force
from modelpick.licensing.judge_models import judge_model as judge
from modelpick.licensing.lineage import Find
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import judge as _judge
from modelpick.memory.estimate import MemoryEstimate, architecture_of, estimate_model
from modelpick.offers import embedded, rules
from modelpick.offers.embedded import discounted_offers
from modelpick.offers.embedded import discounted_offers as offers
from modelpick.offers.instance import Families
from modelpick.offers.price import BillingRates, Market, Offer
from modelpick.planning import cost, fit, job
from modelpick.planning.answer import FINETUNE_WORKLOAD, Answer
from modelpick.planning.cases import CaseResult, models_named
from modelpick.planning.cases import estimate_cases as _estimate_cases
from modelpick.planning.recommend import Recommendation, Rejection, Seat, Tools, Wanted, eligible_offers, seat
from modelpick.planning.recommend import recommend as _recommend
from modelpick.planning.report import MemoryReport
from modelpick.planning.report import report as _report
from modelpick.ranges import exactly
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
    "judge",
    "judge_models",
    "offers",
    "recommend",
    "workload_from",
]


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
    chosen_policy = policy_in_force(policy)
    priced = discounted_offers(region=settled.region, market=market, discounts=settled.discounts)
    tools = _tools(chosen_policy, catalog.find, facts_in_force())
    found = _recommend(catalog.models.values(), work, wanted, priced, tools)
    head = [_completed(row, wanted, priced, tools) for row in found.passed[:finetune_rows]]
    found = replace(found, passed=(*head, *found.passed[finetune_rows:]))
    where = embedded.check_region(settled.region)
    return Answer(found, chosen_policy, work, wanted, where, market, catalog)


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
    priced = discounted_offers(region=settled.region, discounts=settled.discounts)
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

    return [one(subject) for subject in look_up_all(models, offline)[0]]


def estimate(model: str | Model, *, offline: bool = True, **workload: Any) -> MemoryEstimate:
    """GPU memory of a workload on one model, by part; keyword arguments are the workload's names.

    Raises UsageError for a contradictory workload, CannotTellError for an architecture that is not understood.
    """
    subject = look_up_all([model], offline)[0][0]
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
    looked = dict(zip(names, look_up_all(names, offline)[0], strict=True))

    def find(name: str) -> Model:
        found = looked[name]
        if isinstance(found, ModelpickError):
            raise found
        return found

    return list(_estimate_cases(lines, find))


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


def _tuning_cost(model: Model, taken: Seat, rates: BillingRates) -> Mapping[str, Any]:
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
