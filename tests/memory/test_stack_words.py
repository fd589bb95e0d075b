"""Each word of a workload: what it does to the peak, what a stack does by itself, and what it refuses, naming both."""

from dataclasses import replace
from typing import Any

import pytest

from modelpick.catalog import index
from modelpick.errors import UsageError
from modelpick.memory.estimate import estimate, estimate_model
from modelpick.memory.stack_words import settled
from modelpick.memory.stacks import NEWEST, OLDER, STACKS, stack_of
from modelpick.workload import Workload, workload_from
from tests.memory.shapes import LLAMA_7B, T5_BASE

TRAINERS = ["axolotl", "litgpt", "llama-factory", "modelpick", "torchtune", "transformers", "trl", "unsloth"]
# A word, the method (and sharding) it is for, and the value that turns it away from most stacks' choice.
WORDS: dict[str, tuple[dict[str, Any], Any]] = {
    "kbit_prepared": ({"method": "qlora"}, True),
    "double_quantization": ({"method": "qlora"}, True),
    "loss_chunking": ({"method": "lora"}, True),
    "compile": ({"method": "lora"}, True),
    "activation_offload": ({"method": "lora", "gradient_checkpointing": True}, True),
    "optimizer_offload": ({"method": "lora", "sharding": "zero2"}, True),
    "parameter_offload": ({"method": "lora", "gpus": 2, "sharding": "zero3"}, True),
    "optimizer_in_backward": ({"method": "full", "optimizer": "sgd"}, True),
    "objective": ({"method": "lora"}, "dpo"),
}


def work(**names: Any) -> Workload:
    return workload_from({"task": "finetune", "measure": "allocated", **names})


def total(shape: Any = LLAMA_7B, **names: Any) -> float:
    return estimate(shape, work(**names)).total


@pytest.mark.parametrize("word", WORDS)
def test_a_stack_has_a_word_or_refuses_it_and_names_both(word: str) -> None:
    common, turned = WORDS[word]
    able = []
    for stack in (name for name in TRAINERS if name not in ("modelpick", "unsloth") or "gpus" not in common):
        asked = work(**common, stack=stack, **{word: turned})
        if word in STACKS[stack].words or getattr(settled(work(**common, stack=stack)), word, None) == turned:
            able.append(stack)
            assert getattr(settled(asked), word) == turned
            continue
        with pytest.raises(UsageError) as caught:
            settled(asked)
        assert word in caught.value.message
        assert stack in caught.value.message
        assert caught.value.fix
    assert able, word


@pytest.mark.parametrize("word", ["double_quantization", "compile", "activation_offload", "optimizer_offload",
                                  "parameter_offload", "optimizer_in_backward", "loss_chunking"])  # fmt: skip
def test_what_saves_memory_saves_some_wherever_it_is_taken(word: str) -> None:
    common, turned = WORDS[word]
    common = {**common, "context": 2048} | ({"optimizer_in_backward": False} if common["method"] == "full" else {})
    for stack in (name for name in TRAINERS if word in STACKS[name].words):
        off, on = (total(stack=stack, **{**common, word: value}) for value in (not turned, turned))
        assert on < off, stack


def test_preparing_for_kbit_training_is_the_default_of_those_whose_users_call_it() -> None:
    said = {stack: settled(work(method="qlora", stack=stack)).kbit_prepared for stack in TRAINERS}
    assert {stack for stack, prepared in said.items() if prepared} == {"transformers", "trl"}
    assert settled(work(method="lora-int8")).stack == "modelpick"
    assert settled(work(method="lora")).kbit_prepared is None
    assert settled(work(method="qlora", stack="transformers", gpus=2, sharding="fsdp")).kbit_prepared is False
    with pytest.raises(UsageError, match="kbit_prepared does not apply to sharding fsdp"):
        settled(work(method="qlora", stack="transformers", gpus=2, sharding="fsdp", kbit_prepared=True))


def test_embeddings_and_residuals_in_fp32_are_what_was_measured() -> None:
    """Mistral 7B over NF4, 4 x 4096 packed tokens, checkpointed, SFTTrainer 0.13: 19.25 GiB, and 15.25 without
    (fms-acceleration, baseline-peft-bnb and accelerated-peft-bnb)."""
    model = index.load().find("mistralai/Mistral-7B-v0.1")
    assert model is not None
    told = {"method": "qlora", "context": 4096, "batch": 4, "gradient_checkpointing": True, "attention": "flash",
            "packing": True, "lora_dropout": 0.1, "lora_targets": "q_proj,k_proj,v_proj,o_proj"}  # fmt: skip
    for stack, version, prepared, gib in (("trl", "0.13", True, 19.25), ("transformers", "4.48", False, 15.25)):
        asked = work(**told, stack=stack, stack_version=version, kbit_prepared=prepared)
        assert estimate_model(model, asked).total / 2**30 == pytest.approx(gib, rel=0.05)


def test_double_quantization_saves_three_eighths_of_a_bit_a_weight() -> None:
    once, twice = (total(method="qlora", stack="litgpt", double_quantization=value) for value in (False, True))
    weights = LLAMA_7B.linear_weights
    assert (once - twice) * 8 / weights == pytest.approx(0.5 - 0.127, rel=0.05)


def test_a_shorter_target_takes_less_and_a_decoder_has_none() -> None:
    whole, short = (total(T5_BASE, method="lora", context=512, target_length=length) for length in (512, 64))
    assert short < whole == total(T5_BASE, method="lora", context=512)
    with pytest.raises(UsageError, match="target_length does not apply to llama"):
        total(method="lora", target_length=64)


def test_turning_loss_chunking_off_costs_logits_on_every_stack_that_cuts_its_loss() -> None:
    logits = 4096 * LLAMA_7B.vocabulary
    for stack, version, each in (("torchtune", None, 16), ("torchtune", "0.6", 16), ("litgpt", None, 12),
                                 ("trl", "1.16", 12), ("modelpick", None, 12)):  # fmt: skip
        common = {"method": "lora", "context": 4096, "stack": stack, "stack_version": version}
        cut, whole = total(**common), total(**common, loss_chunking=False)
        assert cut < whole
        assert whole - total(**{**common, "context": 1}) > each * logits
    old = {"method": "lora", "context": 4096, "stack": "torchtune", "stack_version": "0.2"}
    assert total(**old) == total(**old, loss_chunking=False) > total(**{**old, "stack_version": "0.3"})


def test_a_version_from_the_future_is_counted_as_the_newest_and_says_so() -> None:
    for stack, newest in NEWEST.items():
        future = Workload(stack=stack, stack_version=f"{newest[0] + 1}.0", method="bf16")  # type: ignore[arg-type]
        read = replace(future, stack_version=".".join(map(str, newest)))
        assert stack_of(future) == stack_of(read)
        said = [" ".join(estimate(LLAMA_7B, asked).assumptions) for asked in (future, read)]
        assert ["is newer than the newest version that was read" in text for text in said] == [True, False]


def test_what_older_versions_did_is_listed_from_the_newest_change_to_the_oldest() -> None:
    for stack, changes in OLDER.items():
        versions = [below for below, _ in changes]
        assert versions == sorted(versions, reverse=True), stack
        assert versions[0] <= NEWEST[stack]


def test_a_prompt_is_trained_alone_and_read_with_every_sequence() -> None:
    few, many = (estimate(LLAMA_7B, work(method="prompt-tuning", virtual_tokens=n)) for n in (20, 200))
    assert few.trainable_parameters == 20 * LLAMA_7B.hidden
    assert few.workload.stack == "modelpick"
    assert many.parts.activations > few.parts.activations
    assert estimate(LLAMA_7B, work(method="prompt-tuning")).total == few.total


def test_what_leaves_the_gpu_is_counted_where_it_goes() -> None:
    names: dict[str, Any] = {"method": "full", "gpus": 2, "sharding": "zero3", "stack": "transformers"}
    kept, moved = (estimate(LLAMA_7B, work(**names, **more)) for more in ({}, {"optimizer_offload": True}))
    assert kept.offloaded == 0
    assert moved.parts.optimizer == 0
    # An fp32 master and two moments a parameter, and its gradient in the compute type.
    assert moved.offloaded == pytest.approx(14 * LLAMA_7B.parameters / 2, rel=0.01)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            {"method": "lora", "stack": "transformers", "optimizer_offload": True},
            ("optimizer_offload", "sharding none"),
        ),
        ({"method": "lora", "gpus": 2, "sharding": "fsdp", "optimizer_offload": True}, ("fsdp", "together")),
        ({"method": "lora", "kbit_prepared": True}, ("kbit_prepared", "method lora")),
        ({"method": "lora", "double_quantization": True}, ("double_quantization", "method lora")),
        ({"method": "lora", "optimizer_in_backward": True}, ("optimizer_in_backward", "method lora")),
        ({"method": "lora", "virtual_tokens": 8}, ("virtual_tokens", "method lora")),
    ],
)
def test_words_that_contradict_each_other_are_both_named(names: dict[str, Any], words: tuple[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        work(**names)
    assert all(word in f"{caught.value.message} {caught.value.fix}" for word in words)
