"""A plan's predicted speed, for the load that was really measured. I/O: reads the plan file and the embedded facts."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.catalog import index, lookup
from modelpick.errors import ModelpickError, UsageError
from modelpick.memory.estimate import architecture_of
from modelpick.offers import embedded
from modelpick.offers.instance import InstanceType
from modelpick.planning.engines import speed_as_served
from modelpick.planning.plan_file import load
from modelpick.serving.bench import Level
from modelpick.speed import calibration, calibration_file
from modelpick.speed.calibration_file import Measurement
from modelpick.speed.shape import SpeedShape, shape_of
from modelpick.speed.speed import Calibration, ServingSpeed, Speed
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class PredictedLevel:
    """Measured and predicted speed at one concurrency, in the names of `bench --json`."""

    concurrency: int
    measured_tokens_per_s: float
    promised_tokens_per_s: float
    low_tokens_per_s: float
    high_tokens_per_s: float
    within: bool  # the prediction's interval
    ratio: float  # measured to promised
    believable: bool  # else it is of another machine
    promised_first_token_s: float | None = None  # None: requests queue
    low_first_token_s: float | None = None
    high_first_token_s: float | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A plan's serving speed, made again for another load: same model, instance, stack and method."""

    plan: str
    model: str
    instance: InstanceType
    workload: Workload
    shape: SpeedShape
    calibration: Calibration[Any]

    def speed(self, level: Level, *, corrected: bool = True) -> Speed:
        """Predicted tokens/s at the level's concurrency and lengths; `corrected` by the user's own calibration file."""
        return self.serving(level, corrected=corrected).generated

    def serving(self, level: Level, *, corrected: bool = True) -> ServingSpeed:
        """The whole prediction at the level's concurrency and lengths."""
        load = replace(
            self.workload,
            batch=level.concurrency,
            context=max(round(level.prompt_tokens or self.workload.context), 1),
            generate=max(round(level.generated), 1),
        )
        by = self.calibration if corrected else replace(self.calibration, local={})
        return speed_as_served(self.shape, self.instance, by, load)

    def compare(self, level: Level) -> PredictedLevel:
        """Measured and predicted side by side."""
        serving = self.serving(level)
        speed, first = serving.generated, serving.first_token
        raw = self.speed(level, corrected=False)
        measured = level.tokens_per_s
        return PredictedLevel(
            concurrency=level.concurrency,
            measured_tokens_per_s=measured,
            promised_tokens_per_s=speed.tokens_per_s,
            low_tokens_per_s=speed.low,
            high_tokens_per_s=speed.high,
            within=speed.low <= measured <= speed.high,
            ratio=measured / speed.tokens_per_s,
            believable=calibration_file.believable(measured, raw.tokens_per_s),
            promised_first_token_s=first.likely if first is not None else None,
            low_first_token_s=first.low if first is not None else None,
            high_first_token_s=first.high if first is not None else None,
        )

    def row(self, level: Level) -> Measurement:
        """The measurement as the calibration file keeps it."""
        return Measurement(
            stack=self.calibration.stack,
            method=self.workload.method,
            gpu=self.instance.gpu.name,
            measured_tokens_per_s=level.tokens_per_s,
            predicted_tokens_per_s=self.speed(level, corrected=False).tokens_per_s,
            at=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            model=self.model,
            concurrency=level.concurrency,
            prompt_tokens=level.prompt_tokens,
            generated_tokens=level.generated,
            version=self.workload.stack_version,
        )


def read(file: Path, instance: str | None = None) -> Prediction:
    """The serving part of a plan, on its first instance or the one it really got.

    Raises UsageError for a file that is not a plan, and for a plan without serving.
    """
    plan = load(files.read_text(file, code="no_file", fix="name a plan file"))
    if plan.serve is None:
        raise UsageError(f"{file} does not plan to serve", fix="modelpick plan MODEL --serve", code="no_promise")
    return of_workload(plan.model.id, instance or plan.instance_type, plan.serve, plan=plan.id)


def of_workload(model: str, instance: str, workload: Workload, *, plan: str = "") -> Prediction:
    """The prediction for a model on an instance type. Raises UsageError, CannotTellError."""
    kinds: Mapping[str, InstanceType] = embedded.instances()
    if instance not in kinds:
        raise UsageError(f"unknown instance type {instance!r}", fix="see modelpick offers", code="unknown_instance")
    found = lookup.look_up([model], catalog=index.load(), offline=True).results[0]
    if isinstance(found, ModelpickError):
        raise found
    shape = shape_of(architecture_of(found))
    by = calibration.serving(workload.stack, workload.method, workload.stack_version)
    return Prediction(plan, found.id, kinds[instance], workload, shape, by)
