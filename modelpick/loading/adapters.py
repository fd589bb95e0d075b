"""Low-rank adapters: where they go, and how to merge an adapter into its base."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick import files
from modelpick.catalog.architecture import Kind
from modelpick.errors import UsageError, first_line, nearest
from modelpick.loading.load import Loaded, LoadOptions, load, load_config
from modelpick.loading.quantized import TASK_HEADS

if TYPE_CHECKING:
    from torch import nn

ALL_LINEAR = "all-linear"
LABELS = "labels.json"  # next to a classifier's adapter: its class names, in order
_TASK = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "SEQ_CLS"}


def targets_for(model: "nn.Module", asked: str) -> str | list[str]:
    """`all-linear`, or the module names asked for, each of which must name a linear layer.

    All linear layers is the default: adapters on the MLP too are what lets LoRA match full fine-tuning ("LoRA Without
    Regret", Thinking Machines, 2025-09-29; QLoRA, arXiv 2305.14314 section 4), and it needs no table of families.
    Raises UsageError(code="unknown_lora_target") suggesting the nearest name.
    """
    from torch import nn

    known = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    if asked == ALL_LINEAR:
        trial = _as_peft_reads(ALL_LINEAR, model)
        refused = {name for name in known if _refuses(model, name)}
        if not trial.target_parameters and not refused:
            return ALL_LINEAR
        head: Any = model.get_output_embeddings()
        inner = {name.rsplit(".", 1)[-1] for name, module in model.named_modules()
                 if isinstance(module, nn.Linear) and module is not head}  # fmt: skip
        return sorted((set(trial.target_modules) if trial.target_parameters else inner) - refused)
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise UsageError(
                f"the model has no linear layer named {name!r}",
                fix=nearest(name, known) or f"use all-linear, or some of {', '.join(sorted(known))}",
                code="unknown_lora_target",
            )
    lost = set(wanted) - set(_as_peft_reads(wanted, model).target_modules)
    if lost:
        raise UsageError(
            f"peft applies {', '.join(sorted(lost))} to this family's experts, which cannot have adapters",
            fix="leave them out, or use all-linear",
            code="no_lora",
        )
    return wanted


def _refuses(model: "nn.Module", name: str) -> bool:
    """Whether peft puts no adapter on layers of this name in this family: a state-space model's fused kernels read the
    weights themselves, and would not see it (peft 0.21, tuners/tuners_utils.py)."""
    import peft
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba as check

    try:
        check(peft.LoraConfig(), model, name)
    except ValueError:
        return True
    return False


def _as_peft_reads(targets: str | list[str], model: "nn.Module") -> Any:
    """The LoRA targets as peft 0.21 rewrites them for this family (utils/transformers_weight_conversion.py).

    Names that were an expert's before transformers 5 (`gate_proj`, `w1`) become the fused experts, one tensor a layer.
    An adapter there is added to the whole tensor at every step, and the sum is kept for the backward pass: as much
    memory again as the experts, which are nearly all of such a model and which no estimate counts. So what peft would
    move there is left out.
    """
    import peft
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    trial = peft.LoraConfig(target_modules=targets)
    try:
        convert_peft_config_for_transformers(trial, model, None)
    except ValueError:  # half of what is one tensor now
        trial.target_modules = set()
    return trial


def share_without_adapter(model: "nn.Module") -> float:
    """Share of the elements of all matrices, except embeddings and output, that belong to layers without an adapter."""
    from torch import nn

    embedded = {id(model.get_output_embeddings()), id(model.get_input_embeddings())}
    adapted = without = 0
    modules: Any = model.named_modules()
    for name, module in modules:
        if "lora_" in name or isinstance(module, nn.Embedding) or id(module) in embedded:
            continue
        size = sum(weight.numel() for weight in module.parameters(recurse=False) if weight.ndim > 1)
        if name.endswith(".base_layer"):
            adapted += size
        elif not any(weight.requires_grad for weight in module.parameters(recurse=False)):
            without += size
    return without / max(1, adapted + without)


def add_lora(loaded: Loaded, *, rank: int, alpha: int, dropout: float, targets: str, checkpointing: bool) -> Any:
    """The base model with trainable adapters in fp32 (peft's `autocast_adapter_dtype`), all else frozen.

    A quantized base is trained under autocast as it was loaded. peft's `prepare_model_for_kbit_training` would hold
    norms and embeddings in fp32, and the residual stream with them: half as much memory again (a traced step of
    Llama-2-7B over NF4: 14.8 instead of 10.0 GiB), which the estimate that admitted the run does not count.

    A task head, and whatever else the base has no weights for, is trained in full and saved with the adapter.
    Raises UsageError(code="no_lora") for a family that peft cannot adapt.
    """
    import peft

    model: Any = loaded.model
    if checkpointing or loaded.layers is not None:
        model.enable_input_require_grads()
    heads = sorted({*(name for name, _ in model.named_children() if name in TASK_HEADS), *loaded.fresh})
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=targets_for(model, targets),
        task_type=_TASK[loaded.kind],
        modules_to_save=heads or None,
        exclude_modules=heads or None,
    )
    try:
        return peft.get_peft_model(model, config)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"peft cannot put adapters on this model: {first_line(error)}",
            fix="name other layers with --lora-targets, or use --method full",
            code="no_lora",
        ) from None


def add_virtual_tokens(loaded: Loaded, tokens: int) -> Any:
    """The base, frozen, with `tokens` learned embeddings before each sequence (prompt tuning, arXiv 2104.08691).

    They begin as embeddings of words of the vocabulary, drawn by torch's seed: better than noise (figure 3b there).
    Raises UsageError(code="no_prompt_tuning") for a model that peft cannot tune this way.
    """
    import peft

    config = peft.PromptTuningConfig(
        task_type=_TASK[loaded.kind], num_virtual_tokens=tokens, prompt_tuning_init=peft.PromptTuningInit.SAMPLE_VOCAB
    )
    try:
        return peft.get_peft_model(loaded.model, config)
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"peft cannot put virtual tokens before this model: {first_line(error)}",
            fix="use --method lora",
            code="no_prompt_tuning",
        ) from None


def in_fp32(model: Any) -> None:
    """Hold what is trained of a model with adapters in fp32, as peft makes it and the estimate counts it."""
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize == 2 and hasattr(model, "peft_config"):
            parameter.data = parameter.data.float()


def load_adapter(base: str, adapter: Path, options: LoadOptions, *, trainable: bool = False) -> Loaded:
    """A base with a saved adapter on it. Raises UsageError(code="other_base") when its shapes are of another base."""
    import peft

    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(
            f"{adapter} contains no adapter", fix="give the folder with adapter_config.json", code="no_adapter"
        )
    if not options.labels and (adapter / LABELS).is_file():
        options = replace(options, labels=tuple(files.read_json(adapter / LABELS, code="bad_labels")))
    loaded = load(base, options)
    try:
        model = peft.PeftModel.from_pretrained(loaded.model, str(adapter), is_trainable=trainable)
    except (RuntimeError, ValueError) as error:
        made_for = peft.PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path
        raise UsageError(
            f"the adapter in {adapter} was made for {made_for}, and does not fit {base}: {first_line(error)}",
            fix=f"use it with {made_for}",
            code="other_base",
        ) from None
    return Loaded(model, loaded.tokenizer, loaded.kind, loaded.layers, loaded.notes)


def refuse_quantized(base: str, config: Any) -> None:
    """Refuse a base that is stored quantized: adding to such weights rounds them again, so the sum is not exact.

    `config` is its transformers config. Raises UsageError(code="quantized_base").
    """
    stored = getattr(config, "quantization_config", None)
    if stored is None:
        return
    named = stored if isinstance(stored, dict) else getattr(stored, "__dict__", {})
    how = str(getattr(named.get("quant_method"), "value", named.get("quant_method")) or "quantized")
    raise UsageError(
        f"{base} is stored quantized ({how}), and an adapter cannot be added to such weights exactly",
        fix="fine-tune the 16-bit model that it was quantized from (--method qlora quantizes while it loads), which is "
        "merged in 16 bits; or serve base and adapter side by side",
        code="quantized_base",
    )


def merge(base: str, adapter: Path, output: Path, options: LoadOptions) -> Kind:
    """Write base + adapter as one ordinary model. The base is loaded unquantized: merging into 8-bit weights rounds.

    Raises UsageError as `load_adapter`, and "quantized_base", "not_mergeable" (no low-rank adapter), "broken_adapter"
    (the sum is not finite).
    """
    refuse_quantized(base, load_config(base, options))
    loaded = load_adapter(base, adapter, replace(options, method="lora"))
    merged: Any = loaded.model
    if not hasattr(merged, "merge_and_unload"):
        raise UsageError(
            f"the adapter in {adapter} stands before the model instead of in its weights: it cannot be merged",
            fix="use it together with its base, as it is",
            code="not_mergeable",
        )
    try:
        merged = merged.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise UsageError(
            f"the adapter in {adapter} cannot be merged: {first_line(error)}",
            fix="take it from an earlier checkpoint, or train it again",
            code="broken_adapter",
        ) from None
    merged.save_pretrained(output)
    loaded.tokenizer.save_pretrained(output)
    return loaded.kind
