"""`estimate --exact`: the real transformers and peft code, run on tensors that have sizes but no storage.

FakeTensorMode carries shapes and dtypes through forward, backward and the optimizer; a dispatch mode sees every tensor
come and go and replays torch's caching allocator; attention takes the kernels that CUDA would. No GPU, no weights.
Needs the extra `train`.
"""

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modelpick.errors import CannotTellError, UsageError
from modelpick.memory.allocator import CachingAllocator
from modelpick.memory.quantized_stand_ins import quantize
from modelpick.workload import Workload

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_BITS = {"int8": "int8", "lora-int8": "int8", "nf4": "nf4", "qlora": "nf4"}
_STEPS = 2  # the optimizer's states exist from the first step on: the second shows the true peak
_NEW_TOKENS = 2  # steps traced at the end of the cache: the second one finds all that the first one leaves


@dataclass(frozen=True, slots=True)
class Trace:
    """What a traced workload takes on one GPU, in bytes, and where the peak lies."""

    allocated: int
    reserved: int
    parts: Mapping[str, int]  # at the peak: weights, kv_cache, activations, gradients, optimizer, adapter
    peak_phase: str  # prefill, decode, forward, backward, optimizer
    parameters: int
    trainable_parameters: int
    operations: int
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The `exact` object of `estimate --exact --json`."""
        return {
            "allocated_gib": round(self.allocated / 2**30, 4),
            "reserved_gib": round(self.reserved / 2**30, 4),
            "parts_gib": {name: round(size / 2**30, 4) for name, size in self.parts.items()},
            "peak_phase": self.peak_phase,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "seconds": round(self.seconds, 2),
        }


class _Tracker(TorchDispatchMode):
    """Counts every storage from the operation that makes it to the moment it dies."""

    def __init__(self) -> None:
        super().__init__()
        self.allocator = CachingAllocator()
        self.phase = "weights"
        self.present: Counter[str] = Counter()
        self.at_peak: dict[str, int] = {}
        self.peak = self.operations = self.peak_operation = 0
        self.peak_phase = ""
        self._live: dict[int, tuple[int, str, int]] = {}  # bytes, part, operation of birth

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        return result

    def name(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor's storage as `part` from now on."""
        key = id(tensor.untyped_storage())
        if key in self._live:
            size, old, born = self._live[key]
            self._live[key] = (size, part, born)
            self.present[old] -= size
            self.present[part] += size
            if born <= self.peak_operation:  # it was there at the peak, not yet known for what it is
                self.at_peak[old] = self.at_peak.get(old, 0) - size
                self.at_peak[part] = self.at_peak.get(part, 0) + size

    def _see(self, tensor: torch.Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # sparse and other tensors without one storage
            return
        key, size = id(storage), -(-storage.nbytes() // 512) * 512
        if key in self._live or size == 0:
            return
        part = "weights" if self.phase == "weights" else "activations"
        self._live[key] = (size, part, self.operations)
        self.present[part] += size
        self.allocator.allocate(key, size)
        weakref.finalize(storage, self._gone, key)
        if self.allocator.allocated > self.peak:
            self.peak, self.at_peak, self.peak_phase = self.allocator.allocated, dict(self.present), self.phase
            self.peak_operation = self.operations

    def _gone(self, key: int) -> None:
        size, part, _ = self._live.pop(key, (0, "activations", 0))
        self.present[part] -= size
        self.allocator.release(key)


def trace(config: Mapping[str, Any], workload: Workload) -> Trace:
    """Trace one workload on the architecture of a config.json.

    Raises CannotTellError for a family transformers does not have, and for methods and layers whose kernels are not
    traced.
    """
    if workload.method not in (*_BITS, "bf16", "full", "lora"):
        raise CannotTellError(
            f"--exact does not trace {workload.method} weights",
            fix="leave out --exact: the formulas know them",
            code="not_traceable",
        )
    if workload.gpus > 1:
        raise CannotTellError("--exact traces one GPU", fix="leave out --gpus or --exact", code="not_traceable")
    started = time.monotonic()
    tracker = _Tracker()
    model = _skeleton(config, workload)
    _refuse_other_kernels(model, workload)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    with torch.device("meta"):
        model = _for_method(model, workload)
    with FakeTensorMode(allow_non_fake_inputs=True), _cuda_attention(), tracker:
        model = _prepare(model, workload, tracker)
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        run: Callable[..., None] = _train if workload.task == "finetune" else _serve
        run(model, workload, tracker, trainable)
    names = ("weights", "kv_cache", "activations", "gradients", "optimizer", "adapter")
    return Trace(
        allocated=tracker.allocator.peak_allocated,
        reserved=tracker.allocator.peak_reserved,
        parts={name: tracker.at_peak.get(name, 0) for name in names},
        peak_phase=tracker.peak_phase,
        parameters=parameters,
        trainable_parameters=sum(p.numel() for p in trainable) if workload.task == "finetune" else 0,
        operations=tracker.operations,
        seconds=time.monotonic() - started,
    )


def _skeleton(config: Mapping[str, Any], workload: Workload) -> nn.Module:
    """The model class that the config names, on torch's meta device."""
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
    name = (getattr(shape, "architectures", None) or [""])[0]
    model_class = getattr(transformers, {"MPTForCausalLM": "MptForCausalLM"}.get(name, name), None)
    auto = (
        transformers.AutoModelForSeq2SeqLM
        if getattr(shape, "is_encoder_decoder", False)
        else transformers.AutoModelForCausalLM
    )
    maker: Any = model_class._from_config if model_class is not None else auto.from_config
    dtype = _DTYPES[workload.dtype]
    attention = {"flash": "sdpa"}.get(workload.attention, workload.attention)
    with torch.device("meta"):
        try:
            model = maker(shape, dtype=dtype, attn_implementation=attention)
        except ValueError:  # MPT has no sdpa path
            model = maker(shape, dtype=dtype, attn_implementation="eager")
    model.tie_weights()
    skeleton: nn.Module = model
    return skeleton


def _refuse_other_kernels(model: nn.Module, workload: Workload) -> None:
    """Layers that CUDA computes otherwise than these operations do have no trace, nor has a head nobody named."""
    why = None
    if any("expert" in name.rpartition(".")[2] for name, _ in model.named_modules()):
        why = "a mixture of experts: its grouped products run other kernels on CUDA"
    elif any(isinstance(module, nn.Conv1d) for module in model.modules()):
        why = "state-space layers: their scan runs other kernels on CUDA"
    elif workload.task == "finetune" and not hasattr(model, "prepare_inputs_for_generation"):
        why = "an encoder, which is trained with a task head that its config does not name"
    if why is not None:
        raise CannotTellError(f"--exact does not trace {why}", fix="leave out --exact", code="not_traceable")


def _for_method(model: nn.Module, workload: Workload) -> nn.Module:
    """Quantize, and freeze or add real peft adapters: still without storage."""
    bits = _BITS.get(workload.method)
    if bits:
        quantize(model, bits, double=workload.method in ("nf4", "qlora") and workload.stack != "litgpt")
    if workload.task == "serve":
        return model.eval().requires_grad_(False)
    return _with_adapters(model, workload) if workload.is_lora else model


def _prepare(model: nn.Module, workload: Workload, tracker: _Tracker) -> nn.Module:
    """Make every parameter a fake tensor, counted as what it is, and set the model to its task."""
    _on_fake_device(model)
    for tensor in [*model.parameters(), *model.buffers()]:
        tracker.name(tensor, "adapter" if workload.is_lora and tensor.requires_grad else "weights")
    if workload.task == "serve":
        return model
    if workload.gradient_checkpointing:
        any_model: Any = model
        any_model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        any_model.enable_input_require_grads()
    return model.train()


def _with_adapters(model: nn.Module, workload: Workload) -> nn.Module:
    import peft

    targets: Any = workload.lora_targets
    if targets != "all-linear":
        targets = [name.strip() for name in targets.split(",")]
    task = "SEQ_2_SEQ_LM" if getattr(model.config, "is_encoder_decoder", False) else "CAUSAL_LM"
    config = peft.LoraConfig(
        r=workload.lora_rank, lora_alpha=2 * workload.lora_rank, target_modules=targets, task_type=task
    )
    try:
        adapted: nn.Module = peft.get_peft_model(model, config)
    except ValueError as error:  # no layer of these names
        raise UsageError(
            f"the model has no layers for lora_targets {workload.lora_targets!r}",
            fix="use all-linear",
            code="unknown_lora_target",
        ) from error
    for parameter in adapted.parameters():
        if parameter.requires_grad and parameter.dtype.itemsize == 2:
            parameter.data = parameter.data.float()  # peft's autocast_adapter_dtype
    if workload.method in _BITS:
        for module in adapted.modules():  # under autocast peft's bitsandbytes layers take their input as it is
            if hasattr(module, "cast_input_dtype_enabled"):
                module.cast_input_dtype_enabled = False
    return adapted


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


def _train(model: nn.Module, workload: Workload, tracker: _Tracker, trainable: list[nn.Parameter]) -> None:
    optimizer = _optimizer(trainable, workload.optimizer)
    ids = torch.zeros(workload.batch, workload.context, dtype=torch.long)
    any_model: Any = model
    encoder_decoder = any_model.config.is_encoder_decoder
    for _ in range(_STEPS):
        tracker.phase = "forward"
        inputs = {"input_ids": ids, "labels": ids} | ({} if encoder_decoder else {"use_cache": False})
        with _cuda_autocast(workload):
            loss = any_model(**inputs).loss
        tracker.phase = "backward"
        loss.backward()
        del loss
        for parameter in trainable:
            if parameter.grad is not None:
                tracker.name(parameter.grad, "gradients")
        tracker.phase = "optimizer"
        optimizer.step()
        for state in optimizer.state.values():
            for value in state.values():
                if isinstance(value, torch.Tensor):
                    tracker.name(value, "optimizer")
        optimizer.zero_grad(set_to_none=True)


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


def _serve(model: nn.Module, workload: Workload, tracker: _Tracker, trainable: list[nn.Parameter]) -> None:
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
    import inspect

    return {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def _name_cache(cache: Any, tracker: _Tracker) -> None:
    halves = [getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")]
    for part in [half for half in halves if half is not None] or [cache]:
        for layer in getattr(part, "layers", ()):
            for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None)):
                if isinstance(tensor, torch.Tensor):
                    tracker.name(tensor, "kv_cache")


@contextmanager
def _cuda_autocast(workload: Workload) -> Iterator[None]:
    """Autocast, under which adapters on quantized weights are trained, as CUDA has it: layer norms in fp32 too.

    Source: aten/src/ATen/autocast_mode.h, AT_FORALL_FP32.
    """
    if workload.method not in _BITS or workload.dtype == "fp32":
        yield
        return
    functional = torch.nn.functional
    before = functional.layer_norm

    def in_fp32(input: Any, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> torch.Tensor:
        widened = [part if part is None else part.float() for part in (input, weight, bias)]
        return before(widened[0], shape, widened[1], widened[2], eps)

    functional.layer_norm = in_fp32
    try:
        with torch.autocast("cpu", dtype=_DTYPES[workload.dtype]):
            yield
    finally:
        functional.layer_norm = before


@contextmanager
def _cuda_attention() -> Iterator[None]:
    """Give scaled_dot_product_attention the kernels CUDA takes (aten/native/transformers/cuda/sdp_utils.cpp)."""
    functional = torch.nn.functional
    before = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = _attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = before


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Flash without a mask in 16 bits up to a head of 256, memory-efficient otherwise; masks are expanded as there."""
    half = query.dtype in (torch.float16, torch.bfloat16)
    if enable_gqa and key.size(-3) != query.size(-3) and (attn_mask is not None or not half):
        repeat = query.size(-3) // key.size(-3)
        key, value = key.repeat_interleave(repeat, -3), value.repeat_interleave(repeat, -3)
    aten: Any = torch.ops.aten
    if attn_mask is None and half and query.size(-1) <= 256:
        flash: torch.Tensor = aten._scaled_dot_product_flash_attention(
            query, key, value, dropout_p, is_causal, False, scale=scale
        )[0]
        return flash
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            filled = torch.zeros_like(attn_mask, dtype=query.dtype)
            filled.masked_fill_(attn_mask.logical_not(), float("-inf"))
            attn_mask = filled
        attn_mask = attn_mask.expand(query.size(0), query.size(1), query.size(2), key.size(2))
    for_backward = query.requires_grad or key.requires_grad
    efficient: torch.Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, for_backward, dropout_p, is_causal, scale=scale
    )[0]
    return efficient
