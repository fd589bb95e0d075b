"""A tiny model folder with a license, and examples to train it on: made once a test, in seconds."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import modelpick  # noqa: F401


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny Llama-shaped model under Apache-2.0."""
    pytest.importorskip("torch", reason="the extra train is absent")
    from tests import tiny_models

    folder = tiny_models.make("llama", tmp_path / "base")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n", encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty instruction examples."""
    words = ["blue", "red", "green", "one", "two", "three", "four", "five", "six", "seven"]
    lines = [{"instruction": f"What is {a} {b}?", "output": f"{b} {a}"} for a in words[:4] for b in words]
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return file
