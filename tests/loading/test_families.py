"""Every promised family trains in 8-bit and 4-bit LoRA, for real: loss falls, save, reload, merge, same output."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.catalog.folder import read_folder  # noqa: E402
from modelpick.datasets.forms import example_from  # noqa: E402
from modelpick.datasets.split import Data  # noqa: E402
from modelpick.errors import CannotTellError, UsageError  # noqa: E402
from modelpick.evaluation import before_after  # noqa: E402
from modelpick.loading import adapters, load, quantized  # noqa: E402
from modelpick.memory.estimate import estimate_model  # noqa: E402
from modelpick.planning.recipe import RunSettings  # noqa: E402
from modelpick.training.finetune import load_for_training  # noqa: E402
from tests import tiny_models  # noqa: E402

METHODS = ("lora", "lora-int8", "qlora")
LINEAR_LAYERS = {
    "phi3": 8,
    "gpt_neox": 8,
    "falcon": 8,
    "falcon-40b": 8,
    "gpt2": 8,  # Conv1D, GPT-2's linear layer
    "mpt": 8,
    "t5": 32,
    "xlm-roberta": 12,
    "bert": 12,
}  # 2 tiny layers; others 14


MIXTURES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "head_dim": 16},
    "qwen2_moe": {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 96,
    },
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
}  # fmt: skip


def batch_for(loaded: Any) -> dict[str, Any]:
    """Two sequences with something to learn, shaped for the kind of model."""
    ids = torch.tensor([[7, 9, 11, 13, 15, 17, 19, 21], [8, 10, 12, 14, 16, 18, 20, 22]])
    labels = torch.tensor([0, 1]) if loaded.kind == "encoder" else ids
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def train(model: Any, batch: dict[str, Any], steps: int = 8, lr: float = 1e-2) -> list[float]:
    """Losses of a few AdamW steps on the trainable parameters."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    model.train()
    losses = []
    for _ in range(steps):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_family_trains_saves_reloads_and_merges(family: str, method: str, tmp_path: Path) -> None:
    base = tiny_models.make(family, tmp_path / "base")
    options = load.LoadOptions(method=method, labels=("no", "yes") if family in tiny_models.ENCODERS else ())
    torch.manual_seed(1)
    loaded = load.load(str(base), options)
    if method != "lora":
        assert loaded.layers is not None
        assert loaded.layers.quantized == LINEAR_LAYERS.get(family, 14)
    model = adapters.add_lora(loaded, rank=4, alpha=8, dropout=0.0, targets="all-linear", checkpointing=False)
    batch = batch_for(loaded)
    losses = train(model, batch)
    assert losses[-1] < losses[0] * 0.97
    with torch.no_grad():
        trained = model(**batch).logits
    model.save_pretrained(tmp_path / "adapter")

    again = adapters.load_adapter(str(base), tmp_path / "adapter", options).model.eval()
    with torch.no_grad():
        reloaded = again(**batch).logits
    assert torch.equal(trained, reloaded)

    adapters.merge(str(base), tmp_path / "adapter", tmp_path / "merged", options)
    merged = load.load(str(tmp_path / "merged"), load.LoadOptions(labels=options.labels)).model.eval()
    unquantized = load.LoadOptions(labels=options.labels)
    plain = (
        again if options == unquantized else adapters.load_adapter(str(base), tmp_path / "adapter", unquantized).model
    )
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch).logits, plain.eval()(**batch).logits, atol=1e-4, rtol=1e-4)


def test_what_is_measured_after_training_is_what_a_reloaded_adapter_says(tmp_path: Path) -> None:
    """OLMo 2 has no norm before its first layer: its input is the one whose gradients training asked for."""
    options = load.LoadOptions(method="qlora")
    loaded = load.load(str(tiny_models.make("olmo2", tmp_path / "base")), options)
    model = adapters.add_lora(loaded, rank=4, alpha=8, dropout=0.0, targets="all-linear", checkpointing=False)
    batch = batch_for(loaded)
    train(model, batch)
    data = Data((), (example_from({"prompt": "one two", "completion": "three"}, 1),), "", (), ())
    settings = RunSettings("m", "d", "o", context=32)
    model.save_pretrained(tmp_path / "adapter")
    again = adapters.load_adapter(str(tmp_path / "base"), tmp_path / "adapter", options)
    assert before_after.measure(replace(loaded, model=model), settings, data) == before_after.measure(
        again, settings, data
    )


@pytest.mark.parametrize("family", ["llama", "t5", "xlm-roberta", "mixtral", "gpt_oss"])
def test_all_weights_train_and_are_read_back(family: str, tmp_path: Path) -> None:
    labels = ("no", "or", "yes") if family in tiny_models.ENCODERS else ()
    torch.manual_seed(1)
    options = load.LoadOptions(method="full", labels=labels)
    loaded = load.load(str(tiny_models.make(family, tmp_path / "base", **MIXTURES.get(family, {}))), options)
    before = {name: weight.clone() for name, weight in loaded.model.named_parameters()}
    batch = batch_for(loaded)
    losses = train(loaded.model, batch, lr=1e-3)
    assert losses[-1] < losses[0] * 0.97
    moved = {name for name, weight in loaded.model.named_parameters() if not torch.equal(weight, before[name])}
    still = set(before) - moved
    assert not {name for name in still if "embed" not in name}  # positions and types that no token used
    loaded.model.save_pretrained(tmp_path / "tuned")
    loaded.tokenizer.save_pretrained(tmp_path / "tuned")
    again = load.load(str(tmp_path / "tuned"), load.LoadOptions())
    assert (again.kind, again.fresh) == (loaded.kind, ())
    with torch.no_grad():
        assert torch.equal(again.model.eval()(**batch).logits, loaded.model(**batch).logits)


def test_falcon_without_its_fix_stays_unquantized_and_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "_OWN_LINEAR", {})
    with pytest.raises(CannotTellError) as caught:
        load.load(str(tiny_models.make("falcon", tmp_path)), load.LoadOptions(method="lora-int8"))
    assert caught.value.code == "not_quantized"


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """8-bit training through MatMul8bitLt, as on CUDA; bitsandbytes 0.50 takes another function on a CPU."""
    from bitsandbytes.autograd import _functions

    monkeypatch.setattr(_functions, "MatMul8bitFp", _functions.MatMul8bitLt)


def falcon_with_adapters_on_attention(folder: Path) -> Any:
    """An adapter on the MLP would copy its output by itself."""
    loaded = load.load(str(tiny_models.make("falcon", folder)), load.LoadOptions(method="lora-int8"))
    model = adapters.add_lora(
        loaded, rank=4, alpha=8, dropout=0.0, targets="query_key_value", checkpointing=False
    )  # fmt: skip
    return model, batch_for(loaded)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_falcon_without_copied_outputs_fails_in_8_bit_backward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason for fix_in_place_adds: when this test fails, the fix is no longer needed and can go."""
    monkeypatch.setattr(quantized, "_ADDED_TO_IN_PLACE", {})
    model, batch = falcon_with_adapters_on_attention(tmp_path)
    with pytest.raises(RuntimeError, match=r"modified in.?place"):
        train(model, batch, steps=1)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_falcon_fixed_trains_in_8_bits_as_on_a_gpu(tmp_path: Path) -> None:
    model, batch = falcon_with_adapters_on_attention(tmp_path)
    losses = train(model, batch)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("family", MIXTURES)
def test_a_mixture_gets_adapters_on_linear_layers_only_and_says_how_much_gets_none(family: str, tmp_path: Path) -> None:
    """peft would put them on fused experts of some families too: memory that no estimate counts."""
    base = tiny_models.make(family, tmp_path / "base", **MIXTURES[family])
    settings = RunSettings(str(base), "d", "o", lora_rank=4, dtype="fp32")
    loaded = load_for_training(settings)
    model = loaded.model
    assert not model.peft_config["default"].target_parameters
    adapted = {name for name, _ in model.named_modules() if name.endswith(".lora_A")}
    assert adapted
    assert not [name for name in adapted if ".experts" in name]
    (told,) = [note for note in loaded.notes if "get no adapter" in note]
    experts = sum(weight.numel() for name, weight in model.named_parameters() if ".experts." in name)
    linear = sum(model.get_submodule(name.removesuffix(".lora_A")).base_layer.weight.numel() for name in adapted)
    assert int(told.split("%")[0]) == pytest.approx(100 * experts / (experts + linear), abs=6)
    counted = estimate_model(read_folder(base), settings.workload()).trainable_parameters
    # The estimate leaves out the gate of Qwen2's shared expert, of one output: a great part of a tiny model only.
    assert sum(w.numel() for w in model.parameters() if w.requires_grad) <= counted * 1.08

    batch = batch_for(loaded)
    losses = train(model, batch)
    assert losses[-1] < losses[0] * 0.97
    with torch.no_grad():
        trained = model(**batch).logits
    model.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        again = adapters.load_adapter(str(base), tmp_path / "adapter", load.LoadOptions()).model.eval()
        assert torch.equal(again(**batch).logits, trained)
        adapters.merge(str(base), tmp_path / "adapter", tmp_path / "merged", load.LoadOptions())
        merged = load.load(str(tmp_path / "merged"), load.LoadOptions()).model.eval()
        torch.testing.assert_close(merged(**batch).logits, trained, atol=1e-4, rtol=1e-4)


def test_layers_that_peft_takes_for_experts_are_not_adapted_by_name(tmp_path: Path) -> None:
    base = tiny_models.make("qwen3_moe", tmp_path, **MIXTURES["qwen3_moe"], mlp_only_layers=[0])  # with a dense layer
    loaded = load.load(str(base), load.LoadOptions())
    for targets in ("q_proj,gate_proj,up_proj", "q_proj,gate_proj"):
        with pytest.raises(UsageError) as caught:
            adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets=targets, checkpointing=False)
        assert caught.value.code == "no_lora"


@pytest.mark.parametrize("method", ["lora-int8", "qlora"])
def test_a_mixture_whose_experts_would_stay_in_full_precision_is_refused(method: str, tmp_path: Path) -> None:
    """All of it but the attention would: transformers makes the experts one tensor a layer, bitsandbytes skips it."""
    base = tiny_models.make("mixtral", tmp_path, num_local_experts=4)
    with pytest.raises(CannotTellError, match="experts") as caught:
        load.load(str(base), load.LoadOptions(method=method))
    assert caught.value.code == "not_quantizable"
    assert load.load(str(base), load.LoadOptions()).layers is None


def test_the_count_after_loading_sees_experts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "refuse_unquantizable", lambda *given: None)
    base = tiny_models.make("mixtral", tmp_path, num_local_experts=4)
    with pytest.raises(CannotTellError) as caught:
        load.load(str(base), load.LoadOptions(method="lora-int8"))
    assert caught.value.code == "not_quantized"


def test_weights_that_a_checkpoint_lacks_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = tiny_models.make("llama", tmp_path) / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(file).items() if "layers.1.mlp.down_proj" not in name}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(UsageError, match=r"layers\.1\.mlp\.down_proj") as caught:
        load.load(str(tmp_path), load.LoadOptions())
    assert caught.value.code == "weights_missing"


def test_a_classifier_of_other_labels_gets_a_new_head(tmp_path: Path) -> None:
    labels = ("a", "b", "c")
    loaded = load.load(str(tiny_models.make("bert", tmp_path / "base")), load.LoadOptions(labels=labels))
    loaded.model.save_pretrained(tmp_path / "tuned")
    loaded.tokenizer.save_pretrained(tmp_path / "tuned")
    again = load.load(str(tmp_path / "tuned"), load.LoadOptions(labels=("no", "yes")))
    assert again.model.config.id2label == {0: "no", 1: "yes"}
    assert again.fresh == ("classifier",)
    assert load.load(str(tmp_path / "tuned"), load.LoadOptions(labels=labels)).fresh == ()


def test_layers_that_peft_cannot_adapt_are_one_sentence(tmp_path: Path) -> None:
    loaded = load.load(
        str(tiny_models.make("mamba", tmp_path, model_type="mamba", intermediate_size=128)), load.LoadOptions()
    )
    with pytest.raises(UsageError) as caught:
        adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="out_proj", checkpointing=False)
    assert caught.value.code == "no_lora"


def test_falcon_class_is_put_back_after_loading(tmp_path: Path) -> None:
    from transformers.models.falcon import modeling_falcon

    before = modeling_falcon.FalconLinear
    load.load(str(tiny_models.make("falcon", tmp_path)), load.LoadOptions(method="qlora"))
    assert modeling_falcon.FalconLinear is before


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    loaded = load.load(str(tiny_models.make("llama", tmp_path / "one")), load.LoadOptions())
    adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False).save_pretrained(
        tmp_path / "adapter"
    )
    other = tiny_models.make("llama", tmp_path / "two", hidden_size=32)
    with pytest.raises(UsageError) as caught:
        adapters.load_adapter(str(other), tmp_path / "adapter", load.LoadOptions())
    assert caught.value.code == "other_base"


def test_a_mistyped_target_is_answered_with_the_nearest(tmp_path: Path) -> None:
    loaded = load.load(str(tiny_models.make("llama", tmp_path)), load.LoadOptions())
    with pytest.raises(UsageError) as caught:
        adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="q_prj", checkpointing=False)
    assert "q_proj" in caught.value.fix
