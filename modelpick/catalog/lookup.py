"""From what a user typed to a Model: a local folder, a live Hub repository, or a row of the embedded catalog. I/O."""

import re
from collections.abc import Sequence
from pathlib import Path

from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, RemoteError, UsageError

# org/name[@revision], as the Hub allows names; a bare name is one of the few legacy ids.
_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?(@[\w./-]{1,255})?", re.ASCII)


def one(name: str, *, catalog: Catalog, offline: bool) -> Model:
    """The model called `name`. Raises the error that `many` would return."""
    found = many([name], catalog=catalog, offline=offline)[0]
    if isinstance(found, ModelpickError):
        raise found
    return found


def many(names: Sequence[str], *, catalog: Catalog, offline: bool) -> list[Model | ModelpickError]:
    """One model or one error for each of `names`, in their order; live look-ups are shared by the whole batch."""
    return [_found(name, catalog=catalog) for name in names]


def _found(name: str, *, catalog: Catalog) -> Model | ModelpickError:
    if is_folder(name):
        from modelpick.catalog import snapshot

        try:
            return snapshot.read_folder(Path(name).expanduser())
        except ModelpickError as error:
            return error
    if _HUB_ID.fullmatch(name) is None or ".." in name:
        return UsageError(
            f"{name!r} is no model id", fix="give org/name, org/name@revision, or a folder", code="bad_model_id"
        )
    known, _, revision = name.partition("@")
    model = catalog.find(known)
    if model is not None and not revision:
        return model
    if model is not None:
        return RemoteError(
            f"{known} is in the catalog, but not at revision {revision}",
            fix=f"leave out the revision: {known}",
            code="revision_unknown",
        )
    guess = catalog.nearest(known)
    fix = f"{guess} " if guess else ""
    fix += (
        "A model outside the catalog needs a look at the Hub (a reachable HF_ENDPOINT), or a local folder of its files"
    )
    return RemoteError(f"{known} is not in the embedded catalog", fix=fix, code="model_unknown")


def is_folder(name: str) -> bool:
    """Whether `name` means a folder: written as a path, or a folder that is there and no Hub id of the same name."""
    if name.startswith(("/", "./", "../", "~", ".\\")) or name in (".", "..") or (len(name) > 2 and name[1] == ":"):
        return True
    return Path(name).is_dir()
