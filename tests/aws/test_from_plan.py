"""A plan becomes exactly the machine it describes: names, caps, hours, commands."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws import bundle, from_plan, license_gate
from modelpick.aws.from_plan import LaunchOptions
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import Spec
from modelpick.errors import ModelpickError
from modelpick.licensing.judge_models import policy_in_force
from modelpick.licensing.load import policies_directory
from modelpick.offers import embedded
from modelpick.planning import gather
from modelpick.planning.choose import Device, choose
from modelpick.planning.plan_file import plan_from
from modelpick.training.job_file import planned_from


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    made = gather.plan("Qwen/Qwen3-8B", finetune={"method": "qlora"}, max_hours=6.0, max_usd=12.0)
    return json.loads(made.to_bytes())


def spec_from(plan: dict[str, Any], options: LaunchOptions | None = None, **more: Any) -> Spec:
    planned = plan_from(plan)
    options = options or LaunchOptions()
    return from_plan.spec_from(planned, options, policy=license_gate.policy_of(planned.policy, None), **more)


def rules_of(plan: dict[str, Any], policy: str | None = None) -> dict[str, str]:
    planned = plan_from(plan)
    return bundle.license_inputs(license_gate.policy_of(planned.policy, policy), planned.region)


def test_what_the_plan_creates_is_what_up_creates(plan: dict[str, Any]) -> None:
    names = ResourceNames(spec_from(plan).deployment, "123456789012", plan["region"])
    creates = {action["creates"] for action in plan["actions"] if action["creates"]}
    assert names.group == plan["id"]
    assert {names.group, names.guest_role, names.switch_role, names.log_group, names.scheduled_stop} <= creates
    assert names.bucket.startswith(f"{plan['id']}-")


def test_no_candidate_may_cost_more_than_the_cap(plan: dict[str, Any]) -> None:
    spec = spec_from(plan, LaunchOptions(max_usd=12.0))
    assert spec.most_usd <= 12.0 + 1e-9
    assert spec.hourly_usd * (spec.hours + 1 / 3) <= 12.0 + 1e-9
    assert spec.candidates[0].instance_type == plan["instance_type"]


def test_the_job_is_what_a_user_would_type(plan: dict[str, Any]) -> None:
    command = spec_from(plan, data=["train.jsonl"]).job.command
    assert command[:2] == ("sh", "-uc")  # it goes on where a run was begun, and begins one otherwise
    assert "modelpick finetune Qwen/Qwen3-8B" in command[2]
    assert "--data data/train.jsonl" in command[2]


def test_the_machine_judges_by_the_rules_that_allowed_the_plan(
    plan: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    monkeypatch.chdir(here)
    own = (policies_directory() / "research.toml").read_text().replace('"research"', '"ours"', 1)
    Path("ours.toml").write_text(own)
    Path("modelpick.toml").write_text(
        'policy = "ours.toml"\n[company]\ndomicile = "DE"\nmonthly_active_users = 2_000\n'
    )
    Path("approvals.toml").write_text("# none yet\n")
    made = gather.plan("Qwen/Qwen3-8B", finetune={"method": "qlora"}).as_json()
    job = spec_from(made, license_files=rules_of(made)).job
    with tarfile.open(fileobj=io.BytesIO(bundle.build(job))) as bundled:
        bundled.extractall(there, filter="data")
    before = policy_in_force()
    monkeypatch.chdir(there)
    after = policy_in_force()
    assert (after.name, after.sha256) == ("ours", before.sha256)
    assert after.company == replace(before.company, regions=("us-east-1",))
    assert Path("approvals.toml").read_text() == "# none yet\n"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelpickError) as other:
        rules_of(made)
    assert other.value.code == "other_policy"
    assert rules_of(plan, "research")["policy.toml"].startswith("#")  # the plan's own, by its name


def test_a_plan_older_than_its_prices_is_refused(plan: dict[str, Any]) -> None:
    old = json.loads(json.dumps(plan))
    for row in old["candidates"]:
        row["offer"]["usd_per_hour"] *= 0.5
    with pytest.raises(ModelpickError) as refused:
        spec_from(old)
    assert refused.value.code == "prices_changed"


def test_the_same_plan_is_the_same_deployment(plan: dict[str, Any]) -> None:
    assert spec_from(plan).sha256 == spec_from(json.loads(json.dumps(plan))).sha256
    assert spec_from(plan).deployment != spec_from(plan, LaunchOptions(name="other")).deployment


def test_a_file_s_name_with_spaces_stays_one_word(plan: dict[str, Any]) -> None:
    command = spec_from(plan, data=["my train.jsonl"]).job.command
    assert "--data 'data/my train.jsonl'" in command[2]


@pytest.mark.parametrize(
    ("model", "method", "vllm"),
    [
        ("Qwen/Qwen3-8B", "bf16", True),
        ("Qwen/Qwen3-8B", "nf4", True),
        ("Qwen/Qwen3-8B", "int8", False),  # vLLM has no 8-bit for dense models
        ("google/flan-t5-large", "bf16", False),  # and no T5
    ],
)
def test_vllm_is_installed_where_serve_will_choose_it(model: str, method: str, vllm: bool) -> None:
    made = json.loads(gather.plan(model, serve={"method": method}, offline=True).to_bytes())
    assert spec_from(made).job.vllm is vllm


def test_a_cap_shortens_the_best_one_s_hours_and_does_not_swap_it(plan: dict[str, Any]) -> None:
    """The second switch's delay is paid from the cap: the plan's hours are cut by it, its first choice stays first."""
    capped = gather.plan("Qwen/Qwen3-8B", finetune={"method": "qlora"}, max_usd=5.0).as_json()
    spec = spec_from(capped, LaunchOptions(max_usd=5.0))
    assert spec.candidates[0].instance_type == capped["instance_type"]
    assert spec.hours < capped["max_hours"]
    assert spec.most_usd <= 5.0 + 1e-9


def test_what_would_be_stopped_before_it_is_done_is_no_candidate() -> None:
    plan = gather.plan("Qwen/Qwen3-8B", finetune={"method": "lora-int8"}, max_hours=6.0, max_usd=12.0).as_json()
    times = [row["time"]["likely_hours"] for row in plan["candidates"]]
    assert max(times) <= plan["max_hours"]
    spec = spec_from(plan, LaunchOptions(max_hours=times[0] * 1.01))
    slow = {row["offer"]["instance_type"] for row, hours in zip(plan["candidates"], times, strict=True)
            if hours > spec.hours}  # fmt: skip
    assert slow
    assert not slow & {one.instance_type for one in spec.candidates}


def test_the_machine_is_told_what_it_was_priced_with(plan: dict[str, Any], tmp_path: Path) -> None:
    """For every size of GPU that the group may start: the machine takes the entry of the one it has."""
    job = spec_from(plan, data=["train.jsonl"]).job
    assert "--planned planned.json" in job.command[2]
    assert not any(
        flag in job.command[2] for flag in ("--batch", "--gradient-accumulation", "--gradient-checkpointing")
    )
    file = tmp_path / "planned.json"
    file.write_text(job.files["planned.json"])
    planned = planned_from(str(file))
    for row in plan["candidates"]:
        usable = embedded.instance(row["offer"]["instance_type"]).usable_memory_gib
        device = Device("cuda", "a card", usable * 0.975 * 2**30, "bf16")
        given = {"model": "m", "data": "d", "output": "o", "method": "qlora", "context": 1024}
        settings = choose(
            given, device, lambda _: 1e15, longest=900, examples=400, parameters=8_000_000_000, limit=None,
            planned=planned,
        ).settings  # fmt: skip
        told = row["finetune"]
        assert (settings.batch, settings.gradient_accumulation, settings.gradient_checkpointing) == (
            told["batch"], told["gradient_accumulation"], told["gradient_checkpointing"],
        )  # fmt: skip
        assert settings.effective_batch == 16


def test_what_the_user_said_goes_as_it_was_said() -> None:
    made = gather.plan("Qwen/Qwen3-8B", finetune={"method": "qlora", "batch": 4}).as_json()
    assert "batch" not in made["chosen"]
    assert {row["finetune"]["batch"] for row in made["candidates"]} == {4}
    assert "--batch 4" in spec_from(made).job.command[2]


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"gpus": 4, "sharding": "zero3"}, "several_gpus"), ({"stack": "axolotl"}, "not_trained")],
)
def test_a_training_that_no_machine_runs_is_refused_in_a_plan_that_somebody_edited(
    changes: dict[str, Any], code: str
) -> None:
    made = gather.plan("Qwen/Qwen3-8B", finetune={"method": "lora"})
    tuned = made.finetune
    assert tuned is not None
    edited = replace(made, workloads={"finetune": replace(tuned, **changes)})
    with pytest.raises(ModelpickError) as refused:
        from_plan.job_of(edited, idle_minutes=30)
    assert refused.value.code == code
