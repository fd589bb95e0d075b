"""Collects what a cost comparison is made from, and makes it. I/O; spends nothing.

from modelpick.planning import costs

comparison = costs.side_by_side("Qwen/Qwen3-8B", {"method": "awq", "stack": "vllm", "batch": 16})
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelpick import settings
from modelpick.catalog import index, lookup
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.verdict import Judgement
from modelpick.offers import embedded
from modelpick.offers.embedded import discounted_offers
from modelpick.offers.price import Offer
from modelpick.offers.rules import load_rules
from modelpick.planning import data_tokens, gather
from modelpick.planning.compare import Comparison, Question, compare
from modelpick.planning.placement import ASSUMED_TOKENS, Ask, Inputs, Refused, ask
from modelpick.ranges import exactly
from modelpick.speed import calibration
from modelpick.workload import Workload, workload_from


def side_by_side(
    name: str,
    workload: Mapping[str, Any] | Workload,
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
    offline: bool = True,
    offers: Sequence[Offer] | None = None,
    progress: data_tokens.Progress | None = None,
) -> Comparison:
    """Instances side by side for a model; `offers` stands in for the embedded prices (live ones).

    Raises Refused for what cannot run anywhere, UsageError for what cannot be meant, CannotTellError for a model that
    is not understood, RemoteError for one that nobody knows.
    """
    work = workload if isinstance(workload, Workload) else workload_from(workload)
    for what, value in (("duty cycle", duty_cycle), ("utilisation", utilisation)):
        if not (math.isfinite(value) and 0 < value <= 1):
            raise UsageError(f"{what} is {value}", fix="give a share above 0, up to 1", code="bad_share")
    if data is not None and work.task == "serve":
        raise UsageError("data has no meaning for task serve", fix="leave out --data", code="contradiction")
    settled = settings.load({"region": region})
    where = embedded.check_region(settled.region)
    chosen = gather.offers_for(where, "on-demand", instance, family, work.gpus, settled.discounts)
    if offers is not None:
        names = {offer.instance.name for offer in chosen}
        chosen = [offer for offer in offers if offer.instance.name in names]
    model = lookup.look_up([name], catalog=index.load(), offline=offline).results[0]
    if isinstance(model, ModelpickError):
        raise model
    open_names: frozenset[str] = frozenset()
    if work.task == "finetune" and not isinstance(workload, Workload):  # as `plan` would have it
        open_names, work = gather.left_open(workload), gather.as_it_runs(model, work, workload)
    counted = gather.count_tokens(data, model, work, progress) if data is not None else None
    asked = _ask(model, work, open_names, counted, where, epochs)
    for one in asked.findings():
        if one.level == "cannot":
            raise Refused(f"{model.id}: {one.why}", fix=one.way_out, code=one.code)
        if one.level == "unknown":
            raise CannotTellError(f"{model.id}: {one.why}", fix=one.way_out, code=one.code)
    passes = asked.tunings[0].recipe.epochs if asked.tunings else 1.0
    trained = (counted.count if counted else exactly(float(ASSUMED_TOKENS))).times(passes)
    spot = {offer.instance.name: offer for offer in discounted_offers(region=where, market="spot", discounts={})}
    question = Question(
        model=model,
        workload=work,
        offers=chosen,
        rates=embedded.billing_rates(),
        rules=load_rules(),
        serving=calibration.serving,
        training=calibration.training,
        spot=spot,
        tokens=trained if work.task == "finetune" else None,
        data=counted,
        duty_cycle=duty_cycle,
        utilisation=utilisation,
        against_usd_per_mtok=against_usd_per_mtok,
        all_sizes=all_sizes,
    )
    return compare(question, asked)


def _ask(
    model: Any, work: Workload, left_open: frozenset[str], counted: data_tokens.Tokens | None, region: str,
    epochs: float | None,
) -> Ask:  # fmt: skip
    """What the model alone tells; the license is another command's business."""
    unjudged = Judgement(model.id, model.revision, Verdict.REVIEW, (), (), ())
    return ask(
        Inputs(
            model=model,
            judgement=unjudged,
            policy={},
            region=region,
            offers=(),
            rates=embedded.billing_rates(),
            rules=load_rules(),
            serving=calibration.serving,
            training=calibration.training,
            finetune=work if work.task == "finetune" else None,
            serve=work if work.task == "serve" else None,
            left_open=left_open,
            tokens=counted,
            epochs=epochs,
        )
    )
