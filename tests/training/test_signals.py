"""SIGTERM in every state of a run, a probe and a server's wait: acknowledged, exit code 130, nothing lost.

One process imports torch and then forks a child for each state; each child runs the real command, which waits where the
state begins until the signal has come.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# Where each state is at work: the function that is about to be called when the signal comes.
STATES = {
    "reading": "modelpick.training.finetune.read_data",
    "downloading": "modelpick.training.finetune.load.load_config",
    "before": "modelpick.training.finetune.before_after.measure",
    "loading": "modelpick.training.finetune.tokenize.encode",
    "training": "modelpick.training.trainers.CheckedTrainer.training_step",
    "checkpointing": "modelpick.training.train.checkpoints.seal",
    "after": "modelpick.training.finetune.before_after.comparisons",
    "saving": "modelpick.training.finetune.model_card.card",
    "probing": "modelpick.loading.load.load",
}
DRIVER = """
import importlib, json, os, signal, sys, time, traceback
import torch, transformers, peft, trl, datasets  # once, for every child
import modelpick.training.train, modelpick.training.finetune, modelpick.cli.commands.probe
from modelpick.__main__ import main

def stall(path, mark):
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        break
    for name in parts[cut:-1]:
        owner = getattr(owner, name)
    real = getattr(owner, parts[-1])
    def waiting(*arguments, **options):
        if not os.path.exists(mark):
            open(mark, "w").close()
            deadline = time.monotonic() + 30
            while not os.path.exists(mark + ".sent") and time.monotonic() < deadline:
                time.sleep(0.01)
        return real(*arguments, **options)
    setattr(owner, parts[-1], waiting)

told = {}
for state, (path, words) in json.loads(sys.argv[1]).items():
    mark = os.path.join(sys.argv[2], state)
    child = os.fork()
    if not child:
        out = os.open(mark + ".err", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            stall(path, mark)
            sys.argv = ["modelpick", *words]
            main()
        except SystemExit as error:
            os._exit(error.code)
        except BaseException:
            traceback.print_exc()
        os._exit(99)
    ended = 0
    while not os.path.exists(mark) and not ended:
        time.sleep(0.01)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGTERM)
        open(mark + ".sent", "w").close()
        _, status = os.waitpid(child, 0)
    with open(mark + ".err") as file:
        told[state] = [os.waitstatus_to_exitcode(status), file.read()]
print(json.dumps(told))
"""


def words(base: Path, data: Path, output: Path, *more: str) -> list[str]:
    options = "--epochs 1 --batch 4 --gradient-accumulation 1 --save-steps 2 --lora-rank 4 --offline -q"
    return ["finetune", str(base), "--data", str(data), "--output", str(output), *options.split(), *more]


def test_sigterm_is_obeyed_and_acknowledged_in_every_state(base: Path, data: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {
        state: (path, words(base, data, tmp_path / f"run-{state}")) for state, path in STATES.items()
    }
    asked["probing"] = (STATES["probing"], ["probe", str(base), "--cases", "2"])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(asked), str(tmp_path)],
        capture_output=True, text=True, timeout=240, env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for state, (code, said) in json.loads(done.stdout).items():
        assert code == 130, (state, code, said)
        first = said.splitlines()[0]
        assert first.startswith("SIGTERM: "), (state, said)
        assert first.endswith("exit code 130"), (state, said)
        assert "Traceback" not in said, (state, said)
        in_steps = state in ("training", "checkpointing")
        assert ("finishing this step" in first) is in_steps, (state, said)
        output = tmp_path / f"run-{state}"
        assert not list(output.rglob("*.partial")), state
        if state in ("after", "saving"):
            assert "checkpoint of step 9 is kept; continue with --resume" in said
        if (output / "progress.json").exists():
            assert json.loads((output / "progress.json").read_text())["state"] == "interrupted", state
            assert (output / "run.json").exists() or "re-run the command" in said, (state, said)


def test_a_run_stopped_while_it_saves_is_finished_by_resume(base: Path, data: Path, tmp_path: Path) -> None:
    from modelpick.training import finetune as module
    from modelpick.training.finetune import Request, finetune
    from modelpick.training.stop_signals import StoppedEarlyError

    options = {"model": str(base), "data": str(data), "max_steps": 3, "batch": 4, "lora_rank": 4}
    whole, cut = tmp_path / "whole" / "out", tmp_path / "cut" / "out"
    finetune(Request({**options, "output": str(whole)}, offline=True), lambda event: None)

    def stop_at_saving(event: Any) -> None:
        if getattr(event, "state", None) == "saving":
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(StoppedEarlyError, match="stopped in the state 'saving'"):
        module.finetune(Request({**options, "output": str(cut)}, offline=True), stop_at_saving)
    assert finetune(Request({"output": str(cut)}, offline=True, resume=True), lambda event: None).status == "done"
    weights = "out/adapter_model.safetensors"
    assert (cut / weights).read_bytes() == (whole / weights).read_bytes()


def test_a_server_says_that_it_heard_and_finishes_its_answers(capfd: pytest.CaptureFixture[str]) -> None:
    import threading

    from modelpick.serving import server

    stop = threading.Event()
    with server._stopped_by_signals(stop):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert stop.is_set()
    assert capfd.readouterr().err == "SIGTERM: finishing the answers in hand, then stopping; exit code 0\n"
