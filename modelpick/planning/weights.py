"""Which weights of a model a server could load, the least quantized first. Pure.

Those that its repository holds; what an engine makes of unquantized ones while it loads them; and published copies in
another format, which are repositories of their own with a license of their own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.memory.estimate import architecture_of
from modelpick.memory.formats import own_method
from modelpick.workload import Method

BITS: Mapping[str, int] = {
    "bf16": 16, "fp8": 8, "int8": 8, "nf4": 4, "gptq": 4, "awq": 4, "mxfp4": 4, "nvfp4": 4, "compressed-tensors": 4,
    "gguf": 4,
}  # fmt: skip
"""Bits a weight of each method, where a checkpoint says nothing else."""

# What is made of 16-bit weights while they are loaded: fp8 by vLLM (layer by layer, so that the 16-bit model is never
# whole on the GPU: vllm/model_executor/layers/quantization/online/fp8.py, weights on the meta device), the others by
# bitsandbytes.
_MADE_AT_LOAD: tuple[Method, ...] = ("fp8", "int8", "nf4")
# What llama.cpp's converter makes of them, once, before they are loaded.
_MADE_BEFORE: tuple[Method, ...] = ("gguf",)
# Formats of copies that our servers load. A copy that bitsandbytes made is what it makes of the original as well.
_COPIED: tuple[Method, ...] = ("fp8", "compressed-tensors", "awq", "gptq", "nvfp4")
_LEAST_BITS = 4  # fewer lose more than a smaller model would
# A copy of somebody else than the maker is taken if it was downloaded as often in 30 days: one that nobody uses may be
# broken, and nobody would have noticed. Chosen, not measured; a third of the copies that the catalog lists are below.
ENOUGH_DOWNLOADS = 5_000
# Of all parameters, what an estimate surely counts at the bits of its format: a copy may leave out a vision tower or
# the layers that predict more than one token. tests/planning/test_weights.py holds it to be below every estimate.
_SURELY = 0.85


@dataclass(frozen=True)
class LoadableWeights:
    """Weights of `model` that a server could load as `method`: `bits` each. `original`: whose copy the repository is.

    The architecture of a copy is read when it is first asked for.
    """

    model: Model
    method: Method
    bits: int
    original: Model
    known: Architecture | None = None
    of: Architecture | None = None  # the original's

    @property
    def copied(self) -> bool:
        """Whether they are in another repository than the model's own."""
        return self.model is not self.original

    @property
    def least_bytes(self) -> float:
        """Bytes that they take at the very least: each parameter that both its counts have, at the fewest bits that any
        matrix of the repository itself has; scales left out."""
        if self.method == "gguf" or self.of is None:
            return 0.0
        counts = [count for count in (self.original.parameters, self.of.parameters) if count is not None]
        held = self.known.checkpoint.stored if self.known is not None and self.known.checkpoint is not None else ()
        fewest = min((one.bits for one in held if one.share), default=self.bits)  # DeepSeek-V4: fp8, experts in fp4
        return _SURELY * min(counts) * min(self.bits, fewest) / 8

    @cached_property
    def architecture(self) -> Architecture:
        """Raises what memory.estimate.architecture_of does."""
        return self.known or architecture_of(self.model)


def loadable(
    model: Model, architecture: Architecture, copies: Iterable[Model], method: Method, *, gguf: bool = False
) -> Sequence[LoadableWeights]:
    """What a server could load of `model`, the least quantized first; of copies in one format the maker's own before
    others, then the most downloaded. `method` other than `auto`: only such weights, the repository's own first.

    Where a repository is quantized, nothing is made of it. `gguf`: a GGUF file may be made of unquantized weights.
    """
    own = own_method(architecture.checkpoint)
    checkpoint = architecture.checkpoint
    held = (checkpoint.bits or BITS[own]) if checkpoint is not None else 16
    mine = LoadableWeights(model, own, held, model, architecture, architecture)
    listed = [mine]
    if checkpoint is None:
        listed += [
            LoadableWeights(model, made, BITS[made], model, architecture, architecture)
            for made in (*_MADE_AT_LOAD, *_MADE_BEFORE[:gguf])
        ]
    found = [
        weights
        for copy in copies
        if (weights := _of_copy(copy, model, architecture)) is not None and weights.bits < held
    ]
    listed += sorted(found, key=lambda weights: _trust(weights.model, model))
    if method != "auto":
        listed = [weights for weights in listed if weights.method == method]
    listed.sort(key=lambda weights: (weights is not mine, -weights.bits, _last(weights)))
    return listed


def _of_copy(copy: Model, original: Model, architecture: Architecture) -> LoadableWeights | None:
    """The weights of a copy by what the catalog calls it ("awq-4bit"); None where no server of ours loads such ones."""
    name, _, size = (copy.quantization or "").rpartition("-")
    if name not in _COPIED or not size.endswith("bit") or not size[:-3].isdigit():
        return None
    bits = int(size[:-3])
    if bits < _LEAST_BITS or not (_by_maker(copy, original) or (copy.downloads or 0) >= ENOUGH_DOWNLOADS):
        return None
    if not _named_after(copy, original):
        return None
    method: Method = next(method for method in _COPIED if method == name)
    return LoadableWeights(copy, method, bits, original, None, architecture)


# What a copy's name adds to the original's: its format, bits and groups. Any other word may say that the weights were
# changed as well ("uncensored", "pruned"), and then the original's score is not theirs.
_OF_FORMAT = re.compile(
    r"awq|gptq|gptqmodel|fp8|nvfp4|int[48]|w[48]a(8|16)(fp8)?|[48]-?bits?|[48]b|bf16|fp16|fp8kv|kv|dynamic|static|block"
    r"|channel|group|asym|sym|qat|ct|g?\d+g?|autoround|auto|round|llmcompressor|quantized|compressed|tensors|marlin|a16|w4a16|w8a8"
)


def _named_after(copy: Model, original: Model) -> bool:
    """Whether a copy's name is its original's and words of its format alone."""
    name, of = (model.id.rpartition("/")[2].lower() for model in (copy, original))
    rest = name.replace(of, "", 1) if of in name else None
    return rest is not None and all(_OF_FORMAT.fullmatch(word) for word in re.split(r"[-_.]+", rest) if word)


def _by_maker(copy: Model, original: Model) -> bool:
    return copy.id.partition("/")[0].lower() == original.id.partition("/")[0].lower()


def _trust(copy: Model, original: Model) -> tuple[bool, int, str]:
    return (not _by_maker(copy, original), -(copy.downloads or 0), copy.id)


def _last(weights: LoadableWeights) -> int:
    """Among weights of as many bits: the maker's own copy, then fp8 made at load, then what others published; nvfp4,
    which only Blackwell computes in, and what bitsandbytes makes, which is slower, after those; GGUF files last, since
    llama.cpp splits its cache among the requests that it answers at once, where vLLM shares pages."""
    if weights.copied and _by_maker(weights.model, weights.original) and weights.method != "nvfp4":
        return 0
    if weights.method == "fp8" and not weights.copied:
        return 1
    return {"nvfp4": 3, "int8": 4, "nf4": 4, "gguf": 5}.get(weights.method, 2)
