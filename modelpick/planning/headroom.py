"""What vLLM's share of a card leaves for the cache, and the cheapest place for a workload. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, get_args

from modelpick.catalog.architecture import Architecture
from modelpick.memory.estimate import GIB
from modelpick.memory.training import cache_share
from modelpick.offers.instance import InstanceType
from modelpick.offers.price import Offer
from modelpick.planning.fit import fits, largest_batch, on_device
from modelpick.workload import FinetuneMethod, Method, Workload


@dataclass(frozen=True, slots=True)
class CacheRoom:
    """What `gpu_memory_utilization` leaves on one GPU: GiB of cache, the tokens in it, whole sequences of a context."""

    gib: float
    tokens: int | None  # None: the model keeps no growing cache
    sequences: int

    def as_json(self) -> dict[str, Any]:
        """The room in the names of `estimate --json`."""
        return {"kv_room_gib": self.gib, "kv_room_tokens": self.tokens, "concurrent_sequences": self.sequences}


def cache_room(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> CacheRoom:
    """The cache that a server has beside weights and its own working memory, counted at the upper bound.

    vLLM takes gpu_memory_utilization of the card, subtracts weights and the peak of a profiling run, and gives the rest
    to pages of keys and values (vllm/v1/worker/gpu_worker.py, determine_available_memory).
    """
    device = on_device(architecture, replace(workload, batch=1), parameters)
    share = workload.gpu_memory_utilization if workload.stack == "vllm" else 1.0
    beside = device.high - device.parts.kv_cache
    room = max(instance.usable_memory_gib * share * GIB - beside, 0.0)
    sequences = largest_batch(architecture, workload, instance, parameters) or 0
    each = device.kv_bytes_per_token * cache_share(architecture, workload)
    return CacheRoom(room / GIB, int(room / each) if each else None, sequences)


@dataclass(frozen=True, slots=True)
class Cheapest:
    """The cheapest way found: the method and the offer."""

    method: Method
    offer: Offer


def cheapest(
    architecture: Architecture, workload: Workload, offers: Iterable[Offer], parameters: int | None = None
) -> Cheapest | None:
    """The cheapest offer that some method of the task fits; of methods at one price the least coarse. None: none.

    Serving looks at bf16, int8 and NF4, what any checkpoint can be loaded as. Offers without a price are left out.
    """
    methods: tuple[Method, ...] = ("bf16", "int8", "nf4") if workload.task == "serve" else get_args(FinetuneMethod)
    estimates = [(method, on_device(architecture, replace(workload, method=method), parameters)) for method in methods]
    priced = [(offer.usd_per_hour, offer) for offer in offers if offer.usd_per_hour is not None]
    for _, offer in sorted(priced, key=lambda pair: (pair[0], pair[1].instance.name)):
        for method, device in estimates:
            if fits(device, offer.instance):
                return Cheapest(method, offer)
    return None
