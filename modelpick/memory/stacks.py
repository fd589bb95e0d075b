"""What the program that runs the model adds or spares: the stack is an input. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stack:
    """Habits of a stack that change memory, as read in its code (see the table below for where)."""

    name: str
    adapter_bytes: float  # per LoRA parameter
    casts_adapter_input: bool  # the adapter's input is saved again in fp32
    chunked_loss: bool  # cross-entropy over pieces of the sequence, without a full fp32 copy
    double_quantization: bool
    quantizes_experts: bool
    quantizes_head: bool
    dequantized_bytes: float  # per element of the largest quantized matrix, while it is rebuilt
    dropout: bool  # LoRA dropout is on by default: its mask and output are saved
    paged_cache: bool = False


# peft 0.21.2 tuners/lora/layer.py casts the input to the adapter's dtype; adapters become fp32 by
# autocast_adapter_dtype (peft/mapping_func.py). transformers 5.23.0 integrations/bitsandbytes.py replaces modules whose
# type is nn.Linear, so fused 3-D experts stay as they are; the output matrix is skipped (quantizers/base.py).
_TRANSFORMERS = Stack("transformers", 4, True, False, False, False, False, 2, False)

STACKS: dict[str, Stack] = {
    "transformers": _TRANSFORMERS,
    "trl": Stack("trl", 4, True, False, False, False, False, 2, False),
    # hparams/model_args.py: double_quantization = True; lora_dropout = 0
    "llama-factory": Stack("llama-factory", 4, True, False, True, False, False, 2, False),
    # litgpt/lora.py: adapters in the model's own dtype; finetune/lora.py: lora_dropout 0.05, chunked_cross_entropy.
    # bitsandbytes there replaces every nn.Linear, lm_head too, and keeps fp16 state: rebuilt in fp16, then cast.
    "litgpt": Stack("litgpt", 2, False, True, False, True, True, 4, True),
    # torchtune modules/peft/lora.py: bf16 adapters; CEWithChunkedOutputLoss; NF4 from torchao with quantized scalers
    "torchtune": Stack("torchtune", 2, False, True, True, False, False, 2, False),
    "vllm": Stack("vllm", 2, False, True, False, True, False, 2, False, paged_cache=True),
}
