"""`recommend` for a card of one's own: it has no price, holds what is put there, and is served by what runs on it."""

import pytest

from modelpick import api
from modelpick.catalog.model import Capability
from modelpick.offers import embedded
from modelpick.offers.own import own_offer
from modelpick.planning.filters import Filters
from modelpick.planning.recommend import NO_SERVER

_SMALL = 4_000_000_000


def answer(gpu: str | None, memory: str | None = None, **workload: object) -> api.RecommendAnswer:
    own = own_offer(gpu, memory) if gpu or memory else None
    filters = Filters(use_case="chat", own=own, max_parameters=_SMALL, min_score=40.0)
    return api.recommend(workload={"context": 2048, "generate": 128, **workload}, filters=filters, finetune_rows=1)


@pytest.mark.parametrize(
    ("gpu", "memory", "engines"),
    [
        ("RTX 4060", None, {"vllm", "llama.cpp", "transformers"}),
        ("2x T4", None, {"vllm", "llama.cpp", "transformers"}),
        ("m2", "16GiB", {"llama.cpp"}),
        (None, "16GiB", {"llama.cpp"}),
        ("RX 7600", None, {"llama.cpp"}),
    ],
)
def test_what_is_put_there_runs_and_fits(gpu: str | None, memory: str | None, engines: set[str]) -> None:
    found = answer(gpu, memory)
    rows = found.recommendations.passed
    assert len(rows) > 3
    for row in rows:
        placement = row.placement
        assert placement.offer.market == "own"
        assert placement.offer.usd_per_hour is None
        assert row.month is None
        assert placement.engine in engines
        assert placement.memory.high / 2**30 <= placement.offer.instance.usable_memory_gib
        assert placement.gpus <= placement.offer.instance.gpu_count
    body = found.as_json(1)
    assert body["region"] is None
    own = found.filters.own
    assert own is not None
    assert set(own.assumed) <= set(body["assumptions"])  # type: ignore[call-overload]
    offer = body["recommendations"][0]["offer"]  # type: ignore[index]
    assert (offer["usd_per_hour"], offer["market"], offer["region"]) == (None, "own", None)


def test_a_gguf_file_is_made_for_a_card_of_ones_own_where_vllm_holds_nothing_of_the_model() -> None:
    card = "RTX 4060"  # 8 GB: room for some of these models in vLLM and for others not
    by_engine: dict[str | None, set[str]] = {}
    for row in answer(card).recommendations.passed:
        by_engine.setdefault(row.placement.engine, set()).add(row.model.id)
    with_vllm = {row.model.id for row in answer(card, stack="vllm").recommendations.passed}
    assert by_engine["llama.cpp"]
    assert by_engine["vllm"] == with_vllm
    rented = answer(None).recommendations.passed  # nobody has put llama.cpp on a machine that is rented
    assert rented
    assert not [row.model.id for row in rented if row.placement.engine == "llama.cpp" and row.model.gguf is None]


def test_nothing_is_tuned_where_cuda_does_not_run() -> None:
    row = answer(None, "64GiB").recommendations.passed[0]
    assert row.finetune is not None
    assert row.finetune.overall is None
    assert "CUDA" in (row.finetune.why or "")


@pytest.mark.parametrize("use", ["embedding", "rerank"])
def test_what_searches_is_placed_by_a_batch_of_texts_without_a_server(use: Capability) -> None:
    found = api.recommend(workload={"batch": 32, "context": 512}, filters=Filters(use_case=use), finetune_rows=0)
    assert found.recommendations.passed
    for row in found.recommendations.passed:
        assert use in row.model.capabilities
        assert row.placement.engine is None
        work = row.placement.memory.workload
        assert (work.batch, work.context, work.generate, work.stack) == (32, 512, 0, "transformers")
    assert NO_SERVER in found.as_json(1)["assumptions"]  # type: ignore[operator]


@pytest.mark.parametrize("typed", ["RTX 4090", "24GiB", "2x RTX 3060 12GB"])
def test_an_estimate_is_held_against_a_card_of_ones_own(typed: str) -> None:
    own = own_offer(typed)
    (report,) = api.estimate_many(["Qwen/Qwen3-0.6B"], {"context": 2048, "batch": 1}, own=own, offline=True)
    assert isinstance(report, api.MemoryReport)
    assert report.on is own
    assert report.fit_on(own).fits
    assert len(report.fits) == 1 + len(embedded.instances())
    body = report.as_json(solve=True)
    assert set(own.assumed) <= set(body["assumptions"])
    assert body["fits"][0]["usd_per_hour"] is None
    (large,) = api.estimate_many(["Qwen/Qwen3-32B"], {"method": "bf16"}, own=own, offline=True)
    assert isinstance(large, api.MemoryReport)
    assert not large.fit_on(own).fits
