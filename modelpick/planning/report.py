"""One model's workload against every card: what it takes, where it fits, how far it could go there. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.memory.estimate import MemoryEstimate, architecture_of, estimate
from modelpick.offers.instance import InstanceType
from modelpick.offers.price import Offer
from modelpick.planning import fit
from modelpick.planning.headroom import CacheRoom, cache_room, cheapest
from modelpick.planning.smallest_change import least_change
from modelpick.workload import Method, Workload


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a workload could go on one card: None where it does not even start."""

    longest_context: int | None
    largest_batch: int | None


@dataclass(frozen=True)
class MemoryReport:
    """The estimate as asked (`memory`), the device-level one that a card must hold (`device`), and the offers to try.

    `on` is the offer the user named, or the cheapest single-GPU one of the G class that fits; None when none does.
    """

    model: Model
    architecture: Architecture
    memory: MemoryEstimate
    device: MemoryEstimate
    offers: tuple[Offer, ...]
    on: Offer | None
    exact: dict[str, Any] | None = None  # what `--exact` traced, in its JSON names

    @property
    def seat_fits(self) -> bool:
        """Whether the workload fits the offer the report is about."""
        return self.on is not None and fit.fits(self.device, self.on.instance).fits

    @cached_property
    def reach(self) -> Reach:
        """How far the workload could go on the offer the report is about."""
        return Reach(None, None) if self.on is None else self.reach_on(self.on.instance)

    def reach_on(self, instance: InstanceType) -> Reach:
        """How far the workload could go on one GPU (or shard) of `instance`."""
        arguments = (self.architecture, self.memory.workload, instance, self.model.parameters)
        return Reach(fit.longest_context(*arguments), fit.largest_batch(*arguments))

    def solved(self) -> dict[str, Any]:
        """The most that fits the offer the report is about: context, batch, rank (LoRA), the least coarse method."""
        if self.on is None:
            return {}
        work, instance = self.memory.workload, self.on.instance
        answer: dict[str, Any] = {
            "longest_context": self.reach.longest_context,
            "largest_batch": self.reach.largest_batch,
        }
        if work.task == "finetune":
            answer["change_recipe"] = least_change(self.architecture, work, instance, self.model.parameters)
        if work.is_lora:
            answer["largest_rank"] = fit.largest_rank(self.architecture, work, instance, self.model.parameters)
        answer["methods_that_fit"] = ", ".join(self._methods(instance)) or "none"
        room = self.cache_room()
        if room is not None:
            answer |= room.as_json()
        best = cheapest(self.architecture, work, self._alternatives(), self.model.parameters)
        if best is not None:
            answer["cheapest_method"], answer["cheapest_instance"] = best.method, best.offer.instance.name
        return answer

    def cache_room(self) -> CacheRoom | None:
        """What vLLM's share of the card in `on` leaves for its cache; None for other stacks."""
        if self.on is None or self.memory.workload.stack != "vllm":
            return None
        return cache_room(self.architecture, self.memory.workload, self.on.instance, self.model.parameters)

    def _alternatives(self) -> list[Offer]:
        return [offer for offer in self.offers if offer.instance.gpu_count == self.memory.workload.gpus]

    def _methods(self, instance: InstanceType) -> list[Method]:
        """The methods of the same task that fit `instance`, as listed in design order (unquantized first)."""
        work = self.memory.workload
        serving: tuple[Method, ...] = ("bf16", "int8", "nf4")
        tuning: tuple[Method, ...] = ("full", "lora", "lora-int8", "qlora")
        return [
            name
            for name in (serving if work.task == "serve" else tuning)
            if fit.fits(
                fit.on_device(self.architecture, replace(work, method=name), self.model.parameters), instance
            ).fits
        ]

    def cards(self) -> list[Offer]:
        """The cheapest offer of each distinct GPU, or part of one, that has enough GPUs; the smallest memory first."""
        cheapest: dict[tuple[str, float], Offer] = {}
        for offer in self.offers:
            if offer.instance.gpu_count < self.memory.workload.gpus:
                continue
            key = (offer.instance.gpu.name, offer.instance.usable_memory_gib)
            held = cheapest.get(key)
            if held is None or _price(offer) < _price(held):
                cheapest[key] = offer
        return sorted(cheapest.values(), key=lambda offer: (offer.instance.usable_memory_gib, _price(offer)))

    def as_json(self, *, explain: bool = False, solve: bool = False) -> dict[str, Any]:
        """The `estimate --json` object, without the schema version."""
        body = self.memory.as_json()
        return {
            "model": self.model.id,
            "revision": self.model.revision,
            **body,
            "device_high_gib": self.device.high / 2**30,
            "on": self.on.instance.name if self.on else None,
            "longest_context": self.reach.longest_context,
            "largest_batch": self.reach.largest_batch,
            "fits": [self._fit_as_json(offer) for offer in self.offers],
            **(room.as_json() if (room := self.cache_room()) is not None else {}),
            **({"solved": self.solved()} if solve else {}),
            **({"exact": self.exact} if self.exact is not None else {}),
            **({"explain": self.memory.explain()} if explain else {}),
            "sources": sorted({offer.source for offer in self.offers if offer.source}),
        }

    def _fit_as_json(self, offer: Offer) -> dict[str, Any]:
        outcome = fit.fits(self.device, offer.instance)
        return {
            "instance_type": offer.instance.name,
            "gpu": offer.instance.gpu.name,
            "gpu_count": offer.instance.gpu_count,
            "fits": outcome.fits,
            "free_gib": outcome.free_gib,
            "reason": outcome.reason or None,
            "usd_per_hour": offer.usd_per_hour,
        }


def report(model: Model, workload: Workload, offers: Iterable[Offer], on: Offer | None = None) -> MemoryReport:
    """The report on one model. Raises CannotTellError where its architecture cannot be known."""
    architecture = architecture_of(model)
    memory = estimate(architecture, workload, model.parameters)
    device = memory if workload.measure == "device" else fit.on_device(architecture, workload, model.parameters)
    listed = tuple(offers)
    if on is None:
        on = next(
            (
                offer
                for offer in sorted(listed, key=_price)
                if offer.usd_per_hour is not None
                and offer.instance.gpu_class == "G"
                and offer.instance.gpu_count == workload.gpus
                and fit.fits(device, offer.instance).fits
            ),
            None,
        )
    return MemoryReport(model, architecture, memory, device, listed, on)


def _price(offer: Offer) -> tuple[float, str]:
    return (float("inf") if offer.usd_per_hour is None else offer.usd_per_hour, offer.instance.name)
