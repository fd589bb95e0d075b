"""The training loop: TRL's SFTTrainer for causal models, transformers' Trainer for others, and what a long run needs.

Read it from top to bottom: settings, the run, one attempt, the trainers, the loss, the reports. A checkpoint is whole
or absent; a loss that is not finite stops the run before the weights are updated; a full disk keeps the last good
state; a micro-batch too large for the memory is halved, and the effective batch stays.

torch, transformers, trl and datasets are imported here at the top: import this module late.
"""

import gc
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl
from torch.nn.functional import cross_entropy

from modelpick.errors import ModelpickError, UsageError
from modelpick.loading import adapters
from modelpick.loading.load import Loaded
from modelpick.loading.tokenize import IGNORED, Encoded
from modelpick.planning.recipe import BatchHalving, RunSettings, in_force
from modelpick.training import checkpoints, packing, tracking, validation
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.measured import Meter, Took
from modelpick.training.progress import CheckpointSaved, Event, Note, OutOfMemory, StepLogged, TrainingStarted

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
        "bf16": settings.dtype == "bf16" and settings.is_lora,
        "fp16": cuda and settings.dtype == "fp16" and settings.is_lora,
    }


# The run -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunHooks:
    """What the caller gives the loop: where reports go, a second place for checkpoints, the request to stop, and a
    context for the steps, in which one that has begun is finished."""

    report: Callable[[Event], None]
    store: checkpoints.Store | None
    stop: threading.Event
    steps: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended: its last step, whether it finished, its settings (with the last micro-batch), its model, and
    what its last attempt took of the device. `best_step` is the step whose weights it has, where evaluations chose."""

    step: int
    finished: bool
    settings: RunSettings
    loaded: Loaded
    took: Took
    best_step: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What an attempt begins with: the model, the rows to train on, and those to evaluate on while it trains."""

    loaded: Loaded
    rows: Encoded
    validation: Encoded | None = None


class _OutOfMemory(Exception):
    """The device could not hold the micro-batch."""


def train(
    settings: RunSettings, prepare: Callable[[], Prepared], folder: Path, hooks: RunHooks, *,
    resume: bool, halvings: Sequence[BatchHalving] = (),
) -> Trained:  # fmt: skip
    """Train until done or asked to stop, halving the micro-batch whenever memory runs out.

    `prepare` loads the model and encodes the examples, afresh for every attempt: once memory has run out, nothing of
    the old model is trusted. `folder` holds the checkpoints. `halvings` come from an earlier process of this run, or
    from the run that is repeated, and take effect after the same steps. Raises TrainingStoppedError for a loss that is
    not finite, a full disk, or a micro-batch of 1 that does not fit.
    """
    halvings = tuple(halvings)
    while True:
        start = _newest_checkpoint(folder, hooks, resume=resume)
        now, until = in_force(settings, halvings, checkpoints.step_of(start) if start else 0)
        try:
            trained = _attempt(now, prepare, folder, hooks, start, until)
            if trained.step != until or hooks.stop.is_set():
                return trained
        except _OutOfMemory:
            halvings = _halve(now, halvings, folder, hooks)
            _free_memory()
        resume = True


def _newest_checkpoint(folder: Path, hooks: RunHooks, *, resume: bool) -> Path | None:
    """The checkpoint to go on from: the newest whole one, here or in the store. None begins at step 0."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.remove_partial(folder)
    if not resume:
        return None
    if hooks.store is not None:
        checkpoints.download_newest(folder, hooks.store)
    return checkpoints.newest(folder)


def _halve(
    now: RunSettings, halvings: Sequence[BatchHalving], folder: Path, hooks: RunHooks
) -> tuple[BatchHalving, ...]:
    """The halvings with one more, in force after the newest checkpoint. Raises TrainingStoppedError at a batch of 1."""
    smaller = now.smaller_batch()
    if smaller is None:
        raise TrainingStoppedError(
            "one sequence at a time does not fit in memory",
            fix="lower --context, or use --gradient-checkpointing or --method qlora",
            code="out_of_memory",
        ) from None
    good = checkpoints.newest(folder)
    step = checkpoints.step_of(good) if good else 0
    kept = (halving for halving in halvings if halving.after_step < step)
    halvings = (*kept, BatchHalving(step, smaller.batch))
    text = (
        f"out of memory: micro-batch {now.batch} -> {smaller.batch}, gradient accumulation "
        f"{now.gradient_accumulation} -> {smaller.gradient_accumulation}; "
        f"the effective batch stays {smaller.effective_batch}"
    )
    hooks.report(OutOfMemory(text, halvings))
    return halvings


def _attempt(
    settings: RunSettings, prepare: Callable[[], Prepared], folder: Path, hooks: RunHooks,
    start: Path | None, until: int | None,
) -> Trained:  # fmt: skip
    """Train from the checkpoint `start` (None: step 0) to the end, a request to stop, or step `until`."""
    meter = Meter()
    try:
        prepared = prepare()
        meter.loaded(prepared.rows)
        trainer = build_trainer(settings, prepared, folder, hooks, until)
        trainer.add_callback(StepClock(meter))
        if not _is_last(trainer, start, settings):
            with hooks.steps():
                trainer.train(resume_from_checkpoint=str(start) if start else None)
    except ModelpickError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            # Without its traceback, so that the frames that hold the tensors can be freed before the next attempt.
            error.__traceback__ = None
            raise _OutOfMemory from None
        if checkpoints.is_disk_full(error):
            raise checkpoints.disk_full(folder) from None
        raise
    reached, took = trainer.state.global_step, meter.took(settings)
    finished = _has_finished(trainer.state, settings)
    best = validation.best_checkpoint(folder, trainer.state) if finished and not hooks.stop.is_set() else None
    if best is not None:
        trainer._load_from_checkpoint(str(best))
    return Trained(reached, finished, settings, prepared.loaded, took, checkpoints.step_of(best) if best else None)


def _has_finished(state: Any, settings: RunSettings) -> bool:
    return bool(state.global_step >= state.max_steps) or validation.is_spent(state, settings.patience)


def _is_last(trainer: Any, start: Path | None, settings: RunSettings) -> bool:
    """Whether all steps had been taken when `start` was written, or evaluations had ended the run; its weights are then
    loaded.

    Trainer 5.23 would take one step more: it looks at the limit after a step only.
    """
    if start is None:
        return False
    state = transformers.TrainerState.load_from_json(str(start / "trainer_state.json"))
    if not _has_finished(state, settings):
        return False
    trainer._load_from_checkpoint(str(start))
    trainer.state = state
    trainer.callback_handler.on_train_begin(trainer.args, state, trainer.control)
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch failed for lack of memory, on a GPU or in RAM."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# The trainers --------------------------------------------------------------------------------------------------------


def build_trainer(
    settings: RunSettings, prepared: Prepared, folder: Path, hooks: RunHooks, until: int | None = None
) -> Any:
    """The Trainer for the kind of model, with checked steps and checkpoints; it stops at step `until`, if given."""
    loaded, encoded = prepared.loaded, prepared.rows
    rows = datasets.Dataset.from_list(list(encoded.rows))
    common = training_arguments(settings, folder)
    parts: dict[str, object] = {"model": loaded.model, "train_dataset": rows, "processing_class": loaded.tokenizer}
    if loaded.kind == "decoder":
        arguments = trl.SFTConfig(
            **common, max_length=settings.context, dataset_kwargs={"skip_prepare_dataset": True}, packing=False
        )
        shares_rows = settings.share_rows and settings.batch > 1 and packing.keeps_apart(loaded.model)
        if shares_rows:
            parts["data_collator"] = packing.PackingCollator(loaded.tokenizer.pad_token_id)
        else:
            arguments.train_sampling_strategy = _grouped(settings)
        trainer = CheckedSFTTrainer(args=arguments, **parts)
        # TRL 1.16 casts those of a quantized model to bf16, whose 8 bits of precision lose small updates.
        adapters.in_fp32(loaded.model)
    else:
        if loaded.kind == "encoder-decoder":
            collator = transformers.DataCollatorForSeq2Seq(loaded.tokenizer, model=loaded.model)
        else:
            collator = transformers.DataCollatorWithPadding(loaded.tokenizer)
        arguments = transformers.TrainingArguments(**common, train_sampling_strategy=_grouped(settings))
        trainer = CheckedTrainer(args=arguments, data_collator=collator, compute_loss_func=mean_over_step, **parts)
    trainer.hooks = hooks
    trainer.remove_callback(transformers.PrinterCallback)  # reports go through the hooks
    tokens_per_step = encoded.tokens / max(1, len(encoded.rows)) * settings.effective_batch
    trainer.add_callback(StepReporter(hooks, tokens_per_step, until))
    if prepared.validation is not None:
        trainer.add_callback(validation.Evaluation(settings, loaded, prepared.validation, trainer))
    for callback in tracking.callbacks(settings.track, folder.parent, lambda text: hooks.report(Note(text))):
        trainer.add_callback(callback)
    return trainer


def _grouped(settings: RunSettings) -> str:
    """How transformers orders examples: by like lengths where they are padded and do not share rows."""
    return "group_by_length" if settings.share_rows and settings.batch > 1 else "random"


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


# The loss: the mean over all labels of a step ------------------------------------------------------------------------


def can_skip_questions(trainer: Any) -> bool:
    """Whether `answer_loss` is what this SFTTrainer would compute, and cheaper: plain next-token loss on a CPU.

    TRL's fused LM head (trl 1.16, trainer/utils.py, add_fused_lm_head) projects the answers' positions only where
    Triton runs, and every position elsewhere. On a CPU that is up to a third of a step, for figures that are not used.
    """
    plain = trainer.args.loss_type == "nll" and not trainer.aux_loss_enabled and not trainer.args.label_smoothing_factor
    return plain and trainer.args.device.type == "cpu" and trainer.compute_loss_func is None


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


# The reports ---------------------------------------------------------------------------------------------------------


class StepClock(transformers.TrainerCallback):
    """Tells the meter when each step ended: the loop has looked at its loss by then, so the GPU is done with it."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Note the time."""
        self._meter.step_ended()


class StepReporter(transformers.TrainerCallback):
    """Reports steps and checkpoints to the hooks, and stops the Trainer at step `until` or when asked to."""

    def __init__(self, hooks: RunHooks, tokens_per_step: float, until: int | None) -> None:
        self._hooks = hooks
        self._tokens_per_step = tokens_per_step
        self._until = until

    def _tokens(self, state: Any) -> int:
        return round(self._tokens_per_step * int(state.global_step))

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Report where training begins."""
        self._hooks.report(TrainingStarted(state.global_step, state.max_steps, self._tokens(state)))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **options: Any) -> None:
        """Report the figures of a step."""
        figures = {name: value for name, value in (logs or {}).items() if name not in ("epoch", "step")}
        step, steps = state.global_step, state.max_steps
        self._hooks.report(StepLogged(step, steps, state.epoch, self._tokens(state), figures))

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> Any:
        """Save and stop after this step where that is asked for."""
        asked = self._hooks.stop.is_set() or state.global_step == self._until
        if asked and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_save(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Report a checkpoint that is whole."""
        self._hooks.report(CheckpointSaved(state.global_step, state.max_steps))
