"""Runs arrive in a real MLflow server on loopback, through the integration transformers has."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
pytest.importorskip("mlflow", reason="the extra track is absent")
from modelpick.errors import UsageError
from modelpick.tuning import tracking
from modelpick.tuning.finetune import Request, finetune


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """An MLflow server with a sqlite store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--default-artifact-root", f"{tmp_path}/artifacts",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
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


def test_a_run_is_recorded_in_mlflow(
    server: str, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    given: dict[str, Any] = {
        "model": str(base), "data": str(data), "output": str(tmp_path / "out"), "track": f"mlflow:{server}",
        "max_steps": 3,
        "accumulation": 1, "batch": 4, "log_steps": 1,
    }  # fmt: skip
    finetune(Request(given, offline=True), lambda event: None)
    import mlflow

    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["learning_rate"] == "0.0002"
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 3
    assert "after_held-out examples" in run.data.metrics
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"result.json", "loss.svg"}
    assert json.loads((tmp_path / "out" / "result.json").read_text())["status"] == "done"


def test_dagshub_is_its_repositorys_mlflow_endpoint() -> None:
    assert tracking.environment("dagshub:me/mine")["MLFLOW_TRACKING_URI"] == "https://dagshub.com/me/mine.mlflow"


@pytest.mark.parametrize("track", ["mlfow", "dagshub", "dagshub:me", "wandb:x"])
def test_a_tracking_option_that_cannot_work_is_refused(track: str) -> None:
    with pytest.raises(UsageError):
        tracking.check(track)
