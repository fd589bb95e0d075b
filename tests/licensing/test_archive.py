"""An archive of evidence: whole or absent, readable by itself, and it notices what was changed."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick import files
from modelpick.catalog.model import Unread
from modelpick.errors import UsageError
from modelpick.licensing import archive, load
from modelpick.licensing.approvals import approval_of
from modelpick.licensing.evidence import digest_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge
from tests.licensing.conftest import TODAY, Judged, model

LLAMA = model(
    "meta-llama/Llama-3.1-8B", "llama3.1", texts={"LICENSE": "the terms"}, gate_text="Accept the terms",
    revision="c" * 40, gated="manual",
)  # fmt: skip
CHILD = model(
    "x/Llama-3.1-8B-y", "apache-2.0", bases=(LLAMA.id,), texts={"README.md": "a card\r\n", "LICENSES/MIT.txt": "MIT"},
    license_link="https://huggingface.co/x/y/blob/main/LICENSES/MIT.txt", config={"model_type": "llama"},
    unread=(Unread("terms.pdf", "it is a PDF"),),
)  # fmt: skip


def made(answers: list[Judgement], policy: Policy, facts: LicenseFacts, day: str = "2026-11-23") -> Mapping[str, bytes]:
    return archive.contents(answers, policy, facts.licenses, modelpick="1.2", made_at=f"{day}T00:00:00Z")


@pytest.fixture
def evidence(judged: Judged, commercial: Policy, facts: LicenseFacts) -> Mapping[str, bytes]:
    return made([judged(CHILD, LLAMA)], commercial, facts)


def test_an_archive_holds_all_that_was_looked_at(evidence: Mapping[str, bytes], tmp_path: Path) -> None:
    archive.write(evidence, tmp_path / "deep" / "evidence")
    folder = tmp_path / "deep" / "evidence"
    index = json.loads((folder / "index.json").read_text())
    held = {(entry["model"], entry["what"], entry.get("name")): entry for entry in index["files"] if "model" in entry}
    for key, content in {
        (CHILD.id, "text", "README.md"): b"a card\r\n",
        (CHILD.id, "text", "LICENSES/MIT.txt"): b"MIT",
        (LLAMA.id, "text", "LICENSE"): b"the terms",
        (LLAMA.id, "gate", None): b"Accept the terms",
    }.items():
        assert (folder / held[key]["path"]).read_bytes() == content
        assert held[key]["sha256"] == hashlib.sha256(content).hexdigest()
    assert (index["modelpick"], index["made_at"]) == ("1.2", "2026-11-23T00:00:00Z")
    child = next(one for one in index["models"] if one["model"] == CHILD.id)
    assert child["revision"] == CHILD.revision
    (link,) = child["links"]
    assert (link["address"], link["file"]) == (CHILD.license_link, child["texts"]["LICENSES/MIT.txt"])
    assert child["unread"][0]["name"] == "terms.pdf"
    assert index["results"][0]["reasons"]
    assert load.load_policy(folder / "policy.toml").sha256 == index["policy"]["sha256"], "the policy can be used again"
    assert {entry["license"] for entry in index["files"] if "license" in entry} >= {"llama3.1", "apache-2.0"}
    assert archive.problems(folder) == ()


def test_the_seal_covers_everything_but_the_time(
    judged: Judged, commercial: Policy, facts: LicenseFacts, evidence: Mapping[str, bytes]
) -> None:
    """Another fact about the company, text, gate or ancestor is another hash; another day is not."""
    answer = judged(CHILD, LLAMA)
    assert archive.seal_of(made([answer], commercial, facts, "2030-01-01")) == archive.seal_of(evidence)
    german = replace(commercial, company=replace(commercial.company, domicile="DE")).sealed()
    for other in (
        made([judged(CHILD, LLAMA, policy=german)], german, facts),
        made([judged(CHILD, replace(LLAMA, texts={"LICENSE": "new"}))], commercial, facts),
        made([judged(CHILD, replace(LLAMA, gate_text="new"))], commercial, facts),
        made([judged(replace(CHILD, texts={"README.md": "another"}), LLAMA)], commercial, facts),
    ):
        assert archive.seal_of(other) != archive.seal_of(evidence)
    index = json.loads(evidence["index.json"])
    unsealed = {key: value for key, value in index.items() if key not in ("evidence_sha256", "made_at")}
    assert digest_of(unsealed) == index["evidence_sha256"]


def test_people_s_decisions_are_kept(judged: Judged, commercial: Policy, facts: LicenseFacts) -> None:
    asked = model("someone/thing", None)
    decision = approval_of(
        judged(asked), commercial, by="Jane", because="asked", until="2027-01-31", today=TODAY.isoformat()
    )
    held = replace(facts, approvals=(decision, replace(decision, model="other/thing")))
    archived = archive.contents(
        [judged(asked, facts=held)], commercial, facts.licenses, modelpick="1", made_at="x", decisions=held.approvals
    )
    (kept,) = json.loads(archived["index.json"])["decisions"]
    assert (kept["model"], kept["by"], kept["evidence"]) == (asked.id, "Jane", dict(decision.evidence))


def test_a_change_to_an_archive_is_noticed(evidence: Mapping[str, bytes], tmp_path: Path) -> None:
    for number, path in enumerate(evidence):
        if path == "README.txt":
            continue
        folder = tmp_path / str(number)
        archive.write(evidence, folder)
        text = (folder / path).read_bytes()
        (folder / path).write_bytes(text.replace(b"allow", b"deny!", 1) if path == "index.json" else text + b" ")
        assert archive.problems(folder), path
        (folder / path).unlink()
        if path != "index.json":
            assert archive.problems(folder) == (f"{path} is missing",)


def _a_file(folder: Path) -> None:
    folder.write_text("mine")


def _a_full_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").write_text("mine")


def _a_link_to_nowhere(folder: Path) -> None:
    folder.symlink_to("absent")


def _below_a_file(folder: Path) -> None:
    folder.parent.write_text("mine")


@pytest.mark.parametrize("occupy", [_a_file, _a_full_folder, _a_link_to_nowhere, _below_a_file])
def test_evidence_is_not_written_over_what_is_there(
    occupy: Callable[[Path], None], evidence: Mapping[str, bytes], tmp_path: Path
) -> None:
    folder = tmp_path / "into" / "evidence"
    if occupy is not _below_a_file:
        folder.parent.mkdir()
    occupy(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError) as refused:
        archive.write(evidence, folder)
    assert refused.value.code == "cannot_write"
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(evidence: Mapping[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    archive.write(evidence, tmp_path / "evidence")
    assert archive.problems(tmp_path / "evidence") == ()


def test_a_full_disk_leaves_nothing(
    evidence: Mapping[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file the room runs out at."""
    real, calls = os.fsync, 0
    for last in range(1, len(evidence)):
        calls = 0

        def full(descriptor: int, last: int = last) -> None:
            nonlocal calls
            calls += 1
            if calls >= last:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UsageError) as refused:
            archive.write(evidence, tmp_path / "evidence")
        assert files.is_disk_full(refused.value)
        assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(names=st.lists(st.text(min_size=1, max_size=30) | st.sampled_from(
    ["../../LICENSE", "/etc/passwd", "CON", "license", "LICENSE", "a" * 300, "..", "COPYING\x1b[2J", "licenses/a/../b"]
), min_size=1, max_size=5, unique=True))  # fmt: skip
def test_whatever_files_are_called_they_stay_in_the_folder(
    names: list[str], facts: LicenseFacts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asked = model("x/../y", "mit", texts={name: f"text of {number}" for number, name in enumerate(names)})
    commercial = load.load_policy("commercial")
    answer = judge(asked, commercial, facts, lambda _: None, TODAY)
    folder = tmp_path_factory.mktemp("archive") / "evidence"
    archive.write(made([answer], commercial, facts), folder)
    assert archive.problems(folder) == ()
    index = json.loads((folder / "index.json").read_text())
    texts = {entry["name"]: (folder / entry["path"]).read_text() for entry in index["files"] if entry["what"] == "text"}
    assert texts == dict(asked.texts)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "modelpick-evidence", "schema_version": 2}'])
def test_what_is_not_an_archive_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(UsageError) as refused:
        archive.problems(tmp_path)
    assert refused.value.code == "bad_evidence"
