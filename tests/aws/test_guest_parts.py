"""What the machine's programs decide, asked directly: is it idle, what goes up first, how a log is cut."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.aws.guest import Metadata


@pytest.fixture
def guest(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The guest's modules, below a root of their own."""
    monkeypatch.syspath_prepend(str(repository / "deploy" / "guest"))
    for name, value in (("ROOT", tmp_path), ("BUCKET", "b"), ("LOG_GROUP", "/g"), ("DEPLOYMENT", "d")):
        monkeypatch.setenv(f"MODELPICK_{name}", str(value))
    monkeypatch.setenv("HOME", str(tmp_path))
    names = ("report", "observe", "bring_home", "watchdog")
    (tmp_path / "opt/modelpick/run").mkdir(parents=True)
    (tmp_path / "run/modelpick").mkdir(parents=True)
    yield type("Guest", (), {name: importlib.import_module(name) for name in names})
    for name in names:
        sys.modules.pop(name, None)


UP = {"serving": True, "requests": 7, "cpu_s": 0.0, "bytes": 0.0}
LOADING = {"serving": False, "requests": 0, "cpu_s": 0.0, "bytes": 0.0}


@pytest.mark.parametrize(
    ("before", "now", "utilization", "works"),
    [
        (UP, {**UP, "cpu_s": 60.0}, [0.0], False),  # vLLM spins on a core and serves nobody
        (UP, {**UP, "requests": 8}, [0.0], True),  # it was asked within the minute, though the GPU rests now
        (UP, UP, [0.0, 40.0], True),  # one of two GPUs
        (LOADING, {**LOADING, "cpu_s": 60.0}, [0.0], True),  # tokenizing, merging
        (LOADING, {**LOADING, "bytes": 60e6}, [0.0], True),  # weights on their way
        (LOADING, {**LOADING, "cpu_s": 0.5}, [0.0], False),  # hangs
        (LOADING, LOADING, [], False),  # a GPU that fell off the bus is no reason to stay
        (LOADING, UP, [0.0], True),  # it has just come up
        (None, UP, [0.0], True),
    ],
)
def test_what_counts_as_work(guest: Any, before: Any, now: Any, utilization: Any, works: bool) -> None:
    assert guest.observe.active(before, now, 60.0, utilization) is works


def test_requests_are_counted_for_answers_and_not_for_looks(guest: Any, tmp_path: Path) -> None:
    state = tmp_path / ".local/state/modelpick/serve-8000"
    state.mkdir(parents=True)
    lines = [{"request": {"uri": uri}} for uri in ("/v1/chat/completions", "/v1/completions", "/v1/models", "/ready")]
    (state / "requests.jsonl").write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    assert guest.observe.counters(None, {})["serving"] is False
    (state / "ready").touch()
    assert guest.observe.counters({"CPUUsageNSec": "[not set]"}, {}) == {**UP, "requests": 2}


def test_in_a_hurry_the_newest_sealed_state_goes_first_and_its_seal_last(guest: Any, tmp_path: Path) -> None:
    results = tmp_path / "opt/modelpick/results/run/checkpoints"
    for number, step, sealed in ((1, "checkpoint-1", True), (2, "checkpoint-2", True), (3, "checkpoint-3", False)):
        (results / step).mkdir(parents=True)
        if sealed:
            (results / step / "complete.json").touch()
            os.utime(results / step / "complete.json", (number, number))
    order = list(guest.bring_home._order(True))
    newest = "run/checkpoints/checkpoint-2/"
    assert [folder for folder, _ in order] == ["", newest, newest, "", ""]
    assert "*complete.json" in order[0][1]
    assert order[1][1] == ("--exclude", "complete.json")
    assert order[2][1] == ()
    assert [filters for _, filters in guest.bring_home._order(False)] == [("--exclude", "*complete.json"), ()]


def test_a_seal_does_not_go_up_when_what_it_seals_did_not(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def refuses(*words: str, timeout: float = 0) -> tuple[bool, str]:
        asked.append(words)
        return False, "no route"

    monkeypatch.setattr(guest.bring_home, "aws", refuses)
    assert guest.bring_home.bring() is False
    assert len(asked) == 1


def test_what_has_not_changed_is_not_asked_about_again_but_at_the_end(
    guest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def takes(*words: str, timeout: float = 0) -> tuple[bool, str]:
        asked.append(words)
        return True, ""

    monkeypatch.setattr(guest.bring_home, "aws", takes)
    state = tmp_path / "opt/modelpick/results/state"
    state.parent.mkdir()
    counts = []
    for step in ("first", "the same", "changed", "the end"):
        if step in ("first", "changed"):
            state.write_text(step)
        assert guest.bring_home.bring(float("inf") if step == "the end" else None) is True
        counts.append(len(asked))
    assert counts == [2, 2, 4, 6]


def test_a_log_of_any_size_is_cut_into_what_one_call_takes(guest: Any) -> None:
    """PutLogEvents takes 1,048,576 bytes; one argument of a command 131,072, which is why a file is passed."""
    lines = [b"x" * 300 + b"\n"] * 8000 + [b"\xff broken\n", b"10%\r", b"90%\r", b"100%\n", b"\n"]
    events, taken = guest.bring_home._batch(lines)
    assert sum(len(event["message"]) + 26 for event in events) <= 1_048_576
    assert 0 < taken < sum(map(len, lines))
    rest, _ = guest.bring_home._batch(lines[len(events) :])
    while rest and rest[-1]["message"] != "100%":
        events = rest
        lines = lines[len(events) :]
        rest, _ = guest.bring_home._batch(lines[len(events) :])
    assert [event["message"] for event in rest][-2:] == ["� broken", "100%"]


def test_an_error_in_one_reason_does_not_hide_the_others(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise RuntimeError

    monkeypatch.setattr(guest.watchdog, "interrupted", broken)
    monkeypatch.setattr(guest.watchdog, "over_time", lambda: "the time limit")
    monkeypatch.setattr(guest.observe, "job", lambda: None)
    assert guest.watchdog.due() == "the time limit"


def test_an_end_that_began_goes_on_with_its_reason(guest: Any) -> None:
    guest.report.write("ending", json.dumps({"reason": "spot interruption"}))
    assert guest.watchdog.due() == "spot interruption"


def test_what_ec2_says_is_heard_and_its_silence_is_no_notice(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Metadata()
    try:
        monkeypatch.setattr(guest.observe, "METADATA", f"http://127.0.0.1:{service.server_port}")
        assert guest.observe.seconds_to_interruption() is None
        assert guest.observe.rebalance_recommended() is False
        service.notice = service.rebalance = True
        assert 100 < guest.observe.seconds_to_interruption() <= 120
        assert guest.observe.rebalance_recommended() is True
        service.seconds = 7200.0  # a clock that is wrong by two hours: a notice is two minutes all the same
        assert guest.observe.seconds_to_interruption() == 120
    finally:
        service.shutdown()
        service.server_close()
    assert guest.observe.seconds_to_interruption() is None


def test_a_limit_that_was_moved_moves_the_power_off(guest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(guest.watchdog, "power_off_in", asked.append)
    told = ["", '{"stop_at": "2099-01-01T00:00:00Z"}', '{"stop_at": "2099-01-01T10:00:00Z"}', "no JSON"]
    for text in told:
        monkeypatch.setattr(guest.watchdog, "aws", lambda *_, text=text: (bool(text), text))
        guest.watchdog.attempt(guest.watchdog.heed_limit)
    assert asked[0] == 3600  # not known yet
    assert round(asked[2] - asked[1]) == 36000
    assert guest.watchdog.limit().hour == 10  # what cannot be read stays as it was
