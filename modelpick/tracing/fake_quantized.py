"""Fakes of bitsandbytes' linear layers for a trace: their true sizes and temporaries, none of their arithmetic.

The 8-bit kernels and the double-quantized 4-bit state cannot run on fake tensors, so what they allocate is written
down, operation by operation (bitsandbytes 0.50.2, CUDA). Weights of LLM.int8 are int8 with an fp32 scale a row; of NF4
half a byte a weight with an fp32 scale per 64 or, double-quantized, a byte per 64 and an fp32 per 256 of those.
Outlier columns are not counted: their number depends on real activations.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from modelpick.loading.quantized import is_kept, kept_by_intent, linear_classes


class _Dequantized(torch.autograd.Function):
    """y = x W with W dequantized for the call, and again for backward; only the quantized weight is saved.

    autograd/_functions.py MatMul4Bit; a handful of tokens takes a kernel that rebuilds nothing (gemm_4bit).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, packed: torch.Tensor, shape: tuple[int, int], bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(packed)
        ctx.shape = shape
        weight = torch.empty(shape, dtype=x.dtype, device=x.device)
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient = gradients[0]
        weight = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device)
        return gradient @ weight, None, None, None


class _Int8(torch.autograd.Function):
    """LLM.int8 (arXiv 2208.07339): autograd/_functions.py MatMul8bitLt over backends/cuda/ops.py.

    The input is kept as an attribute of the node whenever it needs a gradient: as long as the graph, not until its
    backward pass. The result has the input's type, and so has the weight that backward rebuilds.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, packed: torch.Tensor, shape: tuple[int, int], bias: torch.Tensor | None
    ) -> torch.Tensor:
        rows = x.reshape(-1, shape[1])
        inputs = _quantized_rows(rows)
        accumulator = torch.empty((rows.shape[0], shape[0]), dtype=torch.int32, device=x.device)
        result = torch.empty(accumulator.shape, dtype=torch.float16, device=x.device).to(x.dtype)
        del inputs, accumulator
        ctx.shape, ctx.input_dtype = shape, x.dtype
        ctx.tensors = rows if ctx.needs_input_grad[0] else None
        return result.view(*x.shape[:-1], shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient = gradients[0].to(ctx.input_dtype)
        weight = torch.empty(ctx.shape, dtype=ctx.input_dtype, device=gradient.device)
        return gradient @ weight, None, None, None


def _quantized_rows(rows: torch.Tensor) -> torch.Tensor:
    """int8_vectorwise_quant: an fp16 input, its int8 copy, and the search for outliers, which leaves nothing here."""
    half = rows.to(torch.float16)
    inputs = torch.empty(half.shape, dtype=torch.int8, device=rows.device)
    outliers = half.abs() >= 6.0
    del outliers
    return inputs


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight takes the bytes of its quantized form. peft adapts it like any nn.Linear."""

    def __init__(self, plain: Any, shape: tuple[int, int], bits: str, *, double: bool) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = self.full_shape = shape
        self.bits, self.bias = bits, plain.bias
        self.compute_dtype = plain.weight.dtype
        count, device = plain.weight.numel(), plain.weight.device
        if bits == "int8":
            packed = torch.empty(shape, dtype=torch.int8, device=device)
            self.register_buffer("row_scales", torch.empty(self.out_features, dtype=torch.float32, device=device))
        else:
            packed = torch.empty((count // 2, 1), dtype=torch.uint8, device=device)
            blocks = -(-count // 64)
            scales = torch.uint8 if double else torch.float32
            self.register_buffer("block_scales", torch.empty(blocks, dtype=scales, device=device))
            if double:
                self.register_buffer(
                    "second_scales", torch.empty(-(-blocks // 256), dtype=torch.float32, device=device)
                )
        self.weight = nn.Parameter(packed, requires_grad=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor
        if self.bits == "int8":
            result = _Int8.apply(input, self.weight, self.full_shape, self.bias)
            return result
        narrow = input.to(self.compute_dtype)  # nn/modules.py Linear4bit
        result = _Dequantized.apply(narrow, self.weight, self.full_shape, self.bias)
        return result.to(input.dtype)


def quantize(model: nn.Module, bits: str, *, double: bool = False) -> int:
    """Replace what loading for `modelpick finetune` quantizes, by its own rule; returns how many were replaced."""
    from transformers.pytorch_utils import Conv1D

    keep = kept_by_intent(model)
    replaced = 0
    for name, module in list(model.named_modules()):
        if not isinstance(module, linear_classes()) or is_kept(name, keep):
            continue
        layer: Any = module
        first, second = layer.weight.shape
        shape = (second, first) if isinstance(module, Conv1D) else (first, second)
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], QuantizedLinear(module, shape, bits, double=double))
        replaced += 1
    return replaced
