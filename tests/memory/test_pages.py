"""The cache as engines cut it: never less than the tokens themselves, and what their logs say of pages."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.catalog import architecture
from modelpick.memory.kv_cache import cache_bytes
from modelpick.memory.pages import Cached, held_bytes
from modelpick.memory.stacks import STACKS
from tests.memory.shapes import ALL

HYBRID = architecture.read(
    {
        "model_type": "qwen3_next", "hidden_size": 2048, "intermediate_size": 5120, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 151936,
        "full_attention_interval": 4, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "num_experts": 512, "num_experts_per_tok": 10,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
    }
)  # fmt: skip
GEMMA3 = architecture.read(
    {
        "model_type": "gemma3_text", "hidden_size": 5376, "intermediate_size": 21504, "num_hidden_layers": 62,
        "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128, "vocab_size": 262208,
        "sliding_window": 1024,
    }
)  # fmt: skip
SHAPES = {**ALL, "hybrid": HYBRID, "gemma3": GEMMA3}
SERVERS = st.sampled_from(["vllm", "sglang", "tgi", "llama.cpp"])


@given(st.sampled_from(sorted(SHAPES)), SERVERS, st.integers(1, 20_000), st.integers(1, 40))
def test_no_engine_holds_less_than_the_tokens(shape: str, server: str, tokens: int, sequences: int) -> None:
    own = SHAPES[shape]
    held = held_bytes(own, Cached(tokens, sequences, 2.0), STACKS[server])
    assert held >= cache_bytes(own, tokens, sequences, 2.0, latent=True) * (1 - 1e-9)


@given(st.sampled_from(sorted(SHAPES)), SERVERS, st.integers(1, 20_000), st.integers(1, 40), st.integers(1, 500))
def test_more_tokens_or_sequences_never_hold_less(
    shape: str, server: str, tokens: int, sequences: int, more: int
) -> None:
    own, stack = SHAPES[shape], STACKS[server]
    some = held_bytes(own, Cached(tokens, sequences, 2.0), stack)
    assert held_bytes(own, Cached(tokens + more, sequences, 2.0), stack) >= some
    assert held_bytes(own, Cached(tokens, sequences + more, 2.0), stack) >= some


def test_a_page_of_state_is_as_large_as_one_of_attention() -> None:
    """vLLM: "Setting attention block size to ... tokens to ensure that attention page size is >= mamba page size".
    A short sequence holds one page in every layer, 36 of state and 12 of attention."""
    state = next(group.mixer for group in HYBRID.layers if group.mixer)
    size = state.state * 4 + state.convolution * 2
    page = -(-size // (2 * 2 * 256 * 2 * 16)) * 16 * 2 * 2 * 256 * 2  # whole sixteens of tokens of 2 heads
    assert held_bytes(HYBRID, Cached(1, 1, 2.0), STACKS["vllm"]) == 48 * page
    assert page >= size


def test_groups_are_filled_up_to_an_equal_number_of_layers() -> None:
    """Gemma 3 27B: 52 layers with windows and 10 without make groups of 10, the last with 8 of padding."""
    held = held_bytes(GEMMA3, Cached(512, 1, 2.0), STACKS["vllm"])
    assert held == pytest.approx(512 * 2 * 16 * 128 * 2 * (10 + 60))


def test_windows_hold_their_tokens_and_a_chunk_of_prefill() -> None:
    one, two = (held_bytes(GEMMA3, Cached(100_000, n, 2.0), STACKS["vllm"]) for n in (1, 2))
    token = 2 * 16 * 128 * 2
    assert one == two / 2 == token * (10 * 100_000 + 60 * (1024 + 16))
    filling = held_bytes(GEMMA3, Cached(100_000, 2, 2.0, filling=True), STACKS["vllm"])
    assert filling - two == token * 60 * 8192


def test_older_vllm_kept_every_token_of_a_window() -> None:
    now, then = (held_bytes(GEMMA3, Cached(100_000, 4, 2.0), STACKS["vllm"], at) for at in ((), (0, 8)))
    assert then > 5 * now


def test_sglang_pools_windows_by_a_fixed_part() -> None:
    held = held_bytes(GEMMA3, Cached(100_000, 1, 2.0), STACKS["sglang"])
    assert held == pytest.approx(2 * 16 * 128 * 2 * 100_000 * (10 + 0.8 * 52))


def test_one_tensor_a_layer_needs_no_pages() -> None:
    plain = replace(STACKS["transformers"])
    assert held_bytes(GEMMA3, Cached(2000, 2, 2.0), plain) == cache_bytes(GEMMA3, 2000, 2, 2.0)
