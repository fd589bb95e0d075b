"""What stands before a server: which names a client may use, and what the gateway and Caddy are given."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.serving import front, machine
from modelpick.serving.command import Served
from modelpick.serving.engines import ENGINES
from modelpick.serving.gateway import config
from modelpick.serving.sizing import Sizing
from modelpick.workload import Workload

WORKLOAD = Workload(task="serve", context=200, generate=100, batch=1)
SIZED = Sizing(WORKLOAD, 300, 1, None, 1.0, 2.0, 1, ())
BOTH = Served("base", Path("/models/base"), "tuned", Path("/models/tuned"), 4)


def settings_of(engine: str, served: Served = BOTH, asked: str = "org/Base@main") -> config.GatewaySettings:
    return front.gateway_settings(
        ENGINES[engine], "unix/server.sock", asked, served, SIZED,
        models=Path("/state/models"), streams_only=False, refused={"tools": "no parser"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "served", "names"),
    [
        ("org/Base", BOTH, {"tuned": "tuned", "base": "base", "org/Base": "base"}),
        ("org/Base@1234", BOTH, {"tuned": "tuned", "base": "base", "org/Base": "base", "org/Base@1234": "base"}),
        ("./run", BOTH, {"tuned": "tuned", "base": "base"}),  # a folder's name is nobody's business
        ("org/Base", replace(BOTH, base_too=False), {"tuned": "tuned"}),  # the id means the base, which is not served
        ("org/Base", Served("Base", Path("/x")), {"Base": "Base", "org/Base": "Base"}),
    ],
)
def test_a_client_may_use_the_served_names_and_the_id_as_it_was_asked(
    asked: str, served: Served, names: dict[str, str]
) -> None:
    assert front.asked_names(asked, served) == names


def test_a_server_that_counts_its_tokens_is_given_no_tokenizer() -> None:
    counted = settings_of("transformers")
    assert counted.tokenizers == {"tuned": "/state/models/tuned", "base": "/state/models/base"}
    assert (counted.tokens, counted.prompt_tokens, counted.answer_tokens, counted.at_once) == (300, 200, 100, 1)
    for engine in ("vllm", "llama.cpp"):
        own = settings_of(engine)
        assert (own.tokenizers, own.prompt_tokens, own.at_once, own.own_metrics) == ({}, 299, None, True)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gateway_reads_what_it_is_given(engine: str) -> None:
    settings = settings_of(engine)
    assert config.settings_from(config.settings_text(settings)) == settings


def test_the_key_is_in_no_words_and_no_settings(tmp_path: Path) -> None:
    gateway = front.gateway(settings_of("vllm"), "mp-the-key-itself", tmp_path)
    caddy = front.caddy("127.0.0.1", 8000, tmp_path)
    assert gateway.environment[config.KEY_VARIABLE] == "mp-the-key-itself"
    assert "the-key" not in json.dumps([list(gateway.words), gateway.feed, list(caddy.words), caddy.feed])
    assert "the-key" not in json.dumps(dict(caddy.environment))


@pytest.mark.skipif(find_spec("uvicorn") is None, reason="the extra serve is absent")
def test_without_caddy_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "program", lambda name: None)
    with pytest.raises(UsageError, match="Caddy") as caught:
        front.require_programs()
    assert caught.value.code == "proxy_absent"
