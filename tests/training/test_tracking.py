"""Runs arrive in a real MLflow server on loopback, directly and as DagsHub serves it, and outlive a dead one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra train is absent")
pytest.importorskip("mlflow", reason="the extra track is absent")
from transformers import TrainerControl, TrainerState, TrainingArguments  # noqa: E402

from modelpick.errors import RemoteError, UsageError  # noqa: E402
from modelpick.training import progress, tracking  # noqa: E402
from modelpick.training.finetune import Request, finetune  # noqa: E402
from tests.stand_ins import dagshub  # noqa: E402

TOKEN = "a-token-that-nobody-may-see"
SHORT = {"max_steps": 3, "gradient_accumulation": 1, "batch": 4, "log_steps": 1}


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that tracking sets, put back afterwards."""
    for name in (*tracking.environment("mlflow"), "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An MLflow server with a sqlite store, which takes artifacts itself."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts",
    ]  # fmt: skip
    # Jobs (of which tracking has none) are workers of their own, each of which imports all of MLflow.
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=quiet
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).read()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the server and the workers it started: all in the group made above
        process.wait()


def recorded(server: str, learning_rate: str) -> tuple[Any, set[str]]:
    """The one run with this rate, and the paths of its artifacts."""
    import mlflow

    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id], f"params.learning_rate = '{learning_rate}'")
    assert run.info.status == "FINISHED"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]
    assert "after_held-out examples" in run.data.metrics
    return run, {file.path for file in client.list_artifacts(run.info.run_id)}


@pytest.mark.usefixtures("clean")
@pytest.mark.parametrize("kept", ["by a server", "in a file"])
def test_a_run_of_two_lives_is_one_run_in_mlflow(
    kept: str, server: str, base: Path, data: Path, tmp_path: Path
) -> None:
    """In the first of which memory runs out, so that it begins twice."""
    import mlflow

    where = server if kept == "by a server" else f"sqlite:///{tmp_path}/mlflow.db"
    stop, rate = threading.Event(), "0.0003"

    def small_device(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and module.training and inputs[0].shape[0] > 2:
            raise torch.OutOfMemoryError("a device that holds two sequences")

    def stop_after_two_steps(event: Any) -> None:
        if (
            isinstance(event, progress.StepLogged) and event.step == 1
        ):  # told after the step, heeded at the end of the next
            stop.set()

    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "out"), "track": f"mlflow:{where}"}
    hook = torch.nn.modules.module.register_module_forward_pre_hook(small_device)
    try:
        request = Request({**given, **SHORT, "learning_rate": float(rate)}, offline=True)
        assert finetune(request, stop_after_two_steps, stop).status == "interrupted"
    finally:
        hook.remove()
    run = json.loads((tmp_path / "out" / tracking.RECORD).read_text())["mlflow_run_id"]
    assert mlflow.MlflowClient(where).get_run(run).info.status == "KILLED"
    told: list[str] = []
    request = Request({"output": str(tmp_path / "out")}, offline=True, resume=True)
    finetune(request, lambda event: told.append(getattr(event, "text", "")))
    found, artifacts = recorded(where, rate)
    assert found.info.run_id == run
    assert artifacts >= {"run.json", "result.json", "loss.svg"}
    assert not [text for text in told if "tracking" in text]


@pytest.mark.usefixtures("clean")
def test_a_run_that_was_deleted_from_the_server_begins_anew_and_says_so(base: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    told: list[str] = []
    where = f"sqlite:///{tmp_path}/mlflow.db"
    tracking.check(f"mlflow:{where}")
    (callback,) = tracking.callbacks(f"mlflow:{where}", tmp_path / "out", told.append)
    file = tmp_path / "out" / tracking.RECORD
    file.write_text('{"mlflow_run_id": "%s"}' % ("0" * 32))
    args, state, model = TrainingArguments(str(tmp_path)), TrainerState(), torch.nn.Linear(1, 1)
    with tracking.ended("mlflow") as end:
        callback.on_train_begin(args, state, TrainerControl(), model=model)
        end("done")
    assert len(told) == 1
    assert "no longer there" in told[0]
    assert "0" * 32 not in file.read_text()


def test_dagshub_gets_data_experiment_and_result_and_the_token_shows_nowhere(
    server: str, base: Path, data: Path, tmp_path: Path
) -> None:
    """And a run that was stopped and continued is one run there too."""
    given = {**SHORT, "model": str(base), "data": str(data), "output": str(tmp_path / "out"), "learning_rate": 0.0004}
    first = (
        "import threading\nfrom modelpick.training.finetune import Request, finetune\n"
        "from modelpick.training.progress import StepLogged\nstop = threading.Event()\n"
        "see = lambda event: stop.set() if isinstance(event, StepLogged) and event.step == 1 else None\n"
        f"request = Request({ {**given, 'track': 'dagshub:me/mine'}!r}, offline=True)\n"
        "assert finetune(request, see, stop).status == 'interrupted'\n"
    )
    with dagshub.running(TOKEN, server) as hub:
        names = {"DAGSHUB_CLIENT_HOST": hub.url, "DAGSHUB_USER_TOKEN": TOKEN, "HOME": str(tmp_path)}
        words = ["-m", "modelpick", "finetune", "--resume", "--json", "--offline", "--output", str(tmp_path / "out")]
        for command in (["-c", first], words):
            done = subprocess.run(
                [sys.executable, *command], capture_output=True, text=True, env={**os.environ, **names}, cwd=tmp_path
            )
            assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "done"
    _, artifacts = recorded(server, "0.0004")
    assert "result.json" in artifacts
    assert hub.files["data/data.jsonl"] == data.read_bytes()
    assert json.loads(hub.files["runs/out/result.json"])["status"] == "done"
    assert "runs/out/out/adapter_model.safetensors" in hub.files
    assert not [path for path in hub.files if "checkpoint" in path]
    kept = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [text for text in (*kept, *hub.files.values()) if TOKEN.encode() in text]
    assert TOKEN not in done.stdout + done.stderr + " ".join(hub.asked)


@pytest.mark.usefixtures("clean")
def test_a_server_that_dies_is_told_once_and_ends_nothing(server: str, base: Path, data: Path, tmp_path: Path) -> None:
    with dagshub.running(TOKEN, server) as hub:  # a proxy, whose server is taken away in mid-run
        told: list[str] = []

        def watch(event: Any) -> None:
            if isinstance(event, progress.Note) and event.text.startswith("tracking"):
                told.append(event.text)
            if isinstance(event, progress.TrainingStarted):
                hub.mlflow = "http://127.0.0.1:9"

        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = "me", TOKEN
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        given = {"model": str(base), "data": str(data), "output": str(tmp_path / "out"), **SHORT}
        track = f"mlflow:{hub.url}/me/mine.mlflow"
        result = finetune(Request({**given, "track": track}, offline=True), watch)
    assert result.status == "done"
    assert told[0].startswith("tracking: connection lost at")
    assert len(told) <= 2


@pytest.mark.usefixtures("clean")
def test_a_server_that_does_not_answer_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RemoteError) as caught:
        tracking.check("mlflow:http://127.0.0.1:9")
    assert caught.value.code == "tracking_silent"


@pytest.mark.parametrize(
    ("track", "code"),
    [
        ("mlfow", "unknown_tracking"), ("wandb:x", "unknown_tracking"), ("dagshub", "bad_tracking"),
        ("dagshub:me", "bad_tracking"), ("dagshub:me/mine", "no_token"),
        ("mlflow:https://me:secret@host", "secret_in_option"),
    ],
)  # fmt: skip
def test_a_tracking_option_that_cannot_work_is_refused(track: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSHUB_USER_TOKEN", raising=False)
    with pytest.raises(UsageError) as caught:
        tracking.check(track)
    assert caught.value.code == code
    assert "secret" not in caught.value.message + caught.value.fix
