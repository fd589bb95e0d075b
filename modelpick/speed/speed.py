"""How long, with an interval: speeds of serving and fine-tuning on an instance, from calibrated constants. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modelpick.offers.instance import InstanceType
from modelpick.speed import roofline
from modelpick.speed.roofline import ServingEfficiency, SpeedShape, TrainingEfficiency, TrainingJob
from modelpick.workload import Workload

E = TypeVar("E", ServingEfficiency, TrainingEfficiency)


@dataclass(frozen=True, slots=True)
class LocalCorrection:
    """How the user's own servers compare: the median of measured over predicted in `rows` measurements of `file`.

    `as_of` is the time of the latest one.
    """

    factor: float
    rows: int
    as_of: str
    file: str


def _measurements(rows: int) -> str:
    return "one measurement" if rows == 1 else f"{rows} measurements"


@dataclass(frozen=True, slots=True)
class Calibration(Generic[E]):
    """The constants of a stack and how far its predictions were off on sources that the fit had not seen.

    `spreads` maps a stratum (batch1, loaded, prefill, training) to the factors for a stack and GPU that were measured
    ("known") and for others ("unknown"); 80 % of measurements lie within tokens/s divided or multiplied by the factor.
    """

    stack: str  # the class of stacks the constants are shared by
    constants: E
    rows: int  # measurements of this very class; 0: its family or all stacks stand in
    gpus: tuple[str, ...]  # GPUs it was measured on
    spreads: Mapping[str, Mapping[str, float]]
    local: Mapping[str, LocalCorrection] = field(default_factory=dict)  # by GPU name

    def local_factor(self, gpu: str) -> float:
        """What `modelpick bench` measured over what was predicted, on this GPU; 1 where it was never measured."""
        return self.local[gpu].factor if gpu in self.local else 1.0

    def spread(self, stratum: str, gpu: str) -> float:
        """The factor of the 80 % interval."""
        return self.spreads[stratum]["known" if self.rows and gpu in self.gpus else "unknown"]

    def standing(self, *gpus: str) -> str:
        """A sentence on what the constants rest on, for `assumptions`: which of `gpus` were measured."""
        own = "".join(
            f"; on {gpu} multiplied by {correction.factor:.2f}, from {_measurements(correction.rows)} of your own"
            f" until {correction.as_of} ({correction.file})"
            for gpu, correction in self.local.items()
            if gpu in gpus
        )
        if not self.rows:
            return f"speed: rough, because no measurement of this stack is published; constants of {self.stack}{own}"
        without = [gpu for gpu in gpus if gpu not in self.gpus]
        elsewhere = f", none of them on {' or '.join(without)}" if without else ""
        rough = "rough, " if without or self.rows == 1 else ""
        count = "one published measurement" if self.rows == 1 else f"{self.rows} published measurements"
        if self.rows == 1 and without:
            elsewhere = ", on another GPU"
        return f"speed: {rough}constants of {self.stack}, fitted on {count}{elsewhere}{own}"


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second with an 80 % interval; `roof` is what the hardware allows at most."""

    tokens_per_s: float
    low: float
    high: float
    roof: float

    def as_json(self) -> dict[str, Any]:
        """The speed, with the unit in the names."""
        return {
            "tokens_per_s": self.tokens_per_s,
            "low_tokens_per_s": self.low,
            "high_tokens_per_s": self.high,
            "roof_tokens_per_s": self.roof,
        }


@dataclass(frozen=True, slots=True)
class ServingSpeed:
    """What `batch` concurrent sequences get together: generated tokens per second (prompts read included), prompt
    tokens per second while reading, and the share of the time that goes to reading prompts."""

    generated: Speed
    prompt: Speed
    prompt_share: float
    seconds_to_first_token: float

    def as_json(self) -> dict[str, Any]:
        """The names of `cost --json`."""
        return {
            "generate": self.generated.as_json(),
            "prefill": self.prompt.as_json(),
            "prefill_share_of_time": self.prompt_share,
            "seconds_to_first_token": self.seconds_to_first_token,
        }


DEFAULT_GENERATED = 256  # tokens per answer, where a workload says none: the middle of the ShareGPT means (198-233)


def serving_speed(
    shape: SpeedShape, kind: InstanceType, calibration: Calibration[ServingEfficiency], workload: Workload
) -> ServingSpeed:
    """The speed of `workload` on one instance of `kind`; `context` prompt tokens, `generate` new ones (256 if 0)."""
    on = roofline.hardware_of(kind, workload.gpus)
    method = "fp32" if workload.method == "bf16" and workload.dtype == "fp32" else workload.method
    batch = float(workload.batch)
    prompt, generated = float(workload.context), float(workload.generate or DEFAULT_GENERATED)
    middle = prompt + generated / 2
    rate = roofline.decode_tokens_per_second(shape, on, calibration.constants, method, batch, prompt, generated)
    roof = roofline.decode_roof(shape, on, method, batch, middle)
    rate = min(rate * calibration.local_factor(kind.gpu.name), roof)
    reading = roofline.prefill_tokens_per_second(shape, on, calibration.constants, method, batch, prompt)
    reading_roof = on.gpus * on.peak / (2 * (shape.active_weights - shape.head_weights))
    seconds = batch * prompt / reading
    stratum = "batch1" if batch == 1 else "loaded"
    return ServingSpeed(
        generated=_speed(rate, calibration.spread(stratum, kind.gpu.name), roof),
        prompt=_speed(reading, calibration.spread("prefill", kind.gpu.name), max(reading, reading_roof)),
        prompt_share=min(1.0, seconds / (batch * generated / rate)),
        seconds_to_first_token=roofline.prefill_seconds(shape, on, calibration.constants, method, 1, prompt),
    )


def training_speed(
    shape: SpeedShape,
    kind: InstanceType,
    calibration: Calibration[TrainingEfficiency],
    workload: Workload,
    *,
    gradient_accumulation: int = 1,
    length: float | None = None,
) -> Speed:
    """Trained tokens per second of `workload` on one instance.

    `length` is the mean length of sequences where it is known, else the context: unpacked instruction data uses 75-300
    of 512-2048 tokens, and short sequences keep a GPU less busy.
    """
    on = roofline.hardware_of(kind, workload.gpus)
    job = TrainingJob(
        method=workload.method,
        batch=workload.batch,
        length=min(length or workload.context, workload.context),
        checkpointing=workload.gradient_checkpointing,
        gradient_accumulation=gradient_accumulation,
        sharded=workload.sharding in ("fsdp", "zero3"),
    )
    rate = roofline.training_tokens_per_second(shape, on, calibration.constants, job)
    return _speed(rate, calibration.spread("training", kind.gpu.name), roofline.training_roof(shape, on, job))


def _speed(rate: float, spread: float, roof: float) -> Speed:
    return Speed(rate, rate / spread, min(rate * spread, roof), roof)
