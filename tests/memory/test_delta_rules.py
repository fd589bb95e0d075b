"""Delta rules as transformers runs them without kernels: what one layer really saves is what the estimate counts."""

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
import torch

from modelpick.catalog import architecture
from modelpick.memory.activations import mixer_bytes
from modelpick.memory.stacks import stack_of
from modelpick.workload import workload_from

HEADS, SIZE, HIDDEN, TOKENS = 2, 128, 64, 128


def gated() -> tuple[Any, dict[str, Any]]:
    from transformers import Qwen3NextConfig
    from transformers.models.qwen3_next.modeling_qwen3_next import Qwen3NextGatedDeltaNet

    sizes = {
        "linear_num_key_heads": HEADS, "linear_num_value_heads": HEADS, "linear_key_head_dim": SIZE,
        "linear_value_head_dim": SIZE, "hidden_size": HIDDEN, "num_hidden_layers": 4, "vocab_size": 100,
        "num_attention_heads": 2, "num_key_value_heads": 2, "moe_intermediate_size": 64, "num_experts": 4,
        "num_experts_per_tok": 1,
    }  # fmt: skip
    config = {**sizes, "model_type": "qwen3_next", "full_attention_interval": 4}
    return Qwen3NextGatedDeltaNet(Qwen3NextConfig(**sizes), 0), config


def kimi() -> tuple[Any, dict[str, Any]]:
    from transformers import BailingHybridConfig
    from transformers.models.bailing_hybrid.modeling_bailing_hybrid import BailingHybridDeltaAttention

    sizes = {
        "num_attention_heads": HEADS, "num_key_value_heads": HEADS, "head_dim": SIZE, "hidden_size": HIDDEN,
        "num_hidden_layers": 4, "vocab_size": 100, "moe_intermediate_size": 64, "num_experts": 4,
        "num_experts_per_tok": 1, "short_conv_kernel_size": 4, "layer_group_size": 4, "kv_lora_rank": 16,
        "qk_rope_head_dim": 16, "v_head_dim": 16, "qk_nope_head_dim": 16, "pad_token_id": 0, "eos_token_id": 1,
    }  # fmt: skip
    return BailingHybridDeltaAttention(BailingHybridConfig(**sizes), 0), {**sizes, "model_type": "bailing_hybrid"}


@pytest.mark.parametrize("make", [gated, kimi])
def test_the_plain_path_saves_what_is_counted(make: Any) -> None:
    torch.manual_seed(0)
    layer, config = make()
    layer = layer.to(torch.bfloat16).requires_grad_(False)
    ours = {parameter.untyped_storage()._cdata for parameter in layer.parameters()}
    saved: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in ours:
            saved[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(torch.randn(1, TOKENS, HIDDEN, dtype=torch.bfloat16, requires_grad=True))
    measured = sum(storage.nbytes() for storage in saved.values()) / TOKENS
    mixers = [run.mixer for run in architecture.read(config).layers if run.mixer]
    plain = stack_of(workload_from({"method": "lora"}))
    served = stack_of(workload_from({"method": "bf16", "stack": "vllm"}))
    assert mixer_bytes(mixers[0], plain, 2.0) == pytest.approx(measured, rel=0.04)
    assert mixer_bytes(mixers[0], served, 2.0) == 16 * HEADS * SIZE  # vLLM brings kernels of its own
