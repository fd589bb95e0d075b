"""`modelpick update` and `catalog diff` as commands: screens, JSON, exit codes; and the age that every answer shows."""

import json
from pathlib import Path

import pytest

from modelpick.catalog import snapshot
from modelpick.errors import UsageError
from tests.cli.conftest import Run, modelpick
from tests.hub.conftest import FALCON, catalog_rows
from tests.hub.test_prices import skypilot
from tests.hub.test_release import entries, packed, published
from tests.stand_ins.hub import Hub

__all__ = ["modelpick"]
IN_JANUARY = "1800446400"  # 2027-01-20


@pytest.fixture(autouse=True)
def _january(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", IN_JANUARY)


def test_an_update_on_the_screen_and_back(modelpick: Run, whole_hub: Hub, updated_folder: Path, tmp_path: Path) -> None:
    Path("modelpick.toml").write_text(f'[data]\nprices = "{skypilot(tmp_path, 1.25)}"\n')
    whole_hub.add(FALCON, "license: cc-by-nc-4.0", downloads=10**9)
    answer = modelpick("update")
    assert answer.code == 0
    assert f"models: {len(catalog_rows()):,} asked of http://127.0.0.1" in answer.out.replace("\n", " ")
    assert f"  {FALCON}: apache-2.0 -> cc-by-nc-4.0" in answer.out
    assert "to go back: modelpick update --back" in answer.out
    assert modelpick("license", FALCON, "--offline").code == 1
    shown = modelpick("catalog", "diff", "--json").json
    assert {"kind": "relicensed", "what": FALCON, "was": "apache-2.0", "now": "cc-by-nc-4.0"} in shown["changes"]
    assert shown["new"]["name"] == snapshot.in_force().name

    back = modelpick("update", "--back", "--json").json
    assert back["facts"]["models_as_of"] == "2027-01-10"
    assert modelpick("license", FALCON, "--offline").code == 0
    assert modelpick("update", "--use", "embedded", "--json").json["facts"]["source"] == "embedded"
    assert modelpick("update", "--back").code == 2


def test_check_says_what_is_stale_and_writes_nothing(
    modelpick: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = modelpick("update", "--check", "--json")
    assert answer.code == 1
    kinds = {kind["kind"]: kind for kind in answer.json["kinds"]}
    assert kinds["models"] == {"kind": "models", "as_of": "2026-11-22", "days": 59, "stale": False}
    assert kinds["prices"]["stale"]
    assert "stale: run `modelpick update prices`" in modelpick("update", "--check").out
    assert modelpick("update", "models", "--check").code == 0
    assert not folder.exists()


def test_one_kind_that_fails_is_said_and_is_exit_4(
    modelpick: Run, whole_hub: Hub, updated_folder: Path, tmp_path: Path
) -> None:
    Path("modelpick.toml").write_text(f'[data]\nprices = "{tmp_path / "absent.csv"}"\n')
    answer = modelpick("update", "--json")
    assert answer.code == 4
    assert answer.json["errors"]["prices"]["code"] == "price_source"
    assert answer.json["changed"]
    assert "prices: not renewed" in modelpick("update").out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--back", "--use", "embedded"), "contradiction"), (("--check", "--back"), "contradiction"),
        (("boards",), "unknown_kind"), (("--use", "../x"), "unknown_snapshot"),
        (("--use", "2020-01-01"), "unknown_snapshot"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(modelpick: Run, folder: Path, words: tuple[str, ...], code: str) -> None:
    answer = modelpick("update", *words, "--json")
    assert (answer.code, answer.error["code"]) == (2, code)


def test_a_lock_is_told_what_touches_it(modelpick: Run, whole_hub: Hub, updated_folder: Path, tmp_path: Path) -> None:
    lock = str(tmp_path / "lock.json")
    assert modelpick("lock", FALCON, "Qwen/Qwen3-8B", "--output", lock).code == 0
    whole_hub.repositories["tiiuae/falcon-40b"].record["gated"] = "auto"
    modelpick("update", "models")
    assert modelpick("catalog", "diff", "--lock", lock).code == 0
    whole_hub.add(FALCON, "license: mit", downloads=10**9)
    modelpick("update", "models")
    answer = modelpick("catalog", "diff", "--lock", lock, "--json")
    assert (answer.code, answer.json["touched"]) == (1, [FALCON])


def test_offline_is_understood_by_whatever_reads_facts(modelpick: Run, folder: Path) -> None:
    for words in (
        ("catalog", "info"), ("catalog", "show", FALCON), ("catalog", "diff"), ("offers",), ("update", "--check"),
        ("update", "--use", "embedded"), ("recommend", "--limit", "1"),
    ):  # fmt: skip
        assert modelpick(*words, "--offline", "--json").code == modelpick(*words, "--json").code != 2, words
    assert modelpick("catalog", "audit", "absent.parquet", "--offline", "--json").error["code"] == "bad_hub_file"
    for words in (("update",), ("update", "prices"), ("offers", "--live")):
        assert modelpick(*words, "--offline", "--json").error["code"] == "contradiction", words


ANSWERS = (
    (("recommend", "--limit", "1"), ("prices", "models", "scores")),
    (("license", FALCON, "--offline"), ("models",)),
    (("estimate", FALCON, "--offline"), ("models", "prices")),
    (("offers",), ("prices",)),
    (("cost", FALCON, "--offline"), ("prices", "models")),
    (("plan", FALCON, "--serve", "--offline"), ("prices", "models")),
    (("catalog", "show", FALCON), ("models", "scores")),
    (("catalog", "info"), ("models", "scores")),
)


@pytest.mark.parametrize(("words", "kinds"), ANSWERS, ids=[" ".join(words[:2]) for words, _ in ANSWERS])
def test_every_answer_shows_the_age_of_what_it_stands_on(
    modelpick: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    answer = modelpick(*words)
    line = " ".join(answer.out[answer.out.index("\nfacts: ") :].partition("\nwarning: ")[0].split())
    assert [part.split()[0] for part in line.removeprefix("facts: ").split(", ")] == list(kinds)
    assert ("warning: prices of 2026-07-20" in answer.out) == ("prices" in kinds)
    said = modelpick(*words, "--json").json["facts"]
    assert said["hash"] == snapshot.embedded_facts().hash
    assert {"source", "models_as_of", "prices_as_of", "scores_as_of"} <= set(said)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1830000000")  # 2027-12-29
    assert "warning: " in modelpick(*words).out
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")  # 2017-07-14
    assert "the clock says 2017-07-14" in modelpick(*words).out


def test_the_page_shows_it_too(modelpick: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    modelpick("recommend", "--limit", "1", "--html", str(page))
    text = page.read_text()
    assert "models 2026-11-22 (59 days)" in text
    assert "prices of 2026-07-20" in text


def test_a_plan_names_its_facts_and_the_same_facts_make_the_same_plan(
    modelpick: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("plan", FALCON, "--serve", "--offline", "--output")
    files = [tmp_path / f"{number}.json" for number in range(3)]
    modelpick(*words, str(files[0]))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1830000000")
    modelpick(*words, str(files[1]))
    assert files[0].read_bytes() == files[1].read_bytes(), "the day is not among the inputs"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", IN_JANUARY)
    release = published(tmp_path, packed(entries())).release
    Path("modelpick.toml").write_text(f'[data]\nrelease = "{release}"\n')
    assert modelpick("update").code == 0
    modelpick(*words, str(files[2]))
    plans = [json.loads(file.read_text()) for file in files]
    assert plans[0]["facts"]["hash"] == snapshot.embedded_facts().hash
    assert plans[2]["facts"] == {
        "source": "snapshot", "hash": snapshot.in_force().hash, "models_as_of": "2027-01-10",
        "prices_as_of": "2026-07-20", "scores_as_of": "2026-08-22",
    }  # fmt: skip
    assert plans[2]["id"] != plans[0]["id"]


def test_a_snapshot_that_is_passed_over_is_said(modelpick: Run, updated_folder: Path) -> None:
    (manifest,) = updated_folder.glob("*/manifest.json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"modelpick": "0.0.1"}))
    snapshot.forget()
    answer = modelpick("license", FALCON, "--offline")
    assert "is not used: modelpick 0.0.1 made it" in " ".join(answer.out.split())
    assert modelpick("update", "--check", "--json").json["facts"]["source"] == "embedded"


def test_a_damaged_snapshot_is_mended_by_an_update(modelpick: Run, whole_hub: Hub, updated_folder: Path) -> None:
    (models,) = updated_folder.glob("*/catalog/models.jsonl")
    models.write_bytes(models.read_bytes().replace(b"apache-2.0", b"mit-licens", 1))
    snapshot.forget()
    with pytest.raises(UsageError, match="damaged"):
        snapshot.in_force().text("catalog/models.jsonl")
    assert modelpick("update", "models", "--json").json["before"]["source"] == "embedded"
    assert snapshot.in_force().text("catalog/models.jsonl")
