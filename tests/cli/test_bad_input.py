"""One sentence and a fix, the contracted exit code, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recomend"], "recommend"),
        (["recommend", "--comercial"], "--commercial"),
        (["recommend", "--method", "int9"], "int8"),
        (["recommend", "--region", "us-esat-1"], "us-east-1"),
        (["recommend", "--instance", "g5.xlarg"], "g5.xlarge"),
        (["recommend", "--instance", "g4ad.xlarge"], "not offered"),
        (["recommend", "--family", "g55"], "g5"),
        (["recommend", "--policy", "comercial"], "commercial"),
        (["recommend", "--commercial", "--policy", "research"], "one of them"),
        (["recommend", "--context", "nan"], "whole number"),
        (["recommend", "--context", "-5"], "whole number"),
        (["recommend", "--context", "0"], "whole number"),
        (["recommend", "--context", "9" * 40], "whole number"),
        (["recommend", "--batch", "many"], "whole number"),
        (["recommend", "--max-usd-per-hour", "nan"], "above zero"),
        (["recommend", "--max-usd-per-hour", "-1"], "above zero"),
        (["recommend", "--max-usd-per-hour", "0"], "above zero"),
        (["recommend", "--max-usd-per-hour", "inf"], "above zero"),
        (["recommend", "--min-params", "70B", "--max-params", "7B"], "swap"),
        (["recommend", "--limit", "0"], "whole number"),
        (["recommend", "--sort", "qualty"], "quality"),
        (["recommend", "--task", "serve", "--method", "qlora"], "bf16"),
        (["recommend", "--instance", "g5.xlarge", "--family", "g5"], "one of them"),
        (["recommend", "--limit"], "limit"),
        (["recommend", "--for", "chta"], "chat"),
        (["recommend", "--for", "poetry"], "one of chat"),
        (["recommend", "--for", "rerank", "--task", "finetune"], "leave out --for"),
        (["recommend", "--languages", "germna"], "german"),
        (["recommend", "--languages", ","], "en,de"),
        (["recommend", "--publisher", "mistralia"], "mistralai"),
        (["recommend", "--publisher", ""], "joined by commas"),
        (["recommend", "--instance", "g5.xlarge,g6.xlarg"], "g6.xlarge"),
        (["recommend", "--concurrency", "0"], "whole number"),
        (["recommend", "--gpus", "some"], "whole number"),
        (["recommend", "--engine", "vlm"], "vllm"),
        (["recommend", "--market", "sport"], "spot"),
        *(
            (["recommend", flag, typed], "above zero")
            for flag in ("--max-usd-per-month", "--min-score", "--min-tokens-per-second", "--max-first-token")
            for typed in ("nan", "inf", "-1", "0", "some")
        ),
        (["recommend", "--task", "finetune", "--max-usd-per-month", "5"], "--max-usd-per-hour"),
        (["recommend", "--gpu", "RTX 4095"], "RTX 4090"),
        (["recommend", "--gpu", "A100"], "A100-40GB"),
        (["estimate", "Qwen/Qwen3-8B", "--offline", "--fit", "RTX 4095"], "RTX 4090"),
        (["estimate", "Qwen/Qwen3-8B", "--offline", "--fit", "g5.xlarg"], "g5.xlarge"),
        (["recommend", "--for", "embedding", "--engine", "vllm"], ".gguf files alone"),
        (["recommend", "--for", "rerank", "--min-tokens-per-second", "5"], ".gguf files alone"),
        (["recommend", "--gpu", "M4 Max"], "--memory 32GiB"),
        (["recommend", "--memory", "-3GiB"], "24GiB"),
        (["recommend", "--gpu", "RTX 4090", "--gpus", "2"], "2x RTX 4090"),
        *(
            (["recommend", "--gpu", "RTX 4090", *words], "leave out")
            for words in (
                ("--instance", "g5.xlarge"),
                ("--family", "g5"),
                ("--market", "spot"),
                ("--max-usd-per-hour", "1"),
                ("--max-usd-per-month", "1"),
                ("--sort", "cost"),
                ("--memory", "24GiB"),
            )
        ),
        (["recommend", "--task", "finetune", "--min-tokens-per-second", "5"], "leave out"),
        *(
            (["estimate", "Qwen/Qwen3-8B", "--method", "lora", "--lora-dropout", typed], "from 0 to below 1")
            for typed in ("nan", "-0.1", "1", "inf", "some")
        ),
        (["offers", "--gpu", "A10"], "A10G"),
        (["offers", "--market", "sport"], "spot"),
        (["offers", "--sort", "prise"], "price"),
        (["license"], "MODEL"),
        (["license", ""], "org/name"),
        (["policy", "check", "no-such-file.toml"], "no-such-file"),
        (["policy", "check", "no/words.toml"], "no/words.toml"),
        (["catalog", "show", "qqqqzz"], "qqqqzz"),
        (["license", "Qwen/Qwen3-8B", "--offline", "--policy", "x" * 300], "too long"),
        (["recommend", "--policy", "x" * 300], "too long"),
        (["plan", "Qwen/Qwen3-8B", "--offline", "--data", "x" * 300], "too long"),
        (["plan", "Qwen/Qwen3-8B", "--offline", "--output", "x" * 300], "too long"),
        (["finetune", "Qwen/Qwen3-8B", "--offline", "--data", "x" * 300], "too long"),
        (["finetune", "--run", "x" * 300, "--output", "run"], "too long"),
        (["lock", "no/such/folder", "--offline"], "no/such/folder"),
    ],
)
def test_a_mistake_is_a_usage_error_with_a_way_out(modelpick: Run, words: list[str], said: str) -> None:
    answer = modelpick(*words)
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert "\n  fix: " in answer.err
    assert said.lower() in answer.err.lower()


def test_under_json_the_error_is_an_object_on_stderr(modelpick: Run) -> None:
    answer = modelpick("recommend", "--method", "int9", "--json")
    assert answer.code == 2
    assert set(answer.error) == {"code", "message", "fix"}
    assert answer.error["code"] == "unknown_method"


@pytest.mark.parametrize("columns", ["20", "40", "80", "200", "0", "-3", "wide"])
def test_any_terminal_width_is_bearable(modelpick: Run, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for words in (["recommend"], ["offers"], ["license", "tiiuae/falcon-7b", "--offline"], ["doctor"]):
        assert modelpick(*words).code in (0, 1)


def _run(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-m", "modelpick", *words], capture_output=True, env=variables, check=False)


def test_ascii_only_output_loses_no_line(repository: Path) -> None:
    for words in (["recommend"], ["estimate", "tiiuae/falcon-7b", "--offline"], ["offers"]):
        run = _run(*words, PYTHONIOENCODING="ascii", PYTHONPATH=str(repository))
        assert run.returncode == 0, run.stderr
        assert run.stdout.decode("ascii").count("\n") > 5
        assert b"?" not in run.stdout.replace(b"--", b"")


def test_no_home_is_no_error(repository: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_CONFIG_HOME", "HF_HOME")}
    run = subprocess.run(
        [sys.executable, "-m", "modelpick", "doctor"],
        capture_output=True,
        env={**variables, "PYTHONPATH": str(repository)},
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")


def test_a_closed_pipe_ends_quietly(repository: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "modelpick", "recommend", "--all"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait() == 0
    assert said == b""
    process.stderr.close()


def test_a_defect_of_our_own_is_a_sentence_and_a_log_file(
    modelpick: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from modelpick import api

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(api, "recommend", broken)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    answer = modelpick("recommend")
    assert answer.code == 3
    assert "boom" in answer.err
    logs = list(tmp_path.glob("modelpick-*.log"))
    assert len(logs) == 1
    assert "RuntimeError: boom" in logs[0].read_text()
