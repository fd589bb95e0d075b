"""`plan` and `up` hear what the run would refuse of its data, before a machine is paid for."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws.from_plan import job_of
from modelpick.errors import UsageError
from modelpick.planning.plan_file import load
from modelpick.planning.recipe import settings_from
from modelpick.training import finetune
from modelpick.training.finetune import Request
from tests.cli.conftest import Run

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
ANSWERS = [{"prompt": f"What is {n}?", "completion": "A number."} for n in range(20)]
PAIRS = [{"prompt": f"What is {n}?", "chosen": "A number.", "rejected": "A word."} for n in range(20)]
THUMBS = [{"prompt": f"What is {n}?", "completion": "A number.", "label": n % 2 == 0} for n in range(20)]
LABELS = [{"text": f"Case {n}", "label": ("no", "yes")[n % 2]} for n in range(20)]
COLUMNS = [{"Frage": f"What is {n}?", "Antwort": "A number."} for n in range(20)]
REFUSED: list[tuple[list[dict[str, Any]], dict[str, str], str]] = [
    (20 * ANSWERS[:1], {}, "nothing_held_out"),
    (ANSWERS[:3], {}, "too_few_examples"),
    ([*ANSWERS, {"prompt": "no answer"}], {}, "bad_data"),
    (PAIRS, {}, "wrong_form"),
    (PAIRS, {"objective": "kto"}, "wrong_form"),
    (ANSWERS, {"objective": "dpo"}, "wrong_form"),
    (THUMBS, {}, "wrong_form"),
    (COLUMNS, {}, "bad_data"),
]


def written(rows: list[dict[str, Any]]) -> Path:
    path = Path("train.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.absolute()


def flags(settings: dict[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize(("rows", "settings", "code"), REFUSED)
def test_plan_and_finetune_refuse_the_same_data_by_the_same_code(
    modelpick: Run, rows: list[dict[str, Any]], settings: dict[str, str], code: str
) -> None:
    data = written(rows)
    answer = modelpick("plan", MODEL, "--data", str(data), *flags(settings), "--offline", "--json")
    assert (answer.code, answer.error["code"]) == (2, code)
    assert not list(Path().glob("modelpick-*.json"))  # no plan is written
    options = {"model": MODEL, "data": str(data), "output": str(Path("run").absolute()), **settings}
    settings_from(options)  # they are settings of a run
    with pytest.raises(UsageError) as caught:
        finetune._checked(Request(options), options, Path("run"))
    assert caught.value.code == code


def test_a_decoder_does_not_learn_labels_and_an_encoder_learns_nothing_else(modelpick: Run) -> None:
    for model, rows in ((MODEL, LABELS), ("FacebookAI/xlm-roberta-base", ANSWERS)):
        answer = modelpick("plan", model, "--data", str(written(rows)), "--offline", "--json")
        assert (answer.code, answer.error["code"]) == (2, "wrong_form"), model


@pytest.mark.parametrize(("rows", "objective"), [(ANSWERS, "sft"), (PAIRS, "dpo"), (THUMBS, "kto")])
def test_what_the_objective_learns_from_is_planned(modelpick: Run, rows: list[dict[str, Any]], objective: str) -> None:
    written(rows)
    assert modelpick("plan", MODEL, "--data", "train.jsonl", "--objective", objective, "--offline").code == 0


def test_columns_are_planned_and_told_to_the_run(modelpick: Run) -> None:
    written(COLUMNS)
    named = "question=Frage,answer=Antwort"
    answer = modelpick("plan", MODEL, "--data", "train.jsonl", "--columns", named, "--offline", "--json")
    assert answer.code == 0, answer.err
    plan = load(Path(answer.json["file"]).read_text())
    assert f"--columns {named}" in job_of(plan, idle_minutes=5, data=["train.jsonl"]).command[2]


def test_up_refuses_data_that_the_plan_was_not_made_for(modelpick: Run) -> None:
    written(ANSWERS)
    plan = modelpick("plan", MODEL, "--data", "train.jsonl", "--offline", "--json").json["file"]
    written(PAIRS)
    answer = modelpick("up", plan, "--data", "train.jsonl", "--offline", "--yes", "--json")
    assert (answer.code, answer.error["code"]) == (2, "wrong_form")
