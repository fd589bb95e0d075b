"""Evaluation while a run trains: the loss on examples of their own, the best checkpoint, and when to stop early.

What is known of it (the best loss, its step, every loss) is part of transformers' TrainerState, which each checkpoint
holds: a run that is resumed decides as one that was never interrupted. The examples are neither trained on nor those
that the run is judged by in the end: a checkpoint picked by a loss is better by that loss than by any other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from modelpick.planning.recipe import RunSettings
from modelpick.training import checkpoints

LOSS = "eval_loss"  # the name that transformers and its trackers know


class Evaluation(transformers.TrainerCallback):
    """Every `eval_steps` steps, and after the last one: the loss, a checkpoint where it is the best so far, and the end
    of the run where `patience` evaluations in a row were no better."""

    def __init__(self, settings: RunSettings, measure: Callable[[], float], trainer: Any) -> None:
        self._settings = settings
        self._measure = measure
        self._trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> Any:
        """Evaluate after this step where it is due."""
        step = state.global_step
        if step % (self._settings.eval_steps or 1) and step < state.max_steps:
            return control
        loss = self._loss()
        if state.best_metric is None or loss < state.best_metric:
            state.best_metric, state.best_global_step = loss, step
            control.should_save = True
        if is_spent(state, self._settings.patience):
            control.should_save = control.should_training_stop = True
        return control

    def _loss(self) -> float:
        """The loss of the examples, logged as transformers logs its own. In evaluation mode TRL takes no average of the
        training's figures for it."""
        loss, model = self._measure(), self._trainer.model
        was_training = model.training
        model.eval()
        self._trainer.log({LOSS: loss})
        model.train(was_training)
        return loss


def is_spent(state: Any, patience: int | None) -> bool:
    """Whether the last `patience` evaluations were no better than the best before them."""
    if patience is None or state.best_global_step is None:
        return False
    since = sum(1 for entry in state.log_history if LOSS in entry and entry["step"] > state.best_global_step)
    return since >= patience


def best_checkpoint(folder: Path, state: Any) -> Path | None:
    """The checkpoint with the best loss so far; None where none was evaluated or it is gone."""
    if not state.best_global_step:
        return None
    best = checkpoints.of_step(folder, state.best_global_step)
    return best if checkpoints.is_whole(best) else None
