"""Fits the constants of modelpick.speed.roofline on published measurements. Pure Python, a minute on one core.

Robust least squares of log(predicted / measured) with a prior on every constant, by coordinate search. The prior of a
class is the fit of its family, and that of a family the fit of all serving or training rows: few rows move little.
Sources count alike: a sweep of a hundred neighbouring points does not outvote a table of twelve.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import speed_rows

from modelpick.catalog import index
from modelpick.catalog.architecture import read
from modelpick.offers import embedded
from modelpick.speed import roofline as speed

DATA = Path(__file__).parent / "data"
E = TypeVar("E", speed.ServingEfficiency, speed.TrainingEfficiency)
GPU_NAMES = {"RTX-PRO-6000": "RTX PRO 6000"}
NVLINKED = ("A100-40GB", "A100-80GB", "H100-80GB", "H200", "B200")

# Starting points, and how far (in the logarithm) a constant may drift from them before the fit pays for it.
SERVING = speed.ServingEfficiency(
    bandwidth=0.84, cache_bandwidth=0.7, decode_compute=0.65, prefill_compute=0.56, layer_us=136.0, sequence_us=15.0,
    admission_us=2000.0, pcie_allreduce_us=150.0, nvlink_allreduce_us=8.0,
)  # fmt: skip
# transformers' generate: 0.7-1.5 ms of launches a layer; its cache is copied at every step by concatenation; experts
# run one after the other.
EAGER = replace(SERVING, cache_bandwidth=0.08, prefill_compute=0.5, layer_us=900.0, expert_us=90.0, overlaps=True)
SERVING_DRIFT = {
    "bandwidth": 0.12, "cache_bandwidth": 0.9, "decode_compute": 0.4, "prefill_compute": 0.35, "layer_us": 0.8,
    "sequence_us": 1.2, "admission_us": 1.5, "pcie_allreduce_us": 0.7, "nvlink_allreduce_us": 0.7,
}  # fmt: skip
TRAINING = speed.TrainingEfficiency(
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
)
FAMILIES = {
    "eager": "eager", "eager-awq": "eager", "eager-gptq": "eager", "eager-bnb": "eager", "eager-int8": "eager",
    "vllm": "vllm", "vllm-v0": "vllm", "vllm-2023": "vllm", "vllm-eager": "vllm", "sglang": "vllm",
    "trtllm": "trtllm", "trtllm-static": "trtllm", "trtllm-peak": "trtllm", "turbomind": "trtllm",
    "tgi": "tgi", "tgi-gptq": "tgi", "llamacpp": "llamacpp", "llamacpp-server": "llamacpp",
    "hf-train": "hf-train", "hf-gptq-train": "hf-train", "hf-train-liger": "hf-train",
    "opt-train": "opt-train", "fp8-train": "opt-train",
}  # fmt: skip
# They fit their own class, not what other stacks start from: vendors' tuned peaks, eager code, HTTP services of 2023.
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
)


@dataclass(frozen=True, slots=True)
class Row:
    """A published measurement, with the shape and the hardware it was made on."""

    id: str
    source: str
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
    def stratum(self) -> str:
        """What the accuracy is told by: batch1, loaded, prefill or training."""
        if self.training:
            return "training"
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


def load(path: Path = DATA / "speeds.jsonl") -> list[Row]:
    """The measurements that can be scored: token counts known, physically possible. A CSV is read as it is collected.

    A model that data/speed_models.json lacks takes its shape from the embedded catalog.
    """
    if path.suffix == ".csv":
        listed = speed_rows.read_csv(path)
    else:
        listed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    configs, other, catalog = _json("speed_models.json"), _json("speed_gpus.json"), index.load()
    shapes: dict[str, speed.SpeedShape] = {}
    for name in {raw["model"] for raw in listed}:
        known = catalog.find(name)
        config = configs.get(name) or (known.config if known else None)
        if config is not None:
            shapes[name] = speed.shape_of(read(config))
    rows = [_row(raw, shapes, other) for raw in listed if raw["model"] in shapes and _understood(raw, other)]
    return [row for row in rows if row.possible]


def _understood(raw: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    known = raw["task"] == "finetune" or raw["method"] in speed.WEIGHT_BYTES
    return known and (_gpu(raw) in embedded.gpus() or _gpu(raw) in other)


def fit_serving(rows: Sequence[Row]) -> Fit[speed.ServingEfficiency]:
    """Constants of every serving class among `rows`."""
    serving = [row for row in rows if not row.training]
    general = search([row for row in serving if row.stack not in NOT_GENERAL], SERVING, SERVING_DRIFT)
    starts = {"eager": EAGER}
    return _fit_classes(serving, general, starts, SERVING_DRIFT)


def fit_training(rows: Sequence[Row]) -> Fit[speed.TrainingEfficiency]:
    """Constants of every training class among `rows`."""
    training = [row for row in rows if row.training]
    return _fit_classes(training, search(training, TRAINING, TRAINING_DRIFT), {}, TRAINING_DRIFT)


def _fit_classes(rows: Sequence[Row], general: E, starts: Mapping[str, E], drift: Mapping[str, float]) -> Fit[E]:
    counts = Counter(row.stack for row in rows)
    names = {FAMILIES[stack] for stack in counts if stack in FAMILIES} | set(starts)
    families = {
        name: search([row for row in rows if FAMILIES.get(row.stack) == name], starts.get(name, general), drift)
        for name in sorted(names)
    }
    classes = {
        stack: search(
            [row for row in rows if row.stack == stack], families.get(FAMILIES.get(stack, ""), general), drift
        )
        for stack in sorted(counts)
    }
    return Fit(classes, families, general, counts)


def search(rows: Sequence[Row], start: E, drift: Mapping[str, float]) -> E:
    """The constants that explain `rows` best, not far from `start`: coordinate search with shrinking steps."""
    counts = Counter(row.source for row in rows)
    weights = [min(1.0, 12 / counts[row.source]) for row in rows]
    prior = asdict(start)
    best, cost = start, _cost(rows, weights, start, prior, drift)
    for step in (0.4, 0.2, 0.1, 0.05, 0.02):
        for _ in range(12):
            moved = False
            for key in drift:
                for direction in (step, -step):
                    while True:
                        value = getattr(best, key) * math.exp(direction)
                        tried = replace(best, **{key: min(1.0, value) if key in SHARES else value})
                        price = _cost(rows, weights, tried, prior, drift) if tried != best else cost
                        if price >= cost - 1e-6:
                            break
                        best, cost, moved = tried, price, True
            if not moved:
                break
    return best


def _cost(
    rows: Sequence[Row], weights: Sequence[float], by: E, prior: Mapping[str, float], drift: Mapping[str, float]
) -> float:
    total = 0.0
    for row, weight in zip(rows, weights, strict=True):
        error = abs(math.log(row.predict(by) / row.measured))
        total += weight * (error * error if error < 0.3 else 0.6 * error - 0.09) / (2 * 0.15**2)
    return total + sum(0.5 * (math.log(getattr(by, key) / prior[key]) / width) ** 2 for key, width in drift.items())


def _row(raw: dict[str, Any], shapes: Mapping[str, speed.SpeedShape], other: Mapping[str, Any]) -> Row:
    shape, on = shapes[raw["model"]], _hardware(raw, other)
    predict, roof, features = (_training if raw["task"] == "finetune" else _serving)(raw, shape, on)
    features.update(shape=shape, hardware=on, method=raw["method"])
    return Row(
        raw["id"], raw["source"], raw["task"], raw["stack"], _gpu(raw), raw["tokens_per_s"], roof, features, predict
    )


def _training(
    raw: dict[str, Any], shape: speed.SpeedShape, on: speed.Hardware
) -> tuple[Callable[[Any], float], float, dict[str, Any]]:
    job = speed.TrainingJob(
        method={"adapter": "lora"}.get(raw["method"], raw["method"]),
        batch=raw.get("batch", 1),
        length=raw.get("prompt", 512),
        checkpointing=raw.get("checkpointing", True),
        gradient_accumulation=raw.get("accumulation", 1),
        sharded=raw.get("parallel") in ("FULL_SHARD", "ZeRO3", "FSDP", "FSDP2"),
        eight_bit_compute=raw["stack"] == "fp8-train",
    )
    roof = speed.training_roof(shape, on, job)
    return lambda by: speed.training_tokens_per_second(shape, on, by, job), roof, {"batch": job.batch, "job": job}


def _serving(
    raw: dict[str, Any], shape: speed.SpeedShape, on: speed.Hardware
) -> tuple[Callable[[Any], float], float, dict[str, Any]]:
    method, stack = raw["method"], raw["stack"]
    prompt, generated = raw.get("prompt", 1.0), raw.get("generated", 1.0)
    # TensorRT-LLM's FP8 engines keep an 8-bit cache, QServe a 4-bit one.
    cache = 1.0 if method == "fp8" and stack.startswith("trtllm") else 0.5 if stack == "qserve" else 2.0
    room = speed.resident_sequences(shape, on, method, prompt, generated, cache_bytes=cache)
    most = 2048 if stack in ("trtllm-peak", "trtllm-static", "qserve") else 256  # vLLM's max_num_seqs default
    batch = max(1.0, min(most, room)) if raw["batch"] == "saturated" else float(raw["batch"])
    batch = min(batch, room) if room > 1 else batch
    features = {"batch": batch, "prompt": prompt, "generated": generated}
    if raw["task"] == "serve-prefill":
        roof = on.workers * on.peak * (2 if method == "fp8" else 1) / (2 * (shape.active_weights - shape.head_weights))
        return lambda by: speed.prefill_tokens_per_second(shape, on, by, method, batch, prompt), roof, features
    between_tokens = "aiconfigurator" in raw["source"]  # time per output token: prompts are not in it
    roof = speed.decode_roof(shape, on, method, batch, prompt + generated / 2, cache_bytes=cache)
    return (
        lambda by: speed.decode_tokens_per_second(
            shape, on, by, method, batch, prompt, generated, cache_bytes=cache, with_prefill=not between_tokens
        ),
        roof,
        features,
    )


def _hardware(raw: dict[str, Any], other: Mapping[str, Any]) -> speed.Hardware:
    split: Literal["tensor", "layers"] = "layers" if raw.get("parallel") in ("layer-split", "PP") else "tensor"
    link: Literal["nvlink", "pcie"] = "nvlink" if raw["gpu"] in NVLINKED else "pcie"
    known = embedded.gpus().get(_gpu(raw))
    if known is not None:
        matmul = known.matmul_tflops("bf16" if known.bf16 else "fp16")
        return speed.Hardware(known.bandwidth_gbs * 1e9, matmul * 1e12, known.fp16_tflops * 1e12,
                              known.memory_usable_gib * 2**30, known.fp8, raw["gpus"], link, split)  # fmt: skip
    gpu = other[raw["gpu"]]
    peak = gpu["fp16_tflops"] * 1e12
    return speed.Hardware(gpu["bandwidth_gbs"] * 1e9, 0.75 * peak, peak, gpu["memory_gib"] * 2**30, gpu["fp8"],
                          raw["gpus"], link, split)  # fmt: skip


def _gpu(raw: Mapping[str, Any]) -> str:
    return GPU_NAMES.get(raw["gpu"], str(raw["gpu"]))


def _json(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return loaded
