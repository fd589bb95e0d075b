"""Instances side by side: the cheapest first, one size a GPU, what another changes, a reason for the rest."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import ModelpickError
from modelpick.offers import embedded
from modelpick.planning import gather
from modelpick.planning.engines import ONE_AFTER_ANOTHER

MODEL = "Qwen/Qwen3-8B"
SERVE = {"method": "awq", "stack": "vllm", "batch": 16, "context": 1000, "generate": 250}


def test_the_cheapest_comes_first_and_each_gpu_once() -> None:
    found = gather.compare(MODEL, SERVE)
    names = [row.offer.instance.name for row in found.rows]
    assert names[:3] == ["g6.xlarge", "g5.xlarge", "g6e.xlarge"]
    assert len({row.offer.instance.gpu.name for row in found.rows}) == len(names)
    assert [row.usd for row in found.rows] == sorted(row.usd or 0 for row in found.rows)
    assert "the same GPU" in found.left_out["g5.2xlarge"]
    everything = gather.compare(MODEL, SERVE, all_sizes=True)
    assert len(everything.rows) > len(found.rows)
    assert set(found.left_out) | set(names) == set(everything.left_out) | {
        r.offer.instance.name for r in everything.rows
    }


def test_a_faster_instance_says_what_it_costs_more() -> None:
    found = gather.compare(MODEL, SERVE)
    (faster,) = found.changes()
    assert faster.kind == "faster"
    assert faster.speed_factor > 1.1
    assert faster.cost_factor > 1
    cheaper = next(change for change in found.changes(2) if change.kind == "cheaper")
    assert cheaper.cost_factor < 1
    assert cheaper.instance_type in cheaper.text


def test_fine_tuning_has_a_job_and_where_a_sample_is_known_a_spot_price() -> None:
    found = gather.compare(MODEL, {"method": "qlora", "context": 256})
    row = next(row for row in found.rows if row.offer.instance.name == "g5.xlarge")
    assert row.job is not None
    assert row.spot_job is not None
    assert row.spot_job.total.likely < row.job.total.likely
    assert row.spot_time is not None
    assert row.time is not None
    assert row.spot_time.total.high > row.time.total.high
    assert json.dumps(row.as_json())


def test_data_decides_what_a_job_costs(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps({"text": "word " * 400}) + "\n" for _ in range(500)))
    once, thrice = (
        gather.compare(MODEL, {"method": "qlora"}, data=path, epochs=n, instance="g5.xlarge").rows[0] for n in (1, 3)
    )
    assert once.time is not None
    assert thrice.time is not None
    assert thrice.time.training.likely == pytest.approx(3 * once.time.training.likely)


def test_half_a_month_costs_less_and_break_even_follows() -> None:
    full = gather.compare(MODEL, SERVE, against_usd_per_mtok=0.3).rows[0]
    half = gather.compare(MODEL, SERVE, duty_cycle=0.5, against_usd_per_mtok=0.3).rows[0]
    assert full.month is not None
    assert half.month is not None
    assert half.month.instance_usd == pytest.approx(full.month.instance_usd / 2)
    assert half.month.disk_usd == full.month.disk_usd
    assert full.break_even is not None
    assert full.break_even.mtok_per_month == pytest.approx(full.month.total_usd / 0.3)


def test_an_unknown_price_stays_unknown_and_last() -> None:
    found = gather.compare(MODEL, {"method": "bf16", "gpus": 8}, family="any", all_sizes=True)
    last = found.rows[-1]
    assert last.offer.instance.name == "p5e.48xlarge"
    assert last.usd is None
    assert last.as_json()["month"] is None
    assert all(row.usd is not None for row in found.rows[:-1])


def test_live_prices_take_the_place_of_embedded_ones() -> None:
    offers = [offer.discounted({"g6": 0.5}) for offer in embedded.offers("us-east-1")]
    live = gather.compare(MODEL, SERVE, offers=offers)
    assert live.rows[0].offer.usd_per_hour == pytest.approx(0.4024)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"workload": {"method": "int8", "stack": "vllm"}}, "vllm_int8_dense"),
        ({"duty_cycle": 0.0}, "bad_share"),
        ({"utilisation": 1.5}, "bad_share"),
        ({"against_usd_per_mtok": float("nan")}, "bad_price"),
        ({"data": Path("x.jsonl")}, "contradiction"),
        ({"workload": {"method": "qlora"}, "epochs": -1.0}, "bad_epochs"),
        ({"name": "nobody/nothing"}, "model_unknown"),
        ({"instance": "g5.tiny"}, "unknown_instance"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], code: str) -> None:
    with pytest.raises(ModelpickError) as caught:
        gather.compare(**{"name": MODEL, "workload": SERVE, **options})
    assert caught.value.code == code
    assert caught.value.fix


def test_no_unknown_price_is_called_the_higher_one() -> None:
    compared = gather.compare(MODEL, {"method": "bf16", "batch": 1}, region="ap-southeast-6")
    priced = {row.offer.instance.name for row in compared.rows if row.offer.usd_per_hour is not None}
    assert compared.rows
    assert not priced
    assert not [name for name, why in compared.left_out.items() if "costs less" in why]
    sizes = {row.offer.instance.gpu.name: row.offer.instance for row in compared.rows}
    assert sizes["L4"].name == "g6.xlarge"  # the smallest host of that GPU stands for the others


@pytest.mark.parametrize("stack", ["vllm", "transformers"])
def test_a_batch_is_priced_at_the_speed_of_its_engine(stack: str) -> None:
    """transformers answers one request after another: eight at once are no faster than one. vLLM answers together."""
    faster = 0
    for model in ("Qwen/Qwen3-4B", "meta-llama/Llama-3.1-8B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3"):
        load = {"task": "serve", "method": "bf16", "stack": stack, "context": 1024, "generate": 256}
        one, eight = (gather.compare(model, {**load, "batch": batch}) for batch in (1, 8))
        speeds = {row.offer.instance.name: row.speed.tokens_per_s for row in one.rows}
        for row in eight.rows:
            if row.offer.instance.name in speeds:
                assert (row.speed.tokens_per_s > speeds[row.offer.instance.name]) is (stack == "vllm"), model
                faster += 1
        assert (ONE_AFTER_ANOTHER in eight.assumptions) is (stack == "transformers")
        planned = gather.plan(model, serve={**load, "batch": 8}, instance=eight.rows[0].offer.instance.name)
        assert planned.candidates[0].serving is not None
        assert planned.candidates[0].serving.generate.tokens_per_s == pytest.approx(
            eight.rows[0].speed.tokens_per_s, rel=1e-5
        )
    assert faster
