"""The real thing, small: a tuned tiny model beside its base, `transformers serve` behind Caddy, OpenAI's own client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelpick.serving.machine import free_port
from tests.serving.conftest import wait_for

pytest.importorskip("peft", reason="the extra train is absent")
openai = pytest.importorskip("openai", reason="the extra serve is absent")
pytestmark = pytest.mark.xdist_group(
    "transformers serve"
)  # one server for all of them: it takes half a minute to start


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base with a license, and an adapter on it that changes what it says."""
    import peft
    import torch
    import transformers

    from tests import tiny_models

    folder = tmp_path_factory.mktemp("models")
    base = tiny_models.make("llama", folder / "base")
    template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    tiny_models.tokenizer(chat_template=template).save_pretrained(base)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# tiny\n")
    (base / "NOTICE").write_text("the notice of the base\n")
    torch.manual_seed(7)
    config = peft.LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(model, config).save_pretrained(folder / "tuned")
    return folder


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """`modelpick serve BASE --adapter DIR`, as a process; what it answered, and the process."""
    from modelpick.serving.machine import program

    if program("caddy") is None or program("transformers") is None:
        pytest.skip("the extra serve is absent")
    state, port = tmp_path_factory.mktemp("state"), free_port("127.0.0.1")
    words = ["serve", str(models / "base"), "--adapter", str(models / "tuned"), "--context", "256", "--generate", "64"]
    line = [
        sys.executable,
        "-m",
        "modelpick",
        *words,
        "--port",
        str(port),
        "--state",
        str(state),
        "--offline",
        "--json",
    ]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "HOME": str(state)}
    with (state / "out").open("wb") as out, (state / "err").open("wb") as err:
        process = subprocess.Popen(line, stdout=out, stderr=err, env=environment, cwd=state)
    try:
        wait_for(lambda: (state / "out").stat().st_size > 0 or process.poll() is not None, 300)
        assert process.poll() is None, (state / "err").read_text()
        yield {**json.loads((state / "out").read_text()), "process": process, "folder": state}
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def client(served: dict[str, Any]) -> Callable[[str | None], Any]:
    def make(key: str | None = None) -> Any:
        given = key or Path(served["key_file"]).read_text().strip()
        return openai.OpenAI(base_url=served["address"], api_key=given, max_retries=0)

    return make


def say(client: Any, model: str) -> str:
    messages = [{"role": "user", "content": "What is the capital"}]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=12, temperature=0)
    return str(answer.choices[0].message.content)


def test_base_and_adapter_answer_differently_and_always_the_same(
    served: dict[str, Any], client: Callable[..., Any]
) -> None:
    assert served["models"] == ["tuned", "base"]
    base, tuned = say(client(), "base"), say(client(), "tuned")
    assert base != tuned
    assert (say(client(), "base"), say(client(), "tuned")) == (base, tuned)


def test_an_openai_client_streams_and_lists(client: Callable[..., Any]) -> None:
    messages = [{"role": "user", "content": "one two"}]
    stream = client().chat.completions.create(model="base", messages=messages, max_tokens=4, temperature=0, stream=True)
    assert len(list(stream)) > 2
    assert [model.id for model in client().models.list()] == ["tuned", "base"]


def test_without_the_key_nothing_is_answered(client: Callable[..., Any]) -> None:
    with pytest.raises(openai.AuthenticationError):
        say(client("sk-wrong"), "base")


def test_a_name_that_is_not_served(client: Callable[..., Any], models: Path) -> None:
    for name in ("gpt-4", str(models / "base"), "base@main"):
        with pytest.raises(openai.NotFoundError):
            say(client(), name)


def test_the_answer_holds_no_key_and_the_terms_are_there(served: dict[str, Any]) -> None:
    key = Path(served["key_file"]).read_text().strip()
    folder = served["folder"]
    for name in ("out", "err", "server.log", "proxy.log", "requests.jsonl", "serve.json"):
        assert key not in (folder / name).read_text(), name
    assert "capital" not in (folder / "server.log").read_text() + (folder / "requests.jsonl").read_text()
    assert (folder / "license" / "NOTICE").read_text() == "the notice of the base\n"
    assert "apache-2.0" in (folder / "license" / "OBLIGATIONS.txt").read_text()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert key not in listed


def test_the_gateway_counts_tokens_without_torch(served: dict[str, Any]) -> None:
    pid = served["process"].pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    if not children.is_file():
        pytest.skip("there is no /proc here")
    maps = {
        Path(f"/proc/{child}/cmdline").read_text().split("\0")[2]: Path(f"/proc/{child}/maps").read_text()
        for child in children.read_text().split()
    }
    assert "tokenizers" in maps["modelpick.serving.gateway"]
    assert "libtorch" not in maps["modelpick.serving.gateway"]


NOT_DONE = [
    ({"n": 2}, "n"), ({"logprobs": True}, "logprobs"), ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}, "response_format"),
    ({"messages": []}, "messages"), ({"max_tokens": 0}, "max_tokens"), ({"frequency_penalty": 1}, "frequency_penalty"),
    ({"logit_bias": {"x": 1}}, "logit_bias"), ({"logit_bias": {"99999": 1}}, "logit_bias.99999"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/"}}]}]},
     "messages[0].content[0].type"),
    ({"max_tokens": 1000}, "max_tokens"), ({"messages": [{"role": "user", "content": "one two " * 300}]}, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "param"), NOT_DONE, ids=lambda part: str(part)[:30])
def test_what_the_server_does_not_do_is_refused_by_name(
    client: Callable[..., Any], asked: dict[str, Any], param: str
) -> None:
    body = {"model": "base", "messages": [{"role": "user", "content": "one two"}], **asked}
    with pytest.raises(openai.BadRequestError) as caught:
        client().chat.completions.create(**body)
    assert caught.value.param == param
    with pytest.raises(openai.NotFoundError):
        client().embeddings.create(model="base", input="x")


def test_no_feature_of_openais_client_is_accepted_and_ignored(served: dict[str, Any]) -> None:
    from tests.clients.openai_features import outcomes

    key = Path(served["key_file"]).read_text().strip()
    found = outcomes(served["address"], key, "base", 40)
    wrong = [outcome for outcome in found if outcome.word in ("ignored", "failed")]
    assert not wrong, "\n".join(map(str, wrong))


def test_what_is_asked_is_done(client: Callable[..., Any], models: Path) -> None:
    """On a model that is greedy by its own settings: sampling, seeds, biases, stop texts, tokens as a prompt."""
    import transformers

    messages = [{"role": "user", "content": "one two"}]

    def text(**asked: Any) -> str:
        answer = client().chat.completions.create(model="base", messages=messages, max_tokens=8, **asked)
        assert answer.model == "base"
        return str(answer.choices[0].message.content)

    assert len({text(temperature=2, seed=seed) for seed in range(4)}) > 1
    assert text(temperature=2, seed=5) == text(temperature=2, seed=5)
    whole = text(temperature=0)
    assert text(temperature=0, logit_bias={"70": 100}) != whole
    stop = whole[3:5]
    assert text(temperature=0, stop=stop) == whole[: whole.index(stop)]
    stream = client().chat.completions.create(
        model="base", messages=messages, max_tokens=8, temperature=0, stop=[stop], stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole[: whole.index(stop)]
    plain = {"model": "base", "max_tokens": 4, "temperature": 0}
    tokens = transformers.AutoTokenizer.from_pretrained(models / "base")("one two")["input_ids"]
    same = {client().completions.create(prompt=prompt, **plain).choices[0].text for prompt in ("one two", tokens)}
    assert len(same) == 1


def test_a_client_that_hangs_up_leaves_the_server_well(client: Callable[..., Any]) -> None:
    messages = [{"role": "user", "content": "one two"}]
    stream = client().chat.completions.create(
        model="base", messages=messages, max_tokens=60, temperature=0, stream=True
    )
    next(iter(stream))
    stream.close()
    assert say(client(), "base")


def test_a_family_that_takes_no_adapter_in_vllm_is_merged_first(models: Path, tmp_path: Path) -> None:
    from modelpick.serving import server
    from modelpick.serving.command import Served

    for _ in range(2):  # again replaces
        server.merge(Served("base", models / "base", "tuned", models / "tuned", 4), tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_sigterm_ends_it_all_and_says_so(
    served: dict[str, Any],
) -> None:  # the last of this module: it stops the server
    process = served["process"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not (served["folder"] / "ready").exists()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert served["command"][5] not in [
        word for line in listed.splitlines() if "transformers" in line for word in line.split()
    ]
