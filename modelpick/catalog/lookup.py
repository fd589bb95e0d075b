"""From what a user typed to a Model: a local folder, a live Hub repository, or a row of the embedded catalog. I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick.catalog import index
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError


@dataclass(frozen=True, slots=True)
class Looked:
    """One model or one error for each name asked, in that order, and `find` for their ancestors."""

    results: tuple[Model | ModelpickError, ...]
    find: Callable[[str], Model | None]


def look_up(names: Sequence[str], *, catalog: Catalog, offline: bool, ancestors: bool = False) -> Looked:
    """Folders are read, ids are asked of the Hub all at once (of the catalog alone when `offline`).

    `ancestors`: also fetch the base models, so that `find` answers without another wait.
    """
    from modelpick.catalog import hub

    ids = [name for name in names if not is_folder(name)]
    looked = hub.look_up(ids, offline=offline, catalog=catalog, ancestors=ancestors)
    on_hub = iter(looked.results)
    results = tuple(_folder(name) if is_folder(name) else next(on_hub) for name in names)
    return Looked(results, looked.find)


def _folder(name: str) -> Model | ModelpickError:
    from modelpick.catalog import folder

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
