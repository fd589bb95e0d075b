"""The real client, a stand-in Hub on loopback, the whole program: what a counsel would type."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.stand_ins.hub import Hub

TODAY = "2026-11-23"
LATER = "2027-06-30"


def test_a_permissive_tag_on_a_llama_derivative_is_not_believed(hub: Hub, modelpick: Run) -> None:
    hub.add("someone/llama-2-7b-mirror", card="license: apache-2.0", base_model="meta-llama/Llama-2-7b-hf")
    hub.add("meta-llama/Llama-2-7b-hf", card="license: llama2", gated="manual")
    answer = modelpick("license", "someone/llama-2-7b-mirror", "--json")
    assert answer.code == 0
    verdict = answer.json["results"][0]
    assert verdict["verdict"] == "conditions"
    assert [step["model"] for step in verdict["lineage"]] == ["meta-llama/Llama-2-7b-hf"]
    assert any(reason["code"] == "weaker_than_ancestor" for reason in verdict["reasons"])
    assert hub.requests.api <= 2 * 2


def test_a_verdict_is_for_a_commit_and_says_which(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/model", card="license: mit")
    verdict = modelpick("license", "acme/model", "--json").json["results"][0]
    assert len(verdict["revision"]) == 40


def test_a_dead_hub_answers_from_the_catalog_and_says_so(modelpick: Run) -> None:
    answer = modelpick("license", "tiiuae/falcon-7b")
    assert answer.code == 0
    assert "the Hub did not answer" in answer.out
    assert modelpick("license", "nobody/nothing").code == 4


def test_a_lock_holds_and_verify_names_what_drifted(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/model", card="license: mit", files={"LICENSE": "as it was"})
    assert modelpick("lock", "acme/model").code == 0
    assert modelpick("verify").code == 0
    hub.add("acme/model", card="license: cc-by-nc-4.0", files={"LICENSE": "rewritten"})
    answer = modelpick("verify", "--json")
    assert answer.code == 1
    assert {"verdict", "LICENSE", "revision"} <= {one["what"] for one in answer.json["drift"]}


def test_a_lock_of_a_commit_holds_through_a_push_to_main(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/model", card="license: mit")
    sha = modelpick("license", "acme/model", "--json").json["results"][0]["revision"]
    hub.add("acme/model", card="license: mit\n# corrected")
    hub.add("acme/model", card="license: mit", revision=sha)
    assert modelpick("lock", f"acme/model@{sha}").code == 0
    verified = modelpick("verify")
    assert verified.code == 0, verified.out
    hub.add("acme/model", card="license: cc-by-nc-4.0")
    hub.add("acme/model", card="license: mit", revision=sha)
    assert modelpick("verify").code == 0


def test_another_fact_about_the_company_is_a_drift_told_in_a_sentence(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/model", card="license: mit")
    assert modelpick("lock", "acme/model").code == 0
    Path("modelpick.toml").write_text('[company]\ndomicile = "DE"\n')
    answer = modelpick("verify")
    assert answer.code == 1
    assert "company.domicile was US, and is DE now" in answer.out


def test_a_lock_is_whole_or_it_is_not_written(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/model", card="license: mit")
    assert modelpick("lock", "acme/model", "acme/absent").code == 4
    assert not Path("modelpick.lock.json").exists()
    assert "too long" in modelpick("lock", "acme/model", "--output", "x" * 300).err


def test_a_lock_does_not_freeze_a_tag(modelpick: Run) -> None:
    answer = modelpick("lock", "tiiuae/falcon-7b", "--offline", "--json")
    assert (answer.code, answer.error["code"]) == (3, "terms_not_read")
    assert not Path("modelpick.lock.json").exists()


def test_each_answer_says_what_its_verdict_stands_on(hub: Hub, modelpick: Run, repository: Path) -> None:
    hub.add("acme/base", card="license: apache-2.0")
    text = (repository / "LICENSE").read_text()
    hub.add("acme/child", card="license: apache-2.0", base_model="acme/base", files={"LICENSE": text})
    judged = modelpick("license", "acme/child", "--json").json["results"][0]
    assert (judged["basis"], judged["lineage"][0]["basis"]) == ("card", "card")
    assert modelpick("license", "tiiuae/falcon-7b", "--offline", "--json").json["results"][0]["basis"] == "tag"
    row = modelpick("recommend", "--json").json["recommendations"][0]
    assert row["license"]["basis"] == "tag"
    assert "terms not read" in modelpick("recommend").out


def test_verify_without_the_hub_does_not_call_it_drift(
    hub: Hub, modelpick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("tiiuae/falcon-7b", card="license: apache-2.0")
    assert modelpick("lock", "tiiuae/falcon-7b").code == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert modelpick("verify").code == 4


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": 99}', '{"schema_version": 1, "models": 3}'])
def test_a_bad_lock_is_refused(modelpick: Run, text: str) -> None:
    Path("modelpick.lock.json").write_text(text)
    assert modelpick("verify").code == 2


def test_a_lock_with_control_characters_does_not_reach_the_terminal_raw(modelpick: Run) -> None:
    entry = {"model": "a/\x1b[31mb\u202e", "verdict": "allow", "licenses": ["\x1b]0;x\x07"], "texts": {}, "lineage": []}
    lock = {"schema_version": 1, "policy": "\x1b[2J", "policy_sha256": "x", "models": [entry]}
    for changed in (lock, {**lock, "schema_version": 0}, {**lock, "\x1b[31m": 1}):
        Path("modelpick.lock.json").write_text(json.dumps(changed))
        for words in (("verify",), ("verify", "--offline"), ("verify", "--json")):
            answer = modelpick(*words)
            assert answer.code in (1, 2, 4), answer
            assert not {"\x1b", "\x07", "\u202e"} & set(answer.out + answer.err), answer


def test_the_first_lines_say_the_answer_and_where_it_was_read(
    modelpick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    folder = tmp_path / "of [mine]"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    first, second, *_ = modelpick("license", str(folder), "--offline").out.splitlines()
    assert first.endswith("of [mine]: allowed: keep its notices")
    assert second == f"read from {folder}; no commit to pin; by its card"
    shown = modelpick("license", "google/gemma-3-4b-it", "--offline").out
    assert shown.startswith("google/gemma-3-4b-it: allowed with conditions: see what you owe below\n")
    assert "Google may restrict or end your use" in shown


def test_a_contradiction_names_both_places_and_what_each_says(modelpick: Run) -> None:
    shown = " ".join(modelpick("license", "tiiuae/falcon-180B", "--offline").out.split())
    assert "its license is unknown according to llmfit, and apache-2.0 according to openllms" in shown


def test_an_approval_turns_review_into_conditions_for_that_commit_only(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/strange", card="license: other\nlicense_name: acme-own")
    assert modelpick("license", "acme/strange").code == 3
    sha = modelpick("license", "acme/strange", "--json").json["results"][0]["revision"]
    words = ("--by", "Ada", "--because", "read with counsel", "--until", LATER)
    assert modelpick("policy", "approve", f"acme/strange@{sha}", *words).code == 0
    after = modelpick("license", "acme/strange", "--json")
    assert after.code == 0
    assert after.json["results"][0]["verdict"] == "conditions"
    assert after.json["results"][0]["reasons"][0]["code"] == "by_approval"
    hub.add("acme/strange", card="license: other\nlicense_name: acme-own\n# changed")
    assert modelpick("license", "acme/strange").code == 3


def test_a_deny_cannot_be_approved(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/nc", card="license: cc-by-nc-4.0")
    answer = modelpick("policy", "approve", "acme/nc", "--by", "A", "--because", "B", "--until", LATER)
    assert answer.code == 2
    assert "change the policy" in answer.err
    assert not Path("approvals.toml").exists()


def test_the_screen_says_the_verdict_why_and_what_is_owed_by_which_clause(
    modelpick: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = modelpick("license", "meta-llama/Llama-3.1-8B-Instruct", "--offline").out
    titles = [line for line in shown.splitlines() if line in ("why", "you owe", "license")]
    assert titles == ["why", "you owe", "license"]
    plain = " ".join(shown.split())
    assert re.search(r'- show "Built with Llama" llama3\.1 1\.b\.i: "', plain)
    assert re.search(r"read \d{4}-\d\d-\d\d", plain)
    assert max(map(len, shown.splitlines())) <= 80


def test_license_lock_and_audit_write_the_same_bills_of_materials(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/parent", card="license: apache-2.0", files={"LICENSE": "Apache License"})
    hub.add("acme/child", card="license: mit", base_model="acme/parent")
    Path("code").mkdir()
    Path("code/run.py").write_text('from transformers import AutoModel\nAutoModel.from_pretrained("acme/child")\n')
    for words in (("license", "acme/child"), ("lock", "acme/child"), ("audit", "code")):
        assert modelpick(*words, "--bom", "spdx").code in (0, 3), words
        spdx = json.loads(Path("modelpick.spdx.json").read_text())
        names = {one["name"] for one in spdx["@graph"] if one["type"] == "ai_AIPackage"}
        assert names == {"acme/child", "acme/parent"}, words
        assert modelpick(*words, "--bom", "bill.json").code in (0, 3), words
        assert json.loads(Path("bill.json").read_text())["specVersion"] == "1.6"


def test_evidence_is_archived_and_verified(hub: Hub, modelpick: Run) -> None:
    hub.add("acme/parent", card="license: apache-2.0", files={"LICENSE": "Apache License"})
    hub.add("acme/child", card="license: mit", base_model="acme/parent", files={"LICENSE": "MIT License"})
    words = ("license", "acme/child", "acme/absent", "--evidence", "kept", "--json")
    answer = modelpick(*words)
    index = json.loads(Path("kept/index.json").read_text())
    assert answer.json["evidence"] == {"folder": "kept", "sha256": index["evidence_sha256"]}
    assert {one["model"] for one in index["models"]} == {"acme/child", "acme/parent"}
    assert [one["asked"] for one in index["errors"]] == ["acme/absent"]
    assert {one["name"] for one in index["files"] if one["what"] == "text"} == {"README.md", "LICENSE"}
    assert modelpick("verify", "kept").code == 0
    assert modelpick(*words).code == 2, "evidence is not written over"
    Path("kept/policy.toml").write_text("changed")
    assert "policy.toml was changed" in modelpick("verify", "kept").out


def test_what_is_owed_is_written(hub: Hub, modelpick: Run) -> None:
    hub.add("meta-llama/Llama-3.1-8B", card="license: llama3.1", gated="manual")
    answer = modelpick("license", "meta-llama/Llama-3.1-8B", "--notice", "legal", "--bom", "bom.json")
    assert answer.code == 0
    assert "Built with Llama" in Path("legal/ATTRIBUTION.txt").read_text()
    assert "meta-llama/Llama-3.1-8B" in Path("legal/NOTICE").read_text()
    assert json.loads(Path("bom.json").read_text())["bomFormat"] == "CycloneDX"
    hub.add("acme/nc", card="license: cc-by-nc-4.0")
    assert modelpick("license", "acme/nc", "--notice", "other").code == 2


def test_a_deleted_repository_that_is_known_is_still_denied(hub: Hub, modelpick: Run) -> None:
    answer = modelpick("license", "decapoda-research/llama-7b-hf", "--json")
    assert answer.code == 1
    verdict = answer.json["results"][0]
    assert verdict["verdict"] == "deny"
    assert "judged by this repository alone" in verdict["notes"][0]
