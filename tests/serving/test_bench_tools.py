"""What other load tools measured is read request by request; their own summaries say the same."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.serving import bench
from tests.cli.conftest import Run

DATA = Path(__file__).with_name("data")
VLLM = DATA / "vllm_bench.json"  # of vllm 0.32, three requests


def test_a_result_of_vllm_is_what_vllm_says_of_it() -> None:
    content = json.loads(VLLM.read_text())
    measured = bench.read_result(VLLM)
    level = measured.level
    told = level.as_json()
    assert (measured.tool, measured.model) == ("vllm bench serve", "SmolLM2-135M-Instruct")
    assert (told["concurrency"], told["requests"], told["errors"]) == (2, 3, 0)
    assert told["tokens_per_s"] == pytest.approx(content["output_throughput"])
    assert told["first_token_s"]["p50"] == pytest.approx(content["median_ttft_ms"] / 1000)
    assert told["prompt_tokens_mean"] == content["total_input_tokens"] / 3


def changed(tmp_path: Path, **names: Any) -> Path:
    file = tmp_path / "result.json"
    content = {**json.loads(VLLM.read_text()), **names}
    file.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))
    return file


def test_a_request_that_failed_counts_as_failed(tmp_path: Path) -> None:
    file = changed(tmp_path, errors=["", "Service Unavailable", ""], output_lens=[6, 0, 6])
    level = bench.read_result(file).level
    assert (len(level.answered), level.errors) == (2, ("Service Unavailable",))


@pytest.mark.parametrize(
    ("names", "fix"),
    [
        ({"max_concurrency": None}, "--max-concurrency"),
        ({"ttfts": None}, "--save-detailed"),
        ({"itls": [[0.1]]}, "give a result of vllm"),
        ({"ttfts": ["x", 1, 2]}, "give a result of vllm"),
    ],
)
def test_a_result_that_says_too_little_is_refused(tmp_path: Path, names: dict[str, Any], fix: str) -> None:
    with pytest.raises(UsageError) as refused:
        bench.read_result(changed(tmp_path, **names))
    assert refused.value.code == "bad_result"
    assert fix in refused.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"ttfts": []}', '{"benchmarks": []}'])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        bench.read_result(file)
    assert refused.value.code == "bad_result"


def test_an_imported_result_is_compared_and_kept_like_ones_own(
    modelpick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    model, instance = "HuggingFaceTB/SmolLM2-135M-Instruct", "g5.xlarge"
    planned = ["plan", model, "--serve", "--method", "bf16", "--offline", "--instance", instance]
    plan = str(tmp_path / "plan.json")
    before = modelpick(*planned, "--output", plan, "--json").json["assumptions"]
    first = modelpick("bench", "--import", str(VLLM), "--plan", plan, "--no-keep", "--json").json
    (compared,) = first["promised"]
    # As fast as a machine of that kind may be: the file's own speed is of a busy CPU.
    file = changed(tmp_path, duration=18 / compared["promised_tokens_per_s"] * 2)
    told = modelpick("bench", "--import", str(file), "--plan", plan, "--json").json
    assert (told["tool"], told["endpoint"], told["calibration"]["rows"]) == ("vllm bench serve", None, 1)
    assert told["promised"][0]["ratio"] == pytest.approx(0.5, rel=0.01)
    after = modelpick(*planned, "--output", str(tmp_path / "later.json"), "--json").json["assumptions"]
    (mine,) = (line for line in after if "of your own" in line)
    assert "multiplied by 0.50, from one measurement of your own" in mine
    assert not any("of your own" in line for line in before)
    cost = modelpick(
        "cost", model, "--task", "serve", "--method", "bf16", "--instance", instance, "--offline", "--json"
    )
    assert any("of your own" in line for line in cost.json["assumptions"])
    assert "vllm bench serve" in modelpick("bench", "--import", str(file), "--no-keep").out


def test_vllm_is_run_with_the_key_in_its_environment_only(tmp_path: Path, modelpick: Run, start: Any) -> None:
    program = tmp_path / "vllm"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {tmp_path}/words; echo "$OPENAI_API_KEY" > {tmp_path}/given\n'
        'while [ $# -gt 0 ]; do [ "$1" = --result-dir ] && folder=$2; shift; done\n'
        f"cp {VLLM} $folder/result.json\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    key = tmp_path / "key"
    key.write_text("mp-0123456789abcdefghij")
    key.chmod(0o600)
    words = ["bench", "--endpoint", f"{start()}/v1", "--key-file", str(key), "--tool", "vllm", "--concurrency", "2"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MODELPICK_VLLM", str(program))
        assert modelpick(*words, "--json").error["code"] == "no_tokenizer"
        told = modelpick(*words, "--tokenizer", str(tmp_path), "--json").json
        program.write_text("#!/bin/sh\necho no such tokenizer >&2; exit 1\n")
        failed = modelpick(*words, "--tokenizer", str(tmp_path), "--json")
        patched.setenv("MODELPICK_VLLM", "/nowhere/vllm")
        assert modelpick(*words, "--tokenizer", str(tmp_path), "--json").error["code"] == "engine_absent"
    assert told["tool"] == "vllm bench serve"
    assert (tmp_path / "given").read_text().strip() == key.read_text()
    line = (tmp_path / "words").read_text()
    assert "mp-" not in line
    assert "--max-concurrency 2" in line
    assert "--endpoint /v1/chat/completions" in line
    assert (failed.code, failed.error["code"]) == (4, "tool_failed")
    assert "no such tokenizer" in failed.error["message"]
