"""The memory a workload peaks at on one GPU, as a sum of named parts. Pure.

A run has a few moments at which it can peak (prefill or last token; end of the forward pass or optimizer step). Each
moment is a sum of parts; the estimate is the largest moment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog import architecture as shapes
from modelpick.catalog.architecture import UNLIMITED, Architecture, Checkpoint
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, UsageError
from modelpick.memory import images, kv_cache, llama_cpp, serving_peak
from modelpick.memory.assumptions import EstimatedCase, assumptions_of, sharding_adds_memory
from modelpick.memory.formats import as_held, format_problem
from modelpick.memory.overhead import interval, runtime_bytes
from modelpick.memory.parts import PARTS, MemoryParts
from modelpick.memory.stack_words import settled
from modelpick.memory.stacks import Stack, stack_of
from modelpick.memory.tensor_parallel import split_problem
from modelpick.memory.training import shares, widened
from modelpick.memory.training_peak import parts_alone, training_parts
from modelpick.memory.weights import (
    ELEMENT_BYTES,
    Scheme,
    parameter_count,
    scheme_for,
    weight_bytes,
)
from modelpick.workload import Workload

GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes per GPU. `low` and `high` bound the measured peak in 90 % of cases like this one."""

    workload: Workload
    parts: MemoryParts
    low: float
    high: float
    parameters: int
    parameters_source: str
    trainable_parameters: int
    kv_bytes_per_token: float
    formulas: dict[str, str]
    assumptions: tuple[str, ...]
    offloaded: float = 0.0  # in the CPU's memory, of one GPU

    @property
    def total(self) -> float:
        """The peak in bytes."""
        return self.parts.total

    def as_json(self) -> dict[str, Any]:
        """The names of the `estimate --json` contract."""
        return {
            "workload": self.workload.as_json(),
            "total_gib": self.total / GIB,
            "low_gib": self.low / GIB,
            "high_gib": self.high / GIB,
            "parts_gib": {name: getattr(self.parts, name) / GIB for name in PARTS},
            "parameters": self.parameters,
            "parameters_source": self.parameters_source,
            "trainable_parameters": self.trainable_parameters,
            "offloaded_gib": self.offloaded / GIB,
            "kv_bytes_per_token": self.kv_bytes_per_token,
            "assumptions": list(self.assumptions),
        }

    def explain(self) -> list[dict[str, Any]]:
        """Each part with its bytes and its formula's name, for `--explain`."""
        return [
            {"part": name, "gib": getattr(self.parts, name) / GIB, "formula": self.formulas.get(name, "does not apply")}
            for name in PARTS
        ]


def architecture_of(model: Model) -> Architecture:
    """The model's architecture, with the context that its makers state; a catalog row of unknown model_type but known
    parameters is read as a decoder.

    Raises CannotTellError when the shape cannot be known, UsageError for a GGUF file whose table is not true.
    """
    if model.gguf_problem is not None:
        raise UsageError(model.gguf_problem, fix="download the file again", code="bad_gguf")
    table = model.gguf_table
    if table is not None and table.config:
        own = Checkpoint("gguf", 0, 0, file=tuple(table.bytes_of.items()))
        return replace(shapes.read(table.config), checkpoint=own, exact=False)
    if model.config is None:
        raise CannotTellError(
            f"{model.id} has no config.json that could be read",
            fix="name a model whose config.json is public",
            code="unknown_architecture",
        )
    try:
        shape = shapes.read(model.config)
    except CannotTellError as unknown:
        readable = model.origin == "catalog" and model.parameters is not None
        if unknown.code != "unknown_architecture" or not readable or model.parameters is None:
            raise
        shape = shapes.read_as_decoder(model.config, model.parameters)
    if not _describes(shape, model):
        if model.parameters is None:
            raise CannotTellError(
                f"{model.id} is a mixture of experts by its name, and its config.json does not tell them",
                fix="name the repository whose config.json has num_experts, or one with a known size",
                code="unknown_architecture",
            )
        shape = shapes.read_as_decoder(model.config, model.parameters, untold=True)
    shape = _by_count(shape, model)
    positions = model.context if shape.context is None else shape.context
    if model.trained_context is not None:
        return _without_limit(shape, f"the model was trained on {model.trained_context:,} tokens")
    limited = replace(shape, context=positions, stated_context=model.context)
    if limited.longest == UNLIMITED:
        return _without_limit(limited, "on how many tokens the model was trained is not known")
    return limited


def _by_count(shape: Architecture, model: Model) -> Architecture:
    """The shape with what the repository's parameter count says of it: its output matrix is tied where config.json does
    not say and only so it fits the count; an encoder of another count is not known exactly (jina-embeddings-v2 calls a
    model with gates and without positions "bert")."""
    counted, config = model.parameters, model.config or {}
    if counted is None or shape.parameters == counted:
        return shape
    if shape.kind == "encoder" and abs(shape.parameters / counted - 1) > _ALIKE:
        said = f"config.json describes {shape.parameters:,} of the repository's {counted:,} parameters"
        return replace(shape, exact=False, assumptions=(*shape.assumptions, said))
    inner = config.get("text_config")
    text = inner if isinstance(inner, Mapping) else config
    silent = config.get("tie_word_embeddings") is None and text.get("tie_word_embeddings") is None
    tied = replace(shape, tied=True)
    if silent and not shape.tied and tied.parameters <= (1 + _ALIKE) * counted < shape.parameters:
        said = "its output matrix is taken to be its embeddings: the parameter count leaves no room for both"
        return replace(tied, assumptions=(*shape.assumptions, said))
    return shape


_ALIKE = 0.02  # counts that differ by less are of one model: pruned vocabularies, buffers
# Below this share of a repository's parameters a config without experts is not taken as told. Of the embedded catalog's
# rows, mixtures whose config lacks the keys have 0.02 to 0.13, the next ones (towers, embeddings of each layer) 0.31.
_DESCRIBED = 0.2
_NAMED_TOTAL = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)B-A\d+(?:\.\d+)?B", re.IGNORECASE)  # 120B-A12B: active ones follow


def _describes(shape: Architecture, model: Model) -> bool:
    """Whether the shape can be the model's: not where it has no experts and far fewer parameters than the repository
    has, or where its size is not known than a name like 120B-A12B says."""
    if shape.kind != "decoder" or any(group.experts for group in shape.layers):
        return True
    named = _NAMED_TOTAL.search(model.id) if model.parameters is None else None
    total = float(named[1]) * 1e9 if named else model.parameters or 0
    return shape.parameters >= _DESCRIBED * total


def _without_limit(shape: Architecture, learnt: str) -> Architecture:
    said = f"the architecture limits no length; {learnt}"
    return replace(shape, relative_positions=True, assumptions=(*shape.assumptions, said))


def estimate_model(model: Model, workload: Workload) -> MemoryEstimate:
    """The estimate of a model's facts. Raises CannotTellError when its architecture cannot be known."""
    return estimate(architecture_of(model), workload, model.parameters)


def estimate(architecture: Architecture, workload: Workload, parameters: int | None = None) -> MemoryEstimate:
    """The peak memory of `workload`, per GPU. `parameters`: the repository's own count, where known.

    Raises UsageError for LoRA targets that the model does not have and for weights that cannot be held as asked,
    CannotTellError for training a model whose layers are only guessed: recurrent ones keep tens of times more for the
    backward pass than attention does.
    """
    workload = settled(as_held(workload, architecture))
    problem = format_problem(architecture, workload) or split_problem(architecture, workload)
    if problem is not None:
        raise problem
    if architecture.guessed and workload.task == "finetune":
        raise CannotTellError(
            f"fine-tuning {architecture.model_type} cannot be estimated: the types of its layers are not known",
            fix="choose a model of a known architecture, or use --task serve for an upper bound",
            code="unknown_architecture",
        )
    if architecture.uncounted and parameters is None:
        raise CannotTellError(
            f"this {architecture.model_type} has a part whose size config.json alone does not tell: "
            f"its {architecture.uncounted} is not counted",
            fix="name the model as the Hub or the catalog has it, or a folder that holds its weights too",
            code="unknown_architecture",
        )
    if architecture.untrained and workload.task == "finetune":
        raise CannotTellError(
            f"fine-tuning {architecture.model_type} cannot be estimated: {architecture.untrained}",
            fix="choose a model of another architecture, or use --task serve",
            code="unknown_architecture",
        )
    stack = stack_of(workload)
    count, source = parameter_count(architecture, parameters)
    b = ELEMENT_BYTES[workload.dtype]
    scheme = scheme_for(workload.method, architecture.checkpoint, bool(workload.double_quantization))
    if scheme is not None and scheme.name == "gptq" and workload.kbit_prepared:
        workload = replace(workload, kbit_prepared=False)  # peft utils/other.py: what GPTQ left in 16 bits stays
    held = widened(architecture, weight_bytes(architecture, scheme, stack, b, count, workload), workload, stack, b)
    if stack.rotary_tables:
        held = replace(held, other=held.other + serving_peak.rotary_tables(architecture, b))
    share = shares(architecture, workload, held)
    element = kv_cache.element_bytes(architecture, workload, b)
    assumptions = list(architecture.assumptions)
    if parameters is None and not architecture.exact:
        assumptions.append("parameters are counted from config.json alone, which may miss parts")
    trainable, grown, offloaded, as_run = 0, 0.0, 0.0, workload
    if workload.images:
        tokens = images.tokens_each(architecture)
        as_run = replace(workload, context=workload.context + workload.images * tokens)
        assumptions.append(f"each image is counted as {tokens:,} tokens, the most that its processor makes of one")
    if workload.attention == "sdpa" and not stack.paged_cache and _no_sdpa(architecture, stack):
        as_run = replace(as_run, attention="eager")
        assumptions.append(f"{stack.name} has no sdpa path for {architecture.model_type}: eager attention")
    if workload.task == "serve":
        parts = serving_peak.serving_parts(architecture, as_run, stack, held, share, b, count)
        if stack.grows_cache and workload.generate:
            grown = share.cache * kv_cache.cache_bytes(architecture, workload.generate, workload.batch, element)
    else:
        peak = training_parts(architecture, as_run, stack, held, share, b, count)
        parts, trainable, offloaded = peak.parts, peak.trainable, peak.offloaded
        if workload.gpus > 1 and not sharding_adds_memory(workload, stack):
            parts = min(parts, parts_alone(architecture, as_run, stack, scheme, b, count), key=lambda each: each.total)
    parts = parts.with_runtime(runtime_bytes(parts.total, grown, workload))
    total = parts.total
    assumptions += assumptions_of(EstimatedCase(architecture, workload, scheme, stack))
    below, above = interval(workload)
    return MemoryEstimate(
        workload=workload,
        parts=parts,
        low=total * (1 - below),
        high=total * (1 + above),
        parameters=count,
        parameters_source=source,
        trainable_parameters=trainable,
        kv_bytes_per_token=kv_cache.bytes_per_token(architecture, element, stack.paged_cache),
        formulas=_formulas(workload, scheme),
        assumptions=tuple(assumptions),
        offloaded=offloaded,
    )


def _no_sdpa(architecture: Architecture, stack: Stack) -> bool:
    """Scores that are capped go through no fused kernel (litgpt/model.py scaled_dot_product_attention likewise)."""
    return architecture.caps_scores or (stack.transformers_models and not architecture.sdpa)


def _formulas(workload: Workload, scheme: Scheme | None) -> dict[str, str]:
    if workload.method == "gguf":
        weights = llama_cpp.formula(workload.gguf_level)
    else:
        weights = scheme.formula if scheme else f"{ELEMENT_BYTES[workload.dtype]:g} bytes per parameter"
    if workload.task == "serve":
        return {
            "weights": weights,
            "kv_cache": "sequences * layers * kv heads * (key + value) * tokens * bytes, windows capped",
            "activations": "max(prefill transients, decode transients + one layer's cache copied) + rebuilt matrix",
            "runtime": "CUDA context + allocator",
        }
    return {
        "weights": weights,
        "activations": "saved tensors of all layers + loss spike (or one layer when checkpointing)",
        "gradients": "bytes of the trainable parameters, when the peak is the optimizer's step",
        "optimizer": "states per trainable parameter",
        "adapter": "rank * (inputs + outputs) of each adapted matrix",
        "runtime": "CUDA context + allocator",
    }
