"""Collects what a plan is made from (catalog, policy, prices, data file) and makes it. I/O; spends nothing.

from modelpick.planning import gather

plan = gather.prepare("Qwen/Qwen3-8B", finetune={"method": "qlora"}, data=Path("train.jsonl"))
Path("plan.json").write_bytes(plan.to_bytes())
"""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelpick import settings
from modelpick.catalog import index, lookup
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.licensing.judge_models import facts_in_force, policy_in_force
from modelpick.licensing.verdict import judge
from modelpick.memory.estimate import architecture_of
from modelpick.offers import embedded
from modelpick.offers.embedded import discounted_offers, families_named
from modelpick.offers.price import Offer
from modelpick.offers.rules import load_rules
from modelpick.planning import data_tokens, plan
from modelpick.planning.placement import Caps, Inputs
from modelpick.planning.plan_tuning import CHOSEN
from modelpick.planning.recipe import PADDED_POSITIONS, as_trained
from modelpick.speed import calibration
from modelpick.workload import ONLY_SERVE, SERVE_METHODS, SERVED_ANSWER, Workload, workload_from


def prepare(
    name: str,
    *,
    finetune: Mapping[str, Any] | None = None,
    serve: Mapping[str, Any] | None = None,
    data: Path | None = None,
    epochs: float | None = None,
    region: str | None = None,
    market: str = "on-demand",
    instance: str | None = None,
    family: str | None = None,
    max_usd: float | None = None,
    max_hours: float | None = None,
    policy: str | None = None,
    offline: bool = True,
    progress: data_tokens.Progress | None = None,
) -> plan.Plan:
    """The plan for a model: `finetune` and `serve` are workloads by their names (both absent: fine-tune by default).

    Raises plan.Refused (exit 1) with the way out, UsageError for what cannot be meant, CannotTellError for a model that
    is not understood, RemoteError for one that nobody knows.
    """
    caps = Caps(max_usd, max_hours)
    settled = settings.load({"region": region})
    where = embedded.check_region(settled.region)
    tuned, served = _workloads(finetune, serve, data)
    gpus = tuned.gpus if tuned else served.gpus if served else 1
    priced = offers_for(where, market, instance, family, gpus, settled.discounts)
    catalog = index.load()
    looked = lookup.look_up([name], catalog=catalog, offline=offline, ancestors=True)
    model = looked.results[0]
    if isinstance(model, ModelpickError):
        raise model
    tuned = tuned and _within_context(model, tuned, finetune or {})
    served = served and _within_context(model, served, serve or {})
    tuned = tuned and as_it_runs(model, tuned, finetune or {})
    chosen = policy_in_force(policy)
    return plan.make(
        Inputs(
            model=model,
            judgement=judge(model, chosen.in_region(where), facts_in_force(), looked.find, datetime.date.today()),
            policy={"name": chosen.name, "sha256": chosen.sha256},
            region=where,
            offers=priced,
            rates=embedded.billing_rates(),
            rules=load_rules(),
            serving=calibration.serving,
            training=calibration.training,
            finetune=tuned,
            serve=served,
            left_open=left_open(finetune or {}) if tuned is not None else frozenset(),
            tokens=count_tokens(data, model, tuned, progress) if data is not None and tuned is not None else None,
            epochs=epochs,
            caps=caps,
            on_demand={
                offer.instance.name: offer.usd_per_hour
                for offer in discounted_offers(region=where, discounts=settled.discounts)
                if offer.usd_per_hour is not None
            },
        )
    )


def tasks(names: Mapping[str, Any], *, data: bool, serve: bool) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What is to be done, as `prepare` takes it (finetune, serve): data means tuning, a serving method means serving.

    `names` are a workload's, for both; where both are done, each is given what has a meaning for it.
    """
    method = names.get("method")
    serving_method = method in SERVE_METHODS
    serving = serve or serving_method
    tuning = data or not serving
    served = {**names, "method": method if serving_method else None}
    tuned = {**names, "method": None if serving_method else method}
    if serving:
        tuned = {name: value for name, value in tuned.items() if name not in ONLY_SERVE}
    return tuned if tuning else None, served if serving else None


def left_open(names: Mapping[str, Any]) -> frozenset[str]:
    """What nobody said of a fine-tuning's workload, and is chosen for each GPU."""
    return frozenset(name for name in CHOSEN if names.get(name) is None)


def count_tokens(
    data: Path, model: Model, workload: Workload, progress: data_tokens.Progress | None = None
) -> data_tokens.Tokens:
    """The tokens of a file as `model` reads them: by its tokenizer when it is at hand, else estimated."""
    return data_tokens.measure(data, workload.context, data_tokens.counter_at_hand(_tokenizer_of(model)), progress)


def _within_context(model: Model, workload: Workload, asked: Mapping[str, Any]) -> Workload:
    """At most as many tokens as the model knows: the machine refuses more, and by then it is paid for.

    What was asked for by name is not changed: raises UsageError("context_too_long") beyond the limit.
    """
    try:
        architecture = architecture_of(model)
    except CannotTellError:
        return workload
    limit = architecture.context
    if limit is None or architecture.kind == "encoder-decoder":  # whose positions are relative
        return workload
    if architecture.kind == "encoder" and workload.task == "finetune":
        limit -= PADDED_POSITIONS
    if asked.get("generate") is None:
        workload = replace(workload, generate=min(workload.generate, limit // 2))
    if workload.context + workload.generate <= limit:
        return workload
    if asked.get("context") is not None or workload.generate >= limit:
        raise UsageError(
            f"{workload.context + workload.generate} tokens are asked for, and {model.id} knows at most {limit}",
            fix=f"use --context {max(limit - workload.generate, 1)} or less",
            code="context_too_long",
        )
    return replace(workload, context=limit - workload.generate)


def as_it_runs(model: Model, workload: Workload, asked: Mapping[str, Any]) -> Workload:
    """A fine-tuning in the words of what `modelpick finetune` runs on the machine.

    As it was asked where a stack was asked for, over several GPUs, and of an unknown shape.
    """
    if workload.gpus > 1 or asked.get("stack"):
        return workload
    try:
        kind = architecture_of(model).kind
    except CannotTellError:
        return workload
    return as_trained(workload, kind, gpu=True)


def _workloads(
    finetune: Mapping[str, Any] | None, serve: Mapping[str, Any] | None, data: Path | None
) -> tuple[Workload | None, Workload | None]:
    if data is not None and finetune is None and serve is not None:
        finetune = {}
    if finetune is None and serve is None:
        finetune = {}
    tuned = None if finetune is None else workload_from({"task": "finetune", **finetune})
    served = None if serve is None else workload_from(_with_answers({"task": "serve", **serve}))
    if tuned is not None and served is not None and tuned.gpus != served.gpus:
        raise UsageError(
            f"fine-tuning on {tuned.gpus} GPUs and serving on {served.gpus} is not one machine",
            fix="give one number of GPUs, or make two plans",
            code="contradiction",
        )
    return tuned, served


def _with_answers(names: Mapping[str, Any]) -> Mapping[str, Any]:
    """As many new tokens as the server will leave room for."""
    return names if names.get("generate") is not None else {**names, "generate": SERVED_ANSWER}


def offers_for(
    region: str, market: str, instance: str | None, family: str | None, gpus: int, discounts: Mapping[str, float]
) -> list[Offer]:
    """The offers that the filters leave: one type, or those of the families with exactly the GPUs asked for."""
    priced = discounted_offers(region=region, market=market, discounts=discounts)
    if instance is not None:
        named = embedded.instance(instance).name
        return [offer for offer in priced if offer.instance.name == named]
    families = families_named(family)
    return [offer for offer in priced if families.admit(offer.instance) and offer.instance.gpu_count == gpus]


def _tokenizer_of(model: Model) -> Path | None:
    """tokenizer.json in the folder or in the Hub's cache on this machine; nothing is downloaded."""
    if model.origin == "folder":
        return Path(model.id) / "tokenizer.json"
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(model.id, "tokenizer.json", revision=model.revision)
    return Path(found) if isinstance(found, str) else None
