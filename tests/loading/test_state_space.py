"""Adapters on state-space models: on the layers that peft adapts, and the rest is counted."""

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.loading import adapters
from modelpick.loading.load import Loaded


def test_all_linear_leaves_out_what_the_fused_kernels_read_themselves() -> None:
    import transformers

    config = transformers.MambaConfig(
        hidden_size=16, num_hidden_layers=1, vocab_size=32, state_size=4, time_step_rank=2, tie_word_embeddings=True
    )
    loaded = Loaded(transformers.MambaForCausalLM(config), None, "decoder", None, ())
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0.0, targets="all-linear", checkpointing=False)
    adapted = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if ".lora_" in name}
    assert adapted == {"in_proj", "x_proj", "dt_proj"}
    assert 0.2 < adapters.share_without_adapter(model) < 0.5  # out_proj, convolution and state
