"""What speed needs to know of a model: elements that are read, multiplied and kept. Pure."""

from collections import Counter
from dataclasses import dataclass

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.architecture.shape import Checkpoint, LayerGroup
from modelpick.memory.kv_cache import layer_width
from modelpick.memory.weights import ELEMENT_BYTES, SCHEMES, grouped

# Bytes read for a weight, codes and scales: memory/weights.py has them, with their sources. The first ones occur in
# published measurements alone: 8-bit GPTQ, SmoothQuant's W8A8 (arXiv 2211.10438), NVFP4 (4 bits, an 8-bit scale for 16
# of them), FP8 with a 32-bit scale for 128 x 128 of them, 4-bit integers with a 16-bit scale for 32 (Kimi-K2.5). The
# output matrix stays at 16 bits except in GGUF.
WEIGHT_BYTES = {
    "gptq-int8": grouped("gptq", bits=8).bytes_per_weight,
    "w8a8": 1.0,
    "nvfp4": 0.5 + 1 / 16,
    "fp8-block": 1.0 + 4 / 128**2,
    "int4": 0.5 + 2 / 32,
    **ELEMENT_BYTES,
    **{name: scheme.bytes_per_weight for name, scheme in SCHEMES.items()},
}


@dataclass(frozen=True, slots=True)
class SpeedShape:
    """What speed needs to know of a model, counted in elements."""

    layers: int
    hidden: int
    dense_weights: int  # linear layers that every token passes, without the output matrix
    expert_weights: int  # all routed experts of all layers
    experts: int  # routed experts a layer has (0: none), of which `experts_per_token` are used
    experts_per_token: int
    head_weights: int  # the output matrix
    cache_per_token: float  # keys and values kept per token, all layers (MLA: the latent)
    attention_width: float  # query elements, summed over layers
    window: int | None = None  # tokens the windowed layers look back
    windowed_share: float = 0.0  # the part of `cache_per_token` in windowed layers
    parameters: int = 0
    # Products of a step with all layers, as engines fuse them, without those of routed experts (4 a layer for Llama).
    products: int = 0
    layers_with_experts: int = 0
    # Heads of keys and values, and the part of `cache_per_token` in layers with so many of them: over more GPUs than
    # that each of them keeps copies.
    cache_heads: tuple[tuple[int, float], ...] = ()
    picked: int | None = None  # tokens that an indexer picks to attend to; None: all that are kept
    index_per_token: float = 0.0  # of `cache_per_token`, the keys that the indexer reads of every token
    # What the repository holds: the method's name, and the formats of its dense weights and of its experts.
    stored: tuple[str, str, str] | None = None

    @property
    def active_experts(self) -> float:
        """Weights of the experts that a token is multiplied with."""
        return self.expert_weights * self.experts_per_token / self.experts if self.experts else 0.0

    @property
    def active_weights(self) -> float:
        """Weights a token is multiplied with."""
        return self.dense_weights + self.active_experts + self.head_weights

    def formats(self, method: str) -> tuple[str, str]:
        """The formats of the dense weights and of the experts under `method`, as the operators' tables name them.

        Those of the repository where it is its own method; else `a+b` names both, and MXFP4 is of experts alone, as in
        gpt-oss.
        """
        if self.stored is not None and method == self.stored[0]:
            return self.stored[1:]
        dense, _, experts = method.partition("+")
        return ("bf16", "mxfp4") if method == "mxfp4" else (dense, experts or dense)

    def touched(self, sequences: float) -> float:
        """Elements of the experts that one step of `sequences` tokens reads: those that no token chose are not read.

        As if the router chose evenly: real routing is skewed, which reads a little less.
        """
        if not self.experts:
            return 0.0
        untouched: float = (1 - self.experts_per_token / self.experts) ** sequences
        return self.expert_weights * (1 - untouched)

    def bytes_read(self, method: str, sequences: float) -> float:
        """Weight bytes one step reads."""
        dense, experts = self.formats(method)
        head = self.head_weights * (WEIGHT_BYTES[method] if method == "gguf" else 2.0)
        return self.dense_weights * WEIGHT_BYTES[dense] + self.touched(sequences) * WEIGHT_BYTES[experts] + head

    def weight_bytes(self, method: str) -> float:
        """Bytes of all weights that steps read, without the embedding table."""
        return self.bytes_read(method, 1e9)

    def cache_copies(self, workers: int) -> float:
        """By how much more all GPUs keep and read together than one would: tensor parallelism splits the cache by its
        heads (one for MLA's latent), and GPUs beyond their number hold a copy."""
        shares = sum(share * max(1.0, workers / heads) for heads, share in self.cache_heads)
        return shares or 1.0

    def cache_read(self, context: float) -> float:
        """Elements of the cache that a step reads of one sequence of `context` tokens."""
        attended = context if self.picked is None else min(context, self.picked)
        return self.index_per_token * context + (self.cache_per_token - self.index_per_token) * self.cache_tokens(
            attended
        )

    def cache_tokens(self, context: float) -> float:
        """Tokens an average layer still keeps at `context`."""
        if self.window is None:
            return context
        return context * (1 - self.windowed_share) + min(context, self.window) * self.windowed_share


def shape_of(architecture: Architecture) -> SpeedShape:
    """The shape of a model read from its config.json. Encoder and decoder layers count alike."""
    runs = architecture.layers + architecture.encoder
    cache = attention = windowed = index = 0.0
    window = picked = None
    experts = per_token = 0
    by_heads: Counter[int] = Counter()
    for run in runs:
        if run.attention is not None:
            kept = run.count * layer_width(run, latent=True)
            cache += kept
            by_heads[1 if run.attention.latent else run.attention.kv_heads] += kept
            attention += run.count * run.attention.query_width
            if run.attention.window is not None:
                window = max(window or 0, run.attention.window)
                windowed += kept
            index += run.count * run.attention.indexed
            picked = run.attention.picked or picked
        if run.experts is not None:
            experts, per_token = run.experts.count, run.experts.per_token
    return SpeedShape(
        layers=architecture.depth,
        hidden=architecture.hidden,
        dense_weights=architecture.linear_weights,
        expert_weights=architecture.expert_weights,
        experts=experts,
        experts_per_token=per_token,
        head_weights=architecture.head_parameters,
        cache_per_token=cache,
        attention_width=attention,
        window=window,
        windowed_share=windowed / cache if cache else 0.0,
        parameters=architecture.parameters,
        products=sum(run.count * fused_products(run, architecture.hidden) for run in runs),
        layers_with_experts=sum(run.count for run in runs if run.experts),
        cache_heads=tuple(sorted((heads, kept / cache) for heads, kept in by_heads.items() if kept)),
        picked=picked,
        index_per_token=index,
        stored=_stored(architecture.checkpoint),
    )


def fused_products(run: LayerGroup, hidden: int) -> int:
    """Products of one layer that a step starts, as vLLM, SGLang and TensorRT-LLM fuse them: one for queries, keys and
    values (and MLA's two compressions), one for gate and up, and each other projection by itself. MLA's keys and values
    are not expanded: its queries and its output go through that matrix instead, two products. A router is one more.

    Source: vllm 0.11 model_executor/models/deepseek_v2.py (fused_qkv_a_proj), layers/linear.py (QKVParallelLinear,
    MergedColumnParallelLinear), v1/attention/backends/mla/common.py (W_UK_T, W_UV)."""
    fused = sum(p.role == "gate" or (p.role in ("key", "value") and p.inputs == hidden) for p in run.projections)
    absorbed = run.attention is not None and run.attention.latent > 0
    return len(run.projections) - fused + absorbed + (run.experts is not None)


def _stored(checkpoint: Checkpoint | None) -> tuple[str, str, str] | None:
    """The formats that a repository's weights have, most of its dense ones and its experts."""
    if checkpoint is None or not checkpoint.stored:
        return None
    experts = [one for one in checkpoint.stored if one.name == "experts"]
    dense = [one for one in checkpoint.stored if one.name != "experts"]
    quantized = [one for one in dense if one.share >= 0.5]
    held = quantized if 2 * len(quantized) > len(dense) else []
    formats = [_format(checkpoint.method, max((one.bits for one in some), default=0.0)) for some in (held, experts)]
    return checkpoint.method, formats[0], formats[1]


def _format(method: str, bits: float) -> str:
    """The operators' name for what is stored in so many bits a weight, scales included."""
    if bits == 0:
        return "bf16"
    if method in ("compressed-tensors", "nvfp4") and bits > 6:
        return "fp8-block" if bits > 8 else "fp8"
    if method == "compressed-tensors":
        return "int4"
    return "fp8-block" if method == "fp8" and bits > 8 else method
