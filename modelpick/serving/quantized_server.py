"""`transformers serve` that counts layers: a model requested in 8 or 4 bits is served quantized, or not at all.

Started as `python -m modelpick.serving.quantized_server serve ...`, with the words of `transformers`. transformers' own
loader leaves a family with a Linear class of its own in full precision and says nothing.
"""

import sys
import threading
from typing import Any

from modelpick.errors import ModelpickError
from modelpick.loading import quantized

_ADAPTER = ("lora_A", "lora_B")  # peft's layers around a quantized one: small, and never quantized


def count(manager: type) -> type:
    """transformers' `ModelManager` (5.23, cli/serving/model_manager.py) that corrects and checks what was quantized."""
    one_at_a_time = threading.Lock()  # the correction swaps a class of the module while it loads

    class Counted(manager):  # type: ignore[misc]
        def _load_model(self, model_id_and_revision: str, *arguments: Any, **names: Any) -> Any:
            from transformers import AutoConfig

            asked = self.get_quantization_config()
            if asked is None:
                return super()._load_model(model_id_and_revision, *arguments, **names)
            name, _, revision = model_id_and_revision.partition("@")
            config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=self.trust_remote_code)
            with one_at_a_time, quantized.plain_linear_layers(config.model_type):
                model = super()._load_model(model_id_and_revision, *arguments, **names)
            # Fused experts stay as they are: the table says so before the start, and the estimate counts them so.
            quantized.assert_quantized(model, (*quantized.kept_by_intent(model), *_ADAPTER), name, linear_only=True)
            return model

    return Counted


def main() -> None:
    """Run `transformers` with the words of this process."""
    from transformers.cli.serving import model_manager
    from transformers.cli.transformers import main as transformers

    counted: Any = count(model_manager.ModelManager)
    model_manager.ModelManager = counted
    try:
        transformers()
    except ModelpickError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
