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

from modelpick.licensing.judge_models import judge_model as judge
from modelpick.licensing.judge_models import judge_models
from modelpick.offers.embedded import discounted_offers as offers
from modelpick.offers.instance import Families
from modelpick.planning.gather import compare, estimate, estimate_cases, estimate_many, plan, recommend
from modelpick.planning.recommend import Filters, RecommendAnswer
from modelpick.planning.report import MemoryReport
from modelpick.workload import Workload, workload_from

if TYPE_CHECKING:
    from modelpick.training.finetune import finetune

audit: Any  # audit.run.audit
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


# Loaded when they are asked for: finetune's room imports a third of the package, and audit's stands above this door.
_LOADED_LATE = {"audit": "modelpick.audit.run", "finetune": "modelpick.training.finetune"}


def __getattr__(name: str) -> Any:
    """The functions whose modules are imported at the first use. Raises AttributeError for any other name."""
    if name not in _LOADED_LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LOADED_LATE[name]), name)
