"""What a user sets apart: own models, ignored ones, and what was there before (--since)."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.audit.conftest import Tree
from tests.cli.conftest import Run

DENIED = "huggyllama/llama-7b"
ALLOWED = "tiiuae/falcon-7b"


def _git(folder: Path, *words: str) -> None:
    settings = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    subprocess.run(["git", *settings, *words], cwd=folder, check=True, capture_output=True)


def test_own_models_are_not_judged_and_are_counted(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": 'model = "acme/secret-7b"\n'})
    assert modelpick("audit", str(root), "--offline").code == 4
    answer = modelpick("audit", str(root), "--offline", "--own", "ACME/*")
    assert answer.code == 0
    assert "1 models are your own" in answer.err


def test_settings_name_own_and_ignored_models_and_the_answer_says_who_set_them(
    modelpick: Run, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree({
        "a.py": f'model = "acme/secret-7b"\nother_model = "{DENIED}"\n',
        "modelpick.toml": f'audit_own = ["acme/*"]\naudit_ignore = ["{DENIED}"]\n',
    })  # fmt: skip
    monkeypatch.chdir(root)
    answer = modelpick("audit", "--offline", "--json")
    body = json.loads(answer.out)
    assert (answer.code, body["results"]) == (0, [])
    assert [row["asked"] for row in body["own"]] == ["acme/secret-7b"]
    assert [row["asked"] for row in body["ignored"]] == [DENIED]
    assert list(body["settings"].values()) == [["audit_own", "audit_ignore"]]


def test_since_an_audit_only_what_is_new_or_worse_counts(modelpick: Run, tree: Tree, tmp_path: Path) -> None:
    root = tree({"src/a.py": f'model = "{DENIED}"\n'})
    before = modelpick("audit", str(root / "src"), "--offline", "--json")
    file = tmp_path / "before.json"
    file.write_text(before.out)
    same = modelpick("audit", str(root / "src"), "--offline", "--since", str(file))
    assert (before.code, same.code) == (1, 0)
    assert "1 models were named before" in same.err
    file.write_text(before.out.replace('"verdict": "deny"', '"verdict": "allow"'))  # it was better then
    assert modelpick("audit", str(root / "src"), "--offline", "--since", str(file)).code == 1
    (root / "src/b.py").write_text('model = "meta-llama/Llama-2-7b-hf"; other_model = "huggyllama/llama-13b"')
    assert modelpick("audit", str(root / "src"), "--offline", "--since", str(file)).code == 1


def test_since_a_commit_what_it_named_does_not_count(modelpick: Run, tree: Tree) -> None:
    root = tree({"a.py": f'model = "{DENIED}"\n'})
    _git(root, "init", "-q")
    _git(root, "add", ".")
    _git(root, "commit", "-qm", "x")
    (root / "b.py").write_text('model = "huggyllama/llama-13b"')
    answer = modelpick("audit", str(root), "--offline", "--since", "HEAD", "--json")
    body = json.loads(answer.out)
    assert answer.code == 1
    assert {row["asked"]: row["named_before"] for row in body["results"]} == {
        DENIED: True,
        "huggyllama/llama-13b": False,
    }


@pytest.mark.parametrize("since", ["no-such-commit", "--output=x", "a.py", ""])
def test_a_baseline_that_is_none_is_refused(modelpick: Run, tree: Tree, since: str) -> None:
    root = tree({"a.py": f'model = "{ALLOWED}"\n'})
    typed = str(root / since) if since == "a.py" else since
    answer = modelpick("audit", str(root), "--offline", f"--since={typed}")
    assert answer.code == 2
    assert "--since" in answer.err or "audit" in answer.err
    assert "Command" not in answer.err  # git's words, not Python's


def test_a_restricted_data_set_counts_and_an_unknown_one_is_only_listed(modelpick: Run, tree: Tree) -> None:
    restricted = modelpick("audit", str(tree({"a.py": 'load_dataset("tatsu-lab/alpaca")'})), "--offline", "--json")
    assert restricted.code in (1, 3)
    assert json.loads(restricted.out)["datasets"][0]["reasons"]
    unknown = modelpick("audit", str(tree({"a.py": 'load_dataset("acme/corpus")'})), "--offline", "--json")
    assert unknown.code == 0
    assert json.loads(unknown.out)["datasets"][0]["verdict"] is None
