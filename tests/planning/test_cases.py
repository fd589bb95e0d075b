"""One object a line in, one answer a line out, in order; a bad line is an error in its place."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog.model import Model
from modelpick.errors import EXIT_CANNOT_TELL, EXIT_USAGE, EXIT_YES, RemoteError
from modelpick.memory.estimate import GIB, estimate_model
from modelpick.offers import embedded
from modelpick.planning import catalog_search, report
from modelpick.workload import workload_from

LLAMA = Model(
    "a/llama",
    "folder",
    config={
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 32000,
    },
)  # fmt: skip


def cases(lines: Iterable[str], find: report.FindModel) -> Iterator[report.CaseResult]:
    return report.estimate_cases(lines, find, embedded.offers(), catalog_search.facts())


def find(name: str) -> Model | None:
    if name == "a/dead":
        raise RemoteError("the Hub did not answer", fix="try again", code="hub_unreachable")
    return {"a/llama": LLAMA, "a/odd": Model("a/odd", "hub", config={"model_type": "brand_new"})}.get(name)


def test_a_line_is_the_single_estimate() -> None:
    line = json.dumps({"model": "a/llama", "method": "qlora", "lora_rank": 8, "id": 7})
    (answer,) = cases([line], find)
    workload = workload_from({"method": "qlora", "lora_rank": 8})
    alone = report.report(LLAMA, workload, embedded.offers(), catalog_search.facts())
    assert answer.body["total_gib"] == pytest.approx(alone.memory.total / GIB)
    assert answer.body["workload"] == alone.memory.workload.as_json()
    others = replace(workload, stack="transformers")
    assert answer.body["total_gib"] < estimate_model(LLAMA, others).total / GIB  # our own loop spares logits
    assert answer.body["id"] == 7
    assert answer.exit_code == EXIT_YES


@pytest.mark.parametrize(
    ("line", "code", "exit_code"),
    [
        ("{", "bad_case", EXIT_USAGE),
        ("[1]", "bad_case", EXIT_USAGE),
        ('{"method": "bf16"}', "bad_case", EXIT_USAGE),
        ('{"model": 3}', "bad_case", EXIT_USAGE),
        ("[" * 100_000, "bad_case", EXIT_USAGE),
        ('{"model": "a/llama", "methd": "bf16"}', "unknown_option", EXIT_USAGE),
        ('{"model": "a/llama", "context": NaN}', "bad_context", EXIT_USAGE),
        ('{"model": "a/llama", "method": "full", "lora_rank": 8}', "contradiction", EXIT_USAGE),
        ('{"model": "a/llama", "method": "lora", "lora_targets": "warp"}', "unknown_lora_targets", EXIT_USAGE),
        ('{"model": "a/none"}', "unknown_model", EXIT_CANNOT_TELL),
        ('{"model": "a/odd"}', "unknown_architecture", EXIT_CANNOT_TELL),
        ('{"model": "a/dead"}', "hub_unreachable", RemoteError.exit_code),
    ],
)
def test_a_bad_line_is_an_error_in_its_place(line: str, code: str, exit_code: int) -> None:
    good = '{"model": "a/llama"}'
    answers = list(cases([good, line, good], find))
    assert [answer.exit_code for answer in answers] == [EXIT_YES, exit_code, EXIT_YES]
    assert answers[1].body["error"]["code"] == code
    assert answers[1].body["error"]["fix"]
    assert answers[0].body == answers[2].body


def test_lines_are_answered_as_they_come() -> None:
    def lines() -> Iterator[str]:
        yield '{"model": "a/llama"}'
        raise AssertionError("the second line was asked for before the first was answered")

    assert next(cases(lines(), find)).exit_code == EXIT_YES


_JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70), st.just(10**30), st.floats(), st.text(max_size=3),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
_KEYS = st.sampled_from(
    [*(LLAMA.config or {}), "num_key_value_heads", "head_dim", "sliding_window", "num_local_experts", "kv_lora_rank",
     "quantization_config", "text_config", "tie_word_embeddings", "layer_types", "attn_logit_softcapping"]
)  # fmt: skip
_NAMES = st.dictionaries(
    st.sampled_from(
        ["task", "method", "context", "stack", "stack_version", "gpus", "sharding", "lora_dropout", "batch"]
    ),
    _JUNK | st.sampled_from(["finetune", "qlora", "lora-int8", "full", "litgpt", "vllm", "4.42", "fsdp", "zero2"]),
    max_size=3,
)


@given(st.dictionaries(_KEYS, _JUNK, max_size=4), _NAMES)
def test_whatever_a_config_and_a_line_hold_the_answer_is_a_number_or_a_typed_error(
    broken: dict[str, object], names: dict[str, object]
) -> None:
    model = Model("a/junk", "folder", config={**(LLAMA.config or {}), **broken})
    (answer,) = cases([json.dumps({"model": "a/junk", **names})], lambda _: model)
    if answer.exit_code == EXIT_YES:
        assert 0 < answer.body["low_gib"] <= answer.body["total_gib"] <= answer.body["high_gib"] < float("inf")
    else:
        assert answer.body["error"]["code"]
        assert answer.body["error"]["fix"]


def test_blank_lines_are_no_cases() -> None:
    assert len(list(cases(["", "  \n", '{"model": "a/llama"}\n'], find))) == 1
