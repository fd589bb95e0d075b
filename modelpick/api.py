"""The public Python API: one name for each question that the command line answers.

    from modelpick import api

    answer = api.recommend(policy="commercial")
    for row in answer.recommendations.passed[:3]:
        print(row.model.id, row.judgement.verdict.value, row.placement.offer.instance.name)

    api.judge("tiiuae/falcon-7b").verdict
    api.estimate("Qwen/Qwen3-8B", method="lora-int8").high
    api.compare("Qwen/Qwen3-8B", {"method": "awq", "batch": 16}).rows[0].usd
    api.plan("Qwen/Qwen3-8B", finetune={"method": "qlora"}).id

Nothing here prints, prompts or exits; what goes wrong is a `modelpick.errors.ModelpickError`. `finetune` needs the
extra `train`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelpick.licensing.judge_models import judge_model as judge
    from modelpick.licensing.judge_models import judge_models
    from modelpick.offers.embedded import discounted_offers as offers
    from modelpick.offers.instance import Families
    from modelpick.planning.catalog_search import recommend
    from modelpick.planning.filters import Filters
    from modelpick.planning.gather import compare, estimate, estimate_cases, estimate_many, plan
    from modelpick.planning.recommend import RecommendAnswer
    from modelpick.planning.report import MemoryReport
    from modelpick.training.finetune import finetune
    from modelpick.workload import Workload, workload_from

    audit: Any  # audit.run.audit, whose room stands above this door

__all__ = [
    "Families",
    "Filters",
    "MemoryReport",
    "RecommendAnswer",
    "Workload",
    "audit",
    "compare",
    "estimate",
    "estimate_cases",
    "estimate_many",
    "finetune",
    "judge",
    "judge_models",
    "offers",
    "plan",
    "recommend",
    "workload_from",
]


# Where each name lives. A module is imported when one of its names is asked for: a program that recommends does not
# load what fine-tunes. After a colon: the name there, where it is another.
_HOMES = {
    "Families": "offers.instance",
    "Filters": "planning.filters",
    "MemoryReport": "planning.report",
    "RecommendAnswer": "planning.recommend",
    "Workload": "workload",
    "audit": "audit.run",
    "compare": "planning.gather",
    "estimate": "planning.gather",
    "estimate_cases": "planning.gather",
    "estimate_many": "planning.gather",
    "finetune": "training.finetune",
    "judge": "licensing.judge_models:judge_model",
    "judge_models": "licensing.judge_models",
    "offers": "offers.embedded:discounted_offers",
    "plan": "planning.gather",
    "recommend": "planning.catalog_search",
    "workload_from": "workload",
}


def __getattr__(name: str) -> Any:
    """One of the names above, from its home. Raises AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, other_name = _HOMES[name].partition(":")
    return getattr(import_module(f"modelpick.{module}"), other_name or name)
