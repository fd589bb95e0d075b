"""A server started for 8 or 4 bits holds 8 or 4 bits, or does not start: transformers' own loader, counted."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra train is absent")
pytest.importorskip("fastapi", reason="the extra serve is absent")
from transformers.cli.serving.model_manager import ModelManager  # noqa: E402

from modelpick.errors import CannotTellError  # noqa: E402
from modelpick.loading import quantized  # noqa: E402
from modelpick.serving import quantized_server  # noqa: E402
from tests import tiny_models  # noqa: E402


def load(folder: Path, quantization: str) -> Any:
    manager = quantized_server.count(ModelManager)(device="cpu", dtype="float32", quantization=quantization)
    return manager._load_model(f"{folder}@main")


@pytest.mark.parametrize("quantization", ["bnb-8bit", "bnb-4bit"])
def test_falcon_is_served_quantized(quantization: str, tmp_path: Path) -> None:
    model = load(tiny_models.make("falcon", tmp_path), quantization)
    assert quantized.count_layers(model, quantized.kept_by_intent(model)).quantized == 8


def test_falcon_that_stays_in_full_precision_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "_OWN_LINEAR", {})
    with pytest.raises(CannotTellError, match="stayed in full precision") as caught:
        load(tiny_models.make("falcon", tmp_path), "bnb-8bit")
    assert caught.value.code == "not_quantized"


@pytest.mark.parametrize("family", ["llama", "t5", "mixtral"])
def test_what_transformers_quantizes_by_itself_is_served_as_before(family: str, tmp_path: Path) -> None:
    model = load(tiny_models.make(family, tmp_path, num_local_experts=4), "bnb-8bit")
    assert model.is_quantized


def test_an_adapter_around_quantized_layers_is_no_layer_left_behind(tmp_path: Path) -> None:
    import peft

    from modelpick.serving import source
    from modelpick.serving.command import Served

    base = tiny_models.make("falcon", tmp_path / "base")
    config = peft.LoraConfig(r=2, target_modules="all-linear")
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(base)
    peft.get_peft_model(plain, config).save_pretrained(tmp_path / "tuned")
    source.lay_out(Served("base", base, "tuned", tmp_path / "tuned", 2), tmp_path / "models")
    model = load(tmp_path / "models" / "tuned", "bnb-8bit")
    assert any("lora_A" in name for name, _ in model.named_modules())
