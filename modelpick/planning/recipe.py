"""Everything that determines a run, in one record: written to run.json, and enough to do the run again. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from modelpick.errors import UsageError, nearest
from modelpick.workload import FINETUNE_METHODS, Workload, workload_from

SCHEMA_VERSION = 1
TRL = "1.16"  # the version that pyproject.toml and deploy/requirements.in ask for


@dataclass(frozen=True, slots=True)
class RunSettings:
    """One fine-tuning run. None in a file means: chosen for the device when the run starts, and written back.

    Defaults and their evidence:
    - rank 16, alpha 2 x rank, all linear layers: "LoRA Without Regret" (Thinking Machines, 2025-09-29) for the layers;
      torchtune's and Unsloth's recipes for alpha = 2r; PEFT's MetaMathQA comparison (huggingface/peft@5d602fd) has
      r 32 at .478 and r 64 at .474 of the same model.
    - learning rate 2e-4, 1e-4 above 13 billion parameters: QLoRA, arXiv 2305.14314, table 9. Full fine-tuning a tenth
      of it ("LoRA Without Regret": LoRA wants about 10 x the rate of full fine-tuning).
    - effective batch 16, cosine, 10 % warm-up: QLoRA (batch 16); LLaMA-Factory's llama3 recipe (cosine, warm-up 0.1).
    - 3 epochs: LLaMA-Factory's recipe, the upper end of the published 1 to 3, since the data here are few.
    - no dropout: peft's own default (LoraConfig, peft 0.21). Fused AdamW: transformers' own (TrainingArguments, 5.23);
      it needs no second copy of what is trained.
    """

    model: str
    data: str
    output: str
    method: str = "lora"
    revision: str | None = None
    eval_data: str | None = None
    held_out: float = 0.1  # share of the examples, when no eval_data is given
    context: int = 1024
    batch: int = 1
    accumulation: int = 16
    gradient_checkpointing: bool = False
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_targets: str = "all-linear"
    learning_rate: float = 2e-4
    schedule: str = "cosine"
    warmup: float = 0.1  # share of all steps
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    optimizer: str = "adamw-fused"
    epochs: float = 3.0
    max_steps: int | None = None
    dtype: str = "bf16"
    attention: str = "sdpa"
    seed: int = 42
    save_steps: int = 50
    log_steps: int = 5
    probe: int = 0  # cases of the probe suite before and after; 0: none
    probe_shots: int = 0  # solved cases shown first when the same cases are asked a second time; 0: asked once, bare
    merge: bool = False
    track: str | None = None  # mlflow, mlflow:URI or dagshub:OWNER/REPO
    checkpoint_to: str | None = None  # s3://bucket/prefix
    usd_per_hour: float | None = None
    trust_remote_code: bool = False
    allow_pickles: bool = False

    @property
    def effective_batch(self) -> int:
        """Examples a step learns from."""
        return self.batch * self.accumulation

    @property
    def is_lora(self) -> bool:
        """Whether only adapters (and a task head) are trained."""
        return self.method != "full"

    def workload(self) -> Workload:
        """The same, in the words of the memory estimate."""
        names: dict[str, Any] = {
            "task": "finetune",
            "method": self.method,
            "context": self.context,
            "batch": self.batch,
            "optimizer": self.optimizer,
            "gradient_checkpointing": self.gradient_checkpointing,
            "gradient_accumulation": self.accumulation,
            "dtype": self.dtype,
            "attention": self.attention,
        }
        if self.is_lora:
            names |= {"lora_rank": self.lora_rank, "lora_targets": self.lora_targets, "lora_dropout": self.lora_dropout}
        return workload_from(names)

    def smaller_batch(self) -> "RunSettings | None":
        """Half the micro-batch (or the next divisor below) with the same effective batch; None at a batch of 1."""
        if self.batch == 1:
            return None
        half = next(size for size in range(self.batch // 2, 0, -1) if self.effective_batch % size == 0)
        return replace(self, batch=half, accumulation=self.effective_batch // half)

    def as_json(self) -> dict[str, Any]:
        """The record as it stands in run.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Halving:
    """Memory ran out: what comes after step `after_step` was learned in micro-batches of `batch`."""

    after_step: int
    batch: int


def in_force(settings: RunSettings, halvings: Sequence[Halving], step: int) -> tuple[RunSettings, int | None]:
    """The settings in force after `step`, and the step at which the next halving takes over (None: no other one).

    A run is the same bits again only when each of its steps is taken in the micro-batches it was taken in before.
    """
    done = [halving for halving in halvings if halving.after_step <= step]
    later = [halving.after_step for halving in halvings if halving.after_step > step]
    if done:
        batch = max(done, key=lambda halving: halving.after_step).batch
        settings = replace(settings, batch=batch, accumulation=settings.effective_batch // batch)
    return settings, min(later, default=None)


def halvings_of(record: Mapping[str, Any] | None) -> tuple[Halving, ...]:
    """Those of a run file; () for none, and for one that never ran out of memory."""
    told = (record or {}).get("halvings", ())
    return tuple(Halving(int(one["after_step"]), int(one["batch"])) for one in told)


# RoBERTa's positions begin after the padding index: an encoder takes so many tokens less than it has positions.
PADDED_POSITIONS = 2


def as_trained(workload: Workload, kind: str, *, gpu: bool) -> Workload:
    """A fine-tuning workload in the words of what train.py runs: adapters under autocast, and a causal model on a GPU
    through SFTTrainer's fused output matrix, whose kernels exist there alone. `kind`: causal, or anything else.
    """
    trained = replace(workload, autocast=workload.is_lora)
    return replace(trained, stack="trl", stack_version=TRL) if gpu and kind == "causal" else trained


_CHOICES: dict[str, tuple[str, ...]] = {
    "method": FINETUNE_METHODS,
    "schedule": ("cosine", "linear", "constant", "constant_with_warmup"),
    "optimizer": ("adamw", "adamw-fused", "adamw-8bit", "paged-adamw-8bit", "sgd"),
    "dtype": ("bf16", "fp16", "fp32"),
    "attention": ("eager", "sdpa", "flash"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "held_out": (0.0, 0.5), "context": (8, 100_000_000), "batch": (1, 1_000_000), "accumulation": (1, 1_000_000),
    "lora_rank": (1, 65_536), "lora_alpha": (1, 1_000_000), "lora_dropout": (0.0, 0.9), "learning_rate": (1e-9, 1.0),
    "warmup": (0.0, 0.9), "weight_decay": (0.0, 1.0), "max_grad_norm": (1e-6, 1e6), "epochs": (1e-3, 1000.0),
    "max_steps": (1, 100_000_000), "seed": (0, 2**32 - 1), "save_steps": (1, 100_000_000),
    "log_steps": (1, 100_000_000),
    "probe": (0, 100_000), "probe_shots": (0, 100), "usd_per_hour": (0.0, 100_000.0),
}  # fmt: skip


def settings_from(values: Mapping[str, Any]) -> RunSettings:
    """Settings from names and values; None takes the default. Raises UsageError for an unknown name or a bad value."""
    known = {field.name: field for field in fields(RunSettings)}
    given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise UsageError(
                f"unknown setting {name!r}",
                fix=nearest(name, known) or "see modelpick finetune --help",
                code="unknown_setting",
            )
        if value is None:
            continue
        given[name] = _checked(name, value, getattr(known[name].type, "__name__", str(known[name].type)))
    missing = [name for name in ("model", "data", "output") if name not in given]
    if missing:
        raise UsageError(f"no {missing[0]} is given", fix=f"name the {missing[0]}", code="missing_setting")
    return RunSettings(**given)


def run_from_json(record: Any) -> RunSettings:
    """The settings of a run file. Raises UsageError(code="unknown_schema") for a file of another version."""
    if not isinstance(record, Mapping) or record.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            "this is no run file of schema_version 1",
            fix="run modelpick finetune again to write one",
            code="unknown_schema",
        )
    settings = record.get("settings")
    if not isinstance(settings, Mapping):
        raise UsageError(
            "the run file has no settings", fix="run modelpick finetune again to write one", code="bad_run_file"
        )
    return settings_from(settings)


def _checked(name: str, value: Any, kind: str) -> Any:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(
            f"unknown {name} {value!r}",
            fix=nearest(str(value), _CHOICES[name]) or f"use one of {', '.join(_CHOICES[name])}",
            code=f"unknown_{name}",
        )
    if name in _RANGES:
        low, high = _RANGES[name]
        whole = "float" not in kind
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not low <= value <= high or (whole and value != int(value)):
            raise UsageError(
                f"{name} is {value!r}",
                fix=f"give a {'whole ' if whole else ''}number from {low:g} to {high:g}",
                code=f"bad_{name}",
            )
        return int(value) if whole else float(value)
    wanted = bool if kind == "bool" else str
    if not isinstance(value, wanted):
        raise UsageError(
            f"{name} is {value!r}", fix=f"give {'true or false' if wanted is bool else 'text'}", code=f"bad_{name}"
        )
    return value
