"""A file is read whole or refused in one sentence; it is written whole or not at all."""

import errno
import json
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelpick import files
from modelpick.errors import EXIT_USAGE, UsageError

READERS: list[Callable[..., Any]] = [files.read_bytes, files.read_text, files.read_json, files.read_toml]


def _refusal(action: Callable[[], object], code: str = "my_code") -> UsageError:
    with pytest.raises(UsageError) as caught:
        action()
    assert (caught.value.code, caught.value.exit_code) == (code, EXIT_USAGE)
    assert caught.value.fix
    return caught.value


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(".", os.O_RDONLY)
        os.chdir(path.parent)  # a socket's whole path may have 107 bytes only
        server.bind(path.name)
        os.fchdir(here)
        os.close(here)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_fifo, "is a named pipe"),
        (_folder, "is a folder"),
        (_socket, "is a socket"),
        (_device, "is a device"),
        (_link_loop, "links form a loop"),
        (lambda path: None, "there is no file"),
    ],
)
def test_only_a_regular_file_is_read(
    read: Callable[..., Any], make: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    make(path)
    error = _refusal(lambda: read(path, code="my_code"))
    assert str(path) in error.message
    assert words in error.message


def test_a_name_no_system_has_is_refused() -> None:
    assert "\\x00" in _refusal(lambda: files.read_bytes("a\0b", code="my_code")).message
    _refusal(lambda: files.write_atomically("a\0b", "x", code="my_code"))
    _refusal(lambda: files.read_bytes("a\ud800b", code="my_code"))
    _refusal(lambda: files.write_atomically("a\ud800b", "x", code="my_code"))


@pytest.mark.parametrize("read", READERS)
def test_a_large_file_is_refused_before_it_fills_the_memory(read: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"1" * 101)
    assert "larger than 100 bytes" in _refusal(lambda: read(path, code="my_code", largest=100)).message
    path.write_bytes(b"1" * 100)
    assert len(files.read_bytes(path, code="my_code", largest=100)) == 100


def test_text_is_utf_8_with_or_without_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa = '\xc3\xa9'\r\n")
    assert files.read_text(path, code="my_code") == "a = 'é'\r\n"
    assert files.read_toml(path, code="my_code") == {"a": "é"}
    path.write_bytes("é".encode("latin-1"))
    assert "byte 1 is 0xe9" in _refusal(lambda: files.read_text(path, code="my_code")).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1"),
        ("", "line 1"),
        ("[" * 100_000, "nested too deeply"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e999]", "too large"),
        ("9" * 5000, "integer string conversion"),
    ],
)
def test_what_is_not_json_is_refused_in_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    error = _refusal(lambda: files.read_json(path, code="my_code"))
    assert words in error.message
    assert "x.json is not JSON" in error.message


def test_nan_is_read_where_the_caller_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[NaN, 1e999]")
    assert str(files.read_json(path, code="my_code", allow_nan=True)) == "[nan, inf]"


@pytest.mark.parametrize("text", ["a", "a = ", "a = 1\na = 2", "a = " + "[" * 100_000])
def test_what_is_not_toml_is_refused_in_one_sentence(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    assert "x.toml is not TOML" in _refusal(lambda: files.read_toml(path, code="my_code")).message


def test_a_write_replaces_the_file_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "it"
    files.write_atomically(path, "é\n")
    assert path.read_bytes() == b"\xc3\xa9\n"
    path.chmod(0o600)
    files.write_atomically(path, b"\x00new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"\x00new", 0o600)
    assert [item.name for item in tmp_path.iterdir()] == ["it"]


def test_a_secret_is_at_no_instant_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    with files.replacing(path) as file:
        file.write(b"secret")
        file.flush()
        assert {stat.S_IMODE(item.stat().st_mode) for item in tmp_path.iterdir()} == {0o600}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("x")
    files.write_atomically(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_write_goes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    files.write_atomically(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "x"


def test_a_name_as_long_as_the_system_has_can_be_written(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / ("x" * 255), "x")


class _Failing:
    """A file whose named method fails as a full disk makes it fail."""

    def __init__(self, file: Any, method: str) -> None:
        self._file = file
        self._method = method

    def __getattr__(self, name: str) -> Any:
        return _no_room if name == self._method else getattr(self._file, name)


def _failing_if_written(file: Any, mode: str, method: str) -> Any:
    return _Failing(file, method) if mode == "wb" else file


def _no_room(*arguments: object, **names: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["open", "write", "flush", "fsync", "close", "replace"])
@pytest.mark.parametrize("write", [files.write_atomically, lambda path, text, code: _copy(path, text, code)])
def test_a_full_disk_costs_neither_the_old_file_nor_leaves_a_part(
    step: str, write: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it"
    path.write_text("old")
    (tmp_path / "source").write_text("new")
    before = {item.name for item in tmp_path.iterdir()}
    opened = os.fdopen
    with monkeypatch.context() as patch:
        if step == "open":
            patch.setattr(os, "open", _no_room)
        elif step == "fsync":
            patch.setattr(os, "fsync", _no_room)
        elif step == "replace":
            patch.setattr(Path, "replace", _no_room)
        else:
            patch.setattr(os, "fdopen", lambda number, mode: _failing_if_written(opened(number, mode), mode, step))
        error = _refusal(lambda: write(path, "new", code="my_code"))
    assert "the disk is full" in error.message
    assert "room" in error.fix
    assert files.is_disk_full(error)
    assert path.read_text() == "old"
    assert {item.name for item in tmp_path.iterdir()} == before
    write(path, "new", code="my_code")
    assert path.read_text() == "new"


def _copy(path: Path, text: str, code: str) -> None:
    files.copy_file(path.parent / "source", path, code=code)


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_the_system_lets_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("old")
    with _largest_file(1000):
        error = _refusal(lambda: files.write_atomically(path, "x" * 100_000, code="my_code"))
    assert files.is_disk_full(error)
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("it", "old")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_is_written_to_as_it_is() -> None:
    files.write_atomically("/dev/null", "x", code="my_code")
    assert files.is_disk_full(_refusal(lambda: files.write_atomically("/dev/full", "x", code="my_code")))


@pytest.mark.parametrize("name", ["absent/it", "folder", "file/it"])
def test_where_no_file_can_be_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    error = _refusal(lambda: files.write_atomically(tmp_path / name, "x", code="my_code"))
    assert "cannot be written" in error.message
    assert not files.is_disk_full(error)
    assert isinstance(error.__cause__, OSError)


def test_an_error_of_the_block_is_not_the_files(tmp_path: Path) -> None:
    def half(problem: Exception) -> None:
        with files.replacing(tmp_path / "it") as file:
            file.write(b"half")
            raise problem

    for problem in (ConnectionError("reset"), OSError("no number"), KeyError("x")):
        with pytest.raises(type(problem)):
            half(problem)
    assert not list(tmp_path.iterdir())


def test_writers_at_the_same_time_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "it"
    texts = [str(number) * 50_000 for number in range(4)]
    files.write_atomically(path, texts[0])
    threads = [
        threading.Thread(target=lambda text=text: [files.write_atomically(path, text) for _ in range(20)])
        for text in texts
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert files.read_text(path, code="my_code") in texts
    assert [item.name for item in tmp_path.iterdir()] == ["it"]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_text("old")
    script = (
        "import os, sys\nfrom modelpick import files\n"
        f"with files.replacing({str(path)!r}) as file:\n    file.write(b'half' * 99999)\n    os.kill(os.getpid(), 9)\n"
    )
    root = Path(files.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == -9
    assert path.read_text() == "old"


def test_a_copy_is_of_a_regular_file(tmp_path: Path) -> None:
    _fifo(tmp_path / "pipe")
    error = _refusal(lambda: files.copy_file(tmp_path / "pipe", tmp_path / "copy", code="my_code"))
    assert "named pipe" in error.message
    assert not (tmp_path / "copy").exists()


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "real").write_text("terms")
    (model / "inside").symlink_to("sub/../real")
    (model / "out").symlink_to("../secret")
    (model / "folder").symlink_to("..")
    copy = tmp_path / "copy"
    for name in ("out", "folder/secret"):
        error = _refusal(lambda name=name: files.copy_file(model / name, copy, root=model, code="my_code"))
        assert "outside" in error.message
        assert not copy.exists()
    files.copy_file(model / "inside", copy, root=model)
    assert copy.read_text() == "terms"
    assert not copy.is_symlink()
    (tmp_path / "other_name").symlink_to("model")  # the root itself may be reached by a link
    files.copy_file(tmp_path / "other_name" / "inside", copy, root=tmp_path / "other_name")


def test_a_folder_is_made_with_its_parents_or_refused(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    _refusal(lambda: files.make_folder(tmp_path / "file" / "b", code="my_code"))


def test_json_that_was_written_is_read_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "é\u2028"]}
    files.write_atomically(tmp_path / "x", json.dumps(value, ensure_ascii=False))
    assert files.read_json(tmp_path / "x", code="my_code") == value


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_private_file_is_its_owners_only_whatever_was_there_before(tmp_path: Path) -> None:
    wide, link, other = tmp_path / "wide", tmp_path / "link", tmp_path / "other"
    wide.write_text("old")
    wide.chmod(0o644)
    other.write_text("of somebody else")
    link.symlink_to(other)
    for path in (wide, link, tmp_path / "new"):
        files.write_atomically(path, "key\n", private=True)
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert path.read_text() == "key\n"
    assert not link.is_symlink()
    assert other.read_text() == "of somebody else"
    files.make_folder(tmp_path / "state", private=True)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
