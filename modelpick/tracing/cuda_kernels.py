"""What CUDA does differently from the CPU that a trace runs on: attention, autocast, dropout, TRL's Triton kernels.

Sources: aten/native/transformers/cuda/sdp_utils.cpp, aten/src/ATen/autocast_mode.h (torch 2.13), trl/kernels/
chunked_logprob.py (trl 1.16).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

# autocast_mode.h, AT_FORALL_FP32: CUDA widens the inputs of these under autocast, the CPU only those of a few others.
IN_FP32 = frozenset(
    {
        "acos", "asin", "cosh", "erfinv", "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt",
        "sinh", "tan", "pow", "softplus", "layer_norm", "native_layer_norm", "rms_norm", "group_norm",
        "frobenius_norm", "nuclear_norm", "cosine_similarity", "poisson_nll_loss", "cosine_embedding_loss", "nll_loss",
        "nll_loss2d", "hinge_embedding_loss", "kl_div", "l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss",
        "margin_ranking_loss", "multilabel_margin_loss", "soft_margin_loss", "triplet_margin_loss",
        "multi_margin_loss", "binary_cross_entropy_with_logits", "dist", "pdist", "cdist", "renorm", "logsumexp",
    }
)  # fmt: skip
# Made of two of them, log_softmax and nll_loss, below what Python sees.
_COMPOSED = frozenset({"cross_entropy"})
# AT_FORALL_FP32_SET_OPT_DTYPE: these give fp32 and read their input as it is.
GIVE_FP32 = frozenset({"prod", "softmax", "log_softmax", "cumprod", "cumsum", "sum"})
_HALVES = (torch.float16, torch.bfloat16)


class _CudaOperations(TorchFunctionMode):
    """The CPU's autocast, while it is on, with the operations that CUDA's computes in fp32; and CUDA's dropout, which
    keeps a mask of bytes (aten/native/Dropout.cpp, is_fused_kernel_acceptable) where the CPU keeps one of numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.__name__.strip("_")
        if name == "dropout":
            return _dropped(*args, **kwargs)
        if (name in IN_FP32 or name in _COMPOSED) and torch.is_autocast_enabled("cpu"):
            args, kwargs = tree_map(_widened, (args, kwargs))
        elif name in GIVE_FP32 and torch.is_autocast_enabled("cpu") and kwargs.get("dtype") is None:
            halves = isinstance(args[0], torch.Tensor) and args[0].dtype in _HALVES
            kwargs = {**kwargs, "dtype": torch.float32} if halves else kwargs
        return func(*args, **kwargs)


def _dropped(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    if not training or p == 0:
        return input
    kept: torch.Tensor = torch.native_dropout(input, p, True)[0]
    return kept


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALVES else value


@contextmanager
def cuda_rules(*, padded: bool = False, trl: bool = False) -> Iterator[None]:
    """Within, attention, autocast and dropout run as on CUDA, and transformers decides on masks as with real values.

    `padded`: sequences of one batch differ in length. `trl`: its kernels allocate what the Triton ones do, nothing. The
    autocast to enter is torch.autocast("cpu", dtype), which checkpointing enters again; see `checkpoint_contexts`.
    """
    from transformers import masking_utils

    changes: list[tuple[Any, str, Any]] = [
        (torch.nn.functional, "scaled_dot_product_attention", _attend),
        # It reads the positions, and finds one sequence a row.
        (masking_utils, "find_packed_sequence_indices", lambda position_ids: None),
    ]
    if not padded:  # every position is a token: no mask is made, and attention is causal by itself
        changes += [
            (masking_utils, "is_tracing", lambda tensor=None: False),
            (masking_utils, "fast_all", lambda mask: True),
        ]
    if trl:  # folding a tile of logits and the matrix product in place write into what is there already
        from trl.kernels import chunked_logprob

        names = ("_forward_tile", "_backward_tile", "_addmm_fp32")
        changes += [(chunked_logprob, name, lambda *arguments, **named: None) for name in names]
    with _CudaOperations(), _changed(changes):
        yield


def checkpoint_contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[Any]]:
    """For torch.utils.checkpoint: `backward` leaves the mode, and what it computes again must follow it again."""
    return nullcontext(), _CudaOperations()


@contextmanager
def _changed(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(module, name, getattr(module, name)) for module, name, _ in changes]
    for module, name, new in changes:
        setattr(module, name, new)
    try:
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """The kernel that CUDA chooses: flash without a mask in 16 bits up to a head of 256; with one memory-efficient, to
    which the mask is expanded; and where the heads differ, which neither takes, plain products in fp32."""
    if torch.is_autocast_enabled("cpu"):
        narrow = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(narrow), key.to(narrow), value.to(narrow)
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.to(narrow)
    aten: Any = torch.ops.aten
    same_heads = query.size(-3) == key.size(-3) == value.size(-3)
    same_width = query.size(-1) == value.size(-1) <= 256
    if attn_mask is None and query.dtype in _HALVES and same_width and (same_heads or enable_gqa):
        flash: torch.Tensor = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
        return flash
    if not same_heads:
        with torch.autocast("cpu", enabled=False):
            plain: torch.Tensor = aten._scaled_dot_product_attention_math(
                query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
            )[0]
        return plain
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            filled = torch.zeros_like(attn_mask, dtype=query.dtype)
            filled.masked_fill_(attn_mask.logical_not(), float("-inf"))
            attn_mask = filled
        attn_mask = attn_mask.expand(query.size(0), query.size(1), query.size(2), key.size(2))
    for_backward = query.requires_grad or key.requires_grad
    efficient: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, for_backward, dropout_p, is_causal, scale=scale
    )[0]
    return efficient
