"""A GGUF file becomes an ordinary model folder of safetensors, so that it can be trained."""

from pathlib import Path
from typing import Any

from modelpick.errors import UsageError, first_line


def convert(file: Path, output: Path, dtype: str = "bf16") -> Path:
    """Dequantize a GGUF into `output`: config.json, model.safetensors, tokenizer files.

    transformers loads GGUF but cannot save what it loaded (the object keeps the quantizer), so its weights are copied
    into a fresh model of the same config. Raises UsageError for a file that is none or of a family transformers cannot
    read.
    """
    import transformers

    from modelpick.loading.load import torch_dtype

    if not file.is_file():
        raise UsageError(f"{file} is not a file", fix="name a .gguf file", code="no_gguf")
    try:
        source: Any = transformers.AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch_dtype("fp32")
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (ValueError, KeyError, OSError, RuntimeError, NotImplementedError) as error:
        raise UsageError(
            f"{file} cannot be converted: {first_line(error)}",
            fix="use a model in safetensors",
            code="bad_gguf",
        ) from None
    config = source.config
    config.quantization_config = None
    del config.quantization_config
    fresh: Any = transformers.AutoModelForCausalLM.from_config(config, dtype=torch_dtype(dtype))
    fresh.load_state_dict(source.state_dict())
    fresh.generation_config = source.generation_config
    output.mkdir(parents=True, exist_ok=True)
    fresh.save_pretrained(output)
    tokenizer.save_pretrained(output)
    return output
