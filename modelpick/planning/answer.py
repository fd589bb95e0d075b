"""What `recommend` answers, in the names of the JSON contract. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelpick.licensing.policy import Policy
from modelpick.offers.price import Market
from modelpick.planning.recommend import Recommendation, Recommendations, Rejection, Seat, Wanted
from modelpick.workload import Workload

if TYPE_CHECKING:
    from modelpick.catalog.index import Catalog

FINETUNE_WORKLOAD = Workload(task="finetune", method="lora-int8", context=1024)
"""What every recommendation also says: LoRA over 8-bit weights, the set-up people plan for."""

ASSUMPTIONS = (
    "fit compares the upper end of the 90 % interval with the usable memory of one GPU",
    "cost is on-demand, the instance running all hours of a month, disk and address included, traffic not",
    "quality: one factor over public boards, 80 % interval; overlapping intervals are ties and the cheaper wins",
    "fine-tuning cost: 1,000 examples of 750 tokens, 3 epochs; boot, download, evaluation and disk included",
    "quality scores predate quantization and say little about fine-tuning",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What `recommend` found, and everything it rests on."""

    recommendations: Recommendations
    policy: Policy
    workload: Workload
    wanted: Wanted
    region: str
    market: Market
    catalog: "Catalog"

    def as_json(self, limit: int | None = 20) -> dict[str, Any]:
        """The contract's object (without the schema version): the first `limit` rows and all the rejected."""
        rows = self.recommendations.passed[:limit]
        return {
            "catalog": {
                "source": "embedded",
                "as_of": self.catalog.as_of,
                "models": len(self.catalog.models),
            },
            "policy": {"name": self.policy.name, "sha256": self.policy.sha256},
            "workload": self.workload.as_json(),
            "region": self.region,
            "sort": self.wanted.sort,
            "passed": len(self.recommendations.passed),
            "recommendations": [row_as_json(row, rank) for rank, row in enumerate(rows, 1)],
            "rejected": [
                {"model": left.model, "reason_code": left.code, "reason": left.reason}
                for left in self.recommendations.rejected
            ],
            "assumptions": list(ASSUMPTIONS),
            "sources": sorted(
                {row.seat.offer.source for row in rows if row.seat.offer.source}
                | {board for row in rows if row.model.quality for board in row.model.quality.sources}
            ),
        }

    def why_not(self, name: str) -> Rejection | int | None:
        """Why a model is absent, its rank when it is not, or None when the catalog has no such model."""
        model = self.catalog.find(name)
        if model is None:
            return None
        for rank, row in enumerate(self.recommendations.passed, 1):
            if row.model.id == model.id:
                return rank
        return next((left for left in self.recommendations.rejected if left.model == model.id), None)


def row_as_json(row: Recommendation, rank: int) -> dict[str, Any]:
    """One recommendation in the names of the contract."""
    quality = row.model.quality
    judgement = row.judgement.as_json()
    return {
        "rank": rank,
        "model": row.model.id,
        "parameters": row.model.parameters,
        "license": {
            "verdict": row.judgement.verdict.value,
            "ids": [license["id"] for license in judgement["licenses"]],
            "obligations": judgement["obligations"],
        },
        **_seat_as_json(row.seat),
        "quality": {
            "score": quality.score if quality else None,
            "low": quality.low if quality else None,
            "high": quality.high if quality else None,
            "status": quality.status if quality else "unrated",
            "sources": list(quality.sources) if quality else [],
            "as_of": quality.as_of if quality else None,
        },
        "finetune": {
            "method": FINETUNE_WORKLOAD.method,
            **(_seat_as_json(row.finetune) if row.finetune else {"memory": None, "offer": None, "cost": None}),
            "reason": row.finetune_why,
        },
    }


def _seat_as_json(taken: Seat) -> dict[str, Any]:
    memory = taken.memory.as_json()
    return {
        "memory": {key: memory[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")},
        "offer": taken.offer.as_json(),
        "cost": dict(taken.cost),
    }
