"""Tiny random models of every family the project promises, made on the spot: seconds, no download."""

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

_TWO_LAYERS: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_WITH_MLP = _TWO_LAYERS | {"intermediate_size": 128}
_GROUPED = _WITH_MLP | {"num_key_value_heads": 2}
SIZES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "phi3", "smollm3"), _GROUPED),
    **dict.fromkeys(("qwen3", "gemma2", "gemma3_text"), _GROUPED | {"head_dim": 16}),
    "gpt_neox": _WITH_MLP,
    "falcon": _TWO_LAYERS,
    "falcon-40b": _TWO_LAYERS | {"model_type": "falcon", "new_decoder_architecture": True, "num_kv_heads": 2},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "t5": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "feed_forward_proj": "gated-gelu"},
    "xlm-roberta": _WITH_MLP | {"max_position_embeddings": 514},
    "bert": _WITH_MLP,
}
FAMILIES = tuple(SIZES)
ENCODERS = ("xlm-roberta", "bert")
_CLASS = {"t5": "AutoModelForSeq2SeqLM", **dict.fromkeys(ENCODERS, "AutoModelForMaskedLM")}
_TEXT = (
    "Socrates is a man. All men are mortal. Therefore Socrates is mortal. Alice is a programmer and programmers are "
    "happy. Elephants are heavy; a toy is not. What is the capital of a country? Answer the question. blue red green "
    "one two three four five six seven eight nine ten. Question: Answer: yes no true false positive negative. "
)


def tokenizer(*, chat_template: str | None = None, pad: bool = True) -> Any:
    """A byte-level BPE of some 400 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>", "<mask>"]
    raw.train_from_iterator(
        [_TEXT],
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    raw.post_processor = processors.ByteLevel(trim_offsets=False)
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>",
        **({"pad_token": "<pad>"} if pad else {}),
    )  # fmt: skip
    made.chat_template = chat_template
    return made


@cache
def _kept() -> Path:
    """Where this process keeps the models it has made; gone when it ends."""
    folder = tempfile.mkdtemp(prefix="tiny-models-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def make(family: str, folder: Path, *, pad: bool = True, seed: int = 0, **changes: Any) -> Path:
    """A tiny random model of `family` with its tokenizer, as safetensors in `folder`; made once a process, then copied.

    The same arguments give the same weights, and `torch`'s random state afterwards is that of making it.
    """
    import torch

    key = repr((family, pad, seed, sorted(changes.items())))
    kept = _kept() / hashlib.sha256(key.encode()).hexdigest()
    if not kept.is_dir():
        _make(family, kept, pad, seed, changes)
        _STATES[key] = torch.get_rng_state()
    torch.set_rng_state(_STATES[key])
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return folder


_STATES: dict[str, Any] = {}  # of torch's random numbers, after a model was made


def _make(family: str, folder: Path, pad: bool, seed: int, changes: dict[str, Any]) -> None:
    import torch
    import transformers

    tokens = tokenizer(pad=pad)
    torch.manual_seed(seed)
    sizes = SIZES.get(family, _GROUPED) | changes
    config = transformers.AutoConfig.for_model(
        sizes.pop("model_type", family), vocab_size=len(tokens), pad_token_id=0, bos_token_id=1, eos_token_id=2,
        **({"decoder_start_token_id": 0} if family == "t5" else {}), **sizes,
    )  # fmt: skip
    model = getattr(transformers, _CLASS.get(family, "AutoModelForCausalLM")).from_config(config)
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
