"""Every parameter of the table, for every engine: the server gets it as it was sent, or it is refused by its name."""

from typing import Any

import pytest

from modelpick.serving.gateway import parameters, values
from modelpick.serving.gateway.refusal import Refused
from tests.serving.gateway.conftest import ENGINES, PATHS, POOLING, RunningGateway
from tests.stand_ins.upstream import Upstream

# A value of each kind that asks for something.
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"model": {}}}}}
ASKING: dict[str, Any] = {
    "any": {"a": 1},
    "biases": {"5": -1.5},
    "boolean": True,
    "encoding": "base64",
    "inputs": ["hello", "two"],
    "integer": 3,
    "integers": [1, 2],
    "logprobs": True,
    "messages": [{"role": "user", "content": "model generation_config"}],
    "number": 0.5,
    "object": {"model": "/evil", "generation_config": "x"},
    "prompt": "hello",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
    "stream_options": {"include_usage": True},
    "text": "low",
    "texts": ["STOP"],
    "tool_choice": "required",
    "tools": [TOOL],
}
NAMED: dict[str, Any] = {"model": "my-model"}
# transformers serve has one name for the answer's length, and ends every stream with the usage, asked or not.
_RENAMED = {("transformers", "max_completion_tokens"): "max_tokens"}
_NEEDS_NOTHING = {("transformers", "stream_options")}
_ALL = {**PATHS, **POOLING}
_ENDPOINTS = {endpoint.name: endpoint for endpoint in parameters.table().endpoint}
_SERVED = [(engine, name) for name in _ALL for engine in _ENDPOINTS[name].engines]  # type: ignore[index]
_CASES = [(engine, endpoint, one.name) for engine, endpoint in _SERVED for one in parameters.table().parameter]


def asking(name: str) -> Any:
    parameter = next(one for one in parameters.table().parameter if one.name == name)
    if any(one is True for one in (*parameter.neutral, *parameter.off)):
        return False
    return NAMED.get(name, ASKING[parameter.kind])


@pytest.mark.parametrize(("engine", "endpoint", "name"), _CASES)
def test_it_reaches_the_server_or_is_refused_by_name(
    servers: dict[tuple[str, str], RunningGateway], upstream: Upstream, engine: str, endpoint: str, name: str
) -> None:
    path, least = _ALL[endpoint]
    value = asking(name)
    needed = next(one.needs for one in parameters.table().parameter if one.name == name)
    body = {**least, name: value, **({"stream": True} if name == "stream_options" else {})}
    body |= {needed: asking(needed)} if needed is not None else {}
    before = len(upstream.records)
    status, told = servers[engine, _ENDPOINTS[endpoint].task].post(path, body)  # type: ignore[index]
    honoured = name in parameters.rules(engine, endpoint).honoured
    if not honoured:
        assert (status, told["error"]["param"], told["error"]["code"]) == (400, name, "unsupported_parameter")
        assert len(upstream.records) == before
        return
    assert status == 200, told
    got = upstream.last()
    if (engine, name) not in _NEEDS_NOTHING:
        assert got[_RENAMED.get((engine, name), name)] == ("served" if name == "model" else value)
    others = {"max_tokens", "generation_config"} if engine == "transformers" else set()
    assert set(got) - others <= set(body)


@pytest.mark.parametrize("name", [one.name for one in parameters.table().parameter if one.needs is not None])
def test_what_has_no_effect_alone_is_refused_alone(name: str) -> None:
    messages = [{"role": "user", "content": "a"}]
    with pytest.raises(Refused) as caught:
        parameters.rules("vllm", "chat").check({"model": "m", "messages": messages, name: asking(name)})
    assert caught.value.param == name


def test_one_form_of_a_parameter_can_be_refused() -> None:
    rules = parameters.rules("llama.cpp", "chat", {"tool_choice.function": "it is not forced"})
    body = {"model": "m", "messages": [{"role": "user", "content": "a"}], "tools": [TOOL]}
    assert "tool_choice" in rules.check({**body, "tool_choice": "required"})
    with pytest.raises(Refused) as caught:
        rules.check({**body, "tool_choice": {"type": "function", "function": {"name": "f"}}})
    assert (caught.value.param, caught.value.code) == ("tool_choice", "unsupported_parameter")
    assert "not forced" in caught.value.message


@pytest.mark.parametrize(("engine", "endpoint"), _SERVED)
def test_what_asks_for_nothing_is_never_refused(
    servers: dict[tuple[str, str], RunningGateway], upstream: Upstream, engine: str, endpoint: str
) -> None:
    path, least = _ALL[endpoint]
    gateway = servers[engine, _ENDPOINTS[endpoint].task]  # type: ignore[index]
    for parameter in parameters.table().parameter:
        if parameter.name in least:
            continue
        honoured = parameter.name in parameters.rules(engine, endpoint).honoured
        for value in (None, *parameter.neutral, *parameter.off):
            status, told = gateway.post(path, {**least, parameter.name: value})
            assert status == 200, (parameter.name, value, told)
            passed = honoured and value in parameter.off and value not in parameter.neutral
            assert parameter.name == "max_tokens" or (parameter.name in upstream.last()) == passed


def test_a_parameter_that_this_model_cannot_do_says_why() -> None:
    rules = parameters.rules("vllm", "chat", {"tools": "its answers have no form for calls"})
    with pytest.raises(parameters.Refused) as caught:
        rules.check({**PATHS["chat"][1], "tools": [TOOL]})
    assert caught.value.param == "tools"
    assert "no form for calls" in caught.value.message


def test_every_row_names_its_source_and_a_parameter_that_is_described() -> None:
    table = parameters.table()
    described = [one.name for one in table.parameter]
    assert len(set(described)) == len(described)
    for row in (*table.honours, *table.refuses):
        assert row.source
        assert set(row.names) <= set(described)
    for refusal in table.refuses:
        for endpoint in _ALL:
            assert not set(refusal.names) & parameters.rules(refusal.engine, endpoint).honoured, refusal
    assert {one.kind for one in table.parameter} <= set(values.Kind.__args__)  # type: ignore[attr-defined]


WRONG: list[tuple[str, Any, str]] = [
    ("messages", [], "messages"),
    ("messages", {}, "messages"),
    ("messages", ["hello"], "messages[0]"),
    ("messages", [{"content": "x"}], "messages[0].role"),
    ("messages", [{"role": "user"}], "messages[0].content"),
    ("messages", [{"role": "evil", "content": "x"}], "messages[0].role"),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}],
     "messages[0].content[0].type"),
    ("messages", [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
     "messages[0].tool_calls[0].function.arguments"),
    ("max_tokens", 0, "max_tokens"),
    ("max_tokens", -1, "max_tokens"),
    ("max_tokens", [5], "max_tokens"),
    ("max_tokens", "5", "max_tokens"),
    ("max_tokens", 5.5, "max_tokens"),
    ("max_tokens", True, "max_tokens"),
    ("max_tokens", 10**12, "max_tokens"),
    ("model", ["/evil"], "model"),
    ("model", None, "model"),
    ("model", {"my-model": 1}, "model"),
    ("temperature", -0.1, "temperature"),
    ("temperature", "hot", "temperature"),
    ("top_p", 0, "top_p"),
    ("logit_bias", {"x": 1}, "logit_bias"),
    ("logit_bias", {"5": "much"}, "logit_bias.5"),
    ("logit_bias", {"5": 101}, "logit_bias.5"),
    ("logit_bias", [5], "logit_bias"),
    ("stop", ["a"] * 1_000_000, "stop"),
    ("stop", [""], "stop[0]"),
    ("stop", ["x" * 257], "stop[0]"),
    ("stop", 5, "stop"),
    ("seed", -1, "seed"),
    ("stream", "yes", "stream"),
    ("stream_options", {"include_obfuscation": True}, "stream_options.include_obfuscation"),
    ("tools", [{"type": "retrieval"}], "tools[0].type"),
    ("tools", [TOOL] * 129, "tools"),
    ("nonsense", 1, "nonsense"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "value", "param"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_value_is_400_with_its_place(engine: str, name: str, value: Any, param: str) -> None:
    from modelpick.serving.gateway.config import GatewaySettings
    from modelpick.serving.gateway.sending import to_server

    rules = parameters.rules(engine, "chat")
    settings = GatewaySettings(engine, "127.0.0.1:9", {"my-model": "m"}, ("my-model",), 300, 299)
    with pytest.raises(parameters.Refused) as caught:
        to_server(rules.check({**PATHS["chat"][1], name: value}), settings, None)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert param.split(".")[0].split("[")[0] in caught.value.message or caught.value.code == "context_length_exceeded"


def schema_of(depth: int, wide: int) -> dict[str, Any]:
    """Definitions that each use the next one `wide` times: wide ** depth parts once unfolded."""
    uses = {f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * wide} for level in range(depth)}
    return {"$defs": {**uses, f"d{depth}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"items": made}
    return made


@pytest.mark.parametrize(
    "schema",
    [
        schema_of(14, 2), schema_of(3, 100), nested(50), {"type": "string", "maxLength": 10**9},
        {"type": "string", "pattern": "^" + "(a|b)*" * 200 + "$"}, {"pattern": "(((("}, {"pattern": 5},
        {"patternProperties": {"(" * 2000 + ")" * 2000: {}}}, {"enum": [f"v{n}" for n in range(2600)]},
        {"properties": {f"p{n}": {} for n in range(400)}},
        {"minItems": -(10**9), "properties": {"properties": {"enum": [1] * 9999}}},
        {"anyOf": [{"type": "string", "maxLength": 2000}] * 30},
        {"$defs": {"a": {"pattern": "a" * 300}}, "anyOf": [{"$ref": "#/$defs/a"}] * 4},
        {"$ref": "http://169.254.169.254/schema"}, {"properties": {str(n): {} for n in range(6000)}}, [], "x", None,
    ],
    ids=str,
)  # fmt: skip
def test_a_schema_that_explodes_is_refused(schema: Any) -> None:
    with pytest.raises(parameters.Refused) as caught:
        values.require("response_format", "response_format", {"type": "json_schema", "json_schema": {"schema": schema}})
    assert caught.value.param == "response_format.json_schema.schema"
    if schema is not None:
        with pytest.raises(parameters.Refused):
            values.require("tools", "tools", [{"type": "function", "function": {"name": "f", "parameters": schema}}])


def test_an_ordinary_schema_passes_also_one_that_refers_to_itself() -> None:
    code = {"type": "string", "pattern": r"^[A-Z]{2}-\d{4}(-(a|b))?$"}
    tree = {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "pattern": code,
            "enum": {"enum": [*range(99)]},
            "next": {"$ref": "#"},
            "x": nested(9),
        },
    }
    table = {"properties": {f"p{n}": {"maxLength": 255, "enum": ["a", "b"]} for n in range(100)}}
    rows = {"properties": {f"p{n}": {} for n in range(900)}, "required": [f"p{n}" for n in range(900)]}
    for schema in (tree, schema_of(3, 3), table, rows):
        values.require("response_format", "f", {"type": "json_schema", "json_schema": {"schema": schema}})


@pytest.mark.parametrize(
    ("endpoint", "name", "value", "param"),
    [
        ("embeddings", "input", [], "input"), ("embeddings", "input", None, "input"),
        ("embeddings", "input", 5, "input"),
        ("embeddings", "input", ["a", 5], "input[1]"), ("embeddings", "input", [[1, "a"]], "input[0][1]"),
        ("embeddings", "input", [-1], "input[0]"), ("embeddings", "input", {"text": "a"}, "input"),
        ("embeddings", "input", ["a"] * 2049, "input"), ("embeddings", "encoding_format", "bytes", "encoding_format"),
        ("embeddings", "dimensions", 0, "dimensions"), ("embeddings", "stream", True, "stream"),
        ("embeddings", "messages", [{"role": "user", "content": "a"}], "messages"),
        ("rerank", "documents", [], "documents"), ("rerank", "documents", ["a"] * 2049, "documents"),
        ("rerank", "documents", [{"text": "a"}], "documents[0]"), ("rerank", "documents", ["a", ""], "documents[1]"),
        ("rerank", "query", ["a"], "query"), ("rerank", "top_n", 0, "top_n"), ("rerank", "top_n", "1", "top_n"),
        ("score", "text_1", [], "text_1"), ("score", "text_2", [5], "text_2[0]"), ("score", "top_n", 1, "top_n"),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_a_wrong_text_to_embed_or_rank_is_400_with_its_place(endpoint: str, name: str, value: Any, param: str) -> None:
    for engine in _ENDPOINTS[endpoint].engines:  # type: ignore[index]
        with pytest.raises(Refused) as caught:
            parameters.rules(engine, endpoint).check({**_ALL[endpoint][1], name: value})
        assert (caught.value.status, caught.value.param) == (400, param)


def test_many_tokens_of_one_text_are_not_many_texts() -> None:
    for value in (list(range(5000)), [[1] * 5000] * 2048, "a" * 10_000, ["a"] * 2048):
        assert parameters.rules("vllm", "embeddings").check({"model": "m", "input": value})["input"] == value
