"""A tiny GGUF model made on the spot: a llama of one layer that knows bytes, with any chat template. Needs gguf."""

from pathlib import Path
from typing import Any

WIDTH, HEADS, CONTEXT = 32, 2, 2048
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# What llama.cpp's qwen3 has beside a llama, and its head as a reranker, which it reads of no llama.
RANKS: dict[str, tuple[int, ...]] = {
    "cls.output.weight": (2, WIDTH), "blk.0.attn_q_norm.weight": (WIDTH // HEADS,),
    "blk.0.attn_k_norm.weight": (WIDTH // HEADS,),
}  # fmt: skip
# ChatML with tools, the least of what Qwen's and Hermes's templates do.
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    'Answer with <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n{% endif %}'
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}{% else %}{{ message.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make(file: Path, *, template: str | None = TEMPLATE, seed: int = 0, pooling: str | None = None) -> Path:
    """Write `file`: random weights, byte-level BPE without merges but one (gpt2's 256 signs for the bytes).

    `pooling` makes it an embedding model (MEAN, LAST) or a reranker (RANK).
    """
    import gguf
    import numpy

    chance = numpy.random.default_rng(seed)
    writer = gguf.GGUFWriter(file, "qwen3" if pooling == "RANK" else "llama")
    signs = list(byte_signs().values())
    tokens = [*signs, signs[0] + signs[1], *SPECIAL]
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = [gguf.TokenType.NORMAL] * (len(signs) + 1) + [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{signs[0]} {signs[1]}"])
    writer.add_bos_token_id(len(signs) + 1)
    writer.add_eos_token_id(len(signs) + 3)
    writer.add_add_bos_token(False)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType[pooling])
    if pooling == "RANK":
        writer.add_classifier_output_labels(["yes", "no"])
    if template is not None:
        writer.add_chat_template(template)
    for name, shape in {**shapes(len(tokens)), **(RANKS if pooling == "RANK" else {})}.items():
        values = numpy.ones(shape) if name.endswith("norm.weight") else chance.normal(0, 0.4, shape)
        writer.add_tensor(name, values.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a llama of one layer, as numpy writes them (rows first)."""
    square, wide, narrow = (WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, 2 * WIDTH)
    layer: dict[str, Any] = {"attn_norm": (WIDTH,), "attn_q": square, "attn_k": square, "attn_v": square}
    layer |= {"attn_output": square, "ffn_norm": (WIDTH,), "ffn_gate": wide, "ffn_up": wide, "ffn_down": narrow}
    around = {"token_embd.weight": (vocabulary, WIDTH), "output_norm.weight": (WIDTH,)}
    around["output.weight"] = (vocabulary, WIDTH)
    return {**around, **{f"blk.0.{name}.weight": sides for name, sides in layer.items()}}


def byte_signs() -> dict[int, str]:
    """The printable sign that byte-level BPE writes for each byte: itself, or one of the signs from 256 on (GPT-2)."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte if byte in shown else 256 + others.index(byte)) for byte in range(256)}
