"""What a server's start took, kept for later estimates: on GPUs that are known, and never at the server's cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.memory.estimate import GIB, estimate
from modelpick.memory.measured import set_up_of
from modelpick.serving import engine_start, sizing
from modelpick.serving.engines import ENGINES
from modelpick.serving.machine import LocalGpu, LocalMachine
from modelpick.serving.sizing import Sizing
from modelpick.speed import calibration_file
from modelpick.workload import workload_from
from tests.memory.shapes import LLAMA_7B
from tests.serving.test_start_log import V0_11, V0_19

A100 = LocalGpu("NVIDIA A100-SXM4-40GB", 39.4, 38.9, 8.0)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(tmp_path / "calibration.json"))
    calibration_file._read.cache_clear()
    return tmp_path / "calibration.json"


def sized(engine: str, gpu: LocalGpu = A100) -> Sizing:
    words = {"task": "serve", "context": 1024, "generate": 128, "batch": 2}
    taught = engine_start.taught_on(gpu)
    return sizing.size(
        LLAMA_7B, workload_from(words), ENGINES[engine], LocalMachine(gpu, (), 100.0), by_measurement=taught
    )


def kept(tmp_path: Path, engine: str, log: str, gpu: LocalGpu = A100, now: LocalGpu | None = None) -> list[str]:
    path, told = tmp_path / "server.log", []
    path.write_text(log)
    engine_start.keep(sized(engine, gpu), path, gpu, now, 21.0, told.append)
    return told


def test_vllms_own_lines_are_kept_with_its_version_and_gpu(tmp_path: Path, file: Path) -> None:
    """Its share less the cache it has left and with its graphs, and the estimate's own cache."""
    (told,) = kept(tmp_path, "vllm", V0_19)
    assert "loaded in 21 s" in told
    assert str(file) in told
    (run,) = calibration_file.measured_runs().runs
    plan = sized("vllm")
    assert plan.estimate is not None
    share = (plan.utilization or 0) * A100.total_gib
    assert run.peak_gib == pytest.approx(share - 11.5 + 0.3 + plan.estimate.parts.kv_cache / GIB)
    assert (run.engine, run.version, run.gpu, run.filled) == ("vllm", "0.19.0", "A100-40GB", True)
    assert (run.weights_gib, run.cache_tokens, run.graphs_gib, run.load_s) == (5.0, 16000, 0.3, 7.25)


def test_the_next_start_and_the_plan_of_the_same_set_up_go_by_it(tmp_path: Path, file: Path) -> None:
    before = sized("vllm")
    kept(tmp_path, "vllm", V0_19)
    after = sized("vllm")
    (run,) = calibration_file.measured_runs().runs
    assert run.peak_gib is not None
    assert after.needed_gib == pytest.approx(run.peak_gib + run.slack_gib)
    assert after.needed_gib != before.needed_gib
    assert any("this very set-up" in note for note in after.notes)
    planned = estimate(LLAMA_7B, workload_from({
        "task": "serve", "context": 1024, "generate": 128, "batch": 2, "stack": "vllm", "measure": "device",
    }))  # fmt: skip
    assert set_up_of(planned) == run.set_up


@pytest.mark.parametrize(("engine", "filled"), [("transformers", False), ("llama.cpp", True)])
def test_other_engines_take_what_the_gpu_has_less_of(tmp_path: Path, file: Path, engine: str, filled: bool) -> None:
    kept(tmp_path, engine, "ready", now=replace(A100, free_gib=A100.free_gib - 14.0))
    (run,) = calibration_file.measured_runs().runs
    assert (run.peak_gib, run.filled, run.load_s) == (pytest.approx(14.0), filled, 21.0)


def test_a_gpu_that_is_not_known_is_said_and_not_kept(tmp_path: Path, file: Path) -> None:
    (told,) = kept(tmp_path, "vllm", V0_11, replace(A100, name="NVIDIA GeForce RTX 9090"))
    assert "RTX 9090 is not among the GPUs" in told
    assert not file.exists()


def test_a_broken_calibration_file_stops_no_server_that_runs(tmp_path: Path, file: Path) -> None:
    plan, told = sized("vllm"), []
    (tmp_path / "server.log").write_text(V0_19)
    file.write_text('{"schema_version": 2, "measurements": [], "runs": [], "sha256": "by hand"}')
    engine_start.keep(plan, tmp_path / "server.log", A100, None, 21.0, told.append)
    assert len(told) == 1
    assert "edited by hand" in told[0]
    assert "by hand" in file.read_text()
    with pytest.raises(UsageError):  # but the next one is refused before it starts
        sized("vllm")
