"""The cache as serving engines cut it: pages, padded groups of layers, pools of windows, pages of state. Pure.

Read from vLLM 0.32 (v1/core/kv_cache_utils.py, v1/core/single_type_kv_cache_manager.py, v1/kv_cache_interface.py,
model_executor/models/config.py), SGLang 0.5 (srt/model_executor/model_runner.py), TGI 3.3 and llama.cpp, mid 2026
(src/llama-kv-cache-iswa.cpp, src/llama-memory-recurrent.cpp).
"""

import math
from dataclasses import dataclass, replace

from modelpick.catalog.architecture.shape import Architecture, LayerGroup
from modelpick.memory.kernels import up
from modelpick.memory.kv_cache import STATE_BYTES, cache_bytes, layer_width, state_bytes
from modelpick.memory.stacks import Stack

_PAGE = 16  # tokens of a page (vLLM config/cache.py, block_size)
_NEARLY_EQUAL = 1.25  # groups whose sizes differ by less are filled up to the larger (_get_kv_cache_groups_...)
_SGLANG_WINDOWS = 0.8  # SGLang server_args.py, swa_full_tokens_ratio: the windows' pool over that of full attention
_CELLS = 256  # llama.cpp pads a cache to so many cells
_WINDOWS_SINCE = (0, 10)  # vLLM: before its hybrid manager, layers with windows kept every token


@dataclass(frozen=True, slots=True)
class Cached:
    """What is cached: `sequences` of `tokens` each; bytes of an element and of the compute type.

    `filling`: a chunk of prompts is going through the layers, whose tokens windows keep until it is done.
    """

    tokens: int
    sequences: int
    element: float
    compute: float = 2.0
    encoder_tokens: int = 0
    filling: bool = False


def held_bytes(architecture: Architecture, cached: Cached, stack: Stack, version: tuple[int, ...] = ()) -> float:
    """The cache of all layers on one GPU without sharding, in bytes, as the stack holds it."""
    if architecture.kind != "decoder" or not (stack.paged_cache or stack.name == "llama.cpp"):
        return cache_bytes(
            architecture, cached.tokens, cached.sequences, cached.element, latent=stack.paged_cache,
            compute_bytes=cached.compute, encoder_tokens=cached.encoder_tokens,
        )  # fmt: skip
    if stack.name == "llama.cpp":
        return _cells(architecture, cached, stack.prefill_tokens)
    if stack.name == "sglang":
        return _pools(architecture, cached)
    if stack.name == "tgi" or (version and version < _WINDOWS_SINCE):
        return _pages(_without_windows(architecture), cached, 0)
    return _pages(architecture, cached, stack.prefill_tokens if cached.filling else 0)


def _without_windows(architecture: Architecture) -> Architecture:
    groups = tuple(
        replace(group, attention=replace(group.attention, window=None)) if group.attention else group
        for group in architecture.layers
    )
    return replace(architecture, layers=groups)


def _pages(architecture: Architecture, cached: Cached, chunk: int) -> float:
    """vLLM: every page has one size, so layers are put into groups of equal number: full attention, windows, states.

    A page of state is as large as one of attention, whose tokens are as many as make it so. A window keeps its own
    tokens, and those of the prefill chunk that is at work.
    """
    kinds: dict[str, int] = {}
    for group in architecture.layers:
        for kind in _kinds(group):
            kinds[kind] = kinds.get(kind, 0) + group.count
    least, most = min(kinds.values(), default=1), max(kinds.values(), default=1)
    size = most if most < least * _NEARLY_EQUAL else least
    block = _block(architecture, cached)
    total = 0.0
    for group in architecture.layers:
        for kind in _kinds(group):
            padded = group.count * up(kinds[kind], size) / kinds[kind]
            width = layer_width(group, latent=True) * cached.element
            if kind == "state":
                alone = not any(each.attention for each in architecture.layers)
                page = state_bytes(group, cached.compute) if alone else _page_of_state(architecture, cached, block)
                total += padded * page * cached.sequences
            else:
                total += padded * width * _tokens(group, cached, block, chunk)
    return total


def _kinds(group: LayerGroup) -> tuple[str, ...]:
    """A hybrid's layer may attend and recur at once (falcon_h1): then it is in two groups."""
    listed = []
    if group.attention is not None and layer_width(group, latent=True):
        listed.append("full" if group.attention.window is None else "window")
    if group.mixer is not None:
        listed.append("state")
    return tuple(listed)


def _tokens(group: LayerGroup, cached: Cached, block: int, chunk: int) -> float:
    """Tokens that a layer keeps of all sequences, in whole pages."""
    assert group.attention is not None
    everything = up(cached.tokens, block) * cached.sequences
    window = group.attention.window
    if window is None:
        return everything
    return min(everything, (up(window, block) + block) * cached.sequences + chunk)


def _block(architecture: Architecture, cached: Cached) -> int:
    """Tokens of a page: 16, or as many as hold the largest state ("Setting attention block size to 1568 tokens")."""
    widths = [width for group in architecture.layers if (width := layer_width(group, latent=True))]
    states = [state_bytes(group, cached.compute) for group in architecture.layers if group.mixer]
    if not widths or not states:
        return _PAGE
    return max(_PAGE, up(max(states) / (min(widths) * cached.element), _PAGE))


def _page_of_state(architecture: Architecture, cached: Cached, block: int) -> float:
    widths = [width for group in architecture.layers if (width := layer_width(group, latent=True))]
    return block * max(widths) * cached.element


def _pools(architecture: Architecture, cached: Cached) -> float:
    """SGLang: two pools of fixed proportion, whatever a request needs of the windows."""
    total = 0.0
    for group in architecture.layers:
        width = layer_width(group, latent=True) * cached.element
        if group.attention is not None:
            kept: float = cached.tokens
            if group.attention.window is not None:
                kept = max(_SGLANG_WINDOWS * kept, min(kept, group.attention.window))
            total += group.count * width * kept
        total += group.count * state_bytes(group, cached.compute)
    return total * cached.sequences


def _cells(architecture: Architecture, cached: Cached, batch: int) -> float:
    """llama.cpp: cells for every sequence, of windows with room for a batch; states in fp32; MLA's latent twice."""
    cells = up(cached.tokens, _CELLS)
    total = 0.0
    for group in architecture.layers:
        if group.attention is not None:
            latent = group.attention.latent
            width = 2 * latent if latent else group.attention.kv_width
            window = group.attention.window
            kept = cells if window is None else min(cells, up(window + batch, _CELLS))
            total += group.count * width * cached.element * kept
        if group.mixer is not None:
            total += group.count * (group.mixer.state + group.mixer.convolution) * STATE_BYTES
    return total * cached.sequences


def whole_sequences(room: float, one: float) -> float:
    """How many sequences of `one` byte count fit a room, as a fraction; 0 where nothing is kept or no room is left."""
    return room / one if one > 0 and room > 0 and math.isfinite(room) else 0.0
