"""Which files of a tree are read: what git does not ignore, of a kind that can name a model. I/O."""

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from modelpick.audit.rules import Rules
from modelpick.errors import UsageError, printable
from modelpick.files import read_bytes, read_start

_GIT_SECONDS = 60  # `git ls-files` over a kernel-sized tree takes a few seconds; beyond a minute something hangs
_FIRST_BYTES = 8192  # as git itself looks for a NUL to call a file binary (xdiff-interface.c)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read: where it is, how it is shown (as the user typed its tree), and the kind of its reader.

    The kind is a key of `scan.READERS`, or one followed by " template".
    """

    path: Path
    shown: str
    kind: str


UNREAD = "no reader knows this language: a "
"""How the reason of a file begins that is a program in a language without a reader."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was not read, and why."""

    path: str
    reason: str


def files(
    paths: Sequence[str], rules: Rules, *, exclude: Sequence[str] = (), docs: bool = False
) -> Iterator[SourceFile | Skipped]:
    """The files below `paths`, each once; a file named itself is read whatever its kind.

    Raises UsageError(code="no_such_path" or "unreadable") for a path that cannot be looked at.
    """
    seen: set[str] = set()
    for typed in paths:
        root = Path(typed).expanduser()
        is_folder = _is_folder(root, typed)
        for item in _below(root, rules) if is_folder else iter([root]):
            if isinstance(item, Skipped):
                yield item
                continue
            shown = Path(os.path.normpath(item)).as_posix()
            if os.path.realpath(item) in seen or _excluded(
                Path(os.path.relpath(item, root if is_folder else None)), exclude
            ):
                continue
            seen.add(os.path.realpath(item))
            kind = _kind(item, rules) or (None if is_folder else "lines")
            if kind is None and item.suffix.lower() in rules.unread:
                yield Skipped(printable(shown), f"{UNREAD}{item.suffix.lower()} file")
            if kind is None or (kind == "markdown" and is_folder and not docs):
                continue
            yield SourceFile(item, printable(shown), kind)


def read_text(file: SourceFile, rules: Rules) -> str | Skipped:
    """The text of a file, lines ended by newlines; or why it has none."""
    limit = rules.max_notebook_bytes if file.kind == "notebook" else rules.max_bytes
    try:
        status = file.path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Skipped(file.shown, "not a regular file")
        if status.st_size > limit:
            return Skipped(file.shown, f"larger than {limit / 2**20:.0f} MiB: generated or data, not read")
        content = read_bytes(file.path, code="unreadable", largest=limit)
    except OSError as error:
        return Skipped(file.shown, f"cannot be read ({error.strerror or type(error).__name__})")
    except UsageError as error:
        return Skipped(file.shown, f"cannot be read ({getattr(error.__cause__, 'strerror', None) or 'it changed'})")
    text = _decoded(content)
    if text is None:
        return Skipped(file.shown, "binary")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes) -> str | None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:_FIRST_BYTES]:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # every id is ASCII, so no id is lost by a wrong guess here


def _is_folder(root: Path, typed: str) -> bool:
    name = printable(typed)
    try:
        mode = os.stat(root).st_mode
        if stat.S_ISDIR(mode):
            os.scandir(root).close()
            return True
        if stat.S_ISREG(mode):
            with open(root, "rb"):
                return False
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise UsageError(
            f"there is no file or folder {name!r}",
            fix="name one that exists, e.g. `modelpick audit .`",
            code="no_such_path",
        ) from None
    except OSError as error:
        raise UsageError(
            f"{name} cannot be read: {error.strerror}",
            fix="check its permissions and links, or name another",
            code="unreadable",
        ) from None
    raise UsageError(f"{name} is neither a file nor a folder", fix="name a file or a folder", code="unreadable")


def _below(root: Path, rules: Rules) -> Iterator[Path | Skipped]:
    listed = _git_lists(root)
    yield from _walked(root, rules) if listed is None else _from_git(root, listed, rules)


def _git_lists(root: Path) -> list[str] | None:
    """The files of a work tree that git tracks or does not ignore; None where git has no answer."""
    # A hook's own GIT_DIR would make git answer for another tree, and an audited tree's fsmonitor is a program to run.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    names = [os.fsdecode(name) for name in run.stdout.split(b"\0") if name]
    # No file at all: an ignored folder, which its user still asked about.
    return names if run.returncode == 0 and names else None


def _from_git(root: Path, names: list[str], rules: Rules) -> Iterator[Path | Skipped]:
    verdicts: dict[Path, str | None] = {Path(): None}
    for name in sorted(set(names)):
        path = root / name
        reasons = (_why_left_out(root, parent, rules, verdicts) for parent in reversed(Path(name).parents))
        if any(reason is not None for reason in reasons):
            continue
        if path.is_symlink():
            yield Skipped(printable(path.as_posix()), "a symbolic link")
        elif path.is_dir():  # a submodule or a nested repository
            yield from _below(path, rules)
        elif path.exists():
            yield path
    for folder, reason in verdicts.items():
        if reason is not None:
            yield Skipped(printable((root / folder).as_posix()), reason)


def _walked(root: Path, rules: Rules) -> Iterator[Path | Skipped]:
    trouble: list[OSError] = []
    for here, folders, names in os.walk(root, onerror=trouble.append):
        kept = []
        for folder in sorted(folders):
            path = Path(here, folder)
            reason = "a symbolic link" if path.is_symlink() else _why_left_out(Path(), path, rules, {})
            if reason is None:
                kept.append(folder)
            else:
                yield Skipped(printable(path.as_posix()), reason)
        folders[:] = kept
        for name in sorted(names):
            path = Path(here, name)
            if path.is_symlink():
                yield Skipped(printable(path.as_posix()), "a symbolic link")
            else:
                yield path
    for error in trouble:
        yield Skipped(printable(str(error.filename)), f"cannot be read ({error.strerror})")


def _why_left_out(root: Path, folder: Path, rules: Rules, known: dict[Path, str | None]) -> str | None:
    if folder not in known:
        reason = None
        if folder.name in rules.skip_folders:
            reason = "not the project's own code"
        elif (root / folder / "pyvenv.cfg").is_file():
            reason = "a virtual environment"
        known[folder] = reason
    return known[folder]


def _excluded(relative: Path, globs: Sequence[str]) -> bool:
    """Whether a glob names the file, one of its folders, or their plain names; `*` crosses folders."""
    paths = [part for part in (relative, *relative.parents) if part.name]
    return any(
        fnmatchcase(path.as_posix(), pattern) or fnmatchcase(path.name, pattern)
        for pattern in (glob.removeprefix("**/").removeprefix("./").rstrip("/") for glob in globs)
        for path in paths
    )


def _kind(path: Path, rules: Rules) -> str | None:
    name = path.name.lower()
    if any(fnmatchcase(name, glob) for glob in rules.own_files):
        return None
    by_name = next((kind for glob, kind in rules.file_names.items() if fnmatchcase(name, glob)), None)
    ending = path.suffix.lower()
    if ending in rules.templates:
        inner = rules.endings.get(Path(path.stem).suffix.lower(), rules.templates[ending])
        return f"{inner} template"
    if by_name or path.suffix:
        return rules.endings.get(ending) or by_name
    try:
        first = read_start(path, 200, code="unreadable").partition(b"\n")[0]
    except UsageError:
        return None
    if not first.startswith(b"#!"):
        return None
    words = [word.rstrip("0123456789.") for word in first[2:].decode("latin-1").replace("/", " ").split()]
    return next((rules.programs[word] for word in words if word in rules.programs), None)
