"""What a code base named before: an earlier `audit --json`, or a commit. I/O."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelpick.audit.names import KnownNames
from modelpick.audit.scan import scan
from modelpick.errors import UsageError, printable
from modelpick.files import read_json
from modelpick.licensing.outcome import Verdict

_GIT_SECONDS = 120  # a tree of a gigabyte takes some seconds to write out


def named_before(since: str, paths: Sequence[str], known: KnownNames) -> Mapping[str, Verdict | None]:
    """The models (`id` or `id@revision`) that were named then, each with its verdict of then, where it was recorded.

    `since` is a file that `modelpick audit --json` wrote, or a commit, branch or tag of the first path's repository.
    Raises UsageError(code="bad_baseline") for what is neither.
    """
    file = Path(since).expanduser()
    return _recorded(file) if file.is_file() else _at_commit(since, paths, known)


def _recorded(file: Path) -> Mapping[str, Verdict | None]:
    content = read_json(file, code="bad_baseline", fix="give what modelpick audit --json printed")
    rows = content.get("results") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("asked"), str) for row in rows
    ):
        raise UsageError(
            f"{printable(str(file))} is not an answer of modelpick audit",
            fix="give what modelpick audit --json printed, or a commit",
            code="bad_baseline",
        )
    words = {verdict.value: verdict for verdict in Verdict}
    return {row["asked"]: words.get(str(row.get("verdict"))) for row in rows}


def _at_commit(revision: str, paths: Sequence[str], known: KnownNames) -> Mapping[str, Verdict | None]:
    first = Path(paths[0] if paths else ".").expanduser()
    here = first if first.is_dir() else first.parent
    with tempfile.TemporaryDirectory() as folder:
        try:
            root = _git(here, "rev-parse", "--show-toplevel").decode().strip()
            # --end-of-options: a revision that begins with a hyphen is no option.
            archive = _git(Path(root), "archive", "--format=tar", "--end-of-options", f"{revision}^{{tree}}")
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(folder, filter=_plain_files)
        except (OSError, ValueError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise UsageError(
                f"--since {printable(revision)} is neither a file nor a commit of the repository of "
                f"{printable(str(here.resolve()))}{_said_by(error)}",
                fix="give a file of modelpick audit --json, or a commit, branch or tag",
                code="bad_baseline",
            ) from None
        found = scan([folder], known)
    return {name.id if name.revision is None else f"{name.id}@{name.revision}": None for name in found.models}


def _said_by(error: Exception) -> str:
    """git's own words on what is wrong, where it has any."""
    words = (getattr(error, "stderr", None) or b"").decode("utf-8", "replace").strip().removeprefix("fatal: ")
    return f": {printable(words.splitlines()[0][:200])}" if words else ""


def _plain_files(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """Folders and regular files below the folder; links are not followed by an audit either."""
    return tarfile.data_filter(member, folder) if member.isfile() or member.isdir() else None


def _git(folder: Path, *words: str) -> bytes:
    command = ["git", "-c", "core.fsmonitor=false", "-c", "safe.directory=*", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=_GIT_SECONDS, check=True).stdout
