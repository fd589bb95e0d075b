"""The commands as a user types them: data, probe, finetune, estimate --exact."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from tests import tiny_models
from tests.cli.conftest import Run
from tests.evaluation.answering import serve_answers


class Endpoint(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that always refuses to conclude, and remembers what it was asked."""

    asked: list[Any] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Endpoint.asked.append((self.path, self.headers.get("Authorization"), body))
        known = body["model"] == "served"
        answer = json.dumps({"choices": [{"message": {"role": "assistant", "content": "No, it does not."}}]})
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(answer.encode() if known else b'{"error": "no such model"}')

    def log_message(self, *words: Any) -> None:
        """Be quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Endpoint.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_refuses_everything_scores_a_half(
    modelpick: Run, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    words = ["probe", "served", "--endpoint", endpoint, "--cases", "20", "--shots", "2"]
    answer = modelpick(*words, "--json")
    assert answer.json["accuracy"]["value"] == 0.5
    assert (answer.json["valid"]["value"], answer.json["invalid"]["value"]) == (0.0, 1.0)
    path, key, body = Endpoint.asked[0]
    assert (path, key) == ("/v1/chat/completions", "Bearer sk-test")
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert body["temperature"] == 0
    shown = modelpick(*words).out
    assert "what follows" in shown
    assert "Pinocchio is" in shown
    assert "said: 'No, it does not.'\n  did not conclude it" in shown


def test_an_endpoint_without_the_model_or_without_a_server_is_exit_4(modelpick: Run, endpoint: str) -> None:
    assert modelpick("probe", "other", "--endpoint", endpoint, "--cases", "2").code == 4
    assert modelpick("probe", "served", "--endpoint", "http://127.0.0.1:9/v1", "--cases", "2").code == 4
    assert modelpick("probe", "served", "--endpoint", "file:///etc/passwd", "--cases", "2").code == 2


@pytest.mark.parametrize("family", ["llama", "t5", "xlm-roberta"])
@pytest.mark.parametrize("ask", ["judge", "complete"])
def test_every_kind_of_model_can_be_probed(modelpick: Run, family: str, ask: str, tmp_path: Path) -> None:
    folder = tiny_models.make(family, tmp_path)
    answer = modelpick("probe", str(folder), "--cases", "6", "--shots", "1", "--ask", ask, "--json")
    assert answer.code == 0
    assert answer.json["cases"] == 6
    founding = answer.json["founding_prompt"]
    assert founding["prompt"].endswith("Therefore, Pinocchio is")
    assert founding["right"] is (founding["concluded"] is False)


@pytest.mark.parametrize(("family", "manner"), [("llama", "writes"), ("t5", "writes"), ("xlm-roberta", "fills")])
def test_the_articles_prompt_is_asked_of_every_kind_of_model(
    modelpick: Run, family: str, manner: str, tmp_path: Path
) -> None:
    """A tiny model shows how it is asked; what the article saw stands beside."""
    folder = tiny_models.make(family, tmp_path)
    answer = modelpick("probe", str(folder), "--suite", "article", "--json").json
    assert [(row["article"]["model"], row["article"]["said"]) for row in answer["asked"]] == [
        ("google/flan-t5-base", "heavy"), ("FacebookAI/xlm-roberta-large", "heavy"), ("text-davinci-002", "heavy"),
    ]  # fmt: skip
    answered = {row["manner"]: row["answer"] for row in answer["asked"] if row["answer"]}
    assert set(answered) == {manner}
    shares = [word["share"] for word in answered[manner]["candidates"]]
    assert shares == sorted(shares, reverse=True)
    assert bool(shares) is (manner == "fills")
    shown = modelpick("probe", str(folder), "--suite", "article").out
    assert shown.startswith("Logically conclude the incomplete sentence.")
    assert "heavy (0.486)" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80 + len(str(folder))


def test_the_articles_prompt_is_completed_by_an_endpoint_and_heavy_is_told(modelpick: Run) -> None:
    bodies: list[dict[str, Any]] = []
    with serve_answers(lambda model, prompt: " heavy.", bodies) as server:
        words = ["probe", "davinci", "--endpoint", server, "--completions", "--suite", "article"]
        answer = modelpick(*words, "--json").json
        shown = modelpick(*words).out
    assert (bodies[0]["path"], bodies[0]["prompt"]) == ("/v1/completions", answer["prompt"])
    assert answer["asked"][2]["answer"] == {"said": "heavy.", "candidates": [], "concluded": True, "right": False}
    assert "concluded what the premises do not allow" in shown


def test_options_of_an_endpoint_need_one_and_a_suite_is_one_of_two(modelpick: Run) -> None:
    assert modelpick("probe", "m", "--completions", "--json").error["code"] == "contradiction"
    assert modelpick("probe", "m", "--suite", "articel", "--json").error["fix"] == "did you mean article?"
    assert modelpick("probe", "m", "--suite", "article", "--write", "a.jsonl", "--json").code == 2


def test_more_solved_examples_than_the_model_can_read_are_refused(modelpick: Run, tmp_path: Path) -> None:
    folder = tiny_models.make("llama", tmp_path, max_position_embeddings=128)
    assert modelpick("probe", str(folder), "--cases", "2", "--shots", "9", "--json").error["code"] == "too_long"


def test_an_encoder_without_its_head_for_masked_words_is_refused(modelpick: Run, tmp_path: Path) -> None:
    import transformers

    folder = tiny_models.make("xlm-roberta", tmp_path)
    transformers.AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(folder)
    assert modelpick("probe", str(folder), "--cases", "2", "--json").error["code"] == "no_mask_head"


def test_cases_can_be_written_as_training_data(modelpick: Run, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    assert modelpick("probe", "-", "--cases", "40", "--wording", "plain", "--write", str(file)).code == 0
    assert modelpick("data", "check", str(file)).code == 0
    assert modelpick("probe", "-", "--write", str(file)).code == 2
    assert modelpick("probe", "-", "--write", "cases.csv", "--json").error["code"] == "unknown_ending"


def test_cases_can_be_written_as_a_task_of_lm_evaluation_harness(modelpick: Run, tmp_path: Path) -> None:
    import re

    import yaml

    file = tmp_path / "modelpick_probe.yaml"
    assert modelpick("probe", "-", "--cases", "10", "--write", str(file)).code == 0
    task = yaml.safe_load(file.read_text())
    rows = [json.loads(line) for line in Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()]
    assert sorted(row["answer"] for row in rows) == ["no"] * 5 + ["yes"] * 5
    assert task["task"] == "modelpick_probe"
    pattern = task["filter_list"][0]["filter"][0]["regex_pattern"]
    assert re.findall(pattern, "Known: a toy. No.") == ["No"]
    assert modelpick("probe", "-", "--ask", "complete", "--write", str(tmp_path / "a.yaml")).code == 2


def test_data_check_names_lines_and_says_no(modelpick: Run, data: Path) -> None:
    assert modelpick("data", "check", str(data)).code == 0
    data.write_text(data.read_text() + "{broken\n")
    answer = modelpick("data", "check", str(data))
    assert answer.code == 1
    assert "line 41" in answer.out
    counted = modelpick("data", "check", str(data), "--json").json
    assert (counted["errors"], counted["examples"]) == (1, 40)


def test_tokens_are_counted_by_the_models_own_tokenizer(modelpick: Run, base: Path, data: Path) -> None:
    words = ["data", "check", str(data), "--tokenizer", str(base), "--context", "5", "--json"]
    counted = modelpick(*words).json
    assert counted["tokens"]["exact"]
    assert any(problem["code"] == "too_long" for problem in counted["problems"])
    known = modelpick("data", "check", str(data), "--model", str(base), "--json").json["tokens"]
    assert known["context"] > known["longest"] > 5  # what the model has positions for


def test_data_curate_writes_what_finetune_reads(modelpick: Run, data: Path, tmp_path: Path) -> None:
    target = tmp_path / "few.jsonl"
    answer = modelpick("data", "curate", str(data), "--budget", "12", "--output", str(target), "--json")
    assert answer.json["chosen"] == len(target.read_text().splitlines()) == 12
    assert modelpick("data", "check", str(target)).code == 0
    assert modelpick("data", "curate", str(data), "--output", str(target)).code == 2


@pytest.mark.parametrize("family", ["llama", "t5", "xlm-roberta"])
def test_data_next_asks_the_model_how_sure_it_is(modelpick: Run, family: str, data: Path, tmp_path: Path) -> None:
    base = tiny_models.make(family, tmp_path / "base")
    pool = tmp_path / "pool.jsonl"
    pool.write_text("".join(json.dumps({"instruction": f"What is {n} times {n}?"}) + "\n" for n in range(15)))
    target = tmp_path / "next.jsonl"
    words = ["data", "next", str(pool), "--model", str(base), "--seen", str(data), "--count", "5"]
    answer = modelpick(*words, "--output", str(target), "--json")
    assert len(answer.json["picked"]) == len(target.read_text().splitlines()) == 5
    assert all(0 <= row["uncertainty"] <= 1 for row in answer.json["picked"])


def test_finetune_answers_in_json_and_on_the_screen(modelpick: Run, base: Path, data: Path, tmp_path: Path) -> None:
    words = ["finetune", str(base), "--data", str(data), "--max-steps", "2", "--offline"]
    answer = modelpick(*words, "--output", str(tmp_path / "a"), "--usd-per-hour", "1.006")
    assert answer.code == 0
    assert "held-out examples" in answer.out
    assert "micro-batch" in answer.err
    assert "$0.0" in answer.err
    result = modelpick(*words, "--output", str(tmp_path / "b"), "--json").json
    assert (result["status"], result["schema_version"]) == ("done", 1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "missing_setting"),
        (["nothing-here"], "missing_setting"),
        (["x", "--data", "absent.jsonl"], "no_data_file"),
        (["x", "--data", "d.jsonl", "--method", "loar"], "unknown_method"),
        (["x", "--data", "d.jsonl", "--epochs", "nan"], "bad_number"),
        (["x", "--data", "d.jsonl", "--batch", "0"], "bad_number"),
        (["x", "--data", "d.jsonl", "--track", "nowhere"], "unknown_tracking"),
        (["--job", "absent.json"], "no_file"),
        (["--job", "a", "--run", "b"], "contradiction"),
        (["--resume"], "nothing_to_resume"),
    ],
)
def test_finetune_refuses_in_one_sentence(modelpick: Run, words: list[str], code: str) -> None:
    answer = modelpick("finetune", *words, "--json")
    assert answer.code == 2
    assert answer.error["code"] == code


def test_every_setting_can_be_said(modelpick: Run, base: Path, data: Path, tmp_path: Path) -> None:
    words = [
        "finetune",
        str(base),
        "--data",
        str(data),
        "--output",
        str(tmp_path / "out"),
        "--max-steps",
        "1",
        "--offline",
    ]
    said = {"lora_alpha": 5, "held_out": 0.25, "scheduler": "linear", "warmup_share": 0.0, "weight_decay": 0.01}
    answer = modelpick(*words, *(f"--set={name}={value}" for name, value in said.items()), "--json")
    assert answer.code == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert {name: settings[name] for name in said} == said
    for wrong in ("lora_alfa=5", "scheduler=sideways", "held_out=1.0", "max_steps=2", "nothing"):
        assert modelpick(*words, "--set", wrong, "--json").code == 2


def test_estimate_exact_traces_in_place_of_the_formulas(modelpick: Run, base: Path) -> None:
    words = ["estimate", str(base), "--method", "lora", "--context", "64", "--offline", "--json"]
    by_itself = modelpick(*words, "--exact").json["exact"]["code"]
    assert [name.split()[0] for name in by_itself] == ["transformers", "peft", "trl"]  # what finetune runs
    words += ["--stack", "transformers"]
    exact, formula = modelpick(*words, "--exact").json, modelpick(*words).json
    assert exact["parameters"] == formula["parameters"]
    assert exact["parameters_source"] == "trace"
    assert sum(exact["parts_gib"].values()) == pytest.approx(exact["total_gib"])
    assert exact["exact"]["allocated_gib"] <= exact["exact"]["reserved_gib"] < exact["total_gib"]
    assert exact["assumptions"][0].startswith("traced: ")
    assert [name.split()[0] for name in exact["exact"]["code"]] == ["transformers", "peft"]
    assert "exact" not in formula
    assert modelpick(*words, "--exact", "--stack", "litgpt").error["code"] == "not_traceable"
    allocated = modelpick(*words, "--exact", "--measure", "allocated").json
    assert allocated["parts_gib"]["runtime"] == 0
    assert allocated["total_gib"] == pytest.approx(exact["exact"]["allocated_gib"])
    fused = modelpick(*words, "--exact", "--stack", "trl", "--stack-version", "1.16").json
    assert fused["exact"]["code"][2].startswith("trl 1.16")
    assert fused["exact"]["allocated_gib"] != exact["exact"]["allocated_gib"]


def test_a_broken_run_file_is_one_sentence(modelpick: Run, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    answer = modelpick("finetune", "--resume", "--output", str(tmp_path), "--json")
    assert (answer.code, answer.error["code"]) == (2, "bad_run_file")
