"""`update` against a stand-in Hub: what it asks, what it writes, and what it does when the Hub does not play along."""

import datetime
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modelpick.catalog import index, snapshot
from modelpick.errors import RemoteError, UsageError
from modelpick.hub import models, update
from modelpick.hub.update import Update
from modelpick.licensing.judge_models import facts_in_force, policy_in_force
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import judge
from modelpick.settings import DataSettings
from tests.hub.conftest import FALCON, catalog_rows
from tests.stand_ins.hub import Hub

TODAY = datetime.date(2027, 1, 20)


def run(day: datetime.date = TODAY, kinds: tuple[Any, ...] = ("models",), **options: Any) -> Update:
    sources = options.pop("sources", DataSettings())
    return update.update(kinds, sources, day, lambda what, count, total: None, **options)


@cache
def _policy() -> Policy:
    return policy_in_force("commercial")


def verdict_of(id: str) -> str:
    model = index.load().find(id)
    assert model is not None
    return str(judge(model, _policy(), facts_in_force(), index.load().find, TODAY).verdict)


def changes(done: Update, kind: str) -> dict[str, tuple[Any, Any]]:
    return {change.what: (change.was, change.now) for change in done.changes if change.kind == kind}


def test_all_models_cost_two_lists_and_a_config_each_then_nothing(whole_hub: Hub, folder: Path) -> None:
    count = len(catalog_rows())
    done = run()
    assert done.kinds["models"]["listed"] == count
    assert whole_hub.requests.paths.count("/api/models") == whole_hub.requests.api == -(-count // 1000)
    assert whole_hub.requests.files == count
    assert done.facts.source == "snapshot"
    assert done.facts.as_of["models"] == index.load().as_of == TODAY.isoformat()
    assert not changes(done, "relicensed")
    assert len(index.load().models) == count

    whole_hub.requests.reset()
    again = run()
    assert not again.changed
    assert whole_hub.requests.files == 0
    assert whole_hub.requests.api == -(-count // 1000)
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [done.facts.name]
    assert not list(folder.glob("*.jsonl")), "the journal goes when the snapshot counts"


def test_only_what_changed_is_read(whole_hub: Hub, updated_folder: Path) -> None:
    row = next(row for row in catalog_rows() if row["id"] == FALCON)
    config = {**row["config"], "max_position_embeddings": 4096}
    whole_hub.add(FALCON, json.dumps({"license": "apache-2.0"}), config=config, downloads=10**9)
    whole_hub.repositories["tiiuae/falcon-40b"].record["gated"] = "manual"
    whole_hub.requests.reset()
    done = run(TODAY + datetime.timedelta(days=7))
    assert [path for path in whole_hub.requests.paths if "config.json" in path] == [
        f"/{FALCON}/resolve/{whole_hub.repositories[FALCON].sha}/config.json"
    ]
    model = index.load().find(FALCON)
    assert model is not None
    assert model.config is not None
    assert (model.config["max_position_embeddings"], model.downloads) == (4096, 10**9)
    assert model.sources["config.max_position_embeddings"] == "Hub, 2027-01-27"
    assert index.load().source(model.sources["downloads"]).read_on == "2027-01-27"
    assert changes(done, "gated") == {"tiiuae/falcon-40b": ("no", "manual")}


def test_the_stricter_of_a_new_tag_and_what_was_known_counts(whole_hub: Hub, updated_folder: Path) -> None:
    """A tag alone does not open what was known to be closed, and what was known does not outlive a stricter tag."""
    ids = [row["id"] for row in catalog_rows() if row.get("license") == "apache-2.0" and not row.get("base_models")][
        :20
    ]
    tags = {"cc-by-nc-4.0": "deny", "other": "review", None: "review", "mit": "allow"}
    asked = dict(zip([id for id in ids if verdict_of(id) == "allow"], tags, strict=False))
    closed = next(row["id"] for row in catalog_rows() if row.get("license") == "cc-by-nc-4.0")
    assert verdict_of(closed) == "deny"
    for id, tag in [*asked.items(), (closed, "mit")]:
        whole_hub.add(id, json.dumps({} if tag is None else {"license": tag}), downloads=10**9)
    done = run()
    assert changes(done, "relicensed") == {id: ("apache-2.0", tag or "none") for id, tag in asked.items()} | {
        closed: ("cc-by-nc-4.0", "mit")
    }
    assert len(asked) == len(tags)
    assert {id: verdict_of(id) for id in asked} == {id: tags[tag] for id, tag in asked.items()}
    assert verdict_of(closed) == "deny"
    model = index.load().find(closed)
    assert model is not None
    assert model.sources["license"] == "Hub, 2027-01-20"

    whole_hub.add(closed, "license: cc-by-nc-4.0", downloads=10**9)
    back = run(TODAY + datetime.timedelta(days=1))
    assert list(changes(back, "relicensed")) == [closed]
    model = index.load().find(closed)
    assert model is not None
    assert [conflict for conflict in model.conflicts if conflict.kept_source.startswith("Hub, ")] == []
    assert verdict_of(next(iter(asked))) == "deny", "a second update keeps what the first one found"


def test_gone_renamed_and_back(whole_hub: Hub, updated_folder: Path) -> None:
    lost = whole_hub.repositories.pop(FALCON)
    old, new = "tiiuae/falcon-40b", "tiiuae/falcon-forty"
    moved = whole_hub.repositories.pop(old)
    whole_hub.add(new, "license: apache-2.0", downloads=moved.record["downloads"])
    whole_hub.rename(old, new)
    done = run()
    assert changes(done, "deleted") == {FALCON: (FALCON, None)}
    assert changes(done, "renamed") == {old: (old, new)}
    assert index.load().find(FALCON) is None
    found = index.load().find(old)
    assert found is not None
    assert found.id == new
    whole_hub.repositories[FALCON] = lost
    back = run(TODAY + datetime.timedelta(days=1))
    assert changes(back, "new") == {FALCON: (None, FALCON)}
    assert index.load().find(FALCON) is not None


def test_a_hub_that_has_nothing_is_not_believed(whole_hub: Hub, folder: Path) -> None:
    whole_hub.repositories = dict(list(whole_hub.repositories.items())[:1000])
    with pytest.raises(RemoteError) as caught:
        run()
    assert caught.value.code == "bad_facts"
    assert snapshot.in_force().source == "embedded"


def test_an_interrupted_update_goes_on_where_it_was(whole_hub: Hub, folder: Path) -> None:
    """The Hub dies after some configs; the next run reads only the others."""
    whole_hub.fail("closed", r"/s.*/resolve/")
    with pytest.raises(RemoteError) as caught:
        run(client=models.client(patience=1.0))
    assert caught.value.code == "hub_down"
    assert "again" in caught.value.fix
    assert snapshot.in_force().source == "embedded"
    whole_hub.heal()
    whole_hub.requests.reset()
    done = run()
    kept = done.kinds["models"]["from_journal"]
    assert kept > 0
    assert done.kinds["models"]["configs"] == whole_hub.requests.files == len(catalog_rows()) - kept


def test_a_torn_journal_is_read_as_far_as_it_is_whole(whole_hub: Hub, folder: Path) -> None:
    sha = whole_hub.repositories[FALCON].sha
    folder.mkdir(parents=True)
    head = {"day": TODAY.isoformat(), "endpoint": whole_hub.url}
    lines = [head, {"id": FALCON, "sha": sha, "config": None}, {"id": "tiiuae/falcon-40b", "sha": 5}, [1], {"id": 1}]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"id": "tiiuae/falcon-rw-1b", "sh'
    (folder / "journal.jsonl").write_text(text)
    assert run().kinds["models"]["from_journal"] == 1


@pytest.mark.parametrize("wait", [None, 1, 100_000])
def test_a_hub_that_limits_throughout_ends_in_one_sentence(whole_hub: Hub, folder: Path, wait: float | None) -> None:
    whole_hub.fail("429", wait=wait)
    with pytest.raises(RemoteError) as caught:
        run(client=models.client(pause=2.0, patience=0.5))
    assert caught.value.code == "hub_down"
    assert "429" in caught.value.message
    assert snapshot.in_force().source == "embedded"


def test_a_hub_that_limits_now_and_then_is_waited_for(whole_hub: Hub, updated_folder: Path) -> None:
    whole_hub.fail("429", "/api/models", times=1, wait=0)
    assert run().changed


@pytest.mark.parametrize("trouble", ["html", "truncated", "500"])
def test_a_broken_hub_changes_nothing(whole_hub: Hub, folder: Path, trouble: Any) -> None:
    whole_hub.fail(trouble)
    with pytest.raises(RemoteError):
        run(client=models.client(patience=0.5))
    assert snapshot.in_force().source == "embedded"
    assert [path for path in folder.iterdir() if path.is_dir()] == []


def test_a_clock_in_the_past_is_refused(whole_hub: Hub, updated_folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(datetime.date(2019, 1, 1))
    assert caught.value.code == "bad_clock"
    run()
    with pytest.raises(UsageError):
        run(TODAY - datetime.timedelta(days=5))
    assert snapshot.in_force().as_of["models"] == TODAY.isoformat()


def test_one_kind_that_fails_keeps_the_others(whole_hub: Hub, updated_folder: Path, tmp_path: Path) -> None:
    done = run(kinds=("models", "prices"), sources=DataSettings(prices=str(tmp_path / "absent.csv")))
    assert done.changed
    assert list(done.errors) == ["prices"]
    assert done.facts.as_of["prices"] == done.before.as_of["prices"]


@pytest.mark.parametrize("id", ["config", "record"])
def test_foreign_content_ends_in_no_crash(whole_hub: Hub, folder: Path, id: str) -> None:
    """Configs and cards that are not what they should be: each leaves the row as it was, or a license to review."""
    odd: list[Any] = [[], 1, "x", {"model_type": ["x"]}, {"a": "b" * 10_000}, {"hidden_size": 1e999}, {"\ud800": 1}]
    ids = [row["id"] for row in catalog_rows()][: len(odd)]
    for name, value in zip(ids, odd, strict=True):
        if id == "config":
            whole_hub.add(name, "license: mit", files={"config.json": json.dumps(value)})
        else:
            whole_hub.add(name, "license: mit", cardData=value, tags=value, baseModels=value, gated=value, downloads=0)
    assert run().changed
    for row in index.load().models.values():
        assert row.config is None or isinstance(row.config, dict)
