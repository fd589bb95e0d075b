"""OpenAI's own client on llama.cpp behind `modelpick serve`: each feature has its effect, or is refused by its name."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.machine import free_port
from tests.serving.conftest import wait_for

pytest.importorskip("xllamacpp", reason="the extra test is absent")
pytest.importorskip("gguf", reason="the extra train is absent")
pytest.importorskip("openai", reason="the extra test is absent")
pytestmark = pytest.mark.xdist_group("llama.cpp")  # one server for all of them

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "stand_ins" / "llama_server.py"
PARENT = "HuggingFaceTB/SmolLM2-135M-Instruct"  # the license gate asks what a GGUF file was made from


@contextmanager
def serving(folder: Path, file: Path) -> Iterator[dict[str, Any]]:
    """`modelpick serve FILE` on llama.cpp's own server code: what it answered, until the block ends."""
    (folder / "README.md").write_text(f"---\nlicense: apache-2.0\nbase_model: {PARENT}\n---\n# tiny\n")
    (folder / "bin").mkdir()
    program = folder / "bin" / "llama-server"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    line = [sys.executable, "-m", "modelpick", "serve", str(file), "--context", "1024"]
    line += ["--concurrency", "2", "--port", str(free_port("127.0.0.1")), "--state", str(folder / "state")]
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": path}
    # One thread: those of a busy machine wait for each other at every layer.
    environment |= {"LLAMA_ARG_REPACK": "0", "LLAMA_ARG_THREADS": "1"}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen([*line, "--offline", "--json"], stdout=out, stderr=err, env=environment, cwd=folder)
    try:
        wait_for(lambda: (folder / "out").stat().st_size > 0 or process.poll() is not None, 300)
        assert process.poll() is None, (folder / "err").read_text()
        yield json.loads((folder / "out").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module", params=["tools", "plain"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A tiny model by llama.cpp: one whose chat template knows tools, and one whose template does not."""
    from tests import tiny_gguf

    folder = tmp_path_factory.mktemp(request.param)
    plain = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    file = tiny_gguf.make(folder / "tiny.gguf", template=tiny_gguf.TEMPLATE if request.param == "tools" else plain)
    with serving(folder, file) as answer:
        yield {**answer, "kind": request.param}


def test_no_feature_is_accepted_and_ignored(served: dict[str, Any]) -> None:
    from tests.clients.openai_features import outcomes

    key = Path(served["key_file"]).read_text().strip()
    found = {outcome.feature: outcome for outcome in outcomes(served["address"], key, served["models"][0])}
    wrong = [outcome for outcome in found.values() if outcome.word in ("ignored", "failed")]
    assert not wrong, "\n".join(map(str, wrong))
    assert found["json_schema"].word == found["logprobs"].word == found["stop"].word == "works"
    assert (found["tools"].word == "works") is (served["kind"] == "tools")
    assert (found["tool_choice_required"].word == "works") is (served["kind"] == "tools")
    assert found["tool_choice_named"].word == found["n"].word == "refused"
    assert served["abilities"]["tools"] is (served["kind"] == "tools")


@pytest.mark.parametrize("pooling", ["MEAN", "RANK"])
def test_a_file_that_embeds_or_ranks_does_that_alone(tmp_path: Path, pooling: str) -> None:
    from tests import tiny_gguf
    from tests.clients.pooling_features import outcomes

    with serving(tmp_path, tiny_gguf.make(tmp_path / "tiny.gguf", pooling=pooling)) as answer:
        found = outcomes(answer["address"], Path(answer["key_file"]).read_text().strip(), answer["models"][0])
    wrong = [outcome for outcome in found.values() if outcome.word in ("ignored", "failed")]
    assert not wrong, "\n".join(map(str, wrong))
    ranks = pooling == "RANK"
    assert answer["task"] == ("rank" if ranks else "embed")
    does, not_done = ("rerank", "embeddings") if ranks else ("embeddings", "rerank")
    assert {one.word for name, one in found.items() if name.startswith(not_done)} == {"absent"}
    assert found["chat"].word == found["score"].word == "absent"
    done = {name: one.word for name, one in found.items() if name.startswith(does)}
    assert done.pop("embeddings_dimensions", "refused") == "refused"
    assert set(done.values()) == {"works"}
    assert (answer["abilities"]["rerank"], answer["abilities"]["embeddings"]) == (ranks, not ranks)
