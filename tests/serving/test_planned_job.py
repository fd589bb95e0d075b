"""What a plan says is what the machine runs: the same words, begun or gone on with."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelpick.aws.from_plan import job_of
from modelpick.aws.spec import MachineJob
from modelpick.planning import gather
from modelpick.planning.plan_file import Plan

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
KEPT = "--key-file run/api-key --progress results/serve/progress.json"  # the user's key; what the bucket is told


@pytest.fixture
def echo(tmp_path: Path) -> dict[str, str]:
    """A `modelpick` that says how it was called."""
    program = tmp_path / "bin" / "modelpick"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin"}


def said(job: MachineJob, folder: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run(job.command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def plan(tmp_path: Path, **more: Any) -> Plan:
    data = tmp_path / "train.jsonl"
    data.write_text('{"instruction": "a", "output": "b"}\n' * 20)
    return gather.plan(MODEL, data=data, epochs=2.0, **more)


def test_a_new_machine_begins_and_one_that_replaces_it_goes_on(tmp_path: Path, echo: dict[str, str]) -> None:
    made = plan(
        tmp_path, finetune={"method": "lora", "context": 256}, serve={"context": 512, "batch": 3, "method": "bf16"}
    )
    job = job_of(made, idle_minutes=5, data=["train.jsonl"])
    first = said(job, tmp_path, echo)
    assert first == [
        f"finetune {MODEL} --method lora --context 256 --planned planned.json --epochs 2 --data data/train.jsonl"
        " --output results/run",
        f"serve results/run --method bf16 --context 512 --generate 512 --concurrency 3 --engine vllm {KEPT}",
    ]
    run = tmp_path / "results" / "run"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    assert said(job, tmp_path, echo) == [f"{first[0]} --resume", first[1]]
    assert job.kind == "service"


def test_what_fails_in_fine_tuning_is_not_served(tmp_path: Path, echo: dict[str, str]) -> None:
    job = job_of(
        plan(tmp_path, finetune={"method": "lora"}, serve={"method": "bf16"}), idle_minutes=5, data=["train.jsonl"]
    )
    (tmp_path / "bin" / "modelpick").write_text('#!/bin/sh\necho "$1"\nexit 1\n')
    done = subprocess.run(job.command, cwd=tmp_path, env=echo, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "finetune\n")


def test_what_was_asked_for_reaches_the_machine(tmp_path: Path, echo: dict[str, str]) -> None:
    tuned = {"method": "lora", "batch": 4, "dtype": "fp16", "lora_rank": 8}
    made = plan(tmp_path, finetune=tuned, serve={"method": "bf16", "generate": 64})
    finetune, serve = said(job_of(made, idle_minutes=5, data=["train.jsonl"]), tmp_path, echo)
    assert all(f" {flag} " in finetune for flag in ("--batch 4", "--dtype fp16", "--lora-rank 8"))
    assert " --generate 64 " in serve


@pytest.mark.parametrize(("killed", "lines"), [(2, ["finetune"] * 3 + ["serve"]), (9, ["finetune"] * 3)])
def test_what_is_killed_from_outside_goes_on(
    killed: int, lines: list[str], tmp_path: Path, echo: dict[str, str]
) -> None:
    job = job_of(plan(tmp_path, serve={"method": "bf16"}), idle_minutes=5, data=["train.jsonl"])
    (tmp_path / "bin" / "modelpick").write_text(
        f'#!/bin/sh\necho "$1"; echo >>tries; [ $(wc -l <tries) -gt {killed} ] || kill -KILL $$\n'
    )
    done = subprocess.run(job.command, cwd=tmp_path, env=echo, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (0 if killed < 3 else 137, lines)


def test_told_to_stop_it_saves_first_and_serves_nothing(tmp_path: Path, echo: dict[str, str]) -> None:
    job = job_of(plan(tmp_path, serve={"method": "bf16"}), idle_minutes=5, data=["train.jsonl"])
    (tmp_path / "bin" / "modelpick").write_text(
        "#!/bin/sh\ntrap 'sleep 1; echo saved; exit 130' TERM\necho \"$1\"; while true; do sleep 0.05; done\n"
    )
    child = subprocess.Popen(
        job.command, cwd=tmp_path, env=echo, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "finetune\n"
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(30) == 130
    assert child.stdout.read() == "saved\n"


def test_serving_alone_is_one_command(tmp_path: Path, echo: dict[str, str]) -> None:
    made = gather.plan(MODEL, serve={"method": "bf16", "context": 512})
    assert said(job_of(made, idle_minutes=5), tmp_path, echo) == [
        f"serve {MODEL} --method bf16 --context 512 --generate 512 --concurrency 8 --engine vllm {KEPT}"
    ]
