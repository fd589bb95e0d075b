"""A data set of the Hub by its id: fetched through huggingface_hub, its license judged by its card."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelpick.datasets import hub_data
from modelpick.datasets.check import check_data
from modelpick.errors import RemoteError, UsageError
from tests.stand_ins.hub import Hub

LINES = "".join(json.dumps({"question": f"q {n}?", "answer": f"a {n}."}) + "\n" for n in range(12))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        yield hub


@pytest.mark.parametrize(("license", "verdict"), [("mit", "allow"), ("cc-by-nc-4.0", "review")])
def test_its_license_is_judged_by_the_same_rules(hub: Hub, license: str, verdict: str) -> None:
    files = {"data/train.jsonl": LINES, "data/test.jsonl": LINES, "dataset_infos.json": "{}"}
    hub.add("datasets/acme/faq", f"license: {license}", files=files)
    file = hub_data.local("acme/faq")
    assert file.name == "train.jsonl"
    assert hub_data.local("acme/faq:test").name == "test.jsonl"
    report = check_data(file, policy="commercial")
    assert report.sources == ("acme/faq",)
    assert report.sources_verdict == verdict
    assert ("restricted_source" in {problem.code for problem in report.problems}) is (verdict == "review")


def test_a_gated_one_says_what_to_do(hub: Hub) -> None:
    hub.add("datasets/acme/secret", "license: mit", files={"train.jsonl": LINES}, gated="manual")
    with pytest.raises(RemoteError) as caught:
        hub_data.local("acme/secret")
    assert caught.value.code == "gated"
    with pytest.raises(RemoteError):
        hub_data.local("acme/absent")


def test_a_split_that_is_not_one_file_is_refused(hub: Hub) -> None:
    parts = {f"data/train-0000{part}-of-00002.jsonl": LINES for part in range(2)}
    hub.add("datasets/acme/large", "license: mit", files=parts)
    with pytest.raises(UsageError) as caught:
        hub_data.local("acme/large")
    assert caught.value.code == "no_such_split"


@pytest.mark.parametrize("name", ["data.jsonl", "some/data.jsonl", "./a/b", "/a/b"])
def test_a_path_stays_a_path(name: str) -> None:
    assert hub_data.local(name) == Path(name)
