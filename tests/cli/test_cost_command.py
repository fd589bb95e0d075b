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
    said = " ".join(modelpick(*words).out.split())
    assert said.startswith("Qwen/Qwen3-8B: to fine-tune on 1,000 examples of 750 tokens, 3 epochs")
    assert said.index("rough: nobody calibrated trl") < said.index("instance GPU")
    body = modelpick(*words, "--json").json
    assert body["unmeasured"] == body["assumptions"][0]
    measured = modelpick("cost", "Qwen/Qwen3-8B", "--method", "fp8", "--instance", "p5.48xlarge", "--json", "--offline")
    assert measured.json["unmeasured"] is None


def test_the_job_is_named_first_and_prices_are_of_output_tokens_and_months(modelpick: Run) -> None:
    screen = modelpick("cost", "Qwen/Qwen3-8B", "--method", "bf16", "--offline").out
    first = screen.splitlines()[0]
    assert first == "Qwen/Qwen3-8B: to serve 8 requests at once, 3,584 prompt and 512 new tokens each"
    said = " ".join(screen.split())
    for words in ("$ per million", "output tokens", "$ a month", "$/h is the machine alone; a month has its disk"):
        assert words in said


def test_what_costs_30_percent_less_is_proposed_by_flags_that_give_it(modelpick: Run) -> None:
    """Every proposal is an answer of cost itself, and costs at most the share that is stated; else there is none."""
    named = ("cost", "Qwen/Qwen3-8B", "--offline", "--json")
    body = modelpick(*named, "--method", "bf16").json
    share = body["much_cheaper_share"]
    kinds = {found["kind"]: found for found in body["proposals"]}
    assert {"weights", "batch"} <= set(kinds)
    assert all(found["usd"] <= share * found["instead_of_usd"] for found in body["proposals"])
    best = modelpick(*named).json["rows"][0]
    assert best["month"]["total_usd_per_month"] == kinds["weights"]["usd"]
    assert best["offer"]["instance_type"] == kinds["weights"]["instance_type"]
    more = modelpick(*named, "--method", "bf16", *kinds["batch"]["flags"].split()).json["rows"]
    row = next(row for row in more if row["offer"]["instance_type"] == kinds["batch"]["instance_type"])
    assert row["usd_per_mtok"]["generated"]["likely_usd_per_mtok"] == kinds["batch"]["usd"]
    assert "30 % cheaper or more" in modelpick("cost", "Qwen/Qwen3-8B", "--method", "bf16", "--offline").out
    assert "weights" not in {found["kind"] for found in modelpick(*named).json["proposals"]}


def test_a_price_an_hour_is_a_limit_here_as_in_plan(modelpick: Run) -> None:
    words = ("Qwen/Qwen3-8B", "--method", "bf16", "--offline", "--json")
    rows = modelpick("cost", *words, "--max-usd-per-hour", "2").json["rows"]
    assert rows
    assert all(row["offer"]["usd_per_hour"] <= 2 for row in rows)
    assert modelpick("cost", *words, "--max-usd-per-hour", "0.1").code == 1
    plan = modelpick("plan", *words, "--serve", "--max-usd-per-hour", "2").json
    assert all(row["offer"]["usd_per_hour"] <= 2 for row in plan["candidates"])
    refused = modelpick("plan", *words, "--serve", "--max-usd-per-hour", "0.1")
    assert (refused.code, refused.error["code"]) == (1, "too_expensive")


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
