"""The training loop, read from top to bottom: the run, one attempt, the trainer, the reports.

A checkpoint is whole or absent; a loss that is not finite stops the run before the weights are updated; a full disk
keeps the last good state; a micro-batch too large for the memory is halved, and the effective batch stays.

torch and transformers are imported here at the top: import this module late.
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from modelpick.errors import ModelpickError
from modelpick.loading.load import Loaded
from modelpick.planning.recipe import BatchHalving, RunSettings, in_force
from modelpick.training import checkpoints, tracking, trainers, validation
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.measured import Meter, Took
from modelpick.training.progress import CheckpointSaved, Note, OutOfMemory, StepLogged, TrainingStarted
from modelpick.training.trainers import Prepared, RunHooks

# The run -------------------------------------------------------------------------------------------------------------


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


# The trainer ---------------------------------------------------------------------------------------------------------


def build_trainer(
    settings: RunSettings, prepared: Prepared, folder: Path, hooks: RunHooks, until: int | None = None
) -> Any:
    """The Trainer for the model and the objective, with checked steps, checkpoints and reports; it stops at step
    `until`, if given."""
    trainer = trainers.make(settings, prepared, folder, hooks)
    encoded = prepared.rows
    tokens_per_step = encoded.tokens / max(1, len(encoded.rows)) * settings.effective_batch
    trainer.add_callback(StepReporter(hooks, tokens_per_step, until))
    if prepared.validation is not None:
        trainer.add_callback(validation.Evaluation(settings, prepared.validation, trainer))
    for callback in tracking.callbacks(settings.track, folder.parent, lambda text: hooks.report(Note(text))):
        trainer.add_callback(callback)
    return trainer


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
