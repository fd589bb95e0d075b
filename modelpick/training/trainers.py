"""The trainers: TRL's for causal models (SFT, DPO, KTO), transformers' for others, each of them checked.

torch, transformers, trl and datasets are imported here at the top: import this module late.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
from torch.nn.functional import cross_entropy

from modelpick.errors import UsageError
from modelpick.loading import adapters
from modelpick.loading.load import Loaded
from modelpick.loading.tokenize import IGNORED, Encoded
from modelpick.planning.recipe import RunSettings
from modelpick.training import checkpoints, packing
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.progress import Event

# Our names of the optimizers -> transformers' (transformers.training_args.OptimizerNames, 5.23).
_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw-fused": "adamw_torch_fused",
    "adamw-8bit": "adamw_bnb_8bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "sgd": "sgd",
}


def training_arguments(settings: RunSettings, folder: Path) -> dict[str, object]:
    """The run's settings as transformers.TrainingArguments; checkpoints go to `folder`."""
    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": settings.batch,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if settings.gradient_checkpointing else None,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.scheduler,
        "warmup_steps": settings.warmup_share,  # below 1 it is a share of all steps
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": _OPTIMIZERS[settings.optimizer],
        "num_train_epochs": settings.epochs,
        "max_steps": settings.max_steps or -1,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "save_strategy": "steps",
        "save_steps": settings.save_steps,
        "logging_steps": settings.log_steps,
        "logging_nan_inf_filter": False,  # a loss that is not finite is reported, not averaged away
        "report_to": [],  # integrations are added as callbacks, by name, in build_trainer
        "disable_tqdm": True,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        # With the adapters in fp32, autocast computes in the base's dtype; a model that is bf16 in full needs none.
        "bf16": settings.dtype == "bf16" and settings.has_adapter,
        "fp16": cuda and settings.dtype == "fp16" and settings.has_adapter,
    }


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What the caller gives the loop: where reports go, a second place for checkpoints, the request to stop, and a
    context for the steps, in which one that has begun is finished."""

    report: Callable[[Event], None]
    store: checkpoints.Store | None
    stop: threading.Event
    steps: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an attempt begins with: the model, the rows to train on, and how to measure it while it trains (a loss)."""

    loaded: Loaded
    rows: Encoded
    validation: Callable[[], float] | None = None


def make(settings: RunSettings, prepared: Prepared, folder: Path, hooks: RunHooks) -> Any:
    """The Trainer for the kind of model and the objective; checkpoints go to `folder`."""
    rows = datasets.Dataset.from_list(list(prepared.rows.rows))
    common = training_arguments(settings, folder)
    parts: dict[str, Any] = {
        "model": prepared.loaded.model, "train_dataset": rows, "processing_class": prepared.loaded.tokenizer,
    }  # fmt: skip
    trainer = _MAKERS[settings.objective](settings, prepared.loaded, common, parts)
    trainer.hooks = hooks
    trainer.remove_callback(transformers.PrinterCallback)  # reports go through the hooks
    return trainer


def _sft(settings: RunSettings, loaded: Loaded, common: dict[str, Any], parts: dict[str, Any]) -> Any:
    if loaded.kind == "decoder":
        arguments = trl.SFTConfig(
            **common, max_length=settings.context, dataset_kwargs={"skip_prepare_dataset": True}, packing=False
        )
        apart = settings.method != "prompt-tuning" and settings.share_rows and settings.batch > 1
        if apart and packing.keeps_apart(loaded.model):
            parts["data_collator"] = packing.PackingCollator(loaded.tokenizer.pad_token_id)
        else:
            arguments.train_sampling_strategy = _grouped(settings)
        trainer = CheckedSFTTrainer(args=arguments, **parts)
        # TRL 1.16 casts those of a quantized model to bf16, whose 8 bits of precision lose small updates.
        adapters.in_fp32(loaded.model)
        return trainer
    if loaded.kind == "encoder-decoder":
        collator = transformers.DataCollatorForSeq2Seq(loaded.tokenizer, model=loaded.model)
    else:
        collator = transformers.DataCollatorWithPadding(loaded.tokenizer)
    arguments = transformers.TrainingArguments(**common, train_sampling_strategy=_grouped(settings))
    return CheckedTrainer(args=arguments, data_collator=collator, compute_loss_func=mean_over_step, **parts)


def _grouped(settings: RunSettings) -> str:
    """How transformers orders examples: by like lengths where they are padded and do not share rows."""
    return "group_by_length" if settings.share_rows and settings.batch > 1 else "random"


def _dpo(settings: RunSettings, loaded: Loaded, common: dict[str, Any], parts: dict[str, Any]) -> Any:
    arguments = trl.DPOConfig(**common, max_length=settings.context, beta=settings.beta)
    return _against_base(CheckedDPOTrainer(args=arguments, **parts), loaded)


def _kto(settings: RunSettings, loaded: Loaded, common: dict[str, Any], parts: dict[str, Any]) -> Any:
    liked = sum(parts["train_dataset"]["label"])
    other = len(parts["train_dataset"]) - liked
    # The rarer side weighs more, so that both count alike: TRL's lower bound of Eq. (8), KTO, arXiv 2402.01306.
    weights = {
        "desirable_weight": max(1.0, other / max(1, liked)),
        "undesirable_weight": max(1.0, liked / max(1, other)),
    }
    arguments = trl.KTOConfig(**common, max_length=settings.context, beta=settings.beta, **weights)
    return _against_base(CheckedKTOTrainer(args=arguments, **parts), loaded)


_MAKERS = {"sft": _sft, "dpo": _dpo, "kto": _kto}


def _against_base(trainer: Any, loaded: Loaded) -> Any:
    """The reference is the base, which is the model with its adapter switched off.

    TRL 1.16 makes a second adapter "ref" of the one that a model comes with, for those that were trained before. Ours
    begins at zero, so that the base says the same: without the copy nothing of it is held, trained or saved.
    """
    loaded.model.delete_adapter("ref")
    loaded.model.set_adapter("default")
    adapters.in_fp32(loaded.model)  # as for SFT
    return trainer


class CheckedTrainer(transformers.Trainer):
    """A Trainer whose checkpoints are whole or absent, and whose losses are checked before the weights are updated."""

    hooks: RunHooks

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        step_loss = super().training_step(*arguments, **options)
        if not bool(step_loss.isfinite().all()):
            raise self._not_finite(f"the loss is {step_loss.item()} at step {self.state.global_step + 1}")
        return step_loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        folder = Path(self.args.output_dir)
        self._refuse_broken_weights()
        checkpoints.keep_newest(folder, 1)
        try:
            super()._save_checkpoint(*arguments, **options)
            checkpoint = folder / f"checkpoint-{self.state.global_step}"
            checkpoints.seal(checkpoint)
        except (OSError, RuntimeError, UsageError) as error:
            checkpoints.remove_partial(folder)
            if checkpoints.is_disk_full(error):
                raise checkpoints.disk_full(folder) from None
            raise
        checkpoints.keep_newest(folder)
        if self.hooks.store is not None:
            checkpoints.upload(checkpoint, self.hooks.store)

    def _refuse_broken_weights(self) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad and not bool(parameter.isfinite().all()):
                raise self._not_finite(f"weights are no longer finite at step {self.state.global_step} ({name})")

    def _not_finite(self, message: str) -> TrainingStoppedError:
        good = checkpoints.last_good(Path(self.args.output_dir))
        return TrainingStoppedError(
            message, fix=f"resume from {good} with a lower --learning-rate", code="loss_not_finite"
        )


class CheckedSFTTrainer(CheckedTrainer, trl.SFTTrainer):
    """TRL's trainer, checked, which leaves out the logits of the questions where TRL would compute and discard them."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        if arguments or options.get("return_outputs") or not can_skip_questions(self):
            return super().compute_loss(model, inputs, *arguments, **options)
        return answer_loss(model, inputs, options.get("num_items_in_batch"))


class CheckedDPOTrainer(CheckedTrainer, trl.DPOTrainer):
    """TRL's trainer on pairs, checked. The rows are token ids already."""

    def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
        return dataset

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """None in a checkpoint: the model card is written with the result."""


class CheckedKTOTrainer(CheckedTrainer, trl.KTOTrainer):
    """TRL's trainer on thumbs, checked. The rows are token ids already, in the order in which they are taken."""

    def _prepare_dataset(self, dataset: Any, tokenizer: Any, args: Any, name: str) -> Any:
        def with_other_answers(rows: Any) -> Any:
            rows["KL_completion_ids"] = [rows["completion_ids"][-1], *rows["completion_ids"][:-1]]
            return rows

        # The answers of a micro-batch, each to the question of the next: how TRL estimates the KL term (1.16,
        # trainer/kto_trainer.py, add_kl_completion_ids).
        return dataset.map(with_other_answers, batched=True, batch_size=args.per_device_train_batch_size)

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """None in a checkpoint: the model card is written with the result."""


# The loss: the mean over all labels of a step ------------------------------------------------------------------------


def can_skip_questions(trainer: Any) -> bool:
    """Whether `answer_loss` is what this SFTTrainer would compute, and cheaper: plain next-token loss on a CPU.

    TRL's fused LM head (trl 1.16, trainer/utils.py, add_fused_lm_head) projects the answers' positions only where
    Triton runs, and every position elsewhere. On a CPU that is up to a third of a step, for figures that are not used.
    """
    plain = trainer.args.loss_type == "nll" and not trainer.aux_loss_enabled and not trainer.args.label_smoothing_factor
    virtual = bool(getattr(getattr(trainer.model, "active_peft_config", None), "is_prompt_learning", False))
    return plain and trainer.args.device.type == "cpu" and trainer.compute_loss_func is None and not virtual


def answer_loss(model: Any, inputs: dict[str, Any], answer_tokens: Any = None) -> Any:
    """Cross entropy of the labelled tokens, summed and divided by `answer_tokens` (None: those of this micro-batch).

    `inputs` are `input_ids`, `attention_mask` and `labels`, each (batch, sequence). Positions whose next label is
    ignored in every row get no logits, through transformers' own `logits_to_keep`.
    """
    model_inputs = {name: value for name, value in inputs.items() if name != "labels"}
    next_labels = inputs["labels"][:, 1:]
    positions = (next_labels != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(**model_inputs, use_cache=False, logits_to_keep=positions).logits
    labels = next_labels[:, positions]
    total = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / ((labels != IGNORED).sum() if answer_tokens is None else answer_tokens)


def mean_over_step(outputs: Any, labels: Any, num_items_in_batch: Any) -> Any:
    """The mean over all labels of a step, however many micro-batches it has.

    The loss that T5 and the encoders compute is the mean over a micro-batch. Their forward takes any keyword, so
    Trainer 5.23 believes that it was divided by the labels of the whole step, and adds the means up: with N
    micro-batches N times the loss and gradient.
    """
    # The mean times its share, not the sum: a sum of thousands of labels is beyond fp16, and rough in bf16.
    mean = cross_entropy(outputs.logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
    return mean * ((labels != IGNORED).sum() / num_items_in_batch)
