"""What the benchmark shows other estimators: repositories that are as large as the models they stand for."""

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from modelpick.catalog import index
from modelpick.memory.estimate import architecture_of


@pytest.fixture(scope="module")
def peers() -> Iterator[ModuleType]:
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    yield import_module("memory_peers")
    sys.path.remove(folder)


@pytest.mark.parametrize(
    "name", ["tiiuae/falcon-7b", "Qwen/Qwen3-30B-A3B", "bigscience/T0_3B", "google/gemma-2-2b", "microsoft/phi-1_5"]
)
def test_a_repository_shown_has_the_models_parameters(peers: ModuleType, name: str) -> None:
    model = index.load().find(name)
    assert model is not None
    shape = architecture_of(model)
    hub = import_module("peer_hub")
    _, size, counts = hub.header(peers._tensors(shape, "none", 16))
    assert counts == {"BF16": shape.parameters}
    assert size > 2 * shape.parameters


def test_a_quantized_repository_is_smaller_by_its_bits(peers: ModuleType) -> None:
    model = index.load().find("Qwen/Qwen2.5-7B")
    assert model is not None
    shape = architecture_of(model)
    hub = import_module("peer_hub")

    def size(method: str, bits: int) -> int:
        return int(hub.header(peers._tensors(shape, method, bits))[1])

    outside = 2 * (shape.parameters - shape.linear_weights)
    assert size("awq", 4) - outside == pytest.approx(shape.linear_weights * (0.5 + 2.5 / 128), rel=1e-3)
    assert size("gptq", 8) - outside == pytest.approx(shape.linear_weights * (1 + 3 / 128), rel=1e-3)
    assert size("fp8", 8) - outside == pytest.approx(shape.linear_weights, rel=2e-3)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the stand-in's certificate is made by openssl")
def test_a_process_that_asks_huggingface_co_is_answered_by_the_stand_in(peers: ModuleType) -> None:
    ask = (
        "import sys, urllib.request as r; base = 'https://huggingface.co';"
        "print(r.urlopen(base + '/api/models/org/name').read().decode());"
        "print(r.urlopen(base + '/org/name/resolve/main/config.json').read().decode());"
        "part = r.Request(base + '/org/name/resolve/main/model.safetensors', headers={'Range': 'bytes=0-7'});"
        "print(r.urlopen(part).read().hex())"
    )
    with peers.PeerHub() as hub:
        hub.add("org/name", {"model_type": "llama"}, [("w", "BF16", (3, 5)), ("s", "F32", (2,))])
        ran = subprocess.run(
            [sys.executable, "-c", ask], env=os.environ | hub.environment, capture_output=True, text=True, check=True
        )
    record, config, length = ran.stdout.splitlines()
    assert json.loads(record)["safetensors"] == {"parameters": {"BF16": 15, "F32": 2}, "total": 17}
    assert json.loads(config) == {"model_type": "llama"}
    assert 0 < struct.unpack("<Q", bytes.fromhex(length))[0] < 1000
