"""`modelpick cost`: instances side by side, within 80 columns, with an API's price to compare with."""

import pytest

from tests.cli.conftest import Run


def test_serving_side_by_side_with_a_break_even(modelpick: Run) -> None:
    words = (
        "cost",
        "Qwen/Qwen3-8B",
        "--method",
        "awq",
        "--stack",
        "vllm",
        "--batch",
        "16",
        "--against",
        "0.3",
        "--offline",
    )
    answer = modelpick(*words)
    assert answer.code == 0
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    assert "g6e.xlarge" in answer.out
    assert "against $0.3 per million tokens" in answer.out
    rows = modelpick(*words, "--json").json["rows"]
    assert rows[0]["offer"]["instance_type"] in answer.out
    assert rows[0]["usd_per_mtok"]["generated"]["likely_usd_per_mtok"] > 0
    assert rows[0]["break_even"]["mtok_per_month"] > 0


def test_a_job_side_by_side(modelpick: Run) -> None:
    answer = modelpick("cost", "Qwen/Qwen3-8B", "--method", "qlora", "--context", "256", "--offline")
    assert answer.code == 0
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    assert "…" not in answer.out
    body = modelpick("cost", "Qwen/Qwen3-8B", "--method", "qlora", "--json", "--offline").json
    job = body["rows"][0]["job"]
    assert job["low_usd"] < job["likely_usd"] < job["high_usd"]
    assert body["assumptions"]
    assert body["sources"]


def test_a_load_within_limits_is_told_by_the_instances_it_needs(modelpick: Run) -> None:
    words = ("cost", "Qwen/Qwen3-8B", "--requests-per-second", "5", "--max-first-token-s", "1", "--offline")
    answer = modelpick(*words)
    assert answer.code == 0
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    assert "…" not in answer.out
    rows = modelpick(*words, "--json").json["rows"]
    months = [row["load"]["usd_per_month"] for row in rows if row["load"]["usd_per_month"] is not None]
    assert months == sorted(months)
    for row in rows:
        load = row["load"]
        assert load["servers"] * load["requests_per_s_per_server"] >= 5
        assert load["speed"]["first_token"]["likely_s"] <= 1
    impossible = modelpick("cost", "Qwen/Qwen3-8B", "--max-first-token-s", "0.0001", "--offline", "--json")
    assert impossible.code == 1
    assert impossible.json["not_placed"]["code"] == "limits"


def test_what_was_never_measured_is_said_before_anything_else(modelpick: Run) -> None:
    words = ("cost", "Qwen/Qwen3-8B", "--method", "lora", "--stack", "trl", "--offline")
    assert modelpick(*words).out.splitlines()[1].startswith("speed: rough, because nobody calibrated trl")
    body = modelpick(*words, "--json").json
    assert body["unmeasured"] == body["assumptions"][0]
    measured = modelpick("cost", "Qwen/Qwen3-8B", "--method", "fp8", "--instance", "p5.48xlarge", "--json", "--offline")
    assert measured.json["unmeasured"] is None


def test_weights_that_only_others_measured_are_priced_but_not_planned(modelpick: Run) -> None:
    words = ("Qwen/Qwen3-8B", "--method", "gptq", "--stack", "transformers", "--offline", "--json")
    body = modelpick("cost", *words).json
    assert body["rows"]
    assert body["not_placed"] is not None
    refused = modelpick("plan", "Qwen/Qwen3-8B", "--serve", "--method", "gptq", "--stack", "transformers", "--offline")
    assert refused.code != 0


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--against", "3", "--method", "qlora"], 2, "contradiction"),
        (["--against", "0"], 2, "bad_number"),
        (["--duty", "2"], 2, "bad_number"),
        (["--max-first-token-s", "0"], 2, "bad_number"),
        (["--requests-per-second", "many"], 2, "bad_number"),
        (["--min-tokens-per-second", "5", "--method", "lora"], 2, "contradiction"),
        (["--stack", "vlm"], 2, "unknown_stack"),
        (["--method", "int8", "--stack", "vllm"], 1, "vllm_int8_dense"),
        (["--family", "g5", "--instance", "g5.xlarge"], 2, "contradiction"),
        (["--data", "none.jsonl"], 2, "no_data_file"),
    ],
)
def test_what_cannot_be_meant_is_refused(modelpick: Run, words: list[str], code: int, error: str) -> None:
    answer = modelpick("cost", "Qwen/Qwen3-8B", *words, "--offline", "--json")
    assert answer.code == code
    assert answer.error["code"] == error


def test_nothing_holds_it_is_a_no(modelpick: Run) -> None:
    answer = modelpick("cost", "Qwen/Qwen3-8B", "--method", "bf16", "--instance", "g6f.large", "--offline")
    assert answer.code == 1
    assert "no instance type can run it: bf16 needs up to" in answer.out
