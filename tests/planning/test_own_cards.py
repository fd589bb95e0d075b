"""`recommend` for a card of one's own: it has no price, holds what is put there, and is served by what runs on it."""

import pytest

from modelpick import api
from modelpick.offers.own import own_offer
from modelpick.planning.filters import Filters

_SMALL = 4_000_000_000


def answer(gpu: str | None, memory: str | None = None) -> api.RecommendAnswer:
    filters = Filters(use_case="chat", own=own_offer(gpu, memory), max_parameters=_SMALL, min_score=40.0)
    return api.recommend(workload={"context": 2048, "generate": 128}, filters=filters, finetune_rows=1)


@pytest.mark.parametrize(
    ("gpu", "memory", "engines"),
    [
        ("RTX 4060", None, {"vllm", "transformers"}),
        ("2x T4", None, {"vllm", "transformers"}),
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


def test_nothing_is_tuned_where_cuda_does_not_run() -> None:
    row = answer(None, "64GiB").recommendations.passed[0]
    assert row.finetune is None
    assert "CUDA" in (row.finetune_why or "")
