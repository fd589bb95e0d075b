"""What was looked up is kept for a while and within bounds, whoever else uses the folder at the same time."""

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpick.catalog import hub as live
from modelpick.catalog import hub_cache, hub_files, index
from modelpick.catalog.hub_record import merged
from modelpick.catalog.parts import RepositoryParts
from modelpick.licensing.judge_models import judge_models
from tests.stand_ins.hub import Hub

DAY = 86_400.0


def kept(folder: Path, name: str, *, days_ago: float = 0.0, size: int = 10) -> str:
    """A commit that was last used some days ago."""
    hub_cache.save(folder, "http://hub", name, "0" * 40, {"text": "x" * size})
    file = hub_cache._file(folder, "http://hub", name, "0" * 40)
    then = time.time() - days_ago * DAY
    os.utime(file, (then, then))
    return name


def there(folder: Path, name: str) -> bool:
    return hub_cache._file(folder, "http://hub", name, "0" * 40).is_file()


def test_what_is_old_goes_and_what_is_used_stays(tmp_path: Path) -> None:
    old, used = (kept(tmp_path, name, days_ago=100) for name in ("a/old", "a/used"))
    new = kept(tmp_path, "a/new", days_ago=80)
    assert hub_cache.load(tmp_path, "http://hub", used, "0" * 40) is not None
    hub_cache.trim(tmp_path)
    assert [there(tmp_path, name) for name in (old, used, new)] == [False, True, True]


def test_beyond_its_size_the_longest_unused_goes_first(tmp_path: Path) -> None:
    names = [kept(tmp_path, f"a/{age}", days_ago=age, size=1000) for age in (5, 4, 3, 2, 1)]
    hub_cache.trim(tmp_path, largest=2500)
    assert [there(tmp_path, name) for name in names] == [False, False, False, True, True]


def test_only_what_is_ours_goes(tmp_path: Path) -> None:
    mine, abandoned, fresh = tmp_path / "notes.txt", tmp_path / ".new-dead", tmp_path / ".new-alive"
    folder = tmp_path / ("a" * 40)
    folder.mkdir()
    for path in (mine, abandoned, fresh, folder / "x"):
        path.write_text("x" * 1000)
    for path in (mine, abandoned, folder):
        os.utime(path, (0, 0))
    hub_cache.trim(tmp_path, largest=1)
    assert mine.is_file()
    assert fresh.is_file()
    assert (folder / "x").is_file()
    assert not abandoned.exists()
    hub_cache.trim(tmp_path / "absent")
    hub_cache.trim(None)


def _churn(folder: Path, start: int) -> None:
    for number in range(start, start + 60):
        name = f"a/{number % 40}"
        hub_cache.save(folder, "http://hub", name, "0" * 40, {"name": name, "text": "x" * 500})
        found = hub_cache.load(folder, "http://hub", name, "0" * 40)
        assert found is None or found["name"] == name
        hub_cache.trim(folder, largest=5_000)


def test_processes_that_fill_and_empty_it_at_once_never_see_half_a_file(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("spawn").Process(target=_churn, args=(tmp_path, n * 7)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    hub_cache.trim(tmp_path, largest=5_000)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 5_000


def test_a_look_up_that_kept_something_tidies_up(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/name", card="license: mit", config={"model_type": "llama"})
    old = kept(tmp_path, "a/old", days_ago=100)
    live.look_up(["org/name"], offline=False, catalog=index.load(), cache=tmp_path)
    assert not there(tmp_path, old)


SHA = "0" * 40
WHOLE: dict[str, Any] = {
    "id": "a/b", "origin": "hub", "revision": SHA, "files": ["README.md", "LICENSE"],
    "texts": {"README.md": "---\nlicense: mit\n---\n", "LICENSE": "terms"},
    "config": {"model_type": "llama"}, "adapter_config": {"base_model_name_or_path": "c/d"},
    "gguf": {"general.license": "mit"}, "parameters_by_dtype": {"BF16": 5}, "notes": ["a note"],
}  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _written(folder: Path, content: object) -> None:
    file = hub_cache._file(folder, "http://hub", "a/b", SHA)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def _envelope(parts: object) -> dict[str, Any]:
    key = {"schema_version": hub_cache.SCHEMA_VERSION, "endpoint": "http://hub", "id": "a/b", "sha": SHA}
    return {**key, "parts": parts}


def test_what_was_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    _written(tmp_path, _envelope(WHOLE))
    parts = hub_files.load(tmp_path, "http://hub", "a/b", SHA)
    assert parts is not None
    hub_files.save(tmp_path, "http://hub", parts)
    assert hub_files.load(tmp_path, "http://hub", "a/b", SHA) == parts


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(sorted(WHOLE)), values, max_size=2),
    dropped=st.sets(st.sampled_from(sorted(WHOLE)), max_size=1),
    whole=st.none() | values,
)
def test_json_of_another_shape_is_as_good_as_none_or_makes_a_model(
    tmp_path: Path, changes: dict[str, Any], dropped: set[str], whole: Any
) -> None:
    parts = whole if whole is not None else {k: v for k, v in {**WHOLE, **changes}.items() if k not in dropped}
    for content in (_envelope(parts), parts):
        _written(tmp_path, content)
        loaded = hub_files.load(tmp_path, "http://hub", "a/b", SHA)
        if loaded is None:
            continue
        assert isinstance(loaded, RepositoryParts)
        assert all(isinstance(text, str) for text in loaded.texts.values())
        assert all(isinstance(count, int) for count in loaded.parameters_by_dtype.values())
        model = merged(loaded, {}, asked="a/b")
        judge_models([model], offline=True)
        json.dumps([model.texts, model.notes, model.config]).encode("utf-8")


def test_a_pipe_in_the_cache_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(hub_cache._file(tmp_path, "http://hub", "a/b", SHA))
    assert hub_files.load(tmp_path, "http://hub", "a/b", SHA) is None
