"""What `serve` refuses before anything is started, and what a dry run shows."""

import json
import os
import socket
import struct
from pathlib import Path

import pytest

from modelpick.planning import gather
from modelpick.serving import machine
from tests.cli.conftest import Run
from tests.serving.test_source import adapter, model


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All servers and the proxy are installed, as empty programs: nothing here starts them."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("vllm", "transformers", "llama-server", "caddy"):
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(machine, "program", lambda name: str(folder / name) if (folder / name).exists() else None)


def test_a_dry_run_shows_flags_and_starts_nothing(modelpick: Run, tmp_path: Path) -> None:
    folder = model(tmp_path / "base")
    state = tmp_path / "state"
    words = [
        "serve",
        str(folder),
        "--dry-run",
        "--offline",
        "--context",
        "64",
        "--generate",
        "8",
        "--state",
        str(state),
    ]
    told = modelpick(*words, "--json").json
    assert told["started"] is False
    assert told["engine"] == "transformers"
    assert told["command"][:3] == ["transformers", "serve", "base"]
    assert told["tokens"] == 72
    assert told["proxy"] == "caddy"
    assert not state.exists()


def test_vllm_starts_with_the_parsers_that_its_plan_names(modelpick: Run, tmp_path: Path) -> None:
    """What `up` runs on the machine is this command: the same table, there with the template at hand."""
    folder = model(tmp_path / "Qwen3-8B")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    (folder / "chat_template.jinja").write_text("{% if tools %}<tool_call>{% endif %}")
    words = ["serve", str(folder), "--engine", "vllm", "--dry-run", "--offline", "--context", "64", "--json"]
    told = modelpick(*words).json
    planned = gather.plan("Qwen/Qwen3-8B", serve={"method": "bf16"}).assumptions
    flags = next(said for said in planned if said.startswith("vLLM starts with ")).split()[3:]
    assert told["command"][-len(flags) :] == flags
    assert told["abilities"]["tools"] is True
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    plain = modelpick(*words).json
    assert "--tool-call-parser" not in plain["command"]
    assert plain["abilities"]["why"]["tools"] == "no known parser"


def gguf(folder: Path, architecture: str) -> Path:
    """The first bytes of a GGUF file, and the card beside it."""
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: Qwen/Qwen3-0.6B\n---\n")
    key = b"general.architecture"
    head = struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, len(key)) + key
    file = folder / "model.Q4_1.gguf"
    file.write_bytes(head + struct.pack("<IQ", 8, len(architecture)) + architecture.encode() + b"\0" * 64)
    return file


def test_a_gguf_file_is_for_llama_cpp(modelpick: Run, tmp_path: Path) -> None:
    words = ["--offline", "--dry-run", "--context", "64", "--generate", "8", "--concurrency", "2", "--json"]
    told = modelpick("serve", str(gguf(tmp_path / "known", "llama")), *words).json
    assert (told["engine"], told["proxy"], told["license"]["verdict"]) == ("llama.cpp", "caddy", "allow")
    assert told["command"][told["command"].index("--ctx-size") + 1] == "144"
    unknown = modelpick("serve", str(gguf(tmp_path / "unknown", "mine")), *words)
    assert (unknown.code, unknown.error["code"]) == (3, "llama_cpp_unknown_family")


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (["--context", "0"], 2, "bad_number"),
        (["--concurrency", "NaN"], 2, "bad_number"),
        (["--port", "70000"], 2, "bad_number"),
        (["--method", "lora"], 2, "contradiction"),
        (["--method", "int9"], 2, "unknown_method"),
        (["--engine", "ollama"], 2, "unknown_engine"),
        (["--engine", "llama.cpp"], 2, "engine_cannot"),
        (["--adapter", "/nowhere"], 2, "no_adapter"),
        (["--context", "90000"], 2, "context_too_long"),
    ],
)
def test_bad_input(modelpick: Run, tmp_path: Path, words: list[str], exit_code: int, code: str) -> None:
    answer = modelpick("serve", str(model(tmp_path / "base")), "--offline", "--dry-run", "--json", *words)
    assert (answer.code, answer.error["code"]) == (exit_code, code)
    assert answer.error["fix"]


def test_a_model_that_embeds_takes_whole_texts_and_generates_nothing(modelpick: Run, tmp_path: Path) -> None:
    folder = model(tmp_path / "base")
    (folder / "modules.json").write_text("[]")
    words = ["serve", str(folder), "--offline", "--dry-run", "--json", "--engine", "vllm", "--context", "64"]
    told = modelpick(*words).json
    assert (told["task"], told["tokens"], told["abilities"]["embeddings"]) == ("embed", 64, True)
    assert told["command"][-2:] == ["--runner", "pooling"]
    assert not told["abilities"]["chat"]
    answer = modelpick(*words, "--generate", "8")
    assert (answer.code, answer.error["code"]) == (2, "bad_workload")
    answer = modelpick("serve", str(folder), "--offline", "--dry-run", "--json")
    assert (answer.code, answer.error["code"]) == (2, "engine_cannot")


def test_a_reranker_without_a_head_is_not_served_by_comparing_embeddings(modelpick: Run, tmp_path: Path) -> None:
    folder = model(tmp_path / "base")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\npipeline_tag: text-ranking\n---\n")
    words = ["serve", str(folder), "--offline", "--dry-run", "--json", "--engine", "vllm", "--context", "64"]
    answer = modelpick(*words)
    assert (answer.code, answer.error["code"]) == (3, "reranker_without_head")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForSequenceClassification"]}))
    assert modelpick(*words).json["abilities"]["rerank"] is True


def test_a_port_in_use(modelpick: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = modelpick(
            "serve", str(model(tmp_path / "base")), "--port", str(taken.getsockname()[1]), "--offline", "--json"
        )
    assert (answer.code, answer.error["code"]) == (2, "port_in_use")
    if Path("/proc/net/tcp").exists():
        assert f"(pid {os.getpid()})" in answer.error["message"]


def test_an_adapter_of_another_base(modelpick: Run, tmp_path: Path) -> None:
    other = adapter(tmp_path / "adapter", tmp_path / "another", inputs=99)
    answer = modelpick("serve", str(model(tmp_path / "base")), "--adapter", str(other), "--offline", "--json")
    assert (answer.code, answer.error["code"]) == (2, "other_base")


def test_a_denied_model_is_not_served(modelpick: Run, tmp_path: Path) -> None:
    folder = model(tmp_path / "base")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    answer = modelpick("serve", str(folder), "--offline", "--json")
    assert (answer.code, answer.error["code"]) == (1, "license_denied")


def test_an_unknown_license_needs_a_named_person(modelpick: Run, tmp_path: Path) -> None:
    folder = model(tmp_path / "base")
    (folder / "README.md").write_text("no front matter\n")
    words = ["serve", str(folder), "--offline", "--dry-run", "--context", "64", "--json"]
    assert modelpick(*words).error["code"] == "license_review"
    told = modelpick(*words, "--reviewed-by", "A. Lawyer").json
    assert told["license"]["reviewed_by"] == "A. Lawyer"


def test_a_key_file_others_can_read(modelpick: Run, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("mp-0123456789abcdefghij")
    file.chmod(0o644)
    words = ["--key-file", str(file), "--state", str(tmp_path / "state"), "--context", "64"]
    answer = modelpick("serve", str(model(tmp_path / "base")), "--offline", "--json", *words)
    assert (answer.code, answer.error["code"]) == (2, "key_file_open")


def test_without_caddy_a_server_without_a_key_is_not_started(
    modelpick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "program", lambda name: None if name == "caddy" else "/bin/true")
    answer = modelpick("serve", str(model(tmp_path / "base")), "--offline", "--json", "--context", "64")
    assert (answer.code, answer.error["code"]) == (2, "proxy_absent")
