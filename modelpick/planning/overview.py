"""The set-ups people plan for, side by side: what each takes, the smallest GPU for it, where it is cheapest. Pure.

What the checkpoint brings, bf16, 8 bits, 4 bits; LoRA, 8-bit LoRA, QLoRA, full fine-tuning. Each is searched for by
placement.place, as plan and cost search for it when it is named.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, UsageError
from modelpick.memory.estimate import GIB, MemoryEstimate
from modelpick.memory.formats import own_method
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer
from modelpick.planning import fit
from modelpick.planning.placement import Placements, offers_for, place
from modelpick.planning.rejection import Rejection, rejection_of
from modelpick.planning.request import Caps, PlanRequest, SearchFacts
from modelpick.planning.workloads import as_far_as_the_model_takes
from modelpick.workload import Method, Task, Workload, workload_from

_SERVED: tuple[Method, ...] = ("bf16", "fp8", "int8", "nf4")
_TUNED: tuple[Method, ...] = ("lora", "lora-int8", "qlora", "full")
_COUNTS = (1, 2, 4, 8)  # GPUs of one machine that a server is spread over
_G_CLASS, _ANY, _G5 = Families(gpu_class="G"), Families(), "g5"
"""As plan and cost search by default; what has no place there is looked for on every type."""
# Reasons for which nothing runs, and for which the memory is estimated all the same.
_IMAGINED = ("context",)


@dataclass(frozen=True, slots=True)
class SetupSummary:
    """One way to run a model. `memory` is of one GPU, None where it cannot be had this way at all.

    `smallest`: the offer with the least GPU memory that holds it, rented here or not. `on_g5` and `cheapest`: the first
    in the one order of placements (the cheapest hour of a server, the cheapest job of a fine-tuning). `refusal`: why it
    cannot run, or that its price is not known.
    """

    task: Task
    method: Method
    engine: str | None
    gpus: int
    memory: MemoryEstimate | None = None
    smallest: Offer | None = None
    on_g5: Offer | None = None
    cheapest: Offer | None = None
    refusal: Rejection | None = None

    @property
    def reason(self) -> str | None:
        """The refusal in words."""
        return None if self.refusal is None else self.refusal.reason

    def as_json(self) -> dict[str, Any]:
        """One element of `setups` in `estimate --json`."""
        memory = self.memory
        return {
            "task": self.task,
            "method": self.method,
            "engine": self.engine,
            "gpus": self.gpus,
            "total_gib": None if memory is None else memory.total / GIB,
            "low_gib": None if memory is None else memory.low / GIB,
            "high_gib": None if memory is None else memory.high / GIB,
            "smallest_gpu": None if self.smallest is None else _gpu(self.smallest),
            "cheapest_g5": None if self.on_g5 is None else _rented(self.on_g5),
            "cheapest": None if self.cheapest is None else _rented(self.cheapest),
            "reason": self.reason,
        }


def _gpu(offer: Offer) -> dict[str, object]:
    kind = offer.instance
    return {"gpu": kind.gpu.name, "gpu_fraction": kind.gpu_fraction, "usable_memory_gib": kind.usable_memory_gib}


def _rented(offer: Offer) -> dict[str, object]:
    names = ("instance_type", "gpu", "gpu_count", "usd_per_hour", "region", "source", "as_of", "availability")
    told = offer.as_json()
    return {name: told[name] for name in names}


def summaries(
    model: Model, architecture: Architecture, options: Mapping[str, object], offers: Iterable[Offer], facts: SearchFacts
) -> tuple[SetupSummary, ...]:
    """The set-ups of one model in the order they are shown; `options` are a workload's, without a method.

    What is named for one task alone leaves the other out. Without `gpus` a server that no single GPU holds is spread
    over 2, 4 or 8 of one machine.
    """
    listed = tuple(offers)
    counts = _COUNTS if options.get("gpus") is None else ()
    return tuple(
        _summary(_Subject(model, architecture, listed, facts), workload, counts or (workload.gpus,))
        for workload in _workloads(model, architecture, options)
    )


def served_elsewhere(architecture: Architecture, refusal: Rejection | None) -> bool:
    """Whether a refusal is that no engine of `modelpick serve` is for such a model: an encoder, or one of sound."""
    of_another_kind = architecture.kind == "encoder" or architecture.heard is not None
    return refusal is not None and refusal.cause == "engine" and of_another_kind


def _workloads(model: Model, architecture: Architecture, options: Mapping[str, object]) -> Iterator[Workload]:
    named = {name: value for name, value in options.items() if value is not None and name not in ("task", "method")}
    own = "gguf" if model.gguf is not None else own_method(architecture.checkpoint)
    served = tuple(dict.fromkeys((own, *_SERVED))) if own != "bf16" else _SERVED
    tasks: tuple[tuple[Task, tuple[str, ...]], ...] = (("serve", served), ("finetune", _TUNED))
    for task, methods in tasks:
        for method in methods if options.get("task") in (None, task) else ():
            try:
                workload = workload_from({**named, "task": task, "method": method})
            except UsageError:  # an option of the other task, or of other methods
                continue
            yield as_far_as_the_model_takes(model, workload, named)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What every set-up of one model is searched with."""

    model: Model
    architecture: Architecture
    offers: Sequence[Offer]
    facts: SearchFacts

    def placed(self, workload: Workload, *, families: Families, imagined: bool = False) -> Placements | Rejection:
        """The places of a workload on the types of `families` with exactly its GPUs."""
        if workload.task == "serve":
            request = PlanRequest(self.model, serve=workload, architecture=self.architecture)
        else:
            request = PlanRequest(self.model, finetune=workload, architecture=self.architecture)
        tried = offers_for(self.offers, families, None, workload.gpus)
        return place(request, tried, Caps(), self.facts, hypothetical=imagined)

    def memory(self, workload: Workload) -> MemoryEstimate:
        """What it takes on a GPU, wherever that is."""
        return fit.on_device(self.architecture, workload, self.model.parameters)


def _summary(subject: _Subject, workload: Workload, counts: Sequence[int]) -> SetupSummary:
    """The first number of GPUs that has a place; where none has, why one GPU has not."""
    first: SetupSummary | None = None
    for count in counts if workload.task == "serve" else counts[:1]:
        found = _over(subject, _spread(workload, count))
        if found.cheapest is not None or found.smallest is not None:
            if found.on_g5 is None and found.refusal is None:
                return replace(found, on_g5=_on_g5(subject, workload, [more for more in counts if more > count]))
            return found
        first = first or found
        if found.memory is None:
            break  # it is not a matter of room
    assert first is not None
    return first


def _spread(workload: Workload, gpus: int) -> Workload:
    return workload if gpus == workload.gpus else replace(workload, gpus=gpus, sharding="tensor-parallel")


def _over(subject: _Subject, workload: Workload) -> SetupSummary:
    """One set-up on exactly its number of GPUs."""
    bare = SetupSummary(workload.task, workload.method, None, workload.gpus)
    try:
        found = subject.placed(workload, families=_G_CLASS)
        refusal = found if isinstance(found, Rejection) else found.refusal()
        if isinstance(found, Rejection):
            if served_elsewhere(subject.architecture, found):
                return _elsewhere(subject, workload, bare, found)
            if found.cause not in _IMAGINED:
                return replace(bare, refusal=found)
            imagined = subject.placed(workload, families=_ANY, imagined=True)
            if isinstance(imagined, Rejection):
                return replace(bare, memory=subject.memory(workload), refusal=found)
            found = imagined
        elif refusal is not None and refusal.cause != "price_unknown":
            found = subject.placed(workload, families=_ANY)
            assert isinstance(found, Placements)
            refusal = found.refusal()
    except ModelpickError as error:  # a method that is not known of such an architecture
        return replace(bare, refusal=rejection_of(error, "engine"))
    least = found.setup.least
    rows = () if refusal is not None else found.rows
    return replace(
        bare,
        engine=found.setup.engine or least.workload.stack,
        memory=least,
        smallest=_smallest_of(subject, workload, found),
        on_g5=_first([row.offer for row in rows], _G5),
        cheapest=_first([row.offer for row in rows]),
        refusal=refusal,
    )


def _elsewhere(subject: _Subject, workload: Workload, bare: SetupSummary, refusal: Rejection) -> SetupSummary:
    """What another program serves: memory is all that is asked, and the cheapest hour is named."""
    memory = subject.memory(workload)
    tried = offers_for(subject.offers, _ANY, None, workload.gpus)
    roomy = [
        offer
        for offer in tried
        if fit.fits(memory, offer.instance) and fit.lacking_dtype(memory.workload, offer.instance) is None
    ]
    priced = sorted((offer for offer in roomy if offer.usd_per_hour is not None), key=_hourly)
    return replace(
        bare, memory=memory, smallest=_smallest(roomy), on_g5=_first(priced, _G5), cheapest=_first(priced),
        refusal=refusal,
    )  # fmt: skip


def _on_g5(subject: _Subject, workload: Workload, counts: Sequence[int]) -> Offer | None:
    """The cheapest g5 that holds a server over more GPUs than the cheapest of all has."""
    for count in counts if workload.task == "serve" else ():
        found = subject.placed(_spread(workload, count), families=Families(names=(_G5,)))
        if isinstance(found, Placements) and found.rows:
            return found.rows[0].offer
    return None


def _smallest_of(subject: _Subject, workload: Workload, found: Placements) -> Offer | None:
    """The offer with the least memory of a GPU that holds it, of every class, whether it is rented here or not."""
    least = _smallest(_holding(found))
    others = [
        offer
        for offer in subject.offers
        if not _G_CLASS.admit(offer.instance)
        and (least is None or offer.instance.usable_memory_gib < least.instance.usable_memory_gib)
    ]
    more = replace(subject, offers=others).placed(workload, families=_ANY) if others else None
    if not isinstance(more, Placements):
        return least
    return _smallest([*_holding(more), *([least] if least is not None else [])])


def _holding(found: Placements) -> list[Offer]:
    absent = [refused.offer for refused in found.rejected if refused.offer and refused.cause == "not_offered"]
    return [*(row.offer for row in (*found.rows, *found.unpriced)), *absent]


def _smallest(offers: Sequence[Offer]) -> Offer | None:
    return min(offers, key=lambda offer: (offer.instance.usable_memory_gib, _hourly(offer)), default=None)


def _hourly(offer: Offer) -> float:
    return math.inf if offer.usd_per_hour is None else offer.usd_per_hour


def _first(offers: Sequence[Offer], family: str | None = None) -> Offer | None:
    return next((offer for offer in offers if family in (None, offer.instance.family)), None)
