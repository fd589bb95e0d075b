"""From what a user typed to a Model, and to its files on this disk: a folder, a Hub repository, a catalog row. I/O.

Imports huggingface_hub inside functions.
"""

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from modelpick.catalog import folder, hub, index
from modelpick.catalog.hub_client import (
    Client,
    GatedError,
    HubDownError,
    NotOnHubError,
    Patience,
    UntrustedHubError,
    endpoint_in_force,
)
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, RemoteError, first_line

# What loading a model needs; never pickles and never code unless they are added by name. Terms are fetched too.
_LOADED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md")
_SECOND_COPIES = "consolidated*.safetensors"  # the same weights in Mistral's own format


@dataclass(frozen=True, slots=True)
class Looked:
    """One model or one error for each name asked, in that order, and `find` for their ancestors."""

    results: tuple[Model | ModelpickError, ...]
    find: Callable[[str], Model | None]


def look_up(names: Sequence[str], *, catalog: Catalog, offline: bool, ancestors: bool = False) -> Looked:
    """Folders are read, ids are asked of the Hub all at once (of the catalog alone when `offline`).

    `ancestors`: also fetch the base models, so that `find` answers without another wait.
    """
    ids = [name for name in names if not is_folder(name)]
    looked = hub.look_up(ids, offline=offline, catalog=catalog, ancestors=ancestors)
    on_hub = iter(looked.results)
    results = tuple(_folder(name) if is_folder(name) else next(on_hub) for name in names)
    return Looked(results, looked.find)


def _folder(name: str) -> Model | ModelpickError:
    try:
        return folder.read_folder(Path(name).expanduser())
    except ModelpickError as error:
        return error


def is_folder(name: str) -> bool:
    """Whether `name` means a folder: written as a path, or a folder that is there and no Hub id of the same name."""
    if name.startswith(("/", "./", "../", "~", ".\\")) or name in (".", "..") or (len(name) > 2 and name[1] == ":"):
        return True
    return bool(name.strip()) and Path(name).is_dir()  # an empty name would mean the folder one is in


def look_up_all(
    models: Sequence[str | Model], offline: bool, *, ancestors: bool = False
) -> tuple[list[Model | ModelpickError], Callable[[str], Model | None]]:
    """Each model as facts, what was typed looked up in one batch; and how to find their ancestors."""
    typed = [model for model in models if isinstance(model, str)]
    looked = look_up(typed, catalog=index.load(), offline=offline, ancestors=ancestors)
    results = iter(looked.results)
    return [next(results) if isinstance(model, str) else model for model in models], looked.find


def download(id: str, revision: str | None = None, *, offline: bool = False, also: Sequence[str] = ()) -> Path:
    """The folder of `org/name` at a revision (a commit, branch or tag; None: main), in huggingface_hub's cache.

    It holds what loading needs, the files of terms, and those that match `also`; sub-folders, which hold other formats
    of the same weights, are left, except a folder of licenses. Raises UsageError(code="bad_endpoint") and RemoteError:
    code "gated" where the terms were not accepted or the token opens nothing, "no_weights" for everything else that
    keeps the files away.
    """
    patterns = (*_LOADED, *also)
    wanted = [] if offline else [name for name in listed(id, revision) if is_wanted(name, patterns)]
    chosen = [_literal(name) for name in wanted] or list(patterns)
    return _snapshot(id, revision, chosen, None if wanted else ["*/*", _SECOND_COPIES], offline=offline)


def download_data(id: str, revision: str | None, names: Sequence[str], *, offline: bool = False) -> Path:
    """The folder with the files `names` and the card of the data set `org/name`, in huggingface_hub's cache.

    Raises as `download` does.
    """
    chosen = [_literal(name) for name in (*names, "README.md")]
    return _snapshot(id, revision, chosen, None, offline=offline, repo_type="dataset")


def _snapshot(
    id: str,
    revision: str | None,
    patterns: Sequence[str],
    ignored: Sequence[str] | None,
    *,
    offline: bool,
    repo_type: str = "model",
) -> Path:
    endpoint = endpoint_in_force()  # before the import, which itself fails on an address that cannot be parsed
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True  # also spares a request that asks what programs to report
    home = os.environ.get("HF_HOME")
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                id,
                revision=revision,
                repo_type=repo_type,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignored) if ignored else None,
                local_files_only=offline,
                endpoint=endpoint,
                cache_dir=os.environ.get("HF_HUB_CACHE") or (f"{home}/hub" if home else None),
            )
        )
    except GatedRepoError:
        raise RemoteError(
            f"{id} is gated, and this token has no access",
            fix=f"accept its terms on the page of {id} on the Hub, then set HF_TOKEN",
            code="gated",
        ) from None
    except LocalEntryNotFoundError as error:
        why = f": {first_line(error.__cause__)}" if error.__cause__ else ""
        fix = "leave out --offline, or give a local folder" if offline else "check the network, or give a local folder"
        message = f"{id} is not on this machine and cannot be fetched{why}"
        raise RemoteError(message, fix=fix, code="no_weights") from None
    except (HfHubHTTPError, OSError, ValueError, AssertionError, AttributeError, KeyError, TypeError) as error:
        # The last four: the library takes a Hub's answer of another shape apart without looking.
        raise RemoteError(
            f"{id} cannot be fetched: {first_line(error)}", fix="check the id and HF_TOKEN", code="no_weights"
        ) from None


def is_wanted(name: str, patterns: Sequence[str] = _LOADED) -> bool:
    """Whether a repository's file is fetched: its terms, and at the top what `patterns` name."""
    if folder.is_read(name):
        return True
    return (
        "/" not in name
        and not fnmatchcase(name, _SECOND_COPIES)
        and any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def listed(id: str, revision: str | None) -> list[str]:
    """Names of all files of a repository, or of the data set `datasets/org/name`.

    [] where the Hub does not answer, and the cache may hold them.

    Raises RemoteError(code="no_weights") where another host or another commit answers: huggingface_hub would follow it.
    """
    try:
        record = Client(Patience(bulk=False)).model(id, revision, ("siblings", "sha"))
    except UntrustedHubError as error:
        message, fix = f"{id} is not fetched from this Hub: {error}", "set HF_ENDPOINT to the Hub that you mean"
        raise RemoteError(message, fix=fix, code="no_weights") from None
    except (HubDownError, NotOnHubError, GatedError):
        return []  # huggingface_hub says why
    rows = record.get("siblings")
    named = [row.get("rfilename") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return [name for name in named if isinstance(name, str)]


def _literal(name: str) -> str:
    """A pattern that fits this name alone."""
    return re.sub(r"([*?[])", r"[\1]", name)
