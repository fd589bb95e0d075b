"""Where the data files are (policies/, deploy/, embedded facts), and how every file is read and written.

A file is read whole or refused in one sentence, without ever blocking on a pipe or a device. A file is written whole or
not at all: the old one survives a full disk and a killed process. Every failure is a UsageError whose `__cause__` is
the OSError, so that a caller can tell a full disk from a missing permission (`is_disk_full`).
"""

import errno
import json
import math
import os
import shutil
import stat
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from modelpick.errors import UsageError, first_line, printable

_PACKAGE = Path(__file__).resolve().parent
LARGEST = 64 * 2**20  # bytes of a file read whole, unless the caller says otherwise: no config or record comes near
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _PLAIN
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def directory(name: str) -> Path:
    """The folder `name` ("policies", "deploy"): next to the package in a checkout, inside it in a wheel."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def tell_at_once(text: str) -> None:
    """Write a line to stderr from a signal handler: past every buffer and lock that the interrupted code may hold."""
    with suppress(OSError):
        os.write(2, f"{printable(text)}\n".encode())


def data_file(package: str, name: str) -> Path:
    """An embedded data file, e.g. `data_file("catalog", "models.jsonl")`."""
    return _PACKAGE / package / "data" / name


def user_data(name: str, *, variable: str) -> Path | None:
    """A file in the user's data folder, or the one that the environment variable names; None without a home folder.

    The folder is $XDG_DATA_HOME (Windows: %LOCALAPPDATA%), else ~/.local/share.
    """
    if path := os.environ.get(variable):
        return Path(path)
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        return (Path(base) if base else Path.home() / ".local" / "share") / "modelpick" / name
    except RuntimeError:
        return None


def read_bytes(path: Path | str, *, code: str, fix: str | None = None, largest: int = LARGEST) -> bytes:
    """All bytes of a regular file. A pipe, a device, a socket or a folder is refused without being opened.

    Raises UsageError(code=code) for a file that is missing, not regular, unreadable, or of more than `largest` bytes.
    `fix` replaces the usual advice.
    """
    with _opened(path, code, fix) as file, _typed("read", path, code, fix):
        content = file.read(largest + 1)
    if len(content) > largest:
        raise UsageError(f"{path} is larger than {_size(largest)}", fix=fix or "name a smaller file", code=code)
    return content


def read_start(path: Path | str, size: int, *, code: str, fix: str | None = None) -> bytes:
    """The first `size` bytes of a regular file, or all of a shorter one. Raises as `read_bytes` does."""
    with _opened(path, code, fix) as file, _typed("read", path, code, fix):
        return file.read(size)


def read_end(path: Path | str, size: int, *, code: str, fix: str | None = None) -> bytes:
    """The last `size` bytes of a regular file, or all of a shorter one. Raises as `read_bytes` does."""
    with _opened(path, code, fix) as file, _typed("read", path, code, fix):
        file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
        return file.read(size)


def read_text(path: Path | str, *, code: str, fix: str | None = None, largest: int = LARGEST) -> str:
    """A UTF-8 text file, with or without a byte order mark. Raises as `read_bytes` does, and for another encoding."""
    content = read_bytes(path, code=code, fix=fix, largest=largest)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text: byte {error.start + 1} is 0x{content[error.start]:02x}",
            fix=fix or "save it as UTF-8",
            code=code,
        ) from None


def read_json(
    path: Path | str, *, code: str, fix: str | None = None, largest: int = LARGEST, allow_nan: bool = False
) -> Any:
    """The content of a JSON file. Raises as `read_text` and `parse_json` do."""
    text = read_text(path, code=code, fix=fix, largest=largest)
    return parse_json(text, where=str(path), code=code, fix=fix, allow_nan=allow_nan)


def parse_json(text: str | bytes, *, where: str, code: str, fix: str | None = None, allow_nan: bool = False) -> Any:
    """The content of JSON text. `where` names its origin in errors.

    Raises UsageError(code=code) for text that is not JSON, is nested too deeply, or holds a number that is not finite
    (NaN, Infinity, 1e999), which JSON cannot write; `allow_nan` accepts those.
    """
    try:
        if allow_nan:
            return json.loads(text)
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is not JSON: {_reason(error)}", fix=fix or _repair(where), code=code) from None


def read_toml(path: Path | str, *, code: str, fix: str | None = None, largest: int = LARGEST) -> dict[str, object]:
    """The content of a TOML file. Raises as `read_text` does, and UsageError for text that is not TOML."""
    text = read_text(path, code=code, fix=fix, largest=largest)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {_reason(error)}", fix=fix or _repair(str(path)), code=code) from None


def write_atomically(
    path: Path | str,
    content: str | bytes,
    *,
    private: bool = False,
    code: str = "cannot_write",
    fix: str | None = None,
) -> None:
    """Write a file so that a reader, and whoever comes after a kill or a full disk, sees the old one or the new one.

    Text is written as UTF-8 with "\\n". A `private` file can be read by its owner only, at every instant, whatever
    was there before; it replaces a link. Raises UsageError(code=code), the old file untouched and no part left behind.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with replacing(path, private=private, code=code, fix=fix) as file:
        file.write(data)


@contextmanager
def replacing(
    path: Path | str, *, private: bool = False, code: str = "cannot_write", fix: str | None = None
) -> Iterator[BinaryIO]:
    """A binary file to write to, which takes the place of `path` when the block ends without an error.

    For content too long for one string. The bytes go to a hidden file in the same folder, which is synced and renamed;
    an error in the block or in the write removes it. A link is written through. A device or a pipe (/dev/stdout) is
    written to as it is. Raises UsageError(code=code) for what the file system refuses; errors of the block's own pass.
    """
    with _typed("written", path, code, fix):
        target = Path(path) if private else Path(os.path.realpath(path))
        old_mode = target.stat().st_mode if target.exists() else None
        if old_mode is not None and stat.S_ISDIR(old_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # One name a writer: two of them never share a part, and a killed one leaves one part at most.
        partial = target.with_name(f".{target.name[:60]}.{os.getpid()}-{threading.get_ident():x}.partial")
        if old_mode is None or stat.S_ISREG(old_mode):
            partial.unlink(missing_ok=True)
            kept_mode = 0o600 if private else None if old_mode is None else stat.S_IMODE(old_mode)
            permissions = 0o666 if kept_mode is None else kept_mode  # at no instant wider than the old file
            file: BinaryIO = os.fdopen(os.open(partial, _NEW_FILE, permissions), "wb")
        else:
            file = target.open("wb")
    try:
        with _typed("written", path, code, fix, only=(*_NO_ROOM, errno.EIO)):
            yield file
        with _typed("written", path, code, fix):
            file.flush()
            if old_mode is None or stat.S_ISREG(old_mode):
                os.fsync(file.fileno())
                file.close()
                if kept_mode is not None:
                    with suppress(OSError):  # a file system without permissions
                        partial.chmod(kept_mode)  # what umask took away
                partial.replace(target)
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Waits until no other process is in such a block for this folder: to read a file, change it, and write it back.

    The folder itself is locked, so nothing is left behind, and the system lets go of it when a process dies. Where
    that cannot be done (Windows, some network file systems) the last of two writers wins.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def copy_file(
    source: Path | str,
    target: Path | str,
    *,
    root: Path | None = None,
    code: str = "cannot_copy",
    fix: str | None = None,
) -> None:
    """Copy a regular file, whole or not at all.

    With `root`, `source` must lie in that folder once every link is followed: a link out of it is refused, so that a
    model folder made by somebody else cannot have a private file copied. Raises UsageError(code=code).
    """
    real = Path(os.path.realpath(source))
    if root is not None and not real.is_relative_to(os.path.realpath(root)):
        raise UsageError(
            f"{source} is a link to a file outside {root}",
            fix=fix or "replace the link with the file itself, or remove it",
            code=code,
        )
    with _opened(real, code, fix, shown=source) as original, replacing(target, code=code, fix=fix) as copy:
        shutil.copyfileobj(original, copy, 2**20)


def make_folder(path: Path | str, *, private: bool = False, code: str = "cannot_write", fix: str | None = None) -> None:
    """Create a folder and its parents where they are missing; a new `private` one is its owner's only.

    Raises UsageError(code=code).
    """
    with _typed("created", path, code, fix):
        Path(path).mkdir(0o700 if private else 0o777, parents=True, exist_ok=True)


@contextmanager
def new_folder(path: Path | str, *, code: str = "cannot_write", fix: str | None = None) -> Iterator[Path]:
    """A hidden folder to fill, which becomes `path` when the block ends without an error, and else is removed.

    Raises UsageError(code=code) where `path` is a file or a folder that is not empty, and for what the file system
    refuses; errors of the block's own pass.
    """
    target = Path(path)
    with _typed("created", path, code, fix):
        if os.path.lexists(target) and (not target.is_dir() or any(target.iterdir())):
            noun = "exists, and is not empty" if target.is_dir() else "is not a folder"
            raise UsageError(f"{path} {noun}", fix=fix or "name a new folder", code=code)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name[:60]}.{os.getpid()}-{threading.get_ident():x}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
    try:
        yield partial
        with _typed("created", path, code, fix):
            if target.is_dir():
                target.rmdir()  # empty: Windows does not rename onto a folder
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def sync_folder(path: Path | str) -> None:
    """Has the names in a folder on the disk; where folders cannot be synced (Windows) it does nothing."""
    with suppress(OSError):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def locked(folder: Path | str, *, code: str, fix: str) -> Iterator[None]:
    """One process at a time in a folder; the system releases the lock when it dies. Raises UsageError(code=code).

    The folder itself is locked, so nothing is left behind; where that cannot be done (Windows, NFS) it is not.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with _typed("read", folder, code, None):
        opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process is writing to {folder}", fix=fix, code=code) from None
        yield
    finally:
        os.close(opened)


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for lack of room: an OSError of that kind, or an error raised from one."""
    reason = error if isinstance(error, OSError) else error.__cause__
    return isinstance(reason, OSError) and reason.errno in _NO_ROOM


@contextmanager
def _opened(path: Path | str, code: str, fix: str | None, shown: Path | str | None = None) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Its kind is asked before it is opened, and again of what was opened."""
    name = path if shown is None else shown
    with _typed("read", name, code, fix):
        _require_regular(os.stat(path).st_mode, name, code, fix)
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _PLAIN)
    with os.fdopen(descriptor, "rb") as file:
        _require_regular(os.fstat(descriptor).st_mode, name, code, fix)
        yield file


def _require_regular(mode: int, path: Path | str, code: str, fix: str | None) -> None:
    for is_kind, noun in _KINDS:
        if is_kind(mode):
            raise UsageError(f"{path} is {noun}, not a file", fix=fix or "name a regular file", code=code)


@contextmanager
def _typed(
    verb: str, path: Path | str, code: str, fix: str | None, only: tuple[int, ...] | None = None
) -> Iterator[None]:
    """Turns what the file system refuses into one sentence; with `only`, errors of other numbers pass."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        _cannot(verb, path, error, code, fix)
    except ValueError as error:  # "embedded null byte", half a surrogate pair: no system has such a name
        if only is not None or not (isinstance(error, UnicodeEncodeError) or "null" in str(error)):
            raise
        _cannot(verb, path, error, code, fix)


def _cannot(verb: str, path: Path | str, error: Exception, code: str, fix: str | None) -> NoReturn:
    number = error.errno if isinstance(error, OSError) else None
    folder = Path(path).parent
    if number == errno.ENOENT and verb == "read":
        message, advice = f"there is no file {path}", "check the path"
    elif number == errno.ENOENT:
        message, advice = f"{path} cannot be {verb}: there is no folder {folder}", f"create {folder}"
    elif number == errno.ELOOP:
        message, advice = f"{path} cannot be {verb}: its links form a loop", "replace the link with a file"
    elif number in _NO_ROOM:
        message, advice = f"{path} cannot be {verb}: the disk is full", "make room on the disk, then re-run the command"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
        message, advice = f"{path} cannot be {verb}: {_text(error)}", "check its permissions, or name another file"
    else:
        message, advice = f"{path} cannot be {verb}: {_text(error)}", "name another file"
    raise UsageError(message, fix=fix or advice, code=code) from error


def _text(error: Exception) -> str:
    """What the system says, as part of a sentence: "permission denied"."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return reason[:1].lower() + reason[1:]


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} in line {error.lineno}, column {error.colno}"
    return first_line(error)


def _repair(where: str) -> str:
    return f"fix or delete {where}"


def _not_finite(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a JSON number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits[:20]} is too large for a number")
    return number


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count} bytes"
