"""The I/O before a plan, a comparison, a recommendation or an estimate: catalog, policy, prices, the data file.

    from modelpick.planning import gather

    made = gather.plan("Qwen/Qwen3-8B", finetune={"method": "qlora"}, data=Path("train.jsonl"))
    Path("plan.json").write_bytes(made.to_bytes())

Spends nothing. The other modules of this room decide; they do no I/O.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelpick import settings
from modelpick.catalog import index, lookup, snapshot
from modelpick.catalog.architecture import Kind
from modelpick.catalog.lookup import look_up_all
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, UsageError
from modelpick.files import read_text
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.memory.estimate import MemoryEstimate, architecture_of
from modelpick.offers import embedded
from modelpick.offers.embedded import discounted_offers, families_named
from modelpick.offers.price import Offer
from modelpick.planning import compare as comparison
from modelpick.planning import data_tokens, report
from modelpick.planning import plan as plans
from modelpick.planning.catalog_search import facts, judge_of, with_copies
from modelpick.planning.load import LoadLimits
from modelpick.planning.overview import summaries
from modelpick.planning.placement import Placements, offers_for, place
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_parts import PlannedFacts, PlannedPolicy
from modelpick.planning.proposals import proposals
from modelpick.planning.rejection import Rejection
from modelpick.planning.report import CaseResult, MemoryReport
from modelpick.planning.request import Caps, PlanRequest
from modelpick.planning.setups import UNTRIED
from modelpick.planning.workloads import as_far_as_the_model_takes, as_the_model_takes, unset, workloads
from modelpick.workload import Workload, workload_from

DataCheck = Callable[[Kind, Workload], object]
"""Raises for examples that a run of this workload, on a model of this kind, would refuse."""
LivePrices = Callable[[Sequence[Offer]], Sequence[Offer]]
"""Asks for today's prices of offers of one region and market, without discounts."""


def plan(
    name: str,
    *,
    finetune: Mapping[str, object] | None = None,
    serve: Mapping[str, object] | None = None,
    data: Path | None = None,
    columns: str | None = None,
    check_data: DataCheck | None = None,
    epochs: float | None = None,
    region: str | None = None,
    market: str = "on-demand",
    instance: str | None = None,
    family: str | None = None,
    max_usd: float | None = None,
    max_hours: float | None = None,
    max_usd_per_hour: float | None = None,
    limits: LoadLimits | None = None,
    policy: str | Policy | None = None,
    offline: bool = True,
    live: LivePrices | None = None,
    progress: data_tokens.Progress | None = None,
) -> Plan:
    """The plan for a model: `finetune` and `serve` are workloads by their names (both absent: fine-tune by default).
    `limits`: how a server must answer under load; the plan then says how many of it that takes. `live`: asks for
    today's prices of the offers to choose from. `check_data`: called before `data` is counted. `columns`: those of the
    data by our names, which the plan passes on to the run.

    Raises rejection.NoPlan (exit 1) with a fix, UsageError for invalid input, CannotTellError for a model
    that is not understood, RemoteError for one that is unknown.
    """
    caps = Caps(max_usd, max_hours, max_usd_per_hour)
    resolved = settings.load({"region": region})
    where = embedded.check_region(resolved.region)
    tuned, served = workloads(finetune, serve, data=data is not None)
    gpus = tuned.gpus if tuned else served.gpus if served else 1
    priced = discounted_offers(region=where, market=market, discounts={} if live else resolved.discounts)
    offers = offers_for(priced, families_named(family), _named(instance), gpus)
    if live is not None:
        offers = [offer.discounted(resolved.discounts) for offer in live(offers)]
    model, find = _model(name, offline, ancestors=True)
    request = PlanRequest(
        model=model,
        finetune=tuned and as_the_model_takes(model, tuned, finetune or {}),
        serve=served and as_the_model_takes(model, served, serve or {}),
        unset=unset(finetune or {}) if tuned is not None else frozenset(),
        epochs=epochs,
        limits=limits,
        columns=columns,
    )
    if data is not None and request.finetune is not None:
        if check_data is not None:
            check_data(architecture_of(model).kind, request.finetune)
        request = replace(request, tokens=count_tokens(data, model, request.finetune, progress))
    chosen = policy_in_force(policy).in_region(where)
    judged = judge_of(chosen, find)
    request = with_copies(request, judged)
    return plans.make(
        request,
        offers,
        replace(caps, on_demand=_on_demand_usd(where, resolved.discounts) | _usd_by_type(offers)),
        facts(),
        judgement=judged(model),
        judge=judged,
        policy=PlannedPolicy(chosen.name, chosen.sha256, chosen.product),
        region=where,
        named=_named_facts(),
    )


def _named_facts() -> PlannedFacts:
    said = snapshot.in_force()
    return PlannedFacts(said.source, said.hash, *(said.as_of[kind] for kind in snapshot.KINDS))


def compare(
    name: str,
    workload: Mapping[str, object] | Workload,
    *,
    region: str | None = None,
    family: str | None = None,
    instance: str | None = None,
    data: Path | None = None,
    epochs: float | None = None,
    duty_cycle: float = 1.0,
    utilisation: float = 1.0,
    against_usd_per_mtok: float | None = None,
    all_sizes: bool = False,
    max_usd_per_hour: float | None = None,
    limits: LoadLimits | None = None,
    offline: bool = True,
    offers: Sequence[Offer] | None = None,
    progress: data_tokens.Progress | None = None,
) -> comparison.InstanceComparison:
    """Instances side by side for a model; `offers` stands in for the embedded prices (live ones).

    `limits`: how fast each request must be answered, and how many arrive; then each row says how many it takes.

    Raises rejection.NoPlan for what cannot run anywhere, UsageError for invalid input, CannotTellError for a
    model that is not understood, RemoteError for one that is unknown.
    """
    work = workload if isinstance(workload, Workload) else workload_from(workload)
    for what, value in (("duty cycle", duty_cycle), ("utilisation", utilisation)):
        if not (math.isfinite(value) and 0 < value <= 1):
            raise UsageError(f"{what} is {value}", fix="give a share above 0, up to 1", code="bad_share")
    if data is not None and work.task == "serve":
        raise UsageError("data does not apply to task serve", fix="leave out --data", code="contradiction")
    if limits is not None and limits.asked and work.task != "serve":
        raise UsageError("limits on the wait do not apply to task finetune", fix="leave them out", code="contradiction")
    resolved = settings.load({"region": region})
    where = embedded.check_region(resolved.region)
    priced = discounted_offers(region=where, discounts=resolved.discounts)
    tried = offers_for(priced, families_named(family), _named(instance), work.gpus)
    if offers is not None:
        names = {offer.instance.name for offer in tried}
        tried = [offer for offer in offers if offer.instance.name in names]
    model, _ = _model(name, offline)
    options = work.as_json() if isinstance(workload, Workload) else workload
    work = as_the_model_takes(model, work, options)
    if work.task == "finetune":
        tokens = count_tokens(data, model, work, progress) if data is not None else None
        request = PlanRequest(model, finetune=work, unset=unset(options), tokens=tokens, epochs=epochs)
    else:
        policy = policy_in_force(None).in_region(where)
        request = with_copies(PlanRequest(model, serve=work), judge_of(policy, index.load().find))
    caps = Caps(max_usd_per_hour=max_usd_per_hour)
    found, absent = _placed_or_imagined(request, tried, caps)
    spot = {offer.instance.name: offer for offer in discounted_offers(region=where, market="spot", discounts={})}
    cost_options = comparison.CostOptions(
        spot, duty_cycle, utilisation, against_usd_per_mtok, all_sizes, limits or LoadLimits()
    )  # fmt: skip
    compared = comparison.compare(found, request, cost_options, facts())
    compared = replace(compared, proposals=proposals(compared, request, tried, caps, cost_options, facts()))
    if absent is None:
        return compared
    how = "of a server that you set up yourself" if absent.code == UNTRIED else "as if it did"
    notes = (f"{absent.reason}: these rows are {how}", *compared.assumptions)
    return replace(compared, refusal=absent, assumptions=notes)


def estimate_many(
    models: Sequence[str | Model],
    workload: Workload | Mapping[str, object],
    *,
    instance: str | None = None,
    own: Offer | None = None,
    region: str | None = None,
    offline: bool = True,
) -> list[MemoryReport | ModelpickError]:
    """One report, or the error in its place, for each of `models`: memory by part, and every GPU it is held against.

    `instance` is the type the report is about, or `own` the card of one's own (offers.own.own_offer). Where names are
    given and no method is among them, the set-ups that people plan for are summarized as well. Raises UsageError for a
    workload or an instance that cannot be meant.
    """
    work = workload if isinstance(workload, Workload) else workload_from(workload)
    options = work.as_json() if isinstance(workload, Workload) else workload
    resolved = settings.load({"region": region})
    rented = discounted_offers(region=resolved.region, discounts=resolved.discounts)
    named = _named(instance)
    on = own or next((offer for offer in rented if offer.instance.name == named), None)
    priced = rented if own is None else (own, *rented)
    unnamed = not isinstance(workload, Workload) and workload.get("method") in (None, "auto")
    any_method = unnamed and work.method != "gguf"

    def answer(subject: Model | ModelpickError) -> MemoryReport | ModelpickError:
        if isinstance(subject, ModelpickError):
            return subject
        try:
            told = report.report(subject, as_far_as_the_model_takes(subject, work, options), priced, facts(), on)
            if not any_method:
                return told
            return replace(told, setups=summaries(subject, told.architecture, options, rented, facts()))
        except ModelpickError as error:
            return error

    return [answer(subject) for subject in look_up_all(models, offline)[0]]


def estimate(model: str | Model, *, offline: bool = True, **workload: Any) -> MemoryEstimate:
    """GPU memory of a workload on one model, by part; keyword arguments are the workload's names.

    Raises UsageError for a contradictory workload, CannotTellError for an architecture that is not understood.
    """
    subject = look_up_all([model], offline)[0][0]
    if isinstance(subject, ModelpickError):
        raise subject
    work = as_far_as_the_model_takes(subject, workload_from(workload), workload)
    offers = report.default_offers(discounted_offers(), work.gpus)
    return report.settled_estimate(subject, architecture_of(subject), work, offers, facts())[0]


def estimate_cases(path: str | Path, *, offline: bool = True) -> list[CaseResult]:
    """An answer for every line of a JSON-lines file: `model` and the workload's names. Bad lines are errors in place.

    All models are looked up in one batch. Raises UsageError for a file that cannot be read.
    """
    lines = read_text(Path(path), code="no_cases", fix="give a JSON Lines file").splitlines()
    names = report.models_named(lines)
    looked = dict(zip(names, look_up_all(names, offline)[0], strict=True))

    def find(name: str) -> Model:
        model = looked[name]
        if isinstance(model, ModelpickError):
            raise model
        return model

    return list(report.estimate_cases(lines, find, discounted_offers(), facts()))


def count_tokens(
    data: Path, model: Model, workload: Workload, progress: data_tokens.Progress | None = None
) -> data_tokens.Tokens:
    """The tokens of a file as `model` reads them: by its tokenizer when it is at hand, else estimated."""
    return data_tokens.measure(data, workload.context, data_tokens.counter_at_hand(_tokenizer_of(model)), progress)


def _model(name: str, offline: bool, *, ancestors: bool = False) -> tuple[Model, Any]:
    """The model, and how its ancestors are found. Raises what the look-up answers in its place."""
    looked = lookup.look_up([name], catalog=index.load(), offline=offline, ancestors=ancestors)
    model = looked.results[0]
    if isinstance(model, ModelpickError):
        raise model
    return model, looked.find


def _placed_or_imagined(
    request: PlanRequest, offers: Sequence[Offer], caps: Caps
) -> tuple[Placements, Rejection | None]:
    """Where it can run. Where only its checkpoint is absent, or what `serve` was tried with: where it could with one,
    and the rejection that says so.

    Raises the rejection's error for what cannot run anywhere.
    """
    found = place(request, offers, caps, facts())
    if isinstance(found, Placements):
        return found, None
    if found.cause == "checkpoint" or found.code == UNTRIED:
        imagined = place(request, offers, caps, facts(), hypothetical=True)
        if isinstance(imagined, Placements):
            return imagined, found
    raise found.error(request.model.id)


def _on_demand_usd(region: str, discounts: Mapping[str, float]) -> dict[str, float]:
    """Dollars an hour by instance type, where the price is known."""
    return _usd_by_type(discounted_offers(region=region, discounts=discounts))


def _usd_by_type(offers: Iterable[Offer]) -> dict[str, float]:
    return {
        offer.instance.name: offer.usd_per_hour
        for offer in offers
        if offer.usd_per_hour is not None and offer.market == "on-demand"
    }


def _named(instance: str | None) -> str | None:
    return None if instance is None else embedded.instance(instance).name


def _tokenizer_of(model: Model) -> Path | None:
    """tokenizer.json in the folder or in the Hub's cache on this machine; nothing is downloaded."""
    if model.origin == "folder":
        return Path(model.id) / "tokenizer.json"
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    cached = try_to_load_from_cache(model.id, "tokenizer.json", revision=model.revision)
    return Path(cached) if isinstance(cached, str) else None
