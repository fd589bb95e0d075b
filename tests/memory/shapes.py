"""Architectures that the memory tests share, built from config.json's own keys."""

from modelpick.catalog import architecture

LLAMA_7B = architecture.read(
    {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False, "max_position_embeddings": 4096,
    }
)  # fmt: skip
GEMMA_2B = architecture.read(
    {
        "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
        "sliding_window": 4096, "max_position_embeddings": 8192,
    }
)  # fmt: skip
MIXTRAL = architecture.read(
    {
        "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
        "vocab_size": 32000, "max_position_embeddings": 32768,
    }
)  # fmt: skip
DEEPSEEK = architecture.read(
    {
        "model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944, "moe_intermediate_size": 1408,
        "num_hidden_layers": 27, "num_attention_heads": 16, "n_routed_experts": 64, "num_experts_per_tok": 6,
        "n_shared_experts": 2, "first_k_dense_replace": 1, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 102400, "max_position_embeddings": 163840,
    }
)  # fmt: skip
T5_BASE = architecture.read(
    {
        "model_type": "t5", "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12,
        "vocab_size": 32128, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }
)  # fmt: skip
XLM_R = architecture.read(
    {
        "model_type": "xlm-roberta", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
        "intermediate_size": 4096, "vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1,
        "architectures": ["XLMRobertaForMaskedLM"],
    }
)  # fmt: skip
MAMBA = architecture.read(
    {
        "model_type": "mamba", "hidden_size": 2560, "num_hidden_layers": 64, "state_size": 16, "conv_kernel": 4,
        "expand": 2, "time_step_rank": 160, "vocab_size": 50280, "tie_word_embeddings": True,
    }
)  # fmt: skip
ALL = {
    "llama": LLAMA_7B, "gemma2": GEMMA_2B, "mixtral": MIXTRAL, "deepseek": DEEPSEEK, "t5": T5_BASE, "xlm-r": XLM_R,
    "mamba": MAMBA,
}  # fmt: skip
