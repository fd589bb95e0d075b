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
extra `train`, and its module is imported at the first use.
"""

from typing import TYPE_CHECKING, Any

from modelpick.licensing.judge_models import judge_model as judge
from modelpick.licensing.judge_models import judge_models
from modelpick.offers.embedded import discounted_offers as offers
from modelpick.offers.instance import Families
from modelpick.planning.gather import compare, estimate, estimate_cases, estimate_many, plan, recommend
from modelpick.planning.recommend import Answer, Filters
from modelpick.planning.report import MemoryReport
from modelpick.workload import Workload, workload_from

if TYPE_CHECKING:
    from modelpick.audit.run import audit
    from modelpick.training.finetune import finetune

__all__ = [
    "Answer",
    "Families",
    "Filters",
    "MemoryReport",
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


def __getattr__(name: str) -> Any:
    """`finetune` and `audit` at their first use: their rooms import a third of the package."""
    if name == "finetune":
        from modelpick.training.finetune import finetune

        return finetune
    if name == "audit":
        from modelpick.audit.run import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
