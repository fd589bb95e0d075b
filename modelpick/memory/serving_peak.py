"""The peak of serving, moment by moment: the end of prefill, or the last generated token. Pure."""

from modelpick.catalog.architecture import Architecture
from modelpick.memory import activations, images, kv_cache, llama_cpp, pages
from modelpick.memory.pages import Cached
from modelpick.memory.parts import MemoryParts
from modelpick.memory.stacks import Stack
from modelpick.memory.training import Shares
from modelpick.memory.weights import Weights
from modelpick.workload import Workload, version_of

_GIB = 2.0**30


def serving_parts(
    architecture: Architecture, workload: Workload, stack: Stack, held: Weights, share: Shares, b: float,
    parameters: int,
) -> MemoryParts:  # fmt: skip
    """The larger of two moments, by part, on one GPU, without the process's own bytes."""
    batch, prompt, generated = workload.batch, workload.context, workload.generate
    translates = architecture.kind == "encoder-decoder"
    before, after = (1, max(generated, 1)) if translates else (prompt, prompt + generated)
    if architecture.heard is not None:  # what is asked for is what the decoder writes
        before, after, prompt = 1, prompt + generated, architecture.heard

    def cache(tokens: int, *, filling: bool = False) -> float:
        return share.cache * cached_bytes(architecture, workload, stack, b, tokens, filling=filling)

    kept = cache(after)
    if stack.name == "llama.cpp":
        return llama_cpp.serving_parts(architecture, workload, stack, parameters, kept)
    groups = architecture.encoder if translates else architecture.layers
    int8 = workload.method == "int8"
    at_once = float(batch) * prompt
    if stack.prefill_tokens:
        at_once = min(at_once, float(stack.prefill_tokens))
    prefill = activations.transient_bytes(architecture, groups, at_once, b, stack, int8) * share.activations
    prefill += activations.scores_bytes(architecture, groups, workload, stack, b) * share.activations
    prefill = max(prefill, images.encoding_bytes(architecture, workload, stack, b))
    prefill = max(prefill, at_once * architecture.front * b)
    if architecture.kind == "encoder":
        prefill += float(batch) * prompt * (architecture.vocabulary if architecture.head_parameters else 0) * b
    growing = _growing(architecture, workload, stack, b, after) * share.cache
    decode = (
        activations.transient_bytes(architecture, architecture.layers, float(batch), b, stack, int8) * share.activations
    )
    logits = float(batch) * architecture.vocabulary * (b + stack.sampling_bytes)
    if architecture.kind == "encoder":  # what comes out: a state for each token
        logits = float(batch) * prompt * architecture.hidden * b
    if stack.all_logits and architecture.kind == "decoder":
        prefill = max(prefill, prompt * logits)
    peak = (
        max(cache(before, filling=True) + prefill, kept + growing + decode if generated or architecture.heard else 0.0)
        + logits
        + held.rebuilt
    )
    peak = max(peak, held.loading)
    weights = max(share.weights - workload.cpu_offload_gb * _GIB, 0.0)
    return MemoryParts(weights=weights, kv_cache=kept, activations=max(peak - kept, 0.0))


def read_by_encoder(architecture: Architecture, workload: Workload) -> int:
    """Tokens or positions that an encoder-decoder's encoder reads; 0 for another kind."""
    if architecture.kind != "encoder-decoder":
        return 0
    return workload.context if architecture.heard is None else architecture.heard


def cached_bytes(
    architecture: Architecture, workload: Workload, stack: Stack, b: float, tokens: int, *, filling: bool = False
) -> float:
    """Bytes of the cache of all requests with `tokens` tokens each, as the stack holds it, without sharding."""
    cached = Cached(
        tokens, workload.batch, kv_cache.element_bytes(architecture, workload, b), b,
        read_by_encoder(architecture, workload), filling,
    )  # fmt: skip
    return pages.held_bytes(architecture, cached, stack, version_of(workload.stack_version))


def _growing(architecture: Architecture, workload: Workload, stack: Stack, b: float, tokens: int) -> float:
    """What a growing cache holds twice for a moment: one layer (transformers cache_utils.py: torch.cat), or all of it
    where the step returns a new tuple of all layers (before 4.36, past_key_values of every modeling file)."""
    if not stack.grows_cache:
        return 0.0
    element = kv_cache.element_bytes(architecture, workload, b)
    if stack.returns_new_cache:
        return kv_cache.cache_bytes(architecture, tokens, workload.batch, element)
    return float(kv_cache.largest_layer_width(architecture)) * tokens * workload.batch * element


def rotary_tables(architecture: Architecture, b: float) -> float:
    """A cosine and a sine of every position and channel of a head, in every layer."""
    if not architecture.rotary or architecture.context is None:
        return 0.0
    heads = sum(group.count * group.attention.head_dim for group in architecture.layers if group.attention)
    return 2.0 * heads * architecture.context * b
