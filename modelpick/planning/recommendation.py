"""One recommended model: where it runs, how fast, for how much, and the two set-ups that people plan for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelpick.catalog.model import Model, Quality
from modelpick.licensing.verdict import Judgement
from modelpick.planning.cost import MonthCost, TokenPrices
from modelpick.planning.job import JobCost, JobTime
from modelpick.planning.placement import Placement
from modelpick.speed.speed import ServingSpeed, Speed


@dataclass(frozen=True, slots=True)
class ExampleJob:
    """What a fine-tuning on `examples` good examples takes: the job that everybody plans first."""

    examples: int
    tokens_per_example: int
    epochs: int
    time: JobTime | None
    usd: JobCost | None

    def as_json(self) -> dict[str, object]:
        """The job in the names of the JSON contract."""
        return {
            "examples": self.examples,
            "tokens_per_example": self.tokens_per_example,
            "epochs": self.epochs,
            "time": self.time.as_json() if self.time is not None else None,
            "usd": self.usd.as_json() if self.usd is not None else None,
        }


@dataclass(frozen=True, slots=True)
class UsualSetup:
    """A set-up that people plan for, 8-bit weights or LoRA over them: on the g5 family, and wherever it costs least.

    A placement is None where there is none; `why` and `g5_why` then say why not.
    """

    method: str
    overall: Placement | None
    why: str | None
    g5: Placement | None
    g5_why: str | None

    def as_json(self, costs: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
        """One of `eight_bit` and `finetune`: the cheapest place of all, and `g5`. `costs`: what each of them costs."""
        return {
            "method": self.method,
            **_place_as_json(self.overall, costs.get("overall", {})),
            "reason": self.why,
            "g5": {**_place_as_json(self.g5, costs.get("g5", {})), "reason": self.g5_why},
        }


def _place_as_json(placement: Placement | None, cost: Mapping[str, object]) -> dict[str, object]:
    if placement is None:
        return {"memory": None, "offer": None, "cost": None, "setup": None}
    return placement_as_json(placement, cost)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """One model that passed every gate.

    `judgement` is that of the repository whose weights are loaded. `quality` is the score that it is ranked by, of
    `quality_use` where boards rate that use by itself, else the general one. Speed, costs and the usual set-ups are
    filled in for the rows that are shown.
    """

    model: Model
    judgement: Judgement
    placement: Placement
    quality: Quality | None = None
    quality_use: str | None = None
    speed: ServingSpeed | None = None
    month: MonthCost | None = None
    prices: TokenPrices | None = None
    eight_bit: UsualSetup | None = None
    finetune: UsualSetup | None = None
    finetune_job: ExampleJob | None = None
    finetune_g5_job: ExampleJob | None = None
    unbeaten: bool = False

    def as_json(self, rank: int) -> dict[str, Any]:
        """One recommendation in the names of the contract."""
        quality = self.quality
        return {
            "rank": rank,
            "model": self.model.id,
            "parameters": self.model.parameters,
            "license": {
                "verdict": self.judgement.verdict.value,
                "basis": self.judgement.basis,
                "ids": [finding.id for finding in self.judgement.licenses],
                "obligations": self.judgement.as_json()["obligations"],
            },
            **placement_as_json(self.placement, self._costs()),
            "speed": _speed_as_json(self.speed) if self.speed is not None else self._training_speed(),
            "unbeaten": self.unbeaten,
            "quality": {
                "score": quality.score if quality else None,
                "low": quality.low if quality else None,
                "high": quality.high if quality else None,
                "status": quality.status if quality else "unrated",
                "use": self.quality_use,
                "sources": list(quality.sources) if quality else [],
                "as_of": quality.as_of if quality else None,
            },
            "eight_bit": self.eight_bit.as_json({}) if self.eight_bit is not None else None,
            "finetune": self._finetune_as_json(),
        }

    def _costs(self) -> dict[str, object]:
        month, prices, job = self.month, self.prices, self.placement.job
        found: dict[str, object] = dict(month.as_json()) if month is not None else {}
        if self.placement.serving is not None:
            found["usd_per_month"] = month.total_usd if month is not None else None
            found["usd_per_mtok_in"] = prices.prompt.likely if prices is not None else None
            found["usd_per_mtok_out"] = prices.generated.likely if prices is not None else None
        if job is not None:
            found["job"] = job.as_json()
        return found

    def _training_speed(self) -> dict[str, object] | None:
        speed = self.placement.training
        return {"tokens_per_s": _range(speed)} if speed is not None else None

    def _finetune_as_json(self) -> dict[str, object] | None:
        if self.finetune is None:
            return None
        jobs = {"overall": self.finetune_job, "g5": self.finetune_g5_job}
        return self.finetune.as_json({name: job.as_json() for name, job in jobs.items() if job is not None})


def placement_as_json(placement: Placement, cost: Mapping[str, object]) -> dict[str, object]:
    """Memory, offer, cost and set-up of a placement."""
    memory = placement.memory.as_json()
    hourly = {"usd_per_hour": placement.offer.usd_per_hour}
    return {
        "memory": {key: memory[key] for key in ("total_gib", "low_gib", "high_gib", "parts_gib")},
        "offer": placement.offer.as_json(),
        "cost": dict(cost) or hourly,
        "setup": placement.setup_as_json(),
    }


def _speed_as_json(speed: ServingSpeed) -> dict[str, object]:
    """Tokens a second of all requests together and of each, seconds to the first token (null: requests queue)."""
    first, each = speed.first_token, speed.per_request
    return {
        "tokens_per_s": _range(speed.generated),
        "per_request": {"likely": each.likely, "low": each.low, "high": each.high},
        "first_token_s": {"likely": first.likely, "low": first.low, "high": first.high} if first is not None else None,
    }


def _range(speed: Speed) -> dict[str, float]:
    return {"likely": speed.tokens_per_s, "low": speed.low, "high": speed.high}
