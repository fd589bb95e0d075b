"""Stand-ins for bitsandbytes' linear layers in a trace: their true sizes and temporaries, none of their arithmetic.

The 8-bit kernels and the double-quantized 4-bit state cannot run on fake tensors, so what they allocate is written
down. LLM.int8 (bitsandbytes 0.50, autograd/_functions.py MatMul8bitLt and functional.py int8_*): weights as int8 with
an fp32 scale a row; per call an fp16 input, its int8 copy, an int32 accumulator and an fp16 output; backward
dequantizes the whole weight.
NF4 (functional.py quantize_4bit): half a byte a weight, an fp32 scale per 64, or with double quantization a byte per 64
and an fp32 per 256 of those; forward and backward dequantize the whole weight.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class _Dequantized(torch.autograd.Function):
    """y = x W with W dequantized for the call, and again for backward; only the quantized weight is saved."""

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
    """The temporaries of LLM.int8's forward (arXiv 2208.07339) without outlier columns beyond a hundredth."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, packed: torch.Tensor, shape: tuple[int, int], bias: torch.Tensor | None
    ) -> torch.Tensor:
        rows = x.reshape(-1, shape[1])
        half = rows.to(torch.float16)
        inputs = torch.empty(half.shape, dtype=torch.int8, device=x.device)
        accumulator = torch.empty((half.shape[0], shape[0]), dtype=torch.int32, device=x.device)
        output = torch.empty((half.shape[0], shape[0]), dtype=torch.float16, device=x.device)
        ctx.save_for_backward(packed)
        ctx.shape = shape
        del inputs, accumulator
        result = output.to(x.dtype)
        return result.view(*x.shape[:-1], shape[0])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradient = gradients[0]
        weight = torch.empty(ctx.shape, dtype=gradient.dtype, device=gradient.device)
        return gradient @ weight, None, None, None


class QuantizedLinear(nn.Linear):
    """A linear layer whose weight takes the bytes of its quantized form. peft adapts it like any nn.Linear."""

    def __init__(self, plain: nn.Linear, bits: str, *, double: bool) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = plain.weight.shape
        self.full_shape, self.bits, self.bias = tuple(plain.weight.shape), bits, plain.bias
        count, device = plain.weight.numel(), plain.weight.device
        if bits == "int8":
            packed = torch.empty(plain.weight.shape, dtype=torch.int8, device=device)
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
        kernel = _Int8 if self.bits == "int8" else _Dequantized
        result: torch.Tensor = kernel.apply(input, self.weight, self.full_shape, self.bias)
        return result


def quantize(model: nn.Module, bits: str, *, double: bool = False) -> int:
    """Replace every linear layer but the output embedding, task heads, and those that the family keeps in fp32 (T5's
    `wo`, which transformers then loads in fp32); returns how many were replaced."""
    output: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    kept = ("classifier", "score", "qa_outputs")
    in_fp32 = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    replaced = 0
    for name, module in list(model.named_modules()):
        if name.rpartition(".")[2] in in_fp32:
            module.float()
            continue
        if not isinstance(module, nn.Linear) or module is output or name.split(".")[0] in kept:
            continue
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], QuantizedLinear(module, bits, double=double))
        replaced += 1
    return replaced
