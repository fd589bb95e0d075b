"""A GGUF file as an ordinary model folder of safetensors, so that a real model can be trained without a download."""

from pathlib import Path
from typing import Any


def convert(file: Path, folder: Path, dtype: str = "bf16") -> Path:
    """Dequantize a GGUF file into `folder`: config.json, model.safetensors, tokenizer files.

    transformers loads GGUF but cannot save what it loaded (the object keeps the quantizer), so its weights are copied
    into a fresh model of the same config.
    """
    import transformers

    from modelpick.loading.load import torch_dtype

    source: Any = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch_dtype("fp32")
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    config = source.config
    config.quantization_config = None
    del config.quantization_config
    fresh: Any = transformers.AutoModelForCausalLM.from_config(config, dtype=torch_dtype(dtype))
    fresh.load_state_dict(source.state_dict())
    fresh.generation_config = source.generation_config
    folder.mkdir(parents=True, exist_ok=True)
    fresh.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
