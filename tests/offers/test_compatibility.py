"""The one table of what cannot work: each known trap is refused with a way out that the table itself accepts."""

from dataclasses import replace

import pytest

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, UsageError
from modelpick.offers import embedded
from modelpick.offers.compatibility import Subject, findings, obstacle, refusal, rule_from
from modelpick.offers.embedded import load_rules, subject_of
from modelpick.workload import Workload, workload_from

LLAMA, T5, MPT, FALCON, MIXTRAL = (
    Model(name, "catalog", config=config)
    for name, config in (
        ("a/llama", {"model_type": "llama"}),
        ("a/t5", {"model_type": "t5", "is_encoder_decoder": True}),
        ("a/mpt", {"model_type": "mpt"}),
        ("a/falcon", {"model_type": "falcon"}),
        ("a/mixtral", {"model_type": "mixtral", "num_local_experts": 8}),
    )
)


@pytest.mark.parametrize(
    ("model", "workload", "instance", "code"),
    [
        (LLAMA, {"stack": "vllm", "method": "int8"}, None, "vllm_int8_dense"),
        (T5, {"stack": "vllm", "method": "bf16"}, None, "vllm_no_encoder_decoder"),
        (MPT, {"stack": "vllm", "method": "bf16"}, None, "vllm_no_mpt"),
        (LLAMA, {"stack": "vllm", "method": "mxfp4", "dtype": "fp16"}, None, "mxfp4_needs_bf16"),
        (LLAMA, {"method": "bf16"}, "g4dn.xlarge", "bf16_not_native"),
        (LLAMA, {"method": "lora-int8"}, "g4dn.xlarge", "bf16_not_native"),
        (LLAMA, {"method": "fp8", "stack": "vllm"}, "p4d.24xlarge", "fp8_not_native"),
        (LLAMA, {"method": "nf4", "dtype": "fp16"}, "g5g.xlarge", "arm64_host"),
        (LLAMA, {"method": "nf4", "dtype": "fp16"}, "p3dn.24xlarge", "volta_dropped"),
        (LLAMA, {"method": "bf16", "dtype": "fp16", "attention": "flash"}, "g4dn.xlarge", "flash_attention_turing"),
        (T5, {"method": "lora", "stack": "trl"}, None, "seq2seq_in_trl"),
    ],
)
def test_known_traps_are_refused_with_a_way_out(model: Model, workload: dict, instance: str | None, code: str) -> None:
    kind = embedded.instance(instance) if instance else None
    found = obstacle(load_rules(), subject_of(model, workload_from(workload), kind))
    assert found is not None
    assert found.code == code
    assert found.way_out
    assert found.source


@pytest.mark.parametrize(
    ("model", "workload", "instance"),
    [
        (LLAMA, {"stack": "transformers", "method": "int8"}, "g5.xlarge"),
        (LLAMA, {"stack": "vllm", "method": "awq"}, "g5.xlarge"),
        (MIXTRAL, {"stack": "vllm", "method": "int8"}, None),
        (T5, {"stack": "transformers", "method": "bf16"}, "g5.xlarge"),
        (T5, {"method": "lora", "stack": "transformers"}, "g5.xlarge"),
        (LLAMA, {"method": "bf16", "dtype": "fp16"}, "g4dn.xlarge"),
        (LLAMA, {"method": "fp8", "stack": "vllm"}, "g6e.xlarge"),
        (LLAMA, {"method": "lora-int8"}, "g5.xlarge"),
        (MPT, {"method": "lora-int8"}, "g5.xlarge"),
    ],
)
def test_what_works_is_not_refused(model: Model, workload: dict, instance: str | None) -> None:
    kind = embedded.instance(instance) if instance else None
    assert obstacle(load_rules(), subject_of(model, workload_from(workload), kind)) is None


def test_an_adapter_for_falcon_is_merged_first() -> None:
    workload = workload_from({"stack": "vllm", "method": "bf16"})
    beside = subject_of(FALCON, workload, adapter=True)
    found = obstacle(load_rules(), beside)
    assert found is not None
    assert "merge" in found.way_out
    assert obstacle(load_rules(), replace(beside, adapter=False)) is None


@pytest.mark.parametrize(
    ("family", "workload", "code"),
    [
        ("nobody", {"stack": "vllm", "method": "bf16"}, "vllm_unknown_family"),
        ("smollm3", {"stack": "vllm", "method": "gguf"}, "vllm_unknown_method"),
        ("baichuan", {"stack": "transformers", "method": "bf16"}, "transformers_unknown_family"),
        ("", {"stack": "transformers", "method": "bf16"}, "family_not_told"),
        ("", {"stack": "vllm", "method": "bf16"}, "family_not_told"),
        ("llama", {"stack": "transformers", "method": "awq"}, "transformers_unknown_method"),
    ],
)
def test_what_the_table_does_not_know_is_not_guessed(family: str, workload: dict, code: str) -> None:
    subject = Subject(family, workload_from(workload))
    error = refusal(findings(load_rules(), subject))
    assert isinstance(error, CannotTellError)
    assert (error.code, error.exit_code) == (code, 3)
    assert error.fix


def test_a_gguf_is_judged_by_the_architecture_it_names() -> None:
    work = workload_from({"method": "gguf"})
    assert refusal(findings(load_rules(), Subject("llama", work, "gguf"))) is None
    error = refusal(findings(load_rules(), Subject("mine", work, "gguf")))
    assert error is not None
    assert error.code == "llama_cpp_unknown_family"


def test_no_rule_is_silent_on_a_server_a_method_and_a_family() -> None:
    """Every combination is either known to the lists, or answered by a rule with a source."""
    auto = pytest.importorskip("transformers.models.auto.modeling_auto", reason="the extra train is absent")
    known = set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) | set(auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    (rule,) = (rule for rule in load_rules() if rule.code == "transformers_unknown_family")
    assert set(rule.besides) <= known  # of the very version that serves: scripts/server_families.py
    for stack in ("vllm", "transformers"):
        for method in ("bf16", "int8", "nf4", "gptq", "awq", "fp8", "mxfp4", "gguf"):
            work = workload_from({"stack": stack, "method": method})
            told = findings(load_rules(), Subject("of_nobody", work))
            unknown = {one.code for one in told if one.level != "care"}
            assert unknown or (stack, method) == ("transformers", "gguf"), (stack, method)
            assert all(one.source for one in told)


def test_falcon_needs_care_wherever_it_is_quantized() -> None:
    for method in ("int8", "nf4", "qlora", "lora-int8"):
        work = workload_from({"stack": "transformers", "method": method})
        told = findings(load_rules(), subject_of(FALCON, work))
        assert any("FalconLinear" in one.why and one.level == "care" for one in told), method


def test_without_an_instance_no_rule_about_hardware_speaks() -> None:
    rules = [rule for rule in load_rules() if rule.names_gpu]
    assert rules
    assert findings(rules, subject_of(LLAMA, Workload(attention="flash"))) == ()


def test_every_rule_has_its_own_code_and_speaks_of_known_things() -> None:
    codes = [rule.code for rule in load_rules()]
    assert len(codes) == len(set(codes))
    for rule in load_rules():
        for method in rule.methods:
            for stack in rule.stacks or ("transformers",):
                workload_from({"method": method, "stack": stack})  # raises for an unknown word


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": ["x"]}, "families"),
        ({"level": "maybe"}, "maybe"),
        ({"methods": "int8"}, "list"),
        ({"why": None}, "why"),
    ],
)
def test_a_bad_row_is_refused_with_what_was_meant(change: dict, words: str) -> None:
    row = {
        "code": "x",
        "level": "care",
        "why": "w",
        "way_out": "o",
        "source": "s",
        "read_on": "2026-11-22",
        "task": "serve",
    }
    row |= change
    if change.get("why", "") is None:
        del row["why"]
    with pytest.raises(UsageError) as caught:
        rule_from(row, "here")
    assert words in f"{caught.value.message} {caught.value.fix}"


def test_a_rule_without_a_condition_would_refuse_everything() -> None:
    row = {"code": "x", "level": "care", "why": "w", "way_out": "o", "source": "s", "read_on": "2026-11-22"}
    with pytest.raises(UsageError, match="condition"):
        rule_from(row, "here")
