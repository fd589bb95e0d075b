"""Finds the data files that are not Python: policies/ and deploy/, in a wheel or in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def directory(name: str) -> Path:
    """The folder `name` ("policies", "deploy"): beside the package in a checkout, inside it in a wheel."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def data_file(package: str, name: str) -> Path:
    """An embedded data file, e.g. `data_file("catalog", "models.jsonl")`."""
    return _PACKAGE / package / "data" / name
