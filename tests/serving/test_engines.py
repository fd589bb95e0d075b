"""Which server, by the table of what cannot work."""

import pytest

from modelpick.errors import CannotTellError, UsageError
from modelpick.offers.compatibility import Subject
from modelpick.offers.embedded import load_rules
from modelpick.serving.engines import VLLM_LORA_RANKS, choose, lora_rank_setting
from modelpick.workload import workload_from

ALL = {"vllm": True, "transformers": True, "llama.cpp": True}


def subject(model_type: str = "llama", method: str = "bf16", kind: str = "decoder", adapter: bool = False) -> Subject:
    return Subject(model_type, workload_from({"task": "serve", "method": method}), kind, adapter=adapter)


@pytest.mark.parametrize(
    ("asked", "engine"),
    [
        (subject(), "vllm"),
        (subject(adapter=True), "vllm"),
        (subject(method="nf4"), "vllm"),
        (subject(method="int8"), "transformers"),
        (subject("mpt"), "transformers"),
        (subject("t5", kind="encoder-decoder"), "transformers"),
        (subject(method="gguf", kind="gguf"), "llama.cpp"),
    ],
)
def test_on_a_gpu_the_table_decides(asked: Subject, engine: str) -> None:
    assert choose(load_rules(), asked, gpu=True, installed=ALL).engine.name == engine


def test_without_a_gpu_transformers_serves() -> None:
    choice = choose(load_rules(), subject(), gpu=False, installed=ALL)
    assert (choice.engine.name, choice.merged) == ("transformers", False)


def test_an_adapter_of_falcon_is_merged_for_vllm() -> None:
    choice = choose(load_rules(), subject("falcon", adapter=True), gpu=True, installed=ALL)
    assert (choice.engine.name, choice.merged) == ("vllm", True)


def test_a_family_that_vllm_does_not_list_is_served_by_transformers() -> None:
    choice = choose(load_rules(), subject("gpt_neo"), gpu=True, installed=ALL)
    assert choice.engine.name == "transformers"
    assert "does not list" in choice.passed_over[0]


@pytest.mark.parametrize("adapter", [False, True])
def test_what_no_server_is_known_to_serve_is_not_tried(adapter: bool) -> None:
    for engine, code in ((None, "transformers_unknown_family"), ("vllm", "vllm_unknown_family")):
        with pytest.raises(CannotTellError) as refused:
            choose(load_rules(), subject("of_nobody", adapter=adapter), gpu=True, installed=ALL, asked=engine)
        assert refused.value.code == code


def test_what_is_passed_over_says_why() -> None:
    choice = choose(load_rules(), subject(method="int8"), gpu=True, installed=ALL)
    assert choice.passed_over == (
        "vllm: vLLM's bitsandbytes plugin quantizes dense models to 4 bits while loading, not to 8 bits",
    )
    absent = choose(load_rules(), subject(), gpu=True, installed={**ALL, "vllm": False})
    assert absent.engine.name == "transformers"
    assert "not installed" in absent.passed_over[0]


@pytest.mark.parametrize(
    ("asked", "engine", "installed", "code"),
    [
        (subject("mpt"), "vllm", ALL, "vllm_no_mpt"),
        (subject(method="int8"), "vllm", ALL, "vllm_int8_dense"),
        (subject(), "vlm", ALL, "unknown_engine"),
        (subject(), "vllm", {}, "engine_absent"),
        (subject(), None, {}, "engine_absent"),
        (subject(method="gguf", kind="gguf"), "vllm", ALL, "engine_cannot"),
        (subject(), "llama.cpp", ALL, "engine_cannot"),
    ],
)
def test_a_server_asked_for_that_cannot_is_refused(
    asked: Subject, engine: str | None, installed: dict[str, bool], code: str
) -> None:
    with pytest.raises(UsageError) as refused:
        choose(load_rules(), asked, gpu=engine is not None, installed=installed, asked=engine)
    assert refused.value.code == code
    assert refused.value.fix


def test_a_rank_beyond_the_servers_maximum() -> None:
    with pytest.raises(UsageError) as refused:
        choose(load_rules(), subject(adapter=True), gpu=True, installed=ALL, asked="vllm", rank=1024)
    assert refused.value.code == "lora_rank"
    other = choose(load_rules(), subject(adapter=True), gpu=True, installed=ALL, rank=1024)
    assert other.engine.name == "transformers"


def test_every_rank_gets_the_smallest_setting_that_holds_it() -> None:
    for rank in range(1, VLLM_LORA_RANKS[-1] + 1):
        allowed = lora_rank_setting(rank)
        assert rank <= allowed
        assert not any(rank <= smaller < allowed for smaller in VLLM_LORA_RANKS)
