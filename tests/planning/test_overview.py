"""The set-ups of a model side by side are what each would be by itself: the same memory, the same place, a reason."""

from typing import Any

import pytest

from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.memory.estimate import architecture_of
from modelpick.offers.embedded import discounted_offers
from modelpick.planning import gather
from modelpick.planning.fit import fits
from modelpick.planning.overview import SetupSummary
from modelpick.planning.report import MemoryReport
from tests.tiny_gguf import make

# A dense model, a mixture in a format of its own, one larger than any GPU, an encoder, an encoder-decoder, a state.
MODELS = (
    "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "Qwen/Qwen2.5-72B", "FacebookAI/xlm-roberta-large", "google/flan-t5-base",
    "state-spaces/mamba-2.8b-hf",
)  # fmt: skip


def report_of(name: str | Model, **options: Any) -> MemoryReport:
    (told,) = gather.estimate_many([name], options)
    assert isinstance(told, MemoryReport), told
    return told


@pytest.fixture(scope="module")
def reports() -> dict[str, MemoryReport]:
    return {name: report_of(name) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
def test_a_set_up_is_what_an_estimate_of_it_alone_says(name: str, reports: dict[str, MemoryReport]) -> None:
    rows = reports[name].setups
    assert {row.task for row in rows} == {"serve", "finetune"}
    for row in rows:
        if row.memory is None:
            assert row.reason
            continue
        alone = report_of(name, task=row.task, method=row.method, **({"gpus": row.gpus} if row.gpus > 1 else {}))
        assert alone.device.total == row.memory.total, row.method
        assert not alone.setups
        if row.refusal is None:
            assert row.engine == alone.device.workload.stack
            assert row.cheapest is not None
            if alone.on is not None:  # by memory alone: what another program serves
                assert row.cheapest.instance.name == alone.on.instance.name, row.method


@pytest.mark.parametrize("name", MODELS)
def test_no_smaller_gpu_holds_it_and_no_cheaper_g5(name: str, reports: dict[str, MemoryReport]) -> None:
    report = reports[name]
    for row in report.setups:
        if row.memory is None or row.smallest is None:
            continue
        of_its_size = [row_ for row_ in discounted_offers() if row_.instance.gpu_count == row.gpus]
        alone = report_of(name, task=row.task, method=row.method, **({"gpus": row.gpus} if row.gpus > 1 else {}))
        least = row.smallest.instance.usable_memory_gib
        smaller = [offer for offer in of_its_size if offer.instance.usable_memory_gib < least]
        assert fits(row.memory, row.smallest.instance)
        assert not any(alone.fit_on(offer).fits for offer in smaller), row.method
        if row.on_g5 is not None:
            assert row.on_g5.instance.family == "g5"


@pytest.mark.parametrize("name", MODELS)
def test_what_cannot_run_says_why_in_words(name: str, reports: dict[str, MemoryReport]) -> None:
    for row in reports[name].setups:
        assert row.cheapest is not None or row.reason, row
        if row.reason is not None:
            assert " " in row.reason
            assert "_" not in row.reason.replace(name, ""), row.reason


def test_a_server_that_no_gpu_holds_is_spread_and_its_memory_is_of_one_gpu(reports: dict[str, MemoryReport]) -> None:
    rows = {row.method: row for row in reports["Qwen/Qwen2.5-72B"].setups}
    assert rows["bf16"].gpus > 1
    assert rows["bf16"].cheapest is not None
    assert rows["bf16"].cheapest.instance.gpu_count == rows["bf16"].gpus
    assert rows["bf16"].memory is not None
    assert rows["bf16"].memory.high / 2**30 < rows["bf16"].cheapest.instance.usable_memory_gib
    assert rows["full"].gpus == 1  # our loop trains on one


def test_the_first_line_is_one_workload_in_the_checkpoint_s_own_format_whatever_it_costs(
    reports: dict[str, MemoryReport],
) -> None:
    for name, method in (("Qwen/Qwen3-8B", "bf16"), ("openai/gpt-oss-20b", "mxfp4")):
        body = reports[name].as_json()
        workload = body["workload"]
        assert isinstance(workload, dict)
        assert (workload["method"], workload["stack"]) == (method, "vllm")
        setups: Any = body["setups"]
        first = next(row for row in setups if row["method"] == method)
        assert first["total_gib"] == body["total_gib"]
        wanted = {
            "task", "method", "engine", "gpus", "total_gib", "low_gib", "high_gib", "smallest_gpu", "cheapest_g5",
            "cheapest", "reason",
        }  # fmt: skip
        assert all(set(row) == wanted for row in setups)


def test_an_option_of_one_task_leaves_the_other_out() -> None:
    tasks = lambda **options: {row.task for row in report_of("Qwen/Qwen3-8B", **options).setups}  # noqa: E731
    assert tasks(generate=64) == {"serve"}
    assert tasks(lora_rank=8, task="finetune") == {"finetune"}
    assert tasks(context=2048) == {"serve", "finetune"}


def test_a_price_that_nobody_knows_is_said_to_be_unknown() -> None:
    (told,) = gather.estimate_many(["Qwen/Qwen3-8B"], {}, region="ap-southeast-6")
    assert isinstance(told, MemoryReport)
    rows: list[SetupSummary] = [row for row in told.setups if row.memory is not None and row.smallest is not None]
    assert rows
    for row in rows:
        assert row.cheapest is None
        assert row.reason is not None
        assert "price" in row.reason


def test_a_file_for_llama_cpp_is_served_by_it_and_held_otherwise_by_nobody(tmp_path: Any) -> None:
    pytest.importorskip("gguf")
    make(tmp_path / "tiny.gguf")
    rows = {row.method: row for row in report_of(str(tmp_path)).setups if row.task == "serve"}
    assert rows["gguf"].engine == "llama.cpp"
    assert rows["gguf"].cheapest is not None
    assert all(row.reason for method, row in rows.items() if method != "gguf")


def test_the_models_of_this_page_are_read() -> None:
    for name in MODELS:
        architecture_of(index.load().models[name])
