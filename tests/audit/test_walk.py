"""Which files are read, which are not, and that the difference is told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from tests.audit.conftest import Tree, found, names

USES = 'A.from_pretrained("acme/x-7b")\n'


def _git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


def _needs_git() -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")


def test_without_git_other_peoples_code_is_left_out_and_said(tree: Tree) -> None:
    root = tree(
        {
            "app.py": "",
            ".venv/a.py": USES,
            "node_modules/b.py": USES,
            ".git/c.py": USES,
            "e/pyvenv.cfg": "",
            "e/d.py": USES,
        }
    )
    scanned = found(root)
    assert names(scanned) == set()
    assert {Path(one.path).name for one in scanned.skipped} == {".venv", "node_modules", ".git", "e"}


def test_what_git_ignores_is_not_read_and_what_it_does_not_know_yet_is(tree: Tree) -> None:
    _needs_git()
    root = tree({".gitignore": "out/\n", "out/a.py": USES, "new.py": 'A.from_pretrained("acme/new-7b")'})
    _git(root, "init", "-q")
    assert names(found(root)) == {"acme/new-7b"}


def test_an_ignored_folder_named_by_the_user_is_read(tree: Tree) -> None:
    _needs_git()
    root = tree({".gitignore": "out/\n", "out/a.py": USES})
    _git(root, "init", "-q")
    assert names(found(root / "out")) == {"acme/x-7b"}


def test_a_repository_inside_a_repository_is_read(tree: Tree) -> None:
    _needs_git()
    root = tree({"a.py": "", "inner/b.py": USES})
    _git(root, "init", "-q")
    _git(root / "inner", "init", "-q")
    assert names(found(root)) == {"acme/x-7b"}


def test_a_hooks_own_git_variables_do_not_lead_to_another_tree(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    _needs_git()
    root = tree({"one/a.py": USES, "two/b.py": 'A.from_pretrained("acme/y-7b")'})
    _git(root / "one", "init", "-q")
    _git(root / "two", "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(root / "one" / ".git"))
    assert names(found(root / "two")) == {"acme/y-7b"}


def test_a_program_in_the_audited_trees_git_settings_is_not_run(tree: Tree) -> None:
    _needs_git()
    root = tree({"a.py": USES, "monitor.sh": '#!/bin/sh\ntouch "$(dirname "$0")/ran"\n'})
    _git(root, "init", "-q")
    (root / "monitor.sh").chmod(0o755)
    _git(root, "config", "core.fsmonitor", str(root / "monitor.sh"))
    assert names(found(root)) == {"acme/x-7b"}
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    "glob", ["tests", "tests/", "tests/*", "tests/**", "**/test_*.py", "test_a.py", "*/test_a.py", "./tests"]
)
def test_exclude_takes_folders_names_and_globs(tree: Tree, glob: str) -> None:
    root = tree({"tests/test_a.py": USES, "app.py": 'A.from_pretrained("acme/y-7b")'})
    assert names(found(root, exclude=(glob,))) == {"acme/y-7b"}
    assert names(found(root, exclude=("nothing",))) == {"acme/y-7b", "acme/x-7b"}


def test_links_that_lead_in_circles_end(tree: Tree) -> None:
    root = tree({"a/app.py": USES})
    os.symlink(root, root / "a" / "up")
    os.symlink(root / "self", root / "self")
    os.symlink(root / "gone.py", root / "dangling.py")
    scanned = found(root)
    assert names(scanned) == {"acme/x-7b"}
    assert {Path(one.path).name for one in scanned.skipped} == {"up", "self", "dangling.py"}
    with pytest.raises(UsageError):
        found(root / "self")


def test_binary_huge_and_special_files_are_skipped_with_the_reason(tree: Tree) -> None:
    root = tree({"a.py": b"\0\1" + USES.encode(), "b.json": b'{"model": "acme/x-7b"}' + b" " * (6 << 20)})
    with open(root / "c.py", "wb") as file:
        file.truncate(100 << 20)
    os.mkfifo(root / "d.py")
    scanned = found(root)
    assert names(scanned) == set()
    reasons = {Path(one.path).name: one.reason for one in scanned.skipped}
    assert reasons["a.py"] == "binary"
    assert "larger than 5 MiB" in reasons["b.json"]
    assert "larger than 5 MiB" in reasons["c.py"]
    assert reasons["d.py"] == "not a regular file"


@pytest.mark.parametrize(
    "content",
    [
        "# caf\xe9\n".encode("latin-1") + USES.encode(),
        b"\xef\xbb\xbf# x\n" + USES.encode(),
        ("# x\n" + USES).encode("utf-16"),
        b"# x\r\n" + USES.encode().replace(b"\n", b"\r\n"),
        b"# x\r" + USES.encode(),
    ],
    ids=["latin-1", "byte-order mark", "utf-16", "crlf", "cr"],
)
def test_any_encoding_and_line_end_is_read(tree: Tree, content: bytes) -> None:
    scanned = found(tree({"a.py": content}))
    assert names(scanned) == {"acme/x-7b"}
    assert [place.line for where in scanned.models.values() for place in where] == [2]


def test_a_file_is_read_once_however_often_it_is_named(tree: Tree) -> None:
    root = tree({"a.py": USES})
    scanned = found(root, root / "a.py", root)
    assert (scanned.files, [len(where) for where in scanned.models.values()]) == (1, [1])


def test_a_file_named_itself_is_read_whatever_its_kind(tree: Tree) -> None:
    root = tree({"a.weird": 'model = "acme/x-7b"\n'})
    assert names(found(root)) == set()
    assert names(found(root / "a.weird")) == {"acme/x-7b"}


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        found(tmp_path / "nowhere")
    assert raised.value.code == "no_such_path"


def test_a_name_with_control_characters_is_shown_without_them(tree: Tree) -> None:
    scanned = found(tree({"a\x1b[31m.py": USES}))
    (where,) = scanned.models.values()
    assert where[0].path.endswith("a\\x1b[31m.py")


def test_a_pipe_is_not_waited_for(tree: Tree) -> None:
    root = tree({"a.py": USES})
    for name in ("pipe", "pipe.py", "pipe.ipynb"):
        os.mkfifo(root / name)
        with pytest.raises(UsageError, match="neither a file nor a folder"):
            found(root / name)
    assert found(root).files == 1
