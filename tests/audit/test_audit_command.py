"""`modelpick audit` as its users and their programs meet it: lines, JSON, SARIF, exit codes, mistakes."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelpick.catalog import index
from modelpick.licensing.judge_models import facts_in_force
from tests.audit.conftest import Tree
from tests.cli.conftest import Run

DENIED = 'A.from_pretrained("huggyllama/llama-7b")\n'
ALLOWED = 'A.from_pretrained("tiiuae/falcon-7b")\n'
CONDITIONS = 'A.from_pretrained("meta-llama/Llama-3.1-8B-Instruct")\n'
UNKNOWN = 'A.from_pretrained("acme/never-seen-7b")\n'


def test_each_place_is_a_line_with_verdict_model_and_reason(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": "\n" + DENIED, "b.py": ALLOWED})
    answer = modelpick("audit", str(root), "--offline")
    first, second, last = answer.out.splitlines()
    assert re.fullmatch(rf"{root}/a\.py:2:20: deny huggyllama/llama-7b: .*non.?commercial.*", first, re.I)
    assert first.startswith(f"{root}/a.py:2:20: deny ")
    assert second.startswith(f"{root}/b.py:1:20: allow tiiuae/falcon-7b: ")
    assert last == "2 models in 2 files under commercial: 1 allow, 1 deny"
    assert answer.code == 1


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("", 0),
        (ALLOWED, 0),
        (CONDITIONS, 0),
        (ALLOWED + DENIED, 1),
        (UNKNOWN, 4),
        (DENIED + UNKNOWN, 4),
        ('A.from_pretrained("tiiuae/falcon-7b", revision="0abc")', 3),
        (DENIED + 'A.from_pretrained("tiiuae/falcon-7b", revision="0abc")', 1),
        ('A.from_pretrained("huggyllama/llama-7b", revision="0abc")', 1),
    ],
)
def test_the_exit_code_is_the_most_severe(modelpick: Run, tree: Tree, code: str, exit_code: int) -> None:
    assert modelpick("audit", str(tree({"a.py": code})), "--offline").code == exit_code


def test_the_policy_decides(modelpick: Run, tree: Tree) -> None:
    root = str(tree({"a.py": DENIED}))
    assert modelpick("audit", root, "--offline", "--policy", "research").code != 1
    assert modelpick("audit", root, "--offline", "--commercial").code == 1


def test_a_settings_file_that_decides_is_named(
    modelpick: Run, tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pull request that brings a looser modelpick.toml cannot pass its own audit in silence."""
    root = tree({"a.py": DENIED, "modelpick.toml": 'policy = "research"\n[company]\nannual_revenue_usd = 5\n'})
    monkeypatch.chdir(root)
    answer = modelpick("audit", "a.py", "--offline")
    assert answer.code != 1
    assert "modelpick.toml sets policy, company.annual_revenue_usd for this audit" in " ".join(answer.err.split())
    body = modelpick("audit", "a.py", "--offline", "--json").json
    assert body["settings"] == {"modelpick.toml": ["policy", "company.annual_revenue_usd"]}
    strict = modelpick("audit", "a.py", "--offline", "--policy", "commercial", "--json")
    assert (strict.code, strict.json["settings"]) == (1, {"modelpick.toml": ["company.annual_revenue_usd"]})
    (root / "modelpick.toml").unlink()
    assert modelpick("audit", "a.py", "--offline", "--json").json["settings"] == {}


def test_json_has_one_result_a_model_with_all_its_places(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": ALLOWED * 2 + UNKNOWN, "b/c.yaml": "model: tiiuae/falcon-7b\nrevision: main\n"})
    body = modelpick("audit", str(root), "--offline", "--json").json
    assert body["schema_version"] == 1
    assert set(body["policy"]) >= {"name", "sha256"}
    falcon, unknown = body["results"]
    assert (falcon["model"], falcon["asked"], falcon["verdict"]) == ("tiiuae/falcon-7b", "tiiuae/falcon-7b", "allow")
    assert {"revision", "licenses", "reasons", "obligations", "lineage"} <= set(falcon)
    assert [(place["path"], place["line"], place["column"]) for place in falcon["locations"]] == [
        (f"{root}/a.py", 1, 20),
        (f"{root}/a.py", 2, 20),
        (f"{root}/b/c.yaml", 1, 8),
    ]
    assert (unknown["model"], unknown["asked"]) == (None, "acme/never-seen-7b")
    assert set(unknown["error"]) == {"code", "message", "fix"}
    assert body["files"] == 2


def test_a_pinned_revision_nobody_looked_at_is_never_better_than_review(modelpick: Run, tree: Tree) -> None:
    root = str(tree({"a.py": 'A.from_pretrained("tiiuae/falcon-7b", revision="0abc")'}))
    (result,) = modelpick("audit", root, "--offline", "--json").json["results"]
    assert (result["model"], result["asked"], result["verdict"]) == (
        "tiiuae/falcon-7b",
        "tiiuae/falcon-7b@0abc",
        "review",
    )
    assert (result["revision"], result["revision_asked"]) == (None, "0abc")
    assert result["reasons"][0]["code"] == "revision_not_seen"


def test_what_was_not_judged_is_counted_and_listed_on_request(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": "A.from_pretrained(args.model)\n", "b.py": b"\0", ".venv/c.py": ""})
    short = modelpick("audit", str(root), "--offline")
    assert "1 places choose their model at run time" in short.err
    assert "2 files or folders were not read" in short.err
    long = modelpick("audit", str(root), "--offline", "-v").err
    assert "a.py:1:19: chosen at run time: args.model" in long
    assert "b.py: not read: binary" in long
    body = modelpick("audit", str(root), "--offline", "--json").json
    assert [place["line"] for place in body["unresolved"]] == [1]
    assert len(body["skipped"]) == 2


def test_several_paths_as_a_commit_hook_gives_them(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": ALLOWED, "b.py": DENIED, "c.py": UNKNOWN})
    answer = modelpick("audit", f"{root}/a.py", f"{root}/b.py", "--offline", "--json")
    assert [result["model"] for result in answer.json["results"]] == ["tiiuae/falcon-7b", "huggyllama/llama-7b"]


def test_without_a_path_it_reads_where_it_stands(modelpick: Run, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree({"a.py": DENIED}))
    assert modelpick("audit", "--offline").out.startswith("a.py:1:20: deny ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no/such/place"], "there is no file or folder"),
        ([".", "--format", "sarf"], "sarif"),
        ([".", "--commercial", "--policy", "research"], "one of them"),
        ([".", "--policy", "comercial"], "commercial"),
        ([".", "--sarif", "no/such/folder/x.sarif"], "cannot be written"),
        (["\0"], "there is no file or folder"),
    ],
)
def test_a_mistake_is_a_sentence_with_a_way_out(modelpick: Run, words: list[str], said: str) -> None:
    answer = modelpick("audit", "--offline", *words)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("error: ")
    assert "\n  fix: " in answer.err
    assert said in answer.err


def test_two_formats_contradict_each_other(modelpick: Run) -> None:
    answer = modelpick("audit", ".", "--format", "sarif", "--json")
    assert (answer.code, answer.out, answer.error["code"]) == (2, "", "contradiction")


def _check_sarif(log: Any) -> list[Any]:
    """What the SARIF 2.1.0 schema requires of the parts that are used here; returns the results."""
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "modelpick"
    assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
    rules = driver["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("note", "warning", "error")
        assert result["message"]["text"]
        assert all(isinstance(value, str) for value in result["partialFingerprints"].values())
        for location in result["locations"]:
            place = location["physicalLocation"]
            assert re.fullmatch(r"[\w./%~:-]+", place["artifactLocation"]["uri"])
            region = place["region"]
            assert region["startLine"] >= 1
            assert 1 <= region["startColumn"] <= region["endColumn"]
    results: list[Any] = run["results"]
    return results


def test_sarif_has_a_result_for_each_place_that_is_not_simply_allowed(
    modelpick: Run, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = 'A.from_pretrained("tiiuae/falcon-7b", revision="0abc")\n'
    monkeypatch.chdir(tree({"a b/é.py": DENIED + CONDITIONS + ALLOWED + UNKNOWN + pinned}))
    answer = modelpick("audit", ".", "--offline", "--format", "sarif")
    results = _check_sarif(answer.json)
    assert {
        (one["ruleId"], one["level"], one["locations"][0]["physicalLocation"]["region"]["startLine"]) for one in results
    } == {
        ("license-deny", "error", 1),
        ("license-conditions", "note", 2),
        ("license-not-known", "warning", 4),
        ("license-review", "warning", 5),
    }
    assert {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in results} == {
        "a%20b/%C3%A9.py"
    }
    assert answer.code == 4


def test_sarif_paths_below_the_working_folder_are_relative_to_it(
    modelpick: Run, tree: Tree, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tree({"src/a.py": DENIED})

    def uri() -> str:
        (one,) = _check_sarif(modelpick("audit", str(root), "--offline", "--format", "sarif").json)
        return str(one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])

    assert uri() == f"file://{root}/src/a.py"
    monkeypatch.chdir(root)
    assert uri() == "src/a.py"


def test_sarif_of_nothing_is_still_a_log(modelpick: Run, tree: Tree) -> None:
    answer = modelpick("audit", str(tree({"a.py": ""})), "--offline", "--format", "sarif")
    assert (_check_sarif(answer.json), answer.code) == ([], 0)


def test_a_sarif_file_is_written_beside_the_answer(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": DENIED})
    target = root / "out.sarif"
    answer = modelpick("audit", f"{root}/a.py", "--offline", "--sarif", str(target))
    assert "deny huggyllama/llama-7b" in answer.out
    assert len(_check_sarif(json.loads(target.read_text("utf-8")))) == 1


def test_a_repository_that_only_the_known_models_name_counts_anywhere(modelpick: Run, tree: Tree) -> None:
    gone = next(
        one.id for one in facts_in_force().curations if index.load().canonical(one.id) is None and "/" in one.id
    )
    body = modelpick("audit", str(tree({"a.py": f'anything("{gone}")\n'})), "--offline", "--json").json
    assert [place["line"] for result in body["results"] for place in result["locations"]] == [1]


def test_the_actions_script_passes_its_inputs_as_words_and_runs_none_of_them(tree: Tree, repository: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    root = tree(
        {
            "src/a.py": DENIED,
            "old/b.py": ALLOWED,
            "bin/modelpick": f'#!/bin/sh\nexec "{sys.executable}" -m modelpick "$@"\n',
        }
    )
    (root / "bin/modelpick").chmod(0o755)
    step = yaml.safe_load((repository / "action.yml").read_text("utf-8"))["runs"]["steps"][-1]

    def run(**inputs: str) -> subprocess.CompletedProcess[str]:
        variables = {"AUDIT_PATH": ".", "AUDIT_POLICY": "commercial", "AUDIT_EXCLUDE": "", "AUDIT_OFFLINE": "true"}
        environment = {**os.environ, **variables, "AUDIT_SARIF": "out.sarif", **inputs, "PYTHONPATH": str(repository)}
        environment["PATH"] = f"{root}/bin{os.pathsep}{environment['PATH']}"
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)

    denied = run()
    assert denied.returncode == 1, denied.stderr
    assert len(_check_sarif(json.loads((root / "out.sarif").read_text("utf-8")))) == 1
    assert run(AUDIT_EXCLUDE="src *.sarif").returncode == 0
    assert run(AUDIT_PATH="src old", AUDIT_POLICY="$(touch ran); touch ran").returncode == 2
    assert not (root / "ran").exists()


def test_the_commit_hook_and_the_action_call_the_command_as_it_is(repository: Path, modelpick: Run) -> None:
    (hook,) = yaml.safe_load((repository / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert hook["entry"].split()[:2] == ["modelpick", "audit"]
    action = yaml.safe_load((repository / "action.yml").read_text("utf-8"))
    assert action["runs"]["using"] == "composite"
    shown = modelpick("audit", "--help").out
    script = "\n".join(step.get("run", "") for step in action["runs"]["steps"])
    options = set(re.findall(r"--[a-z-]+", script.partition("modelpick audit")[2])) | set(
        re.findall(r"--[a-z-]+", hook["entry"])
    )
    assert options
    assert all(option in shown for option in options)
