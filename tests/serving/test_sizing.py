"""Flags follow from the memory estimate; what does not fit is refused with who holds the GPU."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import index
from modelpick.catalog.architecture import Architecture
from modelpick.errors import UsageError
from modelpick.memory.estimate import architecture_of
from modelpick.serving.command import Served, environment, words
from modelpick.serving.engines import ENGINES
from modelpick.serving.machine import Holder, LocalGpu, LocalMachine
from modelpick.serving.sizing import NoRoomError, size
from modelpick.workload import Workload, workload_from

A10G = LocalGpu("NVIDIA A10G", 22.5, 22.1, 8.6)


def architecture(id: str = "Qwen/Qwen3-8B") -> Architecture:
    model = index.load().find(id)
    assert model is not None
    return architecture_of(model)


def work(**names: object) -> Workload:
    return workload_from({"task": "serve", "method": "bf16", "generate": 512, **names})


def test_vllm_is_told_context_sequences_and_share() -> None:
    sizing = size(
        architecture(), work(context=4096, batch=8, method="nf4"), ENGINES["vllm"], LocalMachine(A10G, (), 30.0)
    )
    flags = words(
        ENGINES["vllm"], Served("qwen", Path("/m")), sizing, host="127.0.0.1", port=8000, gpu=True, key_file=Path("/k")
    )
    told = dict(itertools.pairwise(flags))
    assert told["--max-model-len"] == "4608"
    assert told["--max-num-seqs"] == "8"
    assert told["--gpu-memory-utilization"] == "0.90"
    assert told["--quantization"] == "bitsandbytes"
    assert told["--uds"] == "server.sock"


def test_vllm_takes_no_more_than_others_leave() -> None:
    shared = LocalMachine(LocalGpu("NVIDIA A10G", 22.5, 12.0, 8.6), (Holder(4711, "python", 10.1),), 30.0)
    sizing = size(architecture(), work(context=1024, method="nf4"), ENGINES["vllm"], shared)
    assert sizing.utilization is not None
    assert sizing.utilization * 22.5 <= 12.0


def test_who_holds_the_gpu_is_named() -> None:
    held = LocalMachine(
        LocalGpu("NVIDIA A10G", 22.5, 3.0, 8.6), (Holder(4711, "python", 19.0), Holder(12, "X", 0.1)), 30.0
    )
    with pytest.raises(NoRoomError) as refused:
        size(architecture(), work(context=1024), ENGINES["transformers"], held)
    assert refused.value.code == "no_gpu_memory"
    assert "python (pid 4711, 19.0 GiB)" in refused.value.message
    assert "4711" in refused.value.fix


def test_what_fits_no_such_gpu_does_not_blame_its_holders() -> None:
    with pytest.raises(NoRoomError) as refused:
        size(
            architecture("Qwen/Qwen3-32B"),
            work(context=1024),
            ENGINES["vllm"],
            LocalMachine(A10G, (Holder(1, "x", 1.0),), 1.0),
        )
    assert "larger GPU" in refused.value.fix


def test_a_context_beyond_the_model_is_refused_when_named_and_lowered_when_not() -> None:
    model = architecture("HuggingFaceTB/SmolLM2-135M-Instruct")
    machine = LocalMachine(None, (), 60.0)
    with pytest.raises(UsageError) as refused:
        size(model, work(context=9000), ENGINES["transformers"], machine)
    assert refused.value.code == "context_too_long"
    sizing = size(model, work(context=9000), ENGINES["transformers"], machine, asked=("generate",))
    assert sizing.tokens == model.context


def test_requests_at_once_that_nobody_named_are_as_many_as_fit() -> None:
    tight = LocalMachine(A10G, (), 30.0)
    with pytest.raises(NoRoomError):
        size(architecture(), work(), ENGINES["vllm"], tight)
    sizing = size(architecture(), work(), ENGINES["vllm"], tight, asked=())
    assert 1 <= sizing.concurrency < 8
    assert sizing.needed_gib <= (sizing.free_gib or 0)
    assert any(note.startswith(f"{sizing.concurrency} at once: there is no room") for note in sizing.notes)
    assert size(architecture(), work(method="nf4"), ENGINES["vllm"], tight, asked=()).concurrency == 8


def test_only_vllm_is_started_on_several_gpus() -> None:
    machine = LocalMachine(LocalGpu("G", 80.0, 80.0, 9.0), (), None)
    sizing = size(architecture(), work(context=512, gpus=2), ENGINES["vllm"], machine)
    line = words(ENGINES["vllm"], Served("m", Path("/m")), sizing, host="h", port=1, gpu=True, key_file=Path("/k"))
    assert line[line.index("--tensor-parallel-size") + 1] == "2"
    with pytest.raises(UsageError):
        size(architecture(), work(context=512, gpus=2), ENGINES["transformers"], machine)


def test_a_second_copy_of_the_weights_counts() -> None:
    model, machine = architecture("HuggingFaceTB/SmolLM2-135M-Instruct"), LocalMachine(None, (), 60.0)
    one, two = (size(model, work(context=512), ENGINES["transformers"], machine, copies=copies) for copies in (1, 2))
    assert two.needed_gib > 1.5 * one.needed_gib - 0.2


@given(st.integers(1, 6000), st.integers(1, 64), st.floats(0.5, 80.0))
def test_what_is_started_always_fits_what_is_free(context: int, batch: int, free: float) -> None:
    model = architecture("HuggingFaceTB/SmolLM2-135M-Instruct")
    for name in ("vllm", "transformers"):
        try:
            sizing = size(
                model,
                work(context=context, batch=batch),
                ENGINES[name],
                LocalMachine(LocalGpu("G", 80.0, free, 9.0), (), None),
            )
        except NoRoomError:
            continue
        else:
            assert sizing.needed_gib <= free
            assert sizing.utilization is None or 0 < sizing.utilization <= 0.9


@pytest.mark.parametrize("name", ["vllm", "transformers", "llama.cpp"])
def test_no_key_is_ever_in_a_command_line(name: str) -> None:
    engine, machine = ENGINES[name], LocalMachine(LocalGpu("G", 80.0, 80.0, 9.0), (), None)
    sizing = size(architecture("HuggingFaceTB/SmolLM2-135M-Instruct"), work(context=100), engine, machine)
    served = Served("base", Path("/m"), "tuned", Path("/a"), 16)
    line = words(engine, served, sizing, host="127.0.0.1", port=1, gpu=True, key_file=Path("/state/key"))
    assert "--api-key" not in line
    assert environment(engine, "mp-secret").get("VLLM_API_KEY") == ("mp-secret" if name == "vllm" else None)
    assert "--uds" in line if engine.socket else line[line.index("--host") + 1] == "127.0.0.1"
    assert environment(engine, "mp-secret").get("VLLM_HOST_IP") == ("127.0.0.1" if name == "vllm" else None)


def test_without_a_gpu_vllm_is_told_a_share_of_the_ram() -> None:
    model = architecture("HuggingFaceTB/SmolLM2-135M-Instruct")
    sizing = size(model, work(context=100), ENGINES["vllm"], LocalMachine(None, (), 20.0, 24.0))
    assert sizing.utilization is not None
    assert sizing.needed_gib < sizing.utilization * 24.0 < 4.0


def test_vllm_gets_the_adapter_beside_the_base() -> None:
    machine = LocalMachine(LocalGpu("G", 80.0, 80.0, 9.0), (), None)
    sizing = size(architecture("HuggingFaceTB/SmolLM2-135M-Instruct"), work(context=100), ENGINES["vllm"], machine)
    served = Served("base", Path("/m"), "tuned", Path("/a"), 24)
    line = " ".join(words(ENGINES["vllm"], served, sizing, host="127.0.0.1", port=1, gpu=True, key_file=Path("/k")))
    assert "--served-model-name base" in line
    assert "--enable-lora --max-lora-rank 32 --max-loras 1 --lora-modules tuned=/a" in line
