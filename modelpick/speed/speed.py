"""How long, with an interval: speeds of serving and fine-tuning on an instance, from calibrated constants. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from modelpick.offers.instance import InstanceType
from modelpick.ranges import Range
from modelpick.speed import roofline
from modelpick.speed.hardware import hardware_of
from modelpick.speed.roofline import ServingEfficiency
from modelpick.speed.shape import SpeedShape
from modelpick.speed.training import (
    REFERENCE_PASSES,
    TrainingEfficiency,
    TrainingJob,
    training_roof,
    training_tokens_per_second,
)
from modelpick.workload import Workload

E = TypeVar("E", ServingEfficiency, TrainingEfficiency)


@dataclass(frozen=True, slots=True)
class LocalCorrection:
    """How the user's own machines compare: the median of measured over predicted in `rows` measurements of `file`.

    `as_of` is the time of the latest one; `sha256` the file's content.
    """

    factor: float
    rows: int
    as_of: str
    file: str
    sha256: str = ""


_ENOUGH_OF_YOUR_OWN = 3  # measurements of the user's on a GPU, from where on it counts as a measured one


def _measurements(rows: int) -> str:
    return "one measurement" if rows == 1 else f"{rows} measurements"


@dataclass(frozen=True, slots=True)
class Calibration(Generic[E]):
    """The constants of a stack and how far its predictions were off on sources that the fit had not seen.

    `spreads` maps a stratum (batch1, loaded, first-token, prefill, training) to the factors for a stack and GPU that
    were measured ("known") and for others ("unknown"); 80 % of measurements lie within tokens/s divided or multiplied
    by the factor. `doubts`: what is not known whatever the GPU (the version, the weights, the software), in words; each
    widens the interval. `slower`: by how much more the lower end goes down, where slower is likelier than faster.
    """

    stack: str  # the class of stacks the constants are shared by
    constants: E
    rows: int  # measurements of this very class; 0: its family or all stacks stand in
    gpus: tuple[str, ...]  # GPUs it was measured on
    spreads: Mapping[str, Mapping[str, float]]
    doubts: tuple[str, ...] = ()
    slower: float = 1.0
    local: Mapping[str, LocalCorrection] = field(default_factory=dict)  # by GPU name

    def local_factor(self, gpu: str) -> float:
        """What was measured on the user's machines over what was predicted, on this GPU; 1 where it never was."""
        return self.local[gpu].factor if gpu in self.local else 1.0

    def unknowns(self, gpu: str) -> int:
        """How many things about this stack on this GPU were never measured."""
        own = gpu in self.local and self.local[gpu].rows >= _ENOUGH_OF_YOUR_OWN
        return len(self.doubts) + (not self.rows) + (gpu not in self.gpus and not own)

    def spread(self, stratum: str, gpu: str) -> float:
        """The factor of the 80 % interval. Each unknown thing adds the variance that an unknown one was seen to add.

        A stack without a measurement has no measured GPU either: that counts once.
        """
        known, unknown = (math.log(self.spreads[stratum][name]) for name in ("known", "unknown"))
        many = self.unknowns(gpu) - (0 if self.rows else 1)
        return math.exp(math.sqrt(known**2 + many * (unknown**2 - known**2)))

    def rough(self, *gpus: str) -> bool:
        """Whether something that the speed on these GPUs rests on was never measured."""
        return self.rows <= 1 or bool(self.doubts) or any(gpu not in self.gpus for gpu in gpus)

    def standing(self, *gpus: str) -> str:
        """A sentence on what the constants rest on, for `assumptions`: which of `gpus` were measured."""
        own = "".join(
            f"; on {gpu} multiplied by {correction.factor:.2f}, from {_measurements(correction.rows)} of your own"
            f" until {correction.as_of} ({correction.file}, sha256 {correction.sha256[:12]})"
            for gpu, correction in self.local.items()
            if gpu in gpus
        )
        if foreign := sorted(set(self.local) - set(gpus)) if gpus else ():
            own += f"; what you measured on {' and '.join(foreign)} is of another GPU and changes nothing here"
        doubts = "".join(f"{doubt}; " for doubt in self.doubts)
        if not self.rows:
            why = "no measurement of this stack is published"
            return f"speed: rough, because {doubts}{why}; constants of {self.stack}{own}"
        without = [gpu for gpu in gpus if gpu not in self.gpus]
        elsewhere = f", none of them on {' or '.join(without)}" if without else ""
        if self.rows == 1 and without:
            elsewhere = ", on another GPU"
        rough = f"rough, {f'because {doubts}' if doubts else ''}" if self.rough(*gpus) else ""
        count = "one published measurement" if self.rows == 1 else f"{self.rows} published measurements"
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
    tokens per second while reading, and the share of the time that goes to reading prompts.

    Under that load, of one request: seconds to its first token, and tokens a second from there on. `first_token` is
    None where not all fit the cache, so that requests queue: the wait then has no end of its own.
    """

    generated: Speed
    prompt: Speed
    prompt_share: float
    per_request: Range
    first_token: Range | None
    idle_first_token_s: float  # of a request that is alone

    @property
    def seconds_to_first_token(self) -> float | None:
        """The likely wait under the load; None: requests queue."""
        return self.first_token.likely if self.first_token is not None else None

    def as_json(self) -> dict[str, Any]:
        """The names of `cost --json`."""
        return {
            "generate": self.generated.as_json(),
            "prefill": self.prompt.as_json(),
            "prefill_share_of_time": self.prompt_share,
            "seconds_to_first_token": self.seconds_to_first_token,
            "idle_seconds_to_first_token": self.idle_first_token_s,
            "first_token": self.first_token.as_json("s") if self.first_token is not None else None,
            "per_request": self.per_request.as_json("tokens_per_s"),
        }


DEFAULT_GENERATED = 256  # tokens per answer, where a workload says none: the middle of the ShareGPT means (198-233)
# A key or value, by `kv_cache_dtype`; llama.cpp's are blocks of 32 with their scales (ggml-common.h).
_CACHE_BYTES = {
    "auto": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
    "q4_1": 20 / 32, "q4_0": 18 / 32,
}  # fmt: skip


def serving_speed(
    shape: SpeedShape, kind: InstanceType, calibration: Calibration[ServingEfficiency], workload: Workload
) -> ServingSpeed:
    """The speed of `workload` on one instance of `kind`; `context` prompt tokens, `generate` new ones (256 if 0).

    More concurrent requests than the cache has room for wait for their turn, and make nothing faster.
    """
    on, by, gpu = hardware_of(kind, workload.gpus), calibration.constants, kind.gpu.name
    method = "fp32" if workload.method == "bf16" and workload.dtype == "fp32" else workload.method
    cache = _CACHE_BYTES[workload.kv_cache_dtype]
    prompt, generated = float(workload.context), float(workload.generate or DEFAULT_GENERATED)
    room = max(1.0, roofline.resident_sequences(shape, on, method, prompt, generated, cache_bytes=cache))
    batch = min(float(workload.batch), room)
    own = calibration.local_factor(gpu)
    rate = roofline.decode_tokens_per_second(shape, on, by, method, batch, prompt, generated, cache_bytes=cache)
    roof = roofline.decode_roof(shape, on, method, batch, prompt + generated / 2, cache_bytes=cache)
    rate = min(rate * own, roof)
    reading = roofline.prefill_tokens_per_second(shape, on, by, method, batch, prompt)
    reading_roof = max(reading, roofline.prefill_roof(shape, on, method))
    answer = roofline.answer_seconds(shape, on, by, method, batch, prompt, generated, cache_bytes=cache)
    idle = roofline.answer_seconds(shape, on, by, method, 1, prompt, generated, cache_bytes=cache)
    spread = calibration.spread("batch1" if batch == 1 else "loaded", gpu)
    wait = calibration.spread("first-token", gpu)
    first, each = answer.first / own, rate / batch  # of a single token, the first is all
    if answer.rest:
        each = min((generated - 1) / answer.rest * own, roof / batch)
    return ServingSpeed(
        generated=_speed(rate, spread, roof),
        prompt=_speed(reading, calibration.spread("prefill", gpu), reading_roof),
        prompt_share=min(1.0, batch * prompt / reading / (batch * generated / rate)),
        per_request=Range(each / spread, each, min(each * spread, roof / batch)),
        first_token=Range(first / wait, first, first * wait) if workload.batch <= room else None,
        idle_first_token_s=idle.first / own,
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
    on = hardware_of(kind, workload.gpus)
    job = TrainingJob(
        method=workload.method,
        batch=workload.batch,
        length=min(length or workload.context, workload.context),
        checkpointing=workload.gradient_checkpointing,
        gradient_accumulation=gradient_accumulation,
        sharded=workload.sharding in ("fsdp", "zero3"),
        reference_passes=REFERENCE_PASSES[workload.objective],
    )
    roof = training_roof(shape, on, job)
    rate = training_tokens_per_second(shape, on, calibration.constants, job) * calibration.local_factor(kind.gpu.name)
    return _speed(min(rate, roof), calibration.spread("training", kind.gpu.name), roof, calibration.slower)


def _speed(rate: float, spread: float, roof: float, slower: float = 1.0) -> Speed:
    return Speed(rate, rate / (spread * slower), min(rate * spread, roof), roof)
