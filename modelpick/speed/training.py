"""How fast a fine-tuning is: trained tokens per second, from compute, launches and the optimizer's traffic. Pure.

The roofline of a training step (6 FLOPs per parameter and token: arXiv 2001.08361), with what keeps real trainers below
it: shares of the measured matmul speed, time per layer to launch kernels, memory traffic besides weights.
benchmarks/speed_accuracy.py fits each stack's constants on published measurements. Units are seconds, bytes and tokens.
"""

from dataclasses import dataclass

from modelpick.speed.hardware import Hardware
from modelpick.speed.shape import WEIGHT_BYTES, SpeedShape


@dataclass(frozen=True, slots=True)
class TrainingEfficiency:
    """What a training stack reaches. Shares are of the measured matmul; times in microseconds; bytes per element."""

    compute: float
    attention_compute: float
    layer_us: float  # launches, per layer and pass (forward, backward, recomputation)
    activation_bytes: float  # memory traffic besides weights, per token, layer and hidden unit, forward and backward
    dequantize: float  # share of the bandwidth at which quantized weights are expanded
    optimizer_bytes: float  # memory traffic of a step, per trained parameter
    link_gbs: float  # GB/s of parameter traffic that sharded training sustains


# A layer with adapters launches more kernels than a plain one: two small matmuls, a cast and an addition for each
# linear layer. Over quantized weights come those that expand them; LLM.int8 quantizes its inputs too and looks for
# outliers, whose number the host waits for. The ratios of the last two are fitted on our own loop
# (facts/measured_speed.csv, rows g...).
_LAUNCHES = {"full": 1.0, "lora": 1.5, "qlora": 1.9, "lora-int8": 2.6, "prompt-tuning": 1.0}
# Forward passes besides the trained one (trl 1.16): of DPO's base; of KTO's base, and of both for its KL term.
REFERENCE_PASSES = {"sft": 0, "dpo": 1, "kto": 3}


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """One training set-up: `batch` sequences of `length` tokens on each GPU, `gradient_accumulation` times a step.

    Several GPUs hold a copy each (data parallel) unless `sharded` (FSDP, ZeRO-3).
    """

    method: str  # full, lora, lora-int8, qlora
    batch: float
    length: float
    checkpointing: bool
    gradient_accumulation: float = 1.0
    sharded: bool = False
    reference_passes: int = 0  # forward passes besides: of the base, and for KTO's KL term
    eight_bit_compute: bool = False  # FP8 matmuls (Transformer Engine): twice the 16-bit rate

    @property
    def flops_per_weight(self) -> int:
        """2 forward, 2 for the gradient that flows on, 2 for the weights' own (full only), 2 to recompute."""
        return (6 if self.method == "full" else 4) + (2 if self.checkpointing else 0) + 2 * self.reference_passes

    @property
    def passes(self) -> int:
        """Forward, backward, the forward again when activations are recomputed, and those of the reference."""
        return (3 if self.checkpointing else 2) + self.reference_passes


def training_tokens_per_second(
    shape: SpeedShape, on: Hardware, efficiency: TrainingEfficiency, job: TrainingJob
) -> float:
    """Trained tokens per second of all GPUs together; below the roof."""
    tokens, passes, full = job.batch * job.length, job.passes, job.method == "full"
    matmul = on.matmul * (2 if job.eight_bit_compute else 1)
    attention = 2 * shape.attention_width * shape.cache_tokens(job.length) * (passes + 1)
    busy = tokens * shape.active_weights * job.flops_per_weight / (matmul * efficiency.compute)
    busy += tokens * attention / (on.matmul * efficiency.attention_compute)
    busy += tokens * shape.layers * shape.hidden * efficiency.activation_bytes * passes / 2 / on.bandwidth
    launching = efficiency.layer_us * shape.layers * passes * _LAUNCHES[job.method] * 1e-6
    seconds = smooth_max(busy, launching)
    seconds += _expanding(shape, job) / (on.bandwidth * efficiency.dequantize)
    if full:
        shards = on.gpus if job.sharded else 1
        seconds += efficiency.optimizer_bytes * shape.parameters / (on.bandwidth * shards * job.gradient_accumulation)
    if job.sharded:
        moved = 2.0 * shape.parameters * (3 if full else passes) * (on.gpus - 1) / on.gpus
        seconds = max(seconds, moved / (efficiency.link_gbs * 1e9))
    return min(on.gpus * tokens / seconds, training_roof(shape, on, job))


def _expanding(shape: SpeedShape, job: TrainingJob) -> float:
    """Bytes moved to expand quantized weights: the codes are read, 16-bit weights written and read again.

    NF4 does so in every pass; LLM.int8 multiplies 8-bit matrices forward (arXiv 2208.07339) and expands them backward.
    """
    weights = shape.dense_weights + shape.expert_weights
    if job.method == "qlora":
        return weights * (WEIGHT_BYTES["nf4"] + 2 + 2) * job.passes
    return weights * (WEIGHT_BYTES["int8"] + 2 + 2) if job.method == "lora-int8" else 0.0


def training_roof(shape: SpeedShape, on: Hardware, job: TrainingJob) -> float:
    """Trained tokens per second no stack can exceed: the needed FLOPs at the datasheet's rate."""
    per_token = shape.active_weights * job.flops_per_weight
    per_token += 2 * shape.attention_width * shape.cache_tokens(job.length) * 3
    return on.gpus * on.peak * (2 if job.eight_bit_compute else 1) / per_token


def smooth_max(a: float, b: float) -> float:
    """Two things that overlap, but not perfectly: the fourth-power mean."""
    top = max(a, b)
    return top * ((a / top) ** 4 + (b / top) ** 4) ** 0.25 if top else 0.0
