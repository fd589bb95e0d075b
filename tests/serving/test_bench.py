"""chat and bench against a server that is real enough; what is measured corrects later estimates, and is named."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelpick.cli.commands.bench import _draw
from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.serving import bench, client, prediction
from modelpick.serving.bench import Level, Load, Timed
from modelpick.serving.prediction import PredictedLevel
from modelpick.speed import calibration, calibration_file
from modelpick.speed.speed import serving_speed
from modelpick.workload import workload_from
from tests.cli.conftest import Run

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_chat_says_what_the_server_says(modelpick: Run, start: Callable[..., str]) -> None:
    address = start()
    answer = modelpick("chat", "--endpoint", f"{address}/v1", "-m", "hello", "--max-tokens", "3")
    assert (answer.code, answer.out) == (0, "word0 word1 word2 \n")
    told = modelpick("chat", "--endpoint", f"{address}/v1", "-m", "hello", "--max-tokens", "3", "--json").json
    assert told["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}
    assert told["model"] == "stand-in"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--endpoint", "ftp://x"], "bad_endpoint"),
        (["--endpoint", "http://user:secret@127.0.0.1:1/v1"], "bad_endpoint"),
        (["--endpoint", "http://127.0.0.1:9/v1"], "endpoint_silent"),
        (["--temperature", "hot"], "bad_number"),
        (["--max-tokens", "0"], "bad_number"),
        (["-m", "  "], "usage"),
        (["--key-file", "/no/such/file"], "no_key"),
    ],
)
def test_bad_input_of_chat(modelpick: Run, start: Callable[..., str], words: list[str], code: str) -> None:
    defaults = ["--endpoint", f"{start()}/v1"] if "--endpoint" not in words else []
    message = [] if "-m" in words else ["-m", "hello"]
    answer = modelpick("chat", *defaults, *message, *words, "--json")
    assert answer.code in (2, 4)
    assert answer.error["code"] == code
    assert "secret" not in answer.err


def test_a_key_is_never_part_of_what_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("mp-0123456789abcdefghij")
    file.chmod(0o600)
    at = client.endpoint("http://127.0.0.1:1/v1", file)
    assert at.key == "mp-0123456789abcdefghij"
    assert "0123456789" not in repr(at)


def test_bench_counts_every_request_and_times_what_the_server_does(modelpick: Run, start: Callable[..., str]) -> None:
    address = start("--seconds", "0.02")
    words = ["--concurrency", "2,1", "--requests", "4", "--generate", "5", "--json"]
    told = modelpick("bench", "--endpoint", f"{address}/v1", *words).json
    assert [level["concurrency"] for level in told["levels"]] == [1, 2]
    for level in told["levels"]:
        assert (level["requests"], level["errors"], level["generated_tokens_mean"]) == (4, 0, 5)
        assert level["first_token_s"]["p50"] >= 0.02
        assert level["inter_token_s"]["p50"] >= 0.018
        assert level["tokens_per_s"] <= 5 * level["concurrency"] / (5 * 0.02) + 1
    assert told["promised"] == []
    assert told["calibration"]["file"] is None


def test_figures_follow_from_the_times() -> None:
    level = Level(2, 2.0, (Timed(0.5, 1.5, 11, 30, True), Timed(0.1, 1.1, 21, 10, True)), ())
    told = level.as_json()
    assert told["tokens_per_s"] == 16.0
    assert told["prompt_tokens_mean"] == 20.0
    assert told["inter_token_s"] == {"p50": 0.05, "p95": 0.1}
    assert Level(1, 0.0, (), ("refused",)).as_json()["tokens_per_s"] is None
    assert bench.quantiles([3.0, 1.0, 2.0]) == {"p50": 2.0, "p95": 3.0}


def test_no_two_prompts_are_the_same() -> None:
    assert len({bench.prompt(64, seed) for seed in range(200)}) == 200


def promised() -> prediction.Prediction:
    work = workload_from({"task": "serve", "method": "bf16", "context": 256, "batch": 4})
    return prediction.of_workload(MODEL, "g5.xlarge", work)


def level(tokens_per_s: float) -> Level:
    return Level(4, 1.0, (Timed(0.1, 1.0, int(tokens_per_s), 256, True),), ())


def test_what_was_measured_corrects_later_estimates_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    before = promised()
    plain = before.speed(level(100)).tokens_per_s
    measured = Level(4, 1.0, (Timed(0.1, 1.0, round(plain / 2), 256, True),), ())
    calibration_file.save([before.row(measured), before.row(measured)])
    after = promised()
    same = Level(4, 1.0, (Timed(0.1, 1.0, 100, 256, True),), ())
    assert after.speed(same).tokens_per_s == pytest.approx(before.speed(same).tokens_per_s / 2, rel=0.05)
    told = after.calibration.standing(after.instance.gpu.name)
    assert "2 measurements of your own until" in told
    assert str(tmp_path / "calibration.json") in told
    other = calibration.serving("transformers", "bf16").local_factor("L4")
    assert other == 1.0


def test_a_correction_is_of_the_uncorrected_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    one = promised()
    half = Level(4, 1.0, (Timed(0.1, 1.0, round(one.speed(level(100)).tokens_per_s / 2), 256, True),), ())
    for _ in range(4):  # measuring the same again changes nothing
        calibration_file.save([promised().row(half)])
    factors = [local.factor for local in calibration.corrections("eager", "bf16").values()]
    assert factors == [pytest.approx(0.5, rel=0.1)]


def test_no_correction_goes_above_the_roof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    row = replace(promised().row(level(100)), measured_tokens_per_s=490.0, predicted_tokens_per_s=100.0)
    calibration_file.save([row])
    one = promised()
    speed = serving_speed(one.shape, embedded.instances()["g5.xlarge"], one.calibration, one.workload).generated
    assert speed.tokens_per_s <= speed.roof
    assert speed.low <= speed.tokens_per_s <= speed.high <= speed.roof


@pytest.mark.parametrize("ratio", [0.001, 0.19, 5.1, 1000.0])
def test_another_machine_is_no_correction(ratio: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    row = replace(promised().row(level(100)), measured_tokens_per_s=100.0 * ratio, predicted_tokens_per_s=100.0)
    calibration_file.save([row])
    assert calibration.corrections("eager", "bf16") == {}


def test_a_broken_calibration_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "calibration.json"
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(file))
    for text in ("{", "[]", '{"schema_version": 9, "measurements": []}', '{"schema_version": 1, "measurements": [{}]}'):
        file.write_text(text)
        calibration_file._read.cache_clear()
        with pytest.raises(UsageError) as refused:
            calibration.corrections("eager", "bf16")
        assert refused.value.code == "bad_calibration"


def test_bench_against_a_plan(
    modelpick: Run, start: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    plan = str(tmp_path / "plan.json")
    made = modelpick(
        "plan", MODEL, "--serve", "--method", "bf16", "--offline", "--output", plan, "--instance", "g5.xlarge"
    )
    assert made.code == 0
    told = modelpick(
        "bench", "--endpoint", f"{start()}/v1", "--plan", plan, "--concurrency", "1", "--generate", "5", "--json"
    ).json
    (compared,) = told["promised"]
    assert compared["promised_tokens_per_s"] > 0
    assert compared["ratio"] == pytest.approx(compared["measured_tokens_per_s"] / compared["promised_tokens_per_s"])
    kept = (
        json.loads(Path(told["calibration"]["file"]).read_text())["measurements"] if told["calibration"]["rows"] else []
    )
    assert bool(kept) == compared["believable"]
    assert Load().generate == 128


def test_the_table_of_the_largest_figures_fits_eighty_columns() -> None:
    """Hundreds of clients that wait minutes, and a promise of hundreds of thousands of tokens beside it."""
    from rich.console import Console

    slow = Level(512, 162.0, tuple(Timed(150.25, 162.0, 300_000, 9000, True) for _ in range(64)), ("timeout",) * 448)
    quick = Level(1, 2.0, (Timed(1.6, 4.6, 11, 30, True),), ())
    promised = [PredictedLevel(512, 1.0, 1.0, 99_999.9, 123_456.7, within=False, ratio=1.0, believable=True)] * 2
    console = Console(width=80, file=io.StringIO(), highlight=False)
    _draw(console, "a model", [slow, quick], promised, None, False)
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in drawn.splitlines())
    assert "…" not in drawn
    for words in ("100,000 to 123,457", "150.2 / 150.2 s", "1,600 / 1,600 ms", "448"):
        assert words in drawn
