"""Fits the constants of modelpick.speed.roofline on published measurements. Pure Python, a minute on one core.

Robust least squares of log(predicted / measured) with a prior on every constant. The prior of a
class is the fit of its family, and that of a family the fit of all serving or training rows: few rows move little.
Sources count alike: a sweep of a hundred neighbouring points does not outvote a table of twelve.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import speed_rows

from modelpick.catalog import index
from modelpick.catalog.architecture import read
from modelpick.offers import embedded
from modelpick.speed import roofline as speed
from modelpick.speed.hardware import Hardware
from modelpick.speed.operators import operators_of
from modelpick.speed.shape import WEIGHT_BYTES, SpeedShape, shape_of
from modelpick.speed.training import TrainingEfficiency, TrainingJob, training_roof, training_tokens_per_second

DATA = Path(__file__).parent / "data"
E = TypeVar("E", speed.ServingEfficiency, TrainingEfficiency)
GPU_NAMES = {"RTX-PRO-6000": "RTX PRO 6000"}
NVLINKED = ("A100-40GB", "A100-80GB", "H100-80GB", "H200", "B200")

# Starting points, and how far (in the logarithm) a constant may drift from them before the fit pays for it.
SERVING = speed.ServingEfficiency(
    bandwidth=0.84, cache_bandwidth=0.7, decode_compute=0.65, prefill_compute=0.56, layer_us=110.0, sequence_us=15.0,
    prompt_layer_us=60.0, expert_compute=0.4,
)  # fmt: skip
# transformers' generate: 0.7-1.5 ms of launches a layer; its cache is copied at every step by concatenation; experts
# run one after the other.
EAGER = replace(SERVING, cache_bandwidth=0.08, prefill_compute=0.5, layer_us=900.0, expert_us=90.0, overlaps=True)
# Engines of 2025 and 2026: whole steps in CUDA graphs, prompts in pieces among the steps of others. The bandwidth is
# that of measured 16-bit products (facts/operator_speed.csv).
TODAY = speed.ServingEfficiency(
    bandwidth=0.82, cache_bandwidth=0.7, decode_compute=0.65, prefill_compute=0.6, layer_us=30.0, sequence_us=8.0,
    prompt_layer_us=500.0, expert_compute=0.4, overlap=0.7, burst=0.5, queue=0.4, prompt_expert_us=4.0,
)  # fmt: skip
SERVING_DRIFT = {
    "bandwidth": 0.12, "cache_bandwidth": 0.9, "decode_compute": 0.4, "prefill_compute": 0.35, "layer_us": 0.8,
    "sequence_us": 1.2, "prompt_layer_us": 1.5,
}  # fmt: skip
TODAY_DRIFT = {
    "bandwidth": 0.05, "cache_bandwidth": 0.4, "prefill_compute": 0.35, "layer_us": 0.6, "sequence_us": 0.8,
    "prompt_layer_us": 0.6, "expert_compute": 0.6, "overlap": 0.4, "burst": 0.8, "queue": 0.8, "prompt_expert_us": 1.0,
}  # fmt: skip
TRAINING = TrainingEfficiency(
    compute=0.75, attention_compute=0.25, layer_us=300.0, activation_bytes=250.0, dequantize=0.25, optimizer_bytes=30.0,
    link_gbs=60.0,
)  # fmt: skip
TRAINING_DRIFT = {
    "compute": 0.15, "attention_compute": 0.25, "layer_us": 0.6, "activation_bytes": 0.35, "dequantize": 0.6,
    "optimizer_bytes": 0.8, "link_gbs": 0.8,
}  # fmt: skip
SHARES = (
    "bandwidth",
    "cache_bandwidth",
    "decode_compute",
    "prefill_compute",
    "compute",
    "attention_compute",
    "dequantize",
    "overlap",
)
FAMILIES = {
    "eager": "eager", "eager-awq": "eager", "eager-gptq": "eager", "eager-bnb": "eager", "eager-int8": "eager",
    "vllm": "vllm", "vllm-v0": "vllm", "vllm-2023": "vllm", "vllm-eager": "vllm", "sglang": "vllm",
    "trtllm": "trtllm", "trtllm-static": "trtllm", "trtllm-peak": "trtllm", "turbomind": "trtllm",
    "tgi": "tgi", "tgi-gptq": "tgi", "llamacpp": "llamacpp", "llamacpp-server": "llamacpp",
    "vllm-0.11": "today", "sglang-0.5": "today", "trtllm-1.0": "today",
    "own-train": "hf-train", "hf-train": "hf-train", "hf-gptq-train": "hf-train", "hf-train-liger": "hf-train",
    "opt-train": "opt-train", "fp8-train": "opt-train",
}  # fmt: skip
# Our own loop: what was measured of it is the host's time, so that it starts from the family of transformers' trainers
# and moves that family by nothing.
OWN = "own-train"
OWN_LOOP = f"training {OWN}"  # its stratum
# They fit their own class, not what other stacks start from: vendors' tuned peaks, eager code, HTTP services of 2023,
# our own loop, whose time is the host's.
NOT_GENERAL = (
    "trtllm-peak",
    "vllm-2023",
    "vllm-eager",
    "tgi",
    "tgi-gptq",
    "llamacpp-server",
    "eager",
    "eager-awq",
    "eager-gptq",
    "eager-bnb",
    "eager-int8",
    "vllm-0.11",
    "sglang-0.5",
    "trtllm-1.0",
    OWN,
)


@dataclass(frozen=True, slots=True)
class Row:
    """A published measurement, with the shape and the hardware it was made on."""

    id: str
    source: str
    model: str
    version: str
    task: str
    stack: str
    gpu: str
    measured: float
    roof: float
    features: Mapping[str, Any]
    predict: Callable[[Any], float]

    @property
    def training(self) -> bool:
        return self.task == "finetune"

    @property
    def today(self) -> bool:
        """Whether it was measured on an engine of 2025 or 2026."""
        return FAMILIES.get(self.stack) == "today"

    @property
    def stratum(self) -> str:
        """What the accuracy is told by: batch1, loaded, prefill or training, our own loop's by itself; of today's
        engines "loaded ENGINE" and "first-token ENGINE"."""
        if self.training:
            return OWN_LOOP if self.stack == OWN else "training"
        if self.task == "serve-first-token":
            return f"first-token {self.stack}"
        if self.today:
            return f"loaded {self.stack}"
        if self.task == "serve-prefill":
            return "prefill"
        return "batch1" if self.features["batch"] == 1 else "loaded"

    @property
    def possible(self) -> bool:
        """Whether the figure stays below the roof (within 3 %); a training run above 85 % of the datasheet's FLOP/s,
        more than any measured matmul loop sustains, is taken as a unit mistake of its source."""
        return self.measured <= self.roof * (0.85 if self.training else 1.03)


@dataclass(frozen=True, slots=True)
class Fit(Generic[E]):
    """Constants by class, by family, and for a stack never seen."""

    classes: Mapping[str, E]
    families: Mapping[str, E]
    general: E
    rows: Mapping[str, int]

    def constants(self, stack: str) -> E:
        family = self.families.get(FAMILIES.get(stack, ""))
        return self.classes.get(stack) or family or self.general

    def knows(self, stack: str) -> bool:
        return stack in self.classes


def load(path: Path = DATA / "speeds.jsonl", *, queued: bool = False) -> list[Row]:
    """The measurements that can be scored: token counts known, physically possible. A CSV is read as it is collected.

    `queued`: also those with more requests than the cache has room for, whose waits are of the queue.

    A model that data/speed_models.json lacks takes its shape from the embedded catalog.
    """
    if path.suffix == ".csv":
        listed = speed_rows.read_csv(path)
    else:
        listed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    configs, other, catalog = _json("speed_models.json"), _json("speed_gpus.json"), index.load()
    shapes: dict[str, SpeedShape] = {}
    for name in {raw["model"] for raw in listed}:
        known = catalog.find(name)
        config = configs.get(name) or (known.config if known else None)
        if config is not None:
            shapes[name] = shape_of(read(config))
    rows = [_row(raw, shapes, other) for raw in listed if raw["model"] in shapes and _understood(raw, other)]
    return [row for row in rows if row.possible and (queued or not row.features.get("queued"))]


def _understood(raw: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    parts = str(raw["method"]).split("+")
    known = raw["task"] == "finetune" or all(part in WEIGHT_BYTES for part in parts)
    return known and (_gpu(raw) in embedded.gpus() or _gpu(raw) in other)


def fit_serving(
    rows: Sequence[Row], like: Fit[speed.ServingEfficiency] | None = None, stacks: Sequence[str] | None = None
) -> Fit[speed.ServingEfficiency]:
    """Constants of every serving class among `rows`, or of `stacks` alone.

    `like`: a fit on nearly the same rows, near which the search begins: what is searched for stays the same.
    """
    serving = [row for row in rows if not row.training]
    old = [row for row in serving if row.stack not in NOT_GENERAL]
    wanted = {FAMILIES.get(stack, stack) for stack in stacks or {row.stack for row in serving}}
    if wanted == {"today"}:  # stands on a start of its own
        general = like.general if like else SERVING
    else:
        general = search(old, SERVING, SERVING_DRIFT, like.general if like else None)
    return _fit_classes(serving, general, {"eager": EAGER, "today": TODAY}, SERVING_DRIFT, like, stacks)


def fit_training(
    rows: Sequence[Row], like: Fit[TrainingEfficiency] | None = None, stacks: Sequence[str] | None = None
) -> Fit[TrainingEfficiency]:
    """Constants of every training class among `rows`, or of `stacks` alone; `like` as for serving."""
    training = [row for row in rows if row.training]
    others = [row for row in training if row.stack != OWN]
    general = search(others, TRAINING, TRAINING_DRIFT, like.general if like else None)
    return _fit_classes(training, general, {}, TRAINING_DRIFT, like, stacks)


def _fit_classes(
    rows: Sequence[Row],
    general: E,
    starts: Mapping[str, E],
    drift: Mapping[str, float],
    like: Fit[E] | None,
    stacks: Sequence[str] | None,
) -> Fit[E]:
    counts = Counter(row.stack for row in rows)
    wanted = sorted(counts if stacks is None else set(stacks))
    names = {FAMILIES[stack] for stack in wanted if stack in FAMILIES} | (set(starts) if stacks is None else set())

    def drift_of(family: str) -> Mapping[str, float]:
        return TODAY_DRIFT if family == "today" else drift

    families = {
        name: search(
            [row for row in rows if FAMILIES.get(row.stack) == name and row.stack != OWN],
            starts.get(name, general),
            drift_of(name),
            like.families.get(name) if like else None,
        )
        for name in sorted(names)
    }
    classes = {
        stack: search(
            [row for row in rows if row.stack == stack],
            families.get(FAMILIES.get(stack, ""), general),
            drift_of(FAMILIES.get(stack, "")),
            like.classes.get(stack) if like else None,
        )
        for stack in wanted
        if stack in counts
    }
    return Fit(classes, families, general, counts)


def search(rows: Sequence[Row], start: E, drift: Mapping[str, float], near: E | None = None) -> E:
    """The constants that explain `rows` best, not far from `start`: Levenberg-Marquardt over their logarithms, with
    weights that fall where a row is far off (a Huber loss), from `near` where a good guess is known."""
    counts = Counter(row.source for row in rows)
    weights = [min(1.0, 12 / counts[row.source]) * (0.3 if row.task == "serve-first-token" else 1.0) for row in rows]
    prior = [math.log(getattr(start, key)) for key in drift]
    at = [math.log(getattr(near or start, key)) for key in drift]
    damping = 1e-3
    errors = _errors(rows, start, drift, at)
    cost = _cost(errors, weights, at, prior, drift)
    for _ in range(_MOST_STEPS):
        slopes = []
        for number in range(len(at)):
            moved = [value + (_STEP if index == number else 0.0) for index, value in enumerate(at)]
            shifted = _errors(rows, start, drift, moved)
            slopes.append([(after - before) / _STEP for after, before in zip(shifted, errors, strict=True)])
        pull = [
            weight * min(1.0, _HUBER / (abs(error) or _HUBER)) / _SIGMA**2
            for weight, error in zip(weights, errors, strict=True)
        ]
        gain = 0.0
        while damping < 1e6:
            step = _newton_step(slopes, errors, pull, at, prior, drift, damping)
            tried = [
                min(0.0, value + change) if key in SHARES else value + change
                for key, value, change in zip(drift, at, step, strict=True)
            ]
            tried_errors = _errors(rows, start, drift, tried)
            tried_cost = _cost(tried_errors, weights, tried, prior, drift)
            if tried_cost < cost:
                gain, at, errors, cost = cost - tried_cost, tried, tried_errors, tried_cost
                damping = max(damping / 10, 1e-6)
                break
            damping *= 10
        if gain < 1e-4 * cost:
            break
        damping = min(damping, 1.0)
    return _with(start, drift, at)


_HUBER, _SIGMA = 0.3, 0.15  # beyond the first an error counts by its size alone; the second is what is usual
_STEP, _MOST_STEPS = 1e-3, 30


def _with(start: E, drift: Mapping[str, float], logarithms: Sequence[float]) -> E:
    values: dict[str, Any] = {key: math.exp(value) for key, value in zip(drift, logarithms, strict=True)}
    return replace(start, **values)


def _errors(rows: Sequence[Row], start: E, drift: Mapping[str, float], at: Sequence[float]) -> list[float]:
    by = _with(start, drift, at)
    return [math.log(row.predict(by) / row.measured) for row in rows]


def _cost(
    errors: Sequence[float],
    weights: Sequence[float],
    at: Sequence[float],
    prior: Sequence[float],
    drift: Mapping[str, float],
) -> float:
    total = 0.0
    for error, weight in zip(errors, weights, strict=True):
        size = abs(error)
        total += weight * (size * size if size < _HUBER else _HUBER * (2 * size - _HUBER)) / (2 * _SIGMA**2)
    return total + sum(0.5 * ((a - b) / width) ** 2 for a, b, width in zip(at, prior, drift.values(), strict=True))


def _newton_step(
    slopes: Sequence[Sequence[float]],
    errors: Sequence[float],
    pull: Sequence[float],
    at: Sequence[float],
    prior: Sequence[float],
    drift: Mapping[str, float],
    damping: float,
) -> list[float]:
    """The step of damped normal equations, priors included, by elimination."""
    size = len(slopes)
    rows = []
    for i, width in enumerate(drift.values()):
        weighted = [p * slope for p, slope in zip(pull, slopes[i], strict=True)]
        line = [sum(a * b for a, b in zip(weighted, slopes[j], strict=True)) for j in range(size)]
        line[i] += 1 / width**2
        line[i] *= 1 + damping
        line.append(-sum(a * b for a, b in zip(weighted, errors, strict=True)) - (at[i] - prior[i]) / width**2)
        rows.append(line)
    for i in range(size):  # positive definite: no pivoting is needed
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            rows[j] = [b - factor * a for a, b in zip(rows[i], rows[j], strict=True)]
    step = [0.0] * size
    for i in reversed(range(size)):
        step[i] = (rows[i][size] - sum(rows[i][j] * step[j] for j in range(i + 1, size))) / rows[i][i]
    return step


def _row(raw: dict[str, Any], shapes: Mapping[str, SpeedShape], other: Mapping[str, Any]) -> Row:
    shape, on = shapes[raw["model"]], _hardware(raw, other)
    predict, roof, features = (_training if raw["task"] == "finetune" else _serving)(raw, shape, on)
    features.update(shape=shape, hardware=on, method=raw["method"])
    return Row(
        raw["id"],
        raw["source"],
        raw["model"],
        raw.get("version", ""),
        raw["task"],
        raw["stack"],
        _gpu(raw),
        raw["tokens_per_s"],
        roof,
        features,
        predict,
    )


def _training(
    raw: dict[str, Any], shape: SpeedShape, on: Hardware
) -> tuple[Callable[[Any], float], float, dict[str, Any]]:
    job = TrainingJob(
        method={"adapter": "lora"}.get(raw["method"], raw["method"]),
        batch=raw.get("batch", 1),
        length=raw.get("prompt", 512),
        checkpointing=raw.get("checkpointing", True),
        gradient_accumulation=raw.get("accumulation", 1),
        sharded=raw.get("parallel") in ("FULL_SHARD", "ZeRO3", "FSDP", "FSDP2"),
        eight_bit_compute=raw["stack"] == "fp8-train",
    )
    roof = training_roof(shape, on, job)
    return lambda by: training_tokens_per_second(shape, on, by, job), roof, {"batch": job.batch, "job": job}


def _serving(
    raw: dict[str, Any], shape: SpeedShape, on: Hardware
) -> tuple[Callable[[Any], float], float, dict[str, Any]]:
    method, stack = raw["method"], raw["stack"]
    prompt, generated = raw.get("prompt", 1.0), raw.get("generated", 1.0)
    # TensorRT-LLM keeps an 8-bit cache for FP8 engines and NVFP4 checkpoints, QServe a 4-bit one.
    cache = 1.0 if method in ("fp8", "nvfp4") and stack.startswith("trtllm") else 0.5 if stack == "qserve" else 2.0
    if FAMILIES.get(stack) == "today" and method in ("fp8", "nvfp4", "mxfp4"):  # where the run does not say
        cache = 1.0
    cache = raw.get("cache_bytes", cache)
    arrivals = {"at_once": raw.get("at_once", speed.AT_ONCE), "polled_every": int(raw.get("polled_every", 1))}
    room = speed.resident_sequences(shape, on, method, prompt, generated, cache_bytes=cache)
    most = 2048 if stack in ("trtllm-peak", "trtllm-static", "qserve") else 256  # vLLM's max_num_seqs default
    batch = max(1.0, min(most, room)) if raw["batch"] == "saturated" else float(raw["batch"])
    queued = FAMILIES.get(stack) == "today" and batch > min(0.75 * room, 256)
    if raw["task"] == "serve-first-token":
        asked = (shape, on)
        load = (method, batch, prompt, generated)
        features = {"batch": batch, "prompt": prompt, "generated": generated, "queued": queued}
        return (
            lambda by: 1 / speed.answer_seconds(*asked, by, *load, cache_bytes=cache, **arrivals).first,
            math.inf,
            features,
        )
    batch = min(batch, room) if room > 1 else batch
    features = {"batch": batch, "prompt": prompt, "generated": generated, "queued": queued}
    if raw["task"] == "serve-prefill":
        roof = speed.prefill_roof(shape, on, method)
        return lambda by: speed.prefill_tokens_per_second(shape, on, by, method, batch, prompt), roof, features
    between_tokens = "ai-dynamo/aiconfigurator" in raw["source"]  # time per output token: prompts are not in it
    roof = speed.decode_roof(shape, on, method, batch, prompt + generated / 2, cache_bytes=cache)
    return (
        lambda by: speed.decode_tokens_per_second(
            shape,
            on,
            by,
            method,
            batch,
            prompt,
            generated,
            cache_bytes=cache,
            with_prefill=not between_tokens,
            **arrivals,
        ),
        roof,
        features,
    )


def _hardware(raw: dict[str, Any], other: Mapping[str, Any]) -> Hardware:
    split: Literal["tensor", "layers"] = "layers" if raw.get("parallel") in ("layer-split", "PP") else "tensor"
    link: Literal["nvlink", "pcie"] = "nvlink" if raw["gpu"] in NVLINKED else "pcie"
    known = embedded.gpus().get(_gpu(raw))
    if known is not None:
        matmul = known.matmul_tflops("bf16" if known.bf16 else "fp16")
        operators = operators_of(known.name, known.architecture, link, fp8=known.fp8)
        return Hardware(known.bandwidth_gbs * 1e9, matmul * 1e12, known.fp16_tflops * 1e12,
                        known.memory_usable_gib * 2**30, known.fp8, operators, raw["gpus"], link, split)  # fmt: skip
    gpu = other[raw["gpu"]]
    peak = gpu["fp16_tflops"] * 1e12
    operators = operators_of(raw["gpu"], gpu["architecture"], link, fp8=gpu["fp8"])
    return Hardware(gpu["bandwidth_gbs"] * 1e9, 0.75 * peak, peak, gpu["memory_gib"] * 2**30, gpu["fp8"], operators,
                    raw["gpus"], link, split)  # fmt: skip


def _gpu(raw: Mapping[str, Any]) -> str:
    return GPU_NAMES.get(raw["gpu"], str(raw["gpu"]))


def _json(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return loaded
