"""Snapshots on disk: killed at every step, two at once, a full disk, back and forth."""

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpick.catalog import snapshot
from modelpick.catalog.snapshot import Facts
from modelpick.errors import UsageError
from modelpick.hub import store
from modelpick.hub.store import KEPT, Content


def content(day: str) -> Content:
    """The embedded facts, of a later day."""
    texts = {file: snapshot.embedded_facts().text(file) for file in snapshot.FILES}
    header, rest = texts["catalog/models.jsonl"].split("\n", 1)
    texts["catalog/models.jsonl"] = f"{json.dumps(json.loads(header) | {'as_of': day})}\n{rest}"
    return Content(texts, day, {})


def put(day: str, **options: Callable[..., None]) -> Facts:
    with store.changing() as root:
        return store.put(root, content(day), **({"verify": lambda facts: None} | options))  # type: ignore[arg-type]


def in_force() -> str:
    snapshot.forget()
    facts = snapshot.in_force()
    for file in facts.manifest.files if facts.manifest else ():
        facts.text(file)
    return facts.as_of["models"]


def steps_of_a_put(folder: Path) -> list[str]:
    steps: list[str] = []
    put("2027-01-01", step=steps.append)
    return steps


def test_a_kill_at_any_step_leaves_the_old_or_the_new_whole(folder: Path) -> None:
    """A real death of the process at each step; then the next update goes through and cleans up."""
    steps = steps_of_a_put(folder)
    assert {"verify", "rename", "point", "prune"} < set(steps)
    for number, killed_at in enumerate(steps, 1):
        old, new = in_force(), f"2027-02-{number:02}"

        def die(step: str, at: str = killed_at) -> None:
            if step == at:
                os._exit(9)

        child = os.fork()
        if child == 0:
            put(new, step=die)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert in_force() == (new if killed_at == "prune" else old), killed_at
        put(new)
        assert in_force() == new
        left = {path.name for path in folder.iterdir()} - {"pointer.json"}
        assert left == {path.name for path in snapshot.folders()}, "nothing half-written stays"
    assert len(snapshot.folders()) == KEPT


def test_what_does_not_pass_leaves_nothing(folder: Path) -> None:
    def refuse(facts: Facts) -> None:
        raise UsageError("no", fix="no", code="no")

    put("2027-01-01")
    with pytest.raises(UsageError, match="no"):
        put("2027-01-02", verify=refuse)
    assert in_force() == "2027-01-01"
    assert len(list(folder.iterdir())) == 2


def test_a_full_disk_is_one_sentence_and_the_old_one_stays(folder: Path) -> None:
    """A real refusal: the process may write no file of more than 100 kB, and the catalog is larger."""
    put("2027-01-01")
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        try:
            put("2027-01-02")
        except UsageError as error:
            os._exit(7 if error.code == "cannot_update" and "disk is full" in error.message else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert in_force() == "2027-01-01"
    assert len(list(folder.iterdir())) == 2


def test_two_updates_at_once(folder: Path) -> None:
    with store.changing(), pytest.raises(UsageError) as caught, store.changing():
        pass
    assert caught.value.code == "update_running"
    put("2027-01-01")


def test_back_and_forth(folder: Path) -> None:
    first, second = put("2027-01-01"), put("2027-01-02")
    with store.changing() as root:
        assert store.go_back(root).name == first.name
        assert in_force() == "2027-01-01"
        assert store.use(root, "2027-01-02").name == second.name
        assert store.use(root, "embedded").source == "embedded"
        assert in_force() == snapshot.embedded_facts().as_of["models"]
        with pytest.raises(UsageError) as caught:
            store.go_back(root)
        assert caught.value.code == "no_snapshot"
    put("2027-01-03")
    assert in_force() == "2027-01-03", "an update ends what was pinned"
    with store.changing() as root:
        assert store.go_back(root).name == second.name
        assert store.go_back(root).name == first.name
        assert store.go_back(root).source == "embedded"


def test_a_damaged_snapshot_is_not_gone_back_to(folder: Path) -> None:
    first = put("2027-01-01")
    put("2027-01-02")
    (folder / first.name / "offers/gpus.json").write_text("{}")
    with store.changing() as root, pytest.raises(UsageError) as caught:
        store.use(root, first.name)
    assert caught.value.code == "bad_snapshot"
    assert in_force() == "2027-01-02"


def test_only_the_newest_are_kept(folder: Path) -> None:
    for day in range(1, KEPT + 3):
        put(f"2027-01-{day:02}")
    assert [path.name[:10] for path in snapshot.folders()] == [f"2027-01-{day:02}" for day in range(3, KEPT + 3)]


def test_no_home_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(UsageError) as caught, store.changing():
        pass
    assert caught.value.code == "no_home"
