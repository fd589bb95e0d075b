"""What vLLM's share of a card leaves for the cache, and the cheapest place for a workload."""

from dataclasses import replace

from modelpick.offers.price import Offer
from modelpick.planning.headroom import cache_room, cheapest
from modelpick.workload import workload_from
from tests.memory.shapes import LLAMA_7B, MAMBA
from tests.planning.test_fit import A10G, FOUR_A10G, H100


def offer(instance: object, price: float | None) -> Offer:
    return Offer(instance, "us-east-1", "on-demand", price, "test", "2026-01-01")  # type: ignore[arg-type]


def test_a_larger_share_of_the_card_leaves_more_cache() -> None:
    tight = workload_from({"method": "bf16", "stack": "vllm", "context": 2048, "gpu_memory_utilization": 0.8})
    some, more = (cache_room(LLAMA_7B, replace(tight, gpu_memory_utilization=u), A10G) for u in (0.8, 0.95))
    assert 0 < some.gib < more.gib < 22.35
    assert some.sequences <= more.sequences
    assert more.tokens is not None
    assert more.sequences <= more.tokens / 2048


def test_shorter_contexts_admit_more_sequences() -> None:
    work = workload_from({"method": "int8", "stack": "vllm", "context": 4096})
    long, short = (cache_room(LLAMA_7B, replace(work, context=n), A10G).sequences for n in (4096, 512))
    assert 0 < long < short


def test_cards_that_share_kv_heads_have_room_for_more_tokens_and_for_no_fewer_than_the_sequences_hold() -> None:
    work = workload_from({"method": "bf16", "stack": "vllm", "context": 2048, "gpus": 4})
    room = cache_room(LLAMA_7B, work, FOUR_A10G)
    alone = cache_room(LLAMA_7B, replace(work, gpus=1, sharding="none"), A10G)
    assert room.tokens is not None
    assert alone.tokens is not None
    assert room.tokens > 4 * alone.tokens
    assert room.sequences * 2048 <= room.tokens


def test_a_model_without_growing_cache_has_room_for_no_number_of_tokens() -> None:
    assert cache_room(MAMBA, workload_from({"method": "bf16", "stack": "vllm"}), A10G).tokens is None


def test_the_cheapest_place_takes_the_least_coarse_method_there() -> None:
    offers = [offer(H100, 6.88), offer(A10G, 1.006), offer(FOUR_A10G, None)]
    found = cheapest(LLAMA_7B, workload_from({"context": 1024}), offers)
    assert found is not None
    assert (found.method, found.offer.instance.name) == ("bf16", "g5.xlarge")
    found = cheapest(LLAMA_7B, workload_from({"task": "finetune"}), offers)
    assert found is not None
    assert (found.method, found.offer.instance.name) == ("lora-int8", "g5.xlarge")


def test_no_place_is_found_where_nothing_fits() -> None:
    assert cheapest(LLAMA_7B, workload_from({"context": 100_000, "batch": 1000}), [offer(A10G, 1.0)]) is None
