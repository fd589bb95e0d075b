"""A plan's seal is a checksum: whoever edits a plan can seal it again. What such a plan asks for is refused in one
sentence before anything is made or paid, and the license is judged again where money is spent."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import license_gate, provision
from modelpick.aws.account import Account
from modelpick.aws.spec import Spec
from modelpick.errors import ModelpickError, UsageError
from modelpick.licensing.outcome import Verdict
from modelpick.planning import gather
from modelpick.planning.plan_file import plan_from, seal
from modelpick.workload import workload_from
from tests.aws.conftest import MODEL, PAYLOAD, PRICES, allowed, spec
from tests.cli.conftest import Run
from tests.stand_ins.aws_account import Aws

DENIED, REVIEWED = "CohereLabs/c4ai-command-r-v01", "01-ai/Yi-9B"
AWQ = workload_from({"task": "serve", "method": "awq", "stack": "vllm"})
CONDITIONS, SAME_LICENSE = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-0.6B"


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    made = gather.plan(MODEL, finetune={"method": "qlora"}, max_hours=2.0, instance="g5.xlarge")
    return dict(json.loads(made.to_bytes()))


def resealed(plan: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The plan with one value changed, sealed as modelpick seals it."""
    content = json.loads(json.dumps(plan))
    *folders, last = path.split(".")
    table = content
    for name in folders:
        table = table[int(name)] if isinstance(table, list) else table[name]
    table[last] = value
    content["id"] = seal(content)
    try:
        return plan_from(content).as_json()  # with the steps and switches that follow
    except UsageError:  # a value that no plan of ours has: no step follows from it
        return dict(content)


def changed(aws: Aws) -> list[str]:
    """The calls that made or changed anything in the account."""
    return [name for name, mutating in aws.calls() if mutating]


# fmt: off
CHANGES: dict[str, tuple[str, Any, int, str | None]] = {  # where, what, exit code, error code
    "a negative cap": ("max_usd", -5, 2, "bad_plan"),
    "no cap": ("max_usd", None, 2, None),
    "a cap in words": ("max_usd", "much", 2, None),
    "no time": ("max_hours", 0, 2, "bad_plan"),
    "a year and more": ("max_hours", 1e6, 2, "bad_plan"),
    "the verdict of another model": ("license.verdict", "conditions", 2, "license_changed"),
    "a verdict that denies": ("license.verdict", "deny", 2, "license_changed"),
    "a verdict that is none": ("license.verdict", "fine", 2, "bad_plan"),
    "another license": ("license.ids", ["mit"], 2, "license_changed"),
    "a denied model": ("model.id", DENIED, 1, "license_denied"),
    "a model under review": ("model.id", REVIEWED, 1, "needs_review"),
    "a model with conditions": ("model.id", CONDITIONS, 2, "license_changed"),
    "a model of the same license": ("model.id", SAME_LICENSE, 2, "other_model"),
    "a model that is an option": ("model.id", "--help", 2, "bad_plan"),
    "a model that is a number": ("model.id", 7, 2, "bad_plan"),
    "a revision that is a command": ("model.revision", "main; reboot", 2, "bad_plan"),
    "another policy": ("policy.sha256", "0" * 64, 2, "other_policy"),
    "no instance type": ("candidates", [], 2, "bad_plan"),
    "instance types that are none": ("candidates", {"g5.xlarge": 1}, 2, None),
    "a price in words": ("candidates.0.offer.usd_per_hour", "free", 2, "bad_plan"),
    "a negative price": ("candidates.0.offer.usd_per_hour", -1.0, 2, "bad_plan"),
    "an instance type nobody sells": ("candidates.0.offer.instance_type", "x99.huge", 2, None),
    "another country's price": ("candidates.0.offer.region", "eu-central-1", 2, "bad_plan"),
    "another host": ("region", "us-east-1.evil.com", 2, None),
    "a region that is none": ("region", "xx-north-9", 2, None),
    "a disk of 100 TB": ("disk_gb", 100_000, 2, "bad_plan"),
    "a disk in words": ("disk_gb", "large", 2, None),
    "a disk without room for the system": ("disk_gb", 20, 2, "bad_plan"),
    "no task": ("tasks", [], 2, "bad_plan"),
    "a task nobody knows": ("tasks", ["mine"], 2, "bad_plan"),
    "a task without its workload": ("tasks", ["serve"], 2, "bad_plan"),
    "a workload that is none": ("workloads.finetune", [1], 2, "bad_plan"),
    "a method nobody knows": ("workloads.finetune.method", "magic", 2, "bad_plan"),
    "many GPUs": ("workloads.finetune.gpus", 8, 2, "several_gpus"),
}
# fmt: on


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_plan_is_refused_before_anything_is_made(
    change: str,
    plan: dict[str, Any],
    aws: Aws,
    account: Account,
    modelpick: Run,
    tmp_path: Path,
) -> None:
    where, value, exit_code, code = CHANGES[change]
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(resealed(plan, where, value)))
    aws.calls(clear=True)
    answer = modelpick("up", str(file), "--name", "box", "--yes", "--offline", "--json")
    assert answer.code == exit_code, answer.err
    if code is not None:
        assert answer.error["code"] == code
    assert "\n" not in answer.error["message"]
    assert answer.error["fix"]
    assert changed(aws) == []
    assert aws.state()["left"] == []


def test_the_plan_itself_is_launched(
    plan: dict[str, Any],
    aws: Aws,
    account: Account,
    modelpick: Run,
    tmp_path: Path,
) -> None:
    """What refuses the changed plans does not refuse an honest one, sealed by the same function."""
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(resealed(plan, "max_usd", plan["max_usd"])))
    answer = modelpick("up", str(file), "--name", "box", "--yes", "--offline", "--json")
    assert answer.code == 0, answer.err
    assert len(aws.state()["machines"]) == 1


def test_a_plan_that_hides_its_disk_does_not_outspend_its_cap(
    plan: dict[str, Any],
    aws: Aws,
    account: Account,
    modelpick: Run,
    tmp_path: Path,
) -> None:
    """10 TB of disk, and an hourly price that leaves nothing for it: the hours are cut by what it really costs."""
    body = resealed(plan, "candidates.0.cost.usd_per_hour", PRICES["g5.xlarge"])
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(resealed(body, "disk_gb", 10_000)))
    answer = modelpick("up", str(file), "--name", "box", "--yes", "--offline", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["usd_per_hour"] > 2.0
    aws.advance(hours=24)
    assert sum(aws.state()["bill"].values()) <= answer.json["max_usd"] + 0.01


def denied_spec() -> Spec:
    """A machine for a denied model whose plan says that it is allowed."""
    return spec(model=DENIED)


def launched(account: Account, aws: Aws, wanted: Spec) -> list[str]:
    """What `provision.up` changed in the account, however it ended."""
    aws.calls(clear=True)
    with contextlib.suppress(ModelpickError):
        provision.up(account, wanted, PAYLOAD)
    return changed(aws)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (denied_spec, "license_denied"),
        (lambda: spec(model=REVIEWED), "needs_review"),
        (lambda: spec(license=replace(allowed(), verdict=Verdict.CONDITIONS)), "license_changed"),
        (lambda: spec(license=replace(allowed(), license_ids=())), "license_changed"),
        (lambda: spec(license=replace(allowed(), download_gb=1.0)), "other_model"),
        (lambda: spec(license=replace(allowed(), workloads=(AWQ,))), "other_format"),
        (lambda: spec(region="eu-central-1", model="nobody/knows-it"), "model_unknown"),
    ],
)
def test_provision_itself_judges_again(wanted: Callable[[], Spec], code: str, aws: Aws, account: Account) -> None:
    """Whoever calls it: nothing is made."""
    aws.calls(clear=True)
    with pytest.raises(ModelpickError) as refused:
        provision.up(account, wanted(), PAYLOAD)
    assert refused.value.code == code
    assert changed(aws) == []


def test_without_the_gate_a_denied_model_would_be_paid_for(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted defect: `provision` that does not judge. The check above sees what it does."""
    assert launched(account, aws, denied_spec()) == []
    monkeypatch.setattr(license_gate, "require", lambda _: None)
    assert "autoscaling:UpdateAutoScalingGroup" in launched(account, aws, denied_spec())


def test_a_machine_that_runs_is_found_whatever_became_of_its_license(
    aws: Aws, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its switches must be seen and armed again; nothing is paid for it anew."""
    machine = provision.up(account, spec(), PAYLOAD)

    def refuse(_: Spec) -> None:
        raise ModelpickError("denied meanwhile", fix="down", code="license_denied")

    monkeypatch.setattr(license_gate, "require", refuse)
    assert provision.up(account, spec(), PAYLOAD).instance_id == machine.instance_id
