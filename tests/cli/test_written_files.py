"""What a command writes is written whole, over the old file or not at all."""

import errno
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Run

WRITERS = {
    "recommend": ("recommend", "--offline", "--html"),
    "plan": ("plan", "Qwen/Qwen3-8B", "--method", "qlora", "--offline", "--output"),
    "audit": ("audit", ".", "--offline", "--sarif"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_the_old_file(
    name: str, modelpick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text('x = "Qwen/Qwen3-8B"\n')
    monkeypatch.chdir(tmp_path)
    words = (*WRITERS[name], "file.out")
    assert modelpick(*words).code in (0, 1, 3)
    old = Path("file.out").read_bytes()
    before = sorted(os.listdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    answer = modelpick(*words, "--json")
    assert (answer.code, answer.error["code"]) == (2, "cannot_write")
    assert "the disk is full" in answer.error["message"]
    assert (Path("file.out").read_bytes(), sorted(os.listdir())) == (old, before)


@pytest.mark.parametrize("name", WRITERS)
def test_where_nothing_can_be_written_is_said(name: str, modelpick: Run, tmp_path: Path) -> None:
    answer = modelpick(*WRITERS[name], str(tmp_path / "absent" / "file.out"), "--json")
    assert (answer.code, answer.error["code"]) == (2, "cannot_write")
    assert "there is no folder" in answer.error["message"]
