"""The steps that a plan shows and the steps that `up` carries out are one list."""

import json
from dataclasses import replace

import pytest

from modelpick.aws import resources
from modelpick.errors import UsageError
from modelpick.planning import gather
from modelpick.planning.plan_actions import STEPS
from modelpick.planning.plan_file import load


def test_every_free_step_is_carried_out_in_the_order_that_a_plan_shows() -> None:
    assert [title for title, _ in resources.STEPS] == [step.title for step in STEPS if step.phase == "free"]
    assert len({step.key for step in STEPS}) == len(STEPS)
    makers = [make for _, make in resources.STEPS]
    assert len(set(makers)) == len(makers)


def test_money_is_spent_by_one_step_after_everything_that_stops_it() -> None:
    order = [step.phase for step in STEPS]
    assert order.count("pay") == 1
    assert order == sorted(order, key=("check", "free", "switches", "pay", "run", "end").index)


def test_a_plan_shows_the_steps_that_concern_it_and_no_other() -> None:
    """Of a plan that serves a model which is not gated: all steps but the Hub token and the fine-tuning."""
    made = gather.plan("Qwen/Qwen3-8B", serve={"method": "int8"})
    shown = [action.action for action in made.actions]
    assert shown == [step.action for step in STEPS if step.when not in ("gated", "finetune")]
    gated = replace(made, model=replace(made.model, gated=True), tasks=("finetune",))
    assert [action.action for action in gated.actions] == [step.action for step in STEPS if step.when != "serve"]


def test_a_plan_file_of_before_the_upload_was_listed_is_still_read() -> None:
    made = gather.plan("Qwen/Qwen3-8B", serve={"method": "int8"})
    content = made.as_json()
    earlier = [row for row in content["actions"] if row["action"] != "upload_bundle"]
    content["actions"] = [{**row, "step": number} for number, row in enumerate(earlier, 1)]
    assert load(json.dumps(content)) == made
    content["actions"].pop()
    with pytest.raises(UsageError) as refused:
        load(json.dumps(content))
    assert refused.value.code == "plan_changed"


def test_a_plan_file_with_the_sentences_of_another_version_is_read_and_one_with_other_steps_is_not() -> None:
    made = gather.plan("Qwen/Qwen3-8B", serve={"method": "int8"})
    content = made.as_json()
    content["actions"] = [{**row, "note": "in other words"} for row in content["actions"]]
    content["stop"] = [{**row, "switch": "in other words"} for row in content["stop"]]
    assert load(json.dumps(content)) == made
    content["stop"][0]["after_hours"] += 1
    with pytest.raises(UsageError) as refused:
        load(json.dumps(content))
    assert refused.value.code == "plan_changed"
