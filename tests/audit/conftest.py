"""`tree({"app.py": "..."})` makes a real folder; `found(tree)` scans it against the real catalog."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from modelpick.audit.run import known_names
from modelpick.audit.scan import Scan, scan
from tests.cli.conftest import modelpick as modelpick

Tree = Callable[[Mapping[str, str | bytes]], Path]
Places = Callable[[str, str], list[tuple[str, int, int]]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A function that writes files below an empty folder and returns the folder."""

    def make(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return make


def found(*paths: Path, exclude: tuple[str, ...] = (), docs: bool = False) -> Scan:
    """What the scan of real files finds, with the embedded catalog."""
    return scan([str(path) for path in paths], known_names(), exclude=exclude, docs=docs)


def names(scanned: Scan) -> set[str]:
    """The models of a scan, `id` or `id@revision`."""
    return {name.id if name.revision is None else f"{name.id}@{name.revision}" for name in scanned.models}


@pytest.fixture
def places(tree: Tree) -> Places:
    """A function from a file's name and text to (model, line, column), in the order of the text."""

    def read(name: str, text: str) -> list[tuple[str, int, int]]:
        scanned = found(tree({name: text}), docs=True)
        rows = [
            (model.id if model.revision is None else f"{model.id}@{model.revision}", place.line, place.column)
            for model, where in scanned.models.items()
            for place in where
        ]
        lines = text.split("\n")
        for _, line, column in rows:
            assert 1 <= line <= len(lines)
            assert 1 <= column <= len(lines[line - 1]) + 1
        return sorted(rows, key=lambda row: row[1:])

    return read
