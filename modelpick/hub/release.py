"""A published data release: the wheel modelpick-data, fetched and taken apart without installing or extracting it.

Only files that a manifest may list are read, each by its own name into memory and within a limit, so nothing in the
archive decides where anything is written. An archive that tries is refused whole.
"""

import hashlib
import io
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from modelpick import files
from modelpick.catalog import snapshot
from modelpick.errors import ModelpickError, RemoteError, address
from modelpick.hub import download
from modelpick.hub.rows import REPOSITORIES

LARGEST = 64 << 20  # bytes of the archive: the embedded facts take 0.3 MB packed
LARGEST_FILE = 256 << 20  # bytes of one file in it
MOST_FILES = 100
_CODE = "bad_release"
_FIX = "the facts in force stay as they are; ask whoever publishes the release"
_HASH = re.compile(r"([0-9a-f]{64})(?:\s|$)")
_ROOT = f"{snapshot.PACKAGE}/"
_NAME = re.compile(rf"{snapshot.PACKAGE}(-[\w.]+\.dist-info)?(/[\w][\w.-]*)+/?", re.ASCII)


def expected_hash(where: str, pinned: str | None) -> str:
    """The sha256 that the release at `where` must have: the pinned one, else what its address with .sha256 says.

    Raises RemoteError or UsageError (code="bad_release") where neither is there.
    """
    if pinned is not None:
        return pinned
    found = _HASH.match(download.content(f"{where}.sha256", largest=10_000, code=_CODE).decode("ascii", "replace"))
    if found is None:
        raise _bad(where, "its .sha256 does not begin with a hash")
    return found[1]


def fetch(where: str, sha256: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The data files of the release at `where`, and what its manifest says of their sources.

    Raises RemoteError(code="bad_release") for another hash, an archive that is damaged, too large or hostile, and for
    one of another form or an older version; UsageError for a path that cannot be read.
    """
    body = download.content(where, largest=LARGEST, code=_CODE)
    found = hashlib.sha256(body).hexdigest()
    if found != sha256:
        raise _bad(where, f"its sha256 is {found[:12]}..., {sha256[:12]}... is expected")
    try:
        texts, sources = read(body)
    except ModelpickError as error:
        raise _bad(where, error.message) from error
    except (
        KeyError,
        TypeError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        EOFError,
        ValueError,
        OSError,
    ) as error:
        raise _bad(where, f"it cannot be unpacked ({error})") from error
    return texts, {**sources, "release": address(where), "sha256": sha256}


def read(body: bytes) -> tuple[dict[str, str], Mapping[str, Any]]:
    """The data files in the bytes of a wheel, and the sources its manifest names. Raises as `fetch` does, unnamed."""
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        entries = archive.infolist()
        _require_harmless(entries)
        names = {entry.filename for entry in entries}
        listed = files.parse_json(_member(archive, names, "manifest.json", 1 << 20), where="its manifest", code=_CODE)
        manifest = snapshot.manifest_from(listed, "its manifest")
        why = snapshot.unusable(manifest)
        if why is not None:
            raise ValueError(why)
        unknown = set(manifest.files) - {*snapshot.FILES, REPOSITORIES}
        if unknown:
            raise ValueError(f"it holds files that this version does not know: {', '.join(sorted(unknown))[:200]}")
        texts = {}
        for file, sha in manifest.files.items():
            content = _member(archive, names, file, LARGEST_FILE)
            if hashlib.sha256(content).hexdigest() != sha:
                raise ValueError(f"{file} has another hash than its manifest states")
            texts[file] = content.decode("utf-8")
    if snapshot.days_of(texts.__getitem__) != dict(manifest.as_of):
        raise ValueError("its manifest states other days than its files")
    return texts, manifest.sources


def _require_harmless(entries: list[zipfile.ZipInfo]) -> None:
    """Raises ValueError for an archive that is not what a wheel of data is."""
    if len(entries) > MOST_FILES:
        raise ValueError(f"it holds {len(entries):,} files, at most {MOST_FILES} are read")
    if len({entry.filename.lower() for entry in entries}) != len(entries):
        raise ValueError("two of its files have one name")
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if _NAME.fullmatch(entry.filename) is None or ".." in entry.filename.split("/"):
            raise ValueError(f"it names a file outside its folder: {entry.filename[:100]!r}")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"{entry.filename} is a link or a device")
        if entry.flag_bits & 0x1:
            raise ValueError(f"{entry.filename} is encrypted")
        if entry.file_size > LARGEST_FILE:
            raise ValueError(
                f"{entry.filename} has {entry.file_size:,} bytes unpacked, at most {LARGEST_FILE:,} are read"
            )


def _member(archive: zipfile.ZipFile, names: set[str], file: str, largest: int) -> bytes:
    if _ROOT + file not in names:
        raise ValueError(f"it lacks {file}")
    with archive.open(_ROOT + file) as member:
        content = member.read(largest + 1)  # whatever size the archive states
    if len(content) > largest:
        raise ValueError(f"{file} is larger than {largest:,} bytes")
    return content


def _bad(where: str, what: str) -> RemoteError:
    return RemoteError(f"the release {address(where)} is not taken: {what}", fix=_FIX, code=_CODE)
