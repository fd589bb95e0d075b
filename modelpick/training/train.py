"""The training loop: TRL's SFTTrainer for causal models, transformers' Trainer for others, what a long run needs.

Checkpoints are whole or absent, a loss that is not a number stops before it is learned from, a full disk keeps the last
good state, and too large a micro-batch is halved with the effective batch kept.
"""

import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick import files
from modelpick.errors import ModelpickError, UsageError
from modelpick.loading import adapters
from modelpick.planning.recipe import Halving, RunSettings, in_force
from modelpick.training import checkpoints, loss

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from modelpick.loading.load import Loaded
    from modelpick.loading.tokenize import Encoded

_OPTIMIZERS = {
    "adamw": "adamw_torch",
    "adamw-fused": "adamw_torch_fused",
    "adamw-8bit": "adamw_bnb_8bit",
    "paged-adamw-8bit": "paged_adamw_8bit",
    "sgd": "sgd",
}
Report = Callable[[Mapping[str, Any]], None]


class TrainingStoppedError(ModelpickError):
    """Training could not go on; the last good state is kept. Codes: loss_not_finite, disk_full, out_of_memory."""


class _OutOfMemory(Exception):
    """The device could not hold the micro-batch."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What the loop tells and asks the outside: reports, a second place for checkpoints, a wish to stop."""

    report: Report
    store: checkpoints.Store | None
    stop: threading.Event


@dataclass(frozen=True, slots=True)
class Trained:
    """How a run ended: after which step, whether it finished, its settings (the micro-batch may have shrunk)."""

    step: int
    finished: bool
    settings: RunSettings
    loaded: "Loaded"


def train(
    settings: RunSettings, prepare: "Callable[[], tuple[Loaded, Encoded]]", folder: Path, watch: Watch, *,
    resume: bool, halvings: Sequence[Halving] = (),
) -> Trained:  # fmt: skip
    """Train until done or asked to stop, halving the micro-batch whenever memory runs out.

    `prepare` loads the model fresh for every attempt: after running out of memory nothing of the old one is trusted.
    `halvings` of an earlier life of this run, or of the run that is done again, are followed to the step.
    Raises TrainingStoppedError for a loss that is not finite, a full disk, or a micro-batch of 1 that does not fit.
    """
    halvings = list(halvings)
    while True:
        start = _start(folder, watch, resume=resume)
        now, until = in_force(settings, halvings, checkpoints.step_of(start) if start else 0)
        try:
            trained = _attempt(now, prepare, folder, watch, start, until)
            if trained.step != until or watch.stop.is_set():
                return trained
            resume = True
        except _OutOfMemory:
            smaller = now.smaller_batch()
            if smaller is None:
                raise TrainingStoppedError(
                    "one sequence at a time does not fit in memory",
                    fix="lower --context, or use --gradient-checkpointing or --method qlora",
                    code="out_of_memory",
                ) from None
            good = checkpoints.newest(folder)
            step = checkpoints.step_of(good) if good else 0
            halvings = [*(one for one in halvings if one.after_step < step), Halving(step, smaller.batch)]
            watch.report(
                {
                    "event": "out_of_memory",
                    "text": f"out of memory: micro-batch {now.batch} -> {smaller.batch}, gradient accumulation "
                    f"{now.gradient_accumulation} -> {smaller.gradient_accumulation}; "
                    f"the effective batch stays {smaller.effective_batch}",
                    "halvings": halvings,
                }
            )
            resume = True
            _free_memory()


def _start(folder: Path, watch: Watch, *, resume: bool) -> Path | None:
    """The checkpoint to go on from: the newest whole one, here or in the second place."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoints.remove_partial(folder)
    if not resume:
        return None
    if watch.store is not None:
        checkpoints.download_newest(folder, watch.store)
    return checkpoints.newest(folder)


def _attempt(
    settings: RunSettings, prepare: Any, folder: Path, watch: Watch, start: Path | None, until: int | None
) -> Trained:
    try:
        loaded, encoded = prepare()
        trainer = build_trainer(settings, loaded, encoded, folder, watch, until)
        if not _is_last(trainer, start):
            trainer.train(resume_from_checkpoint=str(start) if start else None)
    except ModelpickError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            # Without its traceback, so that the frames that hold the tensors can be freed before the next attempt.
            error.__traceback__ = None
            raise _OutOfMemory from None
        if checkpoints.is_disk_full(error):
            raise _disk_full(folder) from None
        raise
    reached = trainer.state.global_step
    return Trained(reached, reached >= trainer.state.max_steps, settings, loaded)


def _is_last(trainer: Any, start: Path | None) -> bool:
    """Whether all steps were taken when `start` was written; its weights are loaded then.

    Trainer 5.23 would take one step more: it looks at the limit after a step only.
    """
    from transformers import TrainerState

    if start is None:
        return False
    state = TrainerState.load_from_json(str(start / "trainer_state.json"))
    if state.global_step < state.max_steps:
        return False
    trainer._load_from_checkpoint(str(start))
    trainer.state = state
    trainer.callback_handler.on_train_begin(trainer.args, state, trainer.control)
    return True


def build_trainer(
    settings: RunSettings, loaded: "Loaded", encoded: "Encoded", folder: Path, watch: Watch, until: int | None = None
) -> Any:
    """The Trainer for the kind of model, with this module's care mixed in; it stops at step `until`, where given."""
    import datasets
    import transformers

    rows = datasets.Dataset.from_list(list(encoded.rows))
    common = _arguments(settings, folder)
    parts: dict[str, Any] = {"model": loaded.model, "train_dataset": rows, "processing_class": loaded.tokenizer}
    if loaded.kind == "causal":
        import trl

        arguments = trl.SFTConfig(
            **common, max_length=settings.context, dataset_kwargs={"skip_prepare_dataset": True}, packing=False
        )
        trainer = _careful(_brief(trl.SFTTrainer))(args=arguments, **parts)
        # TRL 1.16 casts those of a quantized model to bf16, whose 8 bits of precision lose small updates.
        adapters.in_fp32(loaded.model)
    else:
        collators: dict[str, Any] = {
            "encoder-decoder": lambda: transformers.DataCollatorForSeq2Seq(loaded.tokenizer, model=loaded.model),
            "encoder": lambda: transformers.DataCollatorWithPadding(loaded.tokenizer),
        }
        arguments = transformers.TrainingArguments(**common)
        trainer = _careful(transformers.Trainer)(
            args=arguments, data_collator=collators[loaded.kind](), compute_loss_func=loss.mean_over_step, **parts
        )
    trainer.remove_callback(transformers.PrinterCallback)  # the report goes through Watch
    for callback in (_reporter(watch, encoded, settings, until), *_tracking_callbacks(settings, watch, folder.parent)):
        trainer.add_callback(callback)
    trainer.modelpick_watch = watch
    return trainer


def _arguments(settings: RunSettings, folder: Path) -> dict[str, Any]:
    import torch

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
        "logging_nan_inf_filter": False,  # a loss that is not a number is told, not averaged away
        "report_to": [],  # integrations are added as callbacks, by name, in _tracking_callbacks
        "disable_tqdm": True,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        # With the adapters in fp32, autocast computes in the base's dtype; a model that is bf16 in full needs none.
        "bf16": settings.dtype == "bf16" and settings.is_lora,
        "fp16": cuda and settings.dtype == "fp16" and settings.is_lora,
    }


def _brief(base: type) -> type:
    """`base` that leaves out the logits of the questions where TRL would compute and discard them."""

    class BriefTrainer(base):
        def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **names: Any) -> Any:
            if arguments or names.get("return_outputs") or not loss.can_skip_questions(self):
                return super().compute_loss(model, inputs, *arguments, **names)
            return loss.answer_loss(model, inputs, names.get("num_items_in_batch"))

    return BriefTrainer


def _careful(base: type) -> type:
    """`base` with checkpoints that are whole or absent and losses that are checked before they are learned from."""

    class CarefulTrainer(base):
        modelpick_watch: Watch

        def training_step(self, *arguments: Any, **names: Any) -> Any:
            of_step = super().training_step(*arguments, **names)
            if not bool(of_step.isfinite().all()):
                raise TrainingStoppedError(
                    f"the loss is {of_step.item()} at step {self.state.global_step + 1}",
                    fix=f"resume from {_last_good(self.args.output_dir)} with a lower --learning-rate",
                    code="loss_not_finite",
                )
            return of_step

        def _save_checkpoint(self, *arguments: Any, **names: Any) -> None:
            folder = Path(self.args.output_dir)
            self._refuse_broken_weights()
            checkpoints.keep_newest(folder, 1)
            try:
                super()._save_checkpoint(*arguments, **names)
                made = folder / f"checkpoint-{self.state.global_step}"
                checkpoints.seal(made)
            except (OSError, RuntimeError, UsageError) as error:
                checkpoints.remove_partial(folder)
                if checkpoints.is_disk_full(error):
                    raise _disk_full(folder) from None
                raise
            checkpoints.keep_newest(folder)
            if self.modelpick_watch.store is not None:
                checkpoints.upload(made, self.modelpick_watch.store)

        def _refuse_broken_weights(self) -> None:
            broken = [n for n, p in self.model.named_parameters() if p.requires_grad and not bool(p.isfinite().all())]
            if broken:
                raise TrainingStoppedError(
                    f"weights are no longer finite at step {self.state.global_step} ({broken[0]})",
                    fix=f"resume from {_last_good(self.args.output_dir)} with a lower --learning-rate",
                    code="loss_not_finite",
                )

    return CarefulTrainer


def _reporter(watch: Watch, encoded: "Encoded", settings: RunSettings, until: int | None) -> "TrainerCallback":
    from transformers import TrainerCallback

    tokens_per_step = encoded.tokens / max(1, len(encoded.rows)) * settings.effective_batch

    class Reporter(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **names: Any) -> None:
            done = {"step": state.global_step, "tokens": round(tokens_per_step * state.global_step)}
            watch.report({"event": "start", "steps": state.max_steps, **done})

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **names: Any) -> None:
            watch.report(
                {
                    "event": "progress",
                    "step": state.global_step,
                    "steps": state.max_steps,
                    "epoch": state.epoch,
                    "tokens": round(tokens_per_step * state.global_step),
                    **{key: value for key, value in (logs or {}).items() if key not in ("epoch", "step")},
                }
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **names: Any) -> Any:
            if (watch.stop.is_set() or state.global_step == until) and state.global_step < state.max_steps:
                control.should_save = True
                control.should_training_stop = True
            return control

        def on_save(self, args: Any, state: Any, control: Any, **names: Any) -> None:
            watch.report({"event": "checkpoint", "step": state.global_step, "steps": state.max_steps})

    return Reporter()


def _tracking_callbacks(settings: RunSettings, watch: Watch, output: Path) -> "list[TrainerCallback]":
    from modelpick.training.tracking import callbacks

    return callbacks(settings.track, output, lambda text: watch.report({"event": "note", "text": text}))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch failed for lack of memory, on a GPU or in RAM."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error))


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def disk_full_as_error(checkpoint_folder: Path) -> Iterator[None]:
    """Turn a write that fails for lack of room into TrainingStoppedError(code="disk_full")."""
    try:
        yield
    except ModelpickError as error:
        if files.is_disk_full(error):
            raise _disk_full(checkpoint_folder) from None
        raise
    except Exception as error:
        if checkpoints.is_disk_full(error):
            raise _disk_full(checkpoint_folder) from None
        raise


def _last_good(folder: str | Path) -> str:
    good = checkpoints.newest(Path(folder))
    return str(good) if good else "the start"


def _disk_full(folder: Path) -> TrainingStoppedError:
    return TrainingStoppedError(
        f"the disk of {folder} is full; the last good state is {_last_good(folder)}",
        fix=f"make room, then run the same command again, with --resume if {folder.parent / 'run.json'} is there",
        code="disk_full",
    )
