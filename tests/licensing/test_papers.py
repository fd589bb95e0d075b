"""What is written for others to read: notices, locks, bills of materials."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from modelpick.catalog.model import Model
from modelpick.errors import UsageError
from modelpick.licensing import bom, load, lock, notice
from modelpick.licensing.conditions import assess_license
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import Fingerprints, KnownRuns, fingerprint, words_of
from modelpick.licensing.policy import Policy, Product
from modelpick.licensing.verdict import Judgement, Verdict
from tests.licensing.conftest import Judged, model

LLAMA = model("meta-llama/Llama-3.1-8B", "llama3.1")
CHILD = model("x/Llama-3.1-8B-y", "apache-2.0", bases=(LLAMA.id,), texts={"LICENSE": "Apache License\nVersion 2.0"})
FREE = model("google/flan-t5-base", "apache-2.0")


@pytest.fixture
def answers(judged: Judged) -> list[Judgement]:
    return [judged(CHILD, LLAMA), judged(FREE)]


def test_a_notice_says_what_each_license_asks(answers: list[Judgement], facts: LicenseFacts, tmp_path: Path) -> None:
    paths = notice.write(answers, facts.licenses, tmp_path / "out")
    texts = {path.name: path.read_text() for path in paths}
    assert set(texts) == {
        "NOTICE", "Notice.txt", "ATTRIBUTION.txt", "OBLIGATIONS.md", "apache-2.0.txt", "llama3.1.txt",
    }  # fmt: skip
    assert f"x/Llama-3.1-8B-y@{'a' * 40}" in texts["NOTICE"]
    assert "Llama 3.1 Community License" in texts["NOTICE"]
    assert "SPDX-License-Identifier: Apache-2.0" in texts["NOTICE"]
    assert '"Built with Llama"' in texts["ATTRIBUTION.txt"]
    assert "https://llama" in texts["ATTRIBUTION.txt"]
    assert 'begin with "Llama"' in texts["OBLIGATIONS.md"]
    assert "flan-t5-base" not in texts["ATTRIBUTION.txt"]


def test_what_a_license_prescribes_is_written_word_for_word(
    judged: Judged, commercial: Policy, facts: LicenseFacts, repository: Path, tmp_path: Path
) -> None:
    """Every license that a company may come to use: sentence, copy, display line, and the clause of each duty."""
    base = judged(FREE)
    sentences = 0
    for one in facts.licenses.licenses:
        found = assess_license(one, "card", "said", commercial, facts.territories, "text")
        if found.verdict > Verdict.CONDITIONS:
            continue
        answer = replace(base, licenses=found.findings, obligations=found.obligations, verdict=found.verdict)
        folder = tmp_path / one.id
        written = {path.name for path in notice.write([answer], facts.licenses, folder)}
        if one.owes.notice_text:
            assert (folder / f"{one.owes.notice_file}.txt").read_text("utf-8") == one.owes.notice_text + "\n"
            sentences += 1
        kept = repository / "facts" / "license_texts" / f"{one.id}.txt"
        duties = (folder / "OBLIGATIONS.md").read_text("utf-8")
        if one.owes.copy_of_license and kept.is_file():
            assert (folder / "LICENSES" / kept.name).read_bytes() == kept.read_bytes()
        else:
            assert kept.name not in written
        to_fetch = f"LICENSES/{kept.name}: {one.title}, the license file of the model's repository"
        assert (to_fetch in duties) == (one.owes.copy_of_license and not kept.is_file())
        if one.owes.attribution:
            assert f"  {one.owes.attribution}" in (folder / "ATTRIBUTION.txt").read_text("utf-8").splitlines()
        for owed in found.obligations:
            assert owed.clause is None or owed.clause.words in duties, (one.id, owed.code)
    assert sentences >= 9


def test_a_copy_that_is_not_kept_is_the_models_own_file_where_that_is_the_very_text(facts: LicenseFacts) -> None:
    text = "".join(f"Clause {number} of terms that only this test knows, said once.\n" for number in range(40))
    kept = KnownRuns(words_of(text).hashes)
    own = Fingerprints(lambda: [fingerprint("llama3", "s", kept)], lambda _: [kept])
    known = replace(facts, fingerprints=own)
    for file, found in ((text, text), (text.replace("Clause 7", "Clause 8"), None), (f"{text}Not for sale.", None)):
        asked = model("x/y", "llama3", texts={"README.md": "# A model", "LICENSE": file})
        assert notice.texts_at_hand([asked], known)("llama3") == found
    assert notice.texts_at_hand([], known)("llama3.1") == load.license_text("llama3.1")


def test_no_notice_for_what_may_not_be_used(judged: Judged, facts: LicenseFacts, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        notice.write([judged(model("a/b", None))], facts.licenses, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_lock_is_read_back_and_holds(judged: Judged, commercial: Policy, tmp_path: Path) -> None:
    made = lock.lock_of([(CHILD, judged(CHILD, LLAMA)), (FREE, judged(FREE))], commercial)
    lock.write(made, tmp_path / lock.FILE)
    again = lock.load(tmp_path / lock.FILE)
    assert again == made
    assert lock.drift(again, made) == ()


def test_drift_says_what_changed(judged: Judged, commercial: Policy) -> None:
    def made(*changed: object, policy: Policy = commercial) -> lock.Lock:
        asked = replace(CHILD, **dict(changed))  # type: ignore[call-overload]
        return lock.lock_of([(asked, judged(asked, LLAMA))], policy)

    before = made()
    rewritten = lock.drift(before, made(("texts", {"LICENSE": "other words"})))
    assert {change.what for change in rewritten} >= {"LICENSE", "verdict"}
    assert {change.what for change in lock.drift(before, made(("revision", "d" * 40)))} == {"revision"}
    assert {change.what for change in lock.drift(before, made(("texts", {})))} == {"LICENSE"}
    assert {change.what for change in lock.drift(before, made(("license", "cc-by-nc-4.0")))} >= {"verdict", "licenses"}
    assert {change.what for change in lock.drift(before, made(policy=replace(commercial, sha256="0" * 64)))} == {
        "sha256"
    }
    assert [change.what for change in lock.drift(before, replace(before, models=()))] == ["model"]
    assert all(change.model in change.text for change in rewritten)


def test_every_kind_of_drift_is_told_in_a_sentence(judged: Judged, commercial: Policy) -> None:
    """One thing changed at a time; the sentence names the model or the policy, and what changed."""

    def made(child: Model = CHILD, parent: Model = LLAMA, policy: Policy = commercial) -> lock.Lock:
        return lock.lock_of([(child, judged(child, parent, policy=policy))], policy, modelpick="1")

    company = replace(commercial.company, domicile="CA", products={"chat": Product(deployment="api")})
    loose = replace(commercial.rules, revocable=Verdict.ALLOW)
    changes = {
        f"ancestor {LLAMA.id}": (made(parent=replace(LLAMA, texts={"LICENSE": "new terms"})), "Llama-3.1-8B"),
        "gate": (made(replace(CHILD, gate_text="Accept")), "what its gate asks to accept is new"),
        "NOTICE": (made(replace(CHILD, texts={**CHILD.texts, "NOTICE": "x"})), "NOTICE is new"),
        "card": (made(replace(CHILD, license_link="https://x")), "what its card says"),
        "company.domicile": (made(policy=replace(commercial, company=company).sealed()), "was US, and is CA now"),
        "company.products.chat.deployment": (made(policy=replace(commercial, company=company).sealed()), "is api now"),
        "rules.revocable": (made(policy=replace(commercial, rules=loose).sealed()), "was conditions, and is allow now"),
        "obligation": (made(replace(CHILD, gated="manual")), "owed since then: accept its terms on the Hub"),
    }  # fmt: skip
    for what, (after, says) in changes.items():
        told = {one.what: one for one in lock.drift(made(), after)}
        assert what in told, (what, told)
        assert says in told[what].text
        assert told[what].model in told[what].text
    products = replace(commercial, company=company).sealed()
    chosen = lock.drift(made(policy=products), made(policy=products.for_product("chat")))
    assert [one.text for one in chosen if one.what == "product"] == [
        "policy commercial: it was judged for every product, and is for chat now"
    ]


def test_a_pinned_commit_is_verified_at_that_commit(judged: Judged) -> None:
    answer = judged(CHILD, LLAMA)
    for asked, name in (("x/Llama-3.1-8B-y", CHILD.id), (f"{CHILD.id}@{'a' * 12}", f"{CHILD.id}@{'a' * 40}"),
                        (f"{CHILD.id}@main", CHILD.id)):  # fmt: skip
        assert lock.locked(CHILD, answer, asked).name == name


def test_an_older_lock_is_compared_in_what_it_holds(judged: Judged, commercial: Policy, tmp_path: Path) -> None:
    """As modelpick 0.1 wrote it: the hash of the policy's file, license files only, no obligations."""
    gated = replace(CHILD, gated="manual", texts={**CHILD.texts, "NOTICE": "x"})
    now = lock.lock_of([(gated, judged(gated, LLAMA))], commercial, modelpick="1")
    entry = now.models[0]
    old = {
        "schema_version": 1, "policy": "commercial", "policy_sha256": commercial.file_sha256,
        "models": [{"model": entry.model, "verdict": entry.verdict.value, "licenses": list(entry.licenses),
                    "texts": {"LICENSE": entry.texts["LICENSE"]}, "lineage": list(entry.lineage),
                    "reasons": list(entry.reasons), "revision": entry.revision}],
    }  # fmt: skip
    (tmp_path / lock.FILE).write_text(json.dumps(old))
    before = lock.load(tmp_path / lock.FILE)
    assert lock.drift(before, now) == ()
    changed = replace(now, file_sha256="0" * 64)
    assert [one.what for one in lock.drift(before, changed)] == ["sha256"]


def test_line_ends_are_no_drift(judged: Judged, commercial: Policy) -> None:
    windows = replace(CHILD, texts={"LICENSE": CHILD.texts["LICENSE"].replace("\n", "\r\n")})
    one, other = (lock.lock_of([(asked, judged(asked, LLAMA))], commercial) for asked in (CHILD, windows))
    assert lock.drift(one, other) == ()


def test_a_full_disk_keeps_the_old_lock(
    judged: Judged, commercial: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / lock.FILE
    lock.write(lock.lock_of([(FREE, judged(FREE))], commercial), path)
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError) as refused:
        lock.write(lock.lock_of([(CHILD, judged(CHILD, LLAMA))], commercial), path)
    assert refused.value.code == "bad_lock_file"
    assert path.read_bytes() == old
    assert [item.name for item in tmp_path.iterdir()] == [lock.FILE]


@pytest.mark.parametrize("version", [0, None, "1", 1.5, True, -1])
def test_a_lock_of_another_version_is_refused_with_the_command_that_writes_it_anew(
    tmp_path: Path, version: object
) -> None:
    path = tmp_path / lock.FILE
    path.write_text(json.dumps({"schema_version": version, "models": [{"model": "a/b"}, {"model": "c/d e"}, 3]}))
    with pytest.raises(UsageError) as refused:
        lock.load(path)
    assert refused.value.code == "bad_lock_file"
    assert refused.value.fix == f"write it again with: modelpick lock a/b 'c/d e' --output {path}"


def test_a_newer_lock_asks_for_a_newer_modelpick(tmp_path: Path) -> None:
    (tmp_path / lock.FILE).write_text('{"schema_version": 2, "models": 3}')
    with pytest.raises(UsageError) as refused:
        lock.load(tmp_path / lock.FILE)
    assert refused.value.fix == "update modelpick"


def test_a_lock_of_nothing_is_refused(tmp_path: Path) -> None:
    """It would verify whatever happens."""
    (tmp_path / lock.FILE).write_text('{"schema_version": 1, "policy": "x", "policy_sha256": "y", "models": []}')
    with pytest.raises(UsageError, match="names no model"):
        lock.load(tmp_path / lock.FILE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a named pipe is a Unix thing")
def test_a_lock_that_is_a_pipe_or_a_folder_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError) as refused:
            lock.load(path)
        assert refused.value.code == "bad_lock_file"


def test_what_a_card_smuggles_into_its_name_is_not_written_raw(judged: Judged, facts: LicenseFacts) -> None:
    hostile = model("a/b", "mit", bases=("x/\x1b[31m\u202ey",))
    for text in notice.texts([judged(hostile)], facts.licenses).values():
        assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 2}', '{"schema_version": 1, "policy": 3}', "\x00", "[" * 100_000]
)
def test_a_lock_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / lock.FILE).write_text(text)
    with pytest.raises(UsageError) as refused:
        lock.load(tmp_path / lock.FILE)
    assert refused.value.code == "bad_lock_file"


def test_a_bill_of_materials(answers: list[Judgement], facts: LicenseFacts) -> None:
    pytest.importorskip("cyclonedx", reason="the extra bom is not installed")
    text = bom.render(answers, facts.licenses, policy="commercial")
    assert text == bom.render(answers, facts.licenses, policy="commercial")
    made = json.loads(text)
    by_ref = {one["bom-ref"]: one for one in made["components"]}
    child = next(one for one in by_ref.values() if one["name"] == "Llama-3.1-8B-y")
    assert child["type"] == "machine-learning-model"
    assert child["purl"].startswith("pkg:huggingface/x/Llama-3.1-8B-y@")
    assert {"name": "modelpick:verdict", "value": "conditions"} in child["properties"]
    depends = next(one for one in made["dependencies"] if one["ref"] == child["bom-ref"])
    assert [by_ref[ref]["name"] for ref in depends["dependsOn"]] == ["Llama-3.1-8B"]
