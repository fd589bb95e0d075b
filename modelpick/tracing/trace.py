"""`estimate --exact`: the real transformers, peft and TRL code, run on tensors that have sizes but no storage.

FakeTensorMode carries shapes and dtypes through forward, backward and the optimizer; a dispatch mode sees every tensor
come and go and replays torch's caching allocator; attention and autocast follow the rules of CUDA. No GPU, no weights.
Fine-tuning is traced as `modelpick finetune` does it: its own adapters, autocast where the workload has it, and with
the stack `trl` the fused output matrix of SFTTrainer, with a label at every position of a sequence.
Needs the extra `train`.
"""

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from modelpick.errors import CannotTellError
from modelpick.loading.adapters import add_lora, in_fp32
from modelpick.loading.load import Loaded, kind_of, repeat_single_key
from modelpick.loading.quantized import QuantizedLayers
from modelpick.memory.stack_words import settled
from modelpick.memory.stacks import stack_of
from modelpick.tracing.allocator import StorageTracker
from modelpick.tracing.cuda_kernels import checkpoint_contexts, cuda_rules
from modelpick.tracing.fake_quantized import quantize
from modelpick.tracing.offload import offloaded
from modelpick.tracing.prompts import add_prompt
from modelpick.workload import Workload

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_BITS = {"int8": "int8", "lora-int8": "int8", "nf4": "nf4", "qlora": "nf4"}
_NEW_TOKENS = 2  # steps traced at the end of the cache: the second one finds all that the first one leaves
_PARTS = ("weights", "kv_cache", "activations", "gradients", "optimizer", "adapter")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a traced workload takes on one GPU, in bytes, and where the peak lies."""

    allocated: int
    reserved: int
    parts: Mapping[str, int]  # at the peak: weights, kv_cache, activations, gradients, optimizer, adapter
    peak_phase: str  # weights, prefill, decode, forward, backward, optimizer
    parameters: int
    trainable_parameters: int
    operations: int
    code: tuple[str, ...]  # the libraries whose code ran, with their versions
    seconds: float

    def as_json(self) -> dict[str, object]:
        """The `exact` object of `estimate --exact --json`."""
        return {
            "allocated_gib": self.allocated / 2**30,
            "reserved_gib": self.reserved / 2**30,
            "peak_phase": self.peak_phase,
            "operations": self.operations,
            "code": list(self.code),
            "seconds": round(self.seconds, 2),
        }


def trace(config: Mapping[str, object], workload: Workload) -> Trace:
    """Trace one workload on the architecture of a config.json.

    Raises CannotTellError for a family transformers does not have, and for methods, layers and stacks whose code or
    kernels are not what would be traced.
    """
    workload = settled(workload)
    if (why := _not_traced(workload)) is not None:
        raise _refused(why)
    started = time.monotonic()
    tracker = StorageTracker()
    model, kind = _skeleton(config, workload)
    if (why := _other_kernels(model)) is not None:
        raise _refused(why)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    fused = _has_fused_head(workload)
    if kind != "decoder" and fused:
        if workload.stack != "modelpick":
            raise _refused(f"SFTTrainer on an {kind} model, which it does not train")
        fused = False
    with torch.device("meta"):
        model = _for_method(model, kind, workload, fused=fused)
    with FakeTensorMode(allow_non_fake_inputs=True), cuda_rules(padded=_padded(workload), trl=fused), tracker:
        _on_fake_device(model)
        for tensor in [*model.parameters(), *model.buffers()]:
            tracker.name(tensor, "adapter" if workload.is_lora and tensor.requires_grad else "weights")
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if workload.task == "finetune":
            _train(model.train(), kind, workload, tracker, trainable, fused=fused)
        else:
            _serve(model.eval(), workload, tracker)
    return Trace(
        allocated=tracker.allocator.peak_allocated,
        reserved=tracker.allocator.peak_reserved,
        parts={name: tracker.at_peak.get(name, 0) for name in _PARTS},
        peak_phase=tracker.peak_phase,
        parameters=parameters,
        trainable_parameters=sum(p.numel() for p in trainable),
        operations=tracker.operations,
        code=_code(workload, fused=fused),
        seconds=time.monotonic() - started,
    )


def _code(workload: Workload, *, fused: bool) -> tuple[str, ...]:
    names = ["transformers", *(["peft"] if workload.is_lora else []), *(["trl"] if fused else [])]
    return tuple(f"{name} {version(name)}" for name in names)


def _refused(why: str) -> CannotTellError:
    return CannotTellError(
        f"--exact does not trace {why}", fix="leave out --exact: the formulas answer", code="not_traceable"
    )


def _not_traced(workload: Workload) -> str | None:
    """Why a workload is refused: tracing code other than what runs would give a figure that only looks exact."""
    if workload.stack not in ("modelpick", "transformers", "trl"):
        return f"{workload.stack}: it runs code of its own, and this is the code of transformers, peft and TRL"
    if workload.stack == "modelpick" and workload.stack_version is not None:
        return f"modelpick {workload.stack_version}: it runs the version that is installed"
    if workload.stack_version is not None and not _is_installed(workload.stack, workload.stack_version):
        return f"{workload.stack} {workload.stack_version}: it runs the version that is installed"
    if workload.method not in (*_BITS, "bf16", "full", "lora", "prompt-tuning"):
        return f"{workload.method} weights, whose kernels it cannot fake"
    if workload.gpus > 1 or workload.sharding != "none":
        return "several GPUs or DeepSpeed's engine"
    if workload.compile:
        return "compiled code (--compile)"
    if workload.loss_chunking and not _has_fused_head(workload):
        return "a chunked loss (--loss-chunking), which comes from Liger's kernels"
    if workload.kv_cache_dtype != "auto":
        return f"a cache in {workload.kv_cache_dtype}"
    if workload.images:
        return "images, whose tokens come from a processor"
    return None


def _has_fused_head(workload: Workload) -> bool:
    """Whether SFTTrainer's fused output matrix computes the loss."""
    return workload.task == "finetune" and stack_of(workload).fused_head and bool(workload.loss_chunking)


def _is_installed(package: str, wanted: str) -> bool:
    """Whether a version, named as far as it matters ("1.16"), is the one installed (1.16.0)."""
    return f"{version(package)}.".startswith(f"{wanted}.")


def _skeleton(config: Mapping[str, object], workload: Workload) -> tuple[nn.Module, str]:
    """The model that `modelpick finetune` or a server would load, on torch's meta device, and its kind."""
    import transformers
    from transformers.models.auto import configuration_auto

    values = {key: value for key, value in config.items() if key not in ("quantization_config", "auto_map")}
    family = str(values.pop("model_type", ""))
    if family not in configuration_auto.CONFIG_MAPPING_NAMES:
        raise CannotTellError(
            f"transformers has no family {family!r} to trace",
            fix="leave out --exact, or upgrade transformers",
            code="unknown_architecture",
        )
    shape = transformers.AutoConfig.for_model(family, **values)
    kind = kind_of(shape)
    heads = {"decoder": "AutoModelForCausalLM", "encoder-decoder": "AutoModelForSeq2SeqLM"}
    if workload.task == "finetune":
        heads["encoder"] = "AutoModelForSequenceClassification"
    maker = getattr(transformers, heads.get(kind, "AutoModelForMaskedLM"))
    dtype = _DTYPES[workload.dtype]
    attention = {"flash": "sdpa"}.get(workload.attention, workload.attention)
    with torch.device("meta"):
        try:
            model = maker.from_config(shape, dtype=dtype, attn_implementation=attention)
        except ValueError:  # MPT has no sdpa path
            model = _eager(maker, shape, dtype)
    model.tie_weights()
    if config.get("tie_word_embeddings") is False:
        _untie(model)
    if workload.dtype == "fp16":  # modeling_utils.py _get_dtype_plan
        for name, module in model.named_modules():
            if name.rpartition(".")[2] in (model._keep_in_fp32_modules or ()):
                module.float()
    return model, kind


def _eager(maker: Any, shape: Any, dtype: torch.dtype) -> Any:
    """The model with eager attention. Raises CannotTellError for a family that reads no text (Whisper)."""
    try:
        return maker.from_config(shape, dtype=dtype, attn_implementation="eager")
    except ValueError:
        raise CannotTellError(
            f"transformers has no class of {shape.model_type} that reads text, which --exact would trace",
            fix="leave out --exact",
            code="unknown_architecture",
        ) from None


def _untie(model: Any) -> None:
    """T5's config is made to say "tied" whatever the file says; a checkpoint with both matrices is loaded with both."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is embedding.weight:
        head.weight = nn.Parameter(torch.empty_like(head.weight))


def _other_kernels(model: nn.Module) -> str | None:
    """Layers that CUDA computes with other operations, which cannot be traced."""
    if any("expert" in name.rpartition(".")[2] for name, _ in model.named_modules()):
        return "a mixture of experts: its grouped products run other kernels on CUDA"
    if any(isinstance(module, nn.Conv1d) for module in model.modules()):
        return "state-space layers: their scan runs other kernels on CUDA"
    return None


def _for_method(model: nn.Module, kind: str, workload: Workload, *, fused: bool) -> nn.Module:
    """Quantize, and freeze or add real peft adapters, in the order of `modelpick finetune`: still without storage."""

    bits = _BITS.get(workload.method)
    if bits:
        quantize(model, bits, double=bool(workload.double_quantization))
    if workload.task == "serve":
        return model.requires_grad_(False)
    if workload.stack == "modelpick":
        repeat_single_key(model)
    any_model: Any = model
    if workload.kbit_prepared:
        _prepare(any_model)
    if workload.gradient_checkpointing:
        any_model.gradient_checkpointing_enable({"use_reentrant": False, "context_fn": checkpoint_contexts})
    if fused:
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(any_model, outputs=("log_probs", "entropy", "is_top1"))
    if workload.method == "prompt-tuning":
        return add_prompt(model, kind, workload.virtual_tokens or 0)
    if not workload.is_lora:
        return model
    layers = QuantizedLayers(0, (), ()) if bits else None
    tokenizer: Any = None
    adapted: nn.Module = add_lora(
        Loaded(any_model, tokenizer, kind, layers, ()),  # type: ignore[arg-type]
        rank=workload.lora_rank,
        alpha=2 * workload.lora_rank,
        dropout=workload.lora_dropout,
        targets=workload.lora_targets,
        checkpointing=workload.gradient_checkpointing,
    )
    if workload.stack == "modelpick":
        in_fp32(adapted)
    elif bits and workload.stack == "trl":  # sft_trainer.py of 1.16: adapters of quantized models in bf16
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    if bits and stack_of(workload).autocasts(workload):
        for module in adapted.modules():  # under autocast peft's bitsandbytes layers take their input as it is
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False
    return adapted


def _prepare(model: Any) -> None:
    """peft's own function; checkpointing is switched on by the caller, as Trainer does once more."""
    from peft import prepare_model_for_kbit_training

    model.is_loaded_in_4bit = True
    prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def _on_fake_device(model: nn.Module) -> None:
    """Replace meta tensors by fake ones; tied parameters stay one."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(_empty(parameter), requires_grad=parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = _empty(buffer)


def _empty(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(like.shape, dtype=like.dtype)


def _train(
    model: nn.Module,
    kind: str,
    workload: Workload,
    tracker: StorageTracker,
    trainable: list[nn.Parameter],
    *,
    fused: bool,
) -> None:
    """Two steps: the optimizer's states exist from the first on, so the second shows the true peak. With accumulation
    it takes two micro-batches, the second of which finds the gradients of the first."""
    optimizers = _optimizers(trainable, workload)
    loss_of = _loss_of(model, kind, workload, fused=fused)
    for micro_batches in (1, min(workload.gradient_accumulation, 2)):
        for _ in range(micro_batches):
            tracker.phase = "forward"
            loss = loss_of()
            tracker.phase = "backward"
            loss.backward()
            del loss
            for parameter in trainable:
                if parameter.grad is not None:
                    tracker.name(parameter.grad, "gradients")
        tracker.phase = "optimizer"
        for optimizer in optimizers:
            if not workload.optimizer_in_backward:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for state in optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        tracker.name(value, "optimizer")


def _optimizers(trainable: list[nn.Parameter], workload: Workload) -> list[torch.optim.Optimizer]:
    """One optimizer; or one for each parameter, which steps as soon as its gradient is there and frees it (torchtune
    training/memory.py, register_optim_in_bwd_hooks)."""
    if not workload.optimizer_in_backward:
        return [_optimizer(trainable, workload.optimizer)]
    found = []
    for parameter in trainable:
        optimizer = _optimizer([parameter], workload.optimizer)

        def step(_: torch.Tensor, own: torch.optim.Optimizer = optimizer) -> None:
            own.step()
            own.zero_grad(set_to_none=True)

        parameter.register_post_accumulate_grad_hook(step)
        found.append(optimizer)
    return found


def _padded(workload: Workload) -> bool:
    """Whether attention gets a mask: one sequence needs none, packed ones have no padding, flash attention cuts it out,
    and a server's prompts are taken to be of one length."""
    one = workload.batch == 1 or workload.packing or workload.attention == "flash"
    return workload.task == "finetune" and not one


def _loss_of(model: nn.Module, kind: str, workload: Workload, *, fused: bool) -> Callable[[], torch.Tensor]:
    """A forward pass and its loss, as Trainer (transformers) and SFTTrainer (trl) compute it."""
    ids = torch.zeros(workload.batch, workload.context, dtype=torch.long)
    inputs: dict[str, object] = {"input_ids": ids, "labels": ids[:, 0] if kind == "encoder" else ids}
    if kind == "encoder-decoder" and workload.target_length is not None:
        inputs["labels"] = torch.zeros(workload.batch, workload.target_length, dtype=torch.long)
    if kind == "decoder":
        inputs["use_cache"] = False
    if _padded(workload):
        inputs["attention_mask"] = torch.ones_like(ids)
    any_model: Any = model

    def loss() -> torch.Tensor:
        with _autocast(workload), offloaded(any_model, on=bool(workload.activation_offload)):
            if not fused:
                found: torch.Tensor = any_model(**inputs).loss
                return found
            given = any_model(**inputs, fused_lm_head=True)
            per_token = -given.log_probs
            summed: torch.Tensor = per_token.sum() / given.label_mask.sum()
            return summed

    return loss


@contextmanager
def _autocast(workload: Workload) -> Iterator[None]:
    if not stack_of(workload).autocasts(workload):
        yield
        return
    with torch.autocast("cpu", dtype=_DTYPES[workload.dtype]):
        yield


def _optimizer(trainable: list[nn.Parameter], name: str) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(trainable, lr=1e-4, foreach=True)
    if name in ("adamw", "adamw-fused"):
        # The fused kernel makes no temporaries; neither does the loop over single tensors, beyond one at a time.
        return torch.optim.AdamW(trainable, lr=1e-4, foreach=name == "adamw")
    return _EightBitAdam(trainable)


class _EightBitAdam(torch.optim.Optimizer):
    """bitsandbytes' 8-bit AdamW by its sizes: a byte for each of two states, an fp32 scale per 256 (2110.02861)."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter not in self.state:
                    kind = torch.uint8 if parameter.numel() >= 4096 else torch.float32
                    scales = -(-parameter.numel() // 256)
                    for number in (1, 2):
                        self.state[parameter][f"state{number}"] = torch.empty(parameter.shape, dtype=kind)
                        self.state[parameter][f"absmax{number}"] = torch.empty(scales)


def _serve(model: nn.Module, workload: Workload, tracker: StorageTracker) -> None:
    any_model: Any = model
    ids = torch.zeros(workload.batch, workload.context, dtype=torch.long)
    with torch.no_grad():
        tracker.phase = "prefill"
        if any_model.config.is_encoder_decoder:
            result = any_model(input_ids=ids, decoder_input_ids=ids[:, :1], use_cache=True)
        elif not hasattr(any_model, "generate"):
            any_model(input_ids=ids)
            return
        else:
            result = any_model(input_ids=ids, use_cache=True, **_last_logits_only(any_model))
        cache = getattr(result, "past_key_values", None)
        _name_cache(cache, tracker)
        if any_model.config.is_encoder_decoder or cache is None:
            return
        tracker.phase = "decode"
        _as_if_written(cache, workload.generate - _NEW_TOKENS)
        _name_cache(cache, tracker)
        last = ids[:, :1]
        for _ in range(min(workload.generate, _NEW_TOKENS)):
            any_model(input_ids=last, past_key_values=cache, use_cache=True)
            _name_cache(cache, tracker)


def _as_if_written(cache: Any, tokens: int) -> None:
    """Let a cache grow by `tokens` tokens at once, through its own update, so that only the last steps need tracing."""
    if tokens <= 0:
        return
    for number, layer in enumerate(getattr(cache, "layers", ())):
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if isinstance(keys, torch.Tensor) and isinstance(values, torch.Tensor) and keys.dim() == 4:
            new = [part.new_empty((*part.shape[:2], tokens, part.shape[3])) for part in (keys, values)]
            cache.update(*new, number)


def _last_logits_only(model: Any) -> dict[str, int]:
    """`generate` asks for the last position's logits only, where the model's forward takes the request."""
    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def _name_cache(cache: Any, tracker: StorageTracker) -> None:
    halves = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    for part in [half for half in halves if half is not None] or [cache]:
        for layer in getattr(part, "layers", ()):
            for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
                if isinstance(tensor, torch.Tensor):
                    tracker.name(tensor, "kv_cache")
