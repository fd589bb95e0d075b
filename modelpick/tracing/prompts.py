"""peft's prompt tuning on a model without storage. Imports torch and peft."""

from typing import Any

import torch
from torch import nn

_TASK = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "SEQ_CLS"}


def add_prompt(model: nn.Module, kind: str, virtual_tokens: int) -> nn.Module:
    """The frozen model with a trainable embedding of each virtual token, in fp32 as peft makes it."""
    import peft

    config = peft.PromptTuningConfig(task_type=_TASK[kind], num_virtual_tokens=virtual_tokens)
    adapted: Any = peft.get_peft_model(model, config)
    # Positions, not parameters: what was made on the device "meta" has no values to look up.
    adapted.prompt_tokens = {
        name: torch.arange(tokens.numel(), device="cpu") for name, tokens in adapted.prompt_tokens.items()
    }
    module: nn.Module = adapted
    return module
