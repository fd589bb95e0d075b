"""A mend for attention that CUDA would compute the long way: Falcon-7B's one head of keys and values.

transformers hands scaled_dot_product_attention 71 heads of queries and one of keys (modeling_falcon.py, 5.23). torch's
fused kernels refuse heads that differ (sdp_utils_cpp.h, check_batch_size_and_num_heads_dense), and what is left keeps
every score in fp32: 9.5 GB at 1024 tokens, where the fused kernel keeps none.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def repeat_single_key(model: "nn.Module") -> int:
    """While the model trains, show its one head of keys and values to every query head; returns the layers changed.

    The result is the same. Generation is left alone: its cache would be as many times larger.
    """
    changed = 0
    for module in model.modules():
        attention: Any = module
        if type(module).__name__ == "FalconAttention" and attention.num_kv_heads == 1 < attention.num_heads:
            attention._split_heads = partial(_split_heads, attention, attention._split_heads)
            attention.register_forward_pre_hook(_count_heads)
            changed += 1
    return changed


def _count_heads(attention: Any, inputs: object) -> None:
    attention.num_kv_heads = attention.num_heads if attention.training else 1


def _split_heads(attention: Any, split: Any, fused: "torch.Tensor") -> tuple["torch.Tensor", ...]:
    query, key, value = split(fused)
    if attention.training:
        key, value = key.expand_as(query), value.expand_as(query)
    return query, key, value
