"""The calibration file: many writers, hand edits, older and newer versions, files that are nothing of the kind."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.memory.measured import MeasuredRun
from modelpick.speed import calibration_file
from modelpick.speed.calibration_file import Measurement

AT = "2026-11-30T10:00:00Z"
SPEED = Measurement("own-train", "lora", "L4", 50.0, 100.0, AT, version="modelpick 0.1")
RUN = MeasuredRun(
    "finetune", "modelpick", "0.1", "lora", "L4", 1, "0" * 32, AT, peak_gib=12.5, estimated_gib=12.0, load_s=3.0
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "calibration.json"
    monkeypatch.setenv("MODELPICK_CALIBRATION", str(path))
    calibration_file._read.cache_clear()
    return path


def refused(what: object = None) -> str:
    calibration_file._read.cache_clear()
    with pytest.raises(UsageError) as error:
        calibration_file.measured_runs()
    assert error.value.code == "bad_calibration"
    return f"{error.value.message}; {error.value.fix}"


def test_what_is_saved_is_read_back(file: Path) -> None:
    assert calibration_file.content() is None
    assert calibration_file.save([SPEED], [RUN]) == file
    found = calibration_file.content()
    assert found is not None
    assert (found[1].measurements, found[1].runs) == ((SPEED,), (RUN,))
    assert calibration_file.measured_runs().sha256 == found[1].sha256


def test_writers_at_once_lose_nothing(file: Path) -> None:
    """Two commands may end at the same time: each reads, adds and writes while the others wait."""
    writers = [
        threading.Thread(target=lambda: [calibration_file.save([SPEED], [RUN]) for _ in range(5)]) for _ in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = calibration_file.content()
    assert found is not None
    assert (len(found[1].measurements), len(found[1].runs)) == (40, 40)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_edit_by_hand_is_refused(file: Path, data: st.DataObject) -> None:
    """A value of any row changed, or a row taken away: the file is no record of what was measured any more."""
    file.unlink(missing_ok=True)
    calibration_file._read.cache_clear()
    calibration_file.save([SPEED, SPEED], [RUN])
    table = json.loads(file.read_text())
    rows = table[data.draw(st.sampled_from(["measurements", "runs"]))]
    row = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from([None, *rows[row]]))
    if name is None:
        del rows[row]
    else:
        new = data.draw(
            st.one_of(st.floats(0, 1e6), st.text(max_size=5), st.none()).filter(lambda v: v != rows[row][name])
        )
        rows[row][name] = new
    file.write_text(json.dumps(table))
    before = file.read_bytes()
    assert "edited by hand" in refused()
    with pytest.raises(UsageError):
        calibration_file.save([SPEED])
    assert file.read_bytes() == before


def test_a_file_of_the_first_version_is_read_and_written_anew(file: Path) -> None:
    row = {"stack": "vllm", "method": "bf16", "gpu": "L4", "measured_tokens_per_s": 50, "predicted_tokens_per_s": 100.0,
           "at": AT}  # fmt: skip
    file.write_text(json.dumps({"schema_version": 1, "measurements": [row]}))
    calibration_file.save([SPEED])
    table = json.loads(file.read_text())
    assert table["schema_version"] == 2
    assert [kept["stack"] for kept in table["measurements"]] == ["vllm", "own-train"]


def test_a_file_of_a_newer_version_says_what_mends_it(file: Path) -> None:
    file.write_text(json.dumps({"schema_version": 3, "measurements": [], "runs": [], "sha256": ""}))
    assert "update modelpick" in refused()


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode), st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(
        ["schema_version", "measurements", "runs", "sha256", "x"]), inner, max_size=4)), max_leaves=6,
).map(lambda value: json.dumps(value).encode())))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_else_is_refused_in_a_sentence(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refused()


def test_the_report_names_neither_models_nor_machines(file: Path) -> None:
    unbelievable = MeasuredRun(
        "finetune", "modelpick", "0.1", "lora", "L4", 1, "1" * 32, AT, peak_gib=100.0, estimated_gib=12.0
    )
    calibration_file.save([SPEED], [RUN, unbelievable])
    found = calibration_file.report()
    (speed,), (memory,) = found.groups, found.memory
    assert (speed.measurements, speed.median_ratio) == (1, 0.5)
    assert (memory.runs, memory.unbelievable, memory.median_load_s) == (2, 1, 3.0)
    assert memory.median_ratio == pytest.approx(12.5 / 12)
    assert "0" * 32 not in repr(found.memory)
