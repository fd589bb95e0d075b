"""How fast: tokens per second of serving and of fine-tuning, from bandwidth, compute and launches. Pure.

The roofline of a decode step (weights and cache are read once a step; arXiv 2211.05102, section 3.3), of a prefill and
of a training step (6 FLOPs per parameter and token: arXiv 2001.08361), with what keeps real stacks below it: shares of
the bandwidth and of the measured matmul speed, time per layer to launch kernels, time per sequence, all-reduces.
benchmarks/speed_accuracy.py fits each stack's constants on published measurements and shows the error on sources left
out of the fit. Units are seconds, bytes and tokens. No result is faster than the hardware allows.
"""

from dataclasses import dataclass
from typing import Literal

from modelpick.catalog.architecture import Architecture
from modelpick.memory.weights import ELEMENT_BYTES, SCHEMES, grouped
from modelpick.offers.instance import GpuLink, InstanceType
from modelpick.workload import Workload

# Bytes read for a weight, codes and scales: memory/weights.py has them, with their sources. The last three occur in
# published measurements alone: 8-bit GPTQ, SmoothQuant's W8A8 (arXiv 2211.10438), and NVFP4 (4 bits, an 8-bit scale for
# 16 of them). The output matrix stays at 16 bits except in GGUF.
WEIGHT_BYTES = {
    **ELEMENT_BYTES,
    **{name: scheme.bytes_per_weight for name, scheme in SCHEMES.items()},
    "gptq-int8": grouped("gptq", bits=8).bytes_per_weight,
    "w8a8": 1.0,
    "nvfp4": 0.5 + 1 / 16,
}
# Matrix multiplies run at the 16-bit rate unless both operands are 8-bit (twice) or 4-bit (four times): weight-only
# quantization saves bandwidth, not compute.
COMPUTE_GAIN = {"fp8": 2.0, "w8a8": 2.0, "nvfp4": 4.0}


@dataclass(frozen=True, slots=True)
class SpeedShape:
    """What speed needs to know of a model, counted in elements."""

    layers: int
    hidden: int
    dense_weights: int  # linear layers that every token passes, without the output matrix
    expert_weights: int  # all routed experts of all layers
    experts: int  # routed experts a layer has (0: none), of which `experts_per_token` are used
    experts_per_token: int
    head_weights: int  # the output matrix
    cache_per_token: float  # keys and values kept per token, all layers (MLA: the latent)
    attention_width: float  # query elements, summed over layers
    window: int | None = None  # tokens the windowed layers look back
    windowed_share: float = 0.0  # the part of `cache_per_token` in windowed layers
    parameters: int = 0

    @property
    def active_weights(self) -> float:
        """Weights a token is multiplied with."""
        share = self.experts_per_token / self.experts if self.experts else 0.0
        return self.dense_weights + self.expert_weights * share + self.head_weights

    def bytes_read(self, method: str, sequences: float) -> float:
        """Weight bytes one step reads: experts that no token of the step chose are not read."""
        each = WEIGHT_BYTES[method]
        head = self.head_weights * (each if method == "gguf" else 2.0)
        touched = 1 - (1 - self.experts_per_token / self.experts) ** sequences if self.experts else 0.0
        return (self.dense_weights + self.expert_weights * touched) * each + head

    def weight_bytes(self, method: str) -> float:
        """Bytes of all weights that steps read, without the embedding table."""
        return self.bytes_read(method, 1e9)

    def cache_tokens(self, context: float) -> float:
        """Tokens an average layer still keeps at `context`."""
        if self.window is None:
            return context
        return context * (1 - self.windowed_share) + min(context, self.window) * self.windowed_share


def shape_of(architecture: Architecture) -> SpeedShape:
    """The shape of a model read from its config.json. Encoder and decoder layers count alike."""
    runs = architecture.layers + architecture.encoder
    cache = attention = windowed = 0.0
    window = None
    experts = per_token = 0
    for run in runs:
        if run.attention is not None:
            kept = run.attention.latent or run.attention.kv_width
            cache += run.count * kept
            attention += run.count * run.attention.query_width
            if run.attention.window is not None:
                window = max(window or 0, run.attention.window)
                windowed += run.count * kept
        if run.experts is not None:
            experts, per_token = run.experts.count, run.experts.per_token
    return SpeedShape(
        layers=architecture.depth,
        hidden=architecture.hidden,
        dense_weights=architecture.linear_weights,
        expert_weights=architecture.expert_weights,
        experts=experts,
        experts_per_token=per_token,
        head_weights=architecture.head_parameters,
        cache_per_token=cache,
        attention_width=attention,
        window=window,
        windowed_share=windowed / cache if cache else 0.0,
        parameters=architecture.parameters,
    )


@dataclass(frozen=True, slots=True)
class Hardware:
    """GPUs of one kind that work together. Per GPU: `bandwidth` bytes/s, `matmul` FLOP/s reached by a large 16-bit
    matmul, `peak` FLOP/s of the datasheet, `memory` bytes. `link` is what joins them; `fp8` whether 8-bit is native."""

    bandwidth: float
    matmul: float
    peak: float
    memory: float
    fp8: bool
    gpus: int = 1
    link: GpuLink = "pcie"
    split: Literal["tensor", "layers"] = "tensor"  # how several GPUs share one model

    @property
    def workers(self) -> int:
        """GPUs that work on a token at the same time: layers split over GPUs run one after the other."""
        return self.gpus if self.split == "tensor" else 1


def hardware_of(kind: InstanceType, gpus: int = 1) -> Hardware:
    """The hardware an instance offers to a job on `gpus` of its GPUs; fp16 where bf16 is only emulated."""
    dtype = "bf16" if kind.gpu.bf16 else "fp16"
    return Hardware(
        bandwidth=kind.bandwidth_gbs * 1e9,
        matmul=kind.matmul_tflops(dtype) * 1e12,
        peak=kind.gpu.fp16_tflops * kind.gpu_fraction * 1e12,
        memory=kind.usable_memory_gib * 2**30,
        fp8=kind.gpu.fp8,
        gpus=gpus,
        link=kind.gpu_link,
    )


@dataclass(frozen=True, slots=True)
class ServingEfficiency:
    """What a serving stack reaches. Shares are of the bandwidth and of the measured matmul; times in microseconds."""

    bandwidth: float  # share at which weights are read
    cache_bandwidth: float  # share at which keys and values are read
    decode_compute: float
    prefill_compute: float
    layer_us: float  # launches and small kernels, per layer and step
    sequence_us: float  # scheduling, sampling and detokenizing, per sequence and step
    admission_us: float  # tokenizing and scheduling, once per request
    pcie_allreduce_us: float
    nvlink_allreduce_us: float
    expert_us: float = 0.0  # per expert and layer, where experts run one after the other
    overlaps: bool = False  # launches run ahead of the GPU (eager) instead of adding to its time (captured graphs)


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


# Of the memory, what vLLM takes where a workload says nothing else.
_SERVED_SHARE = Workload().gpu_memory_utilization
# Bytes/s between GPUs, one direction, as collectives reach it (tensor-parallel rows of benchmarks/data/speeds.jsonl).
LINK = {"nvlink": 200e9, "pcie": 10e9}
# A LoRA layer launches more kernels than a plain one: two small matmuls, a cast and an addition for each linear layer.
_LORA_LAUNCHES = 1.5


def step_seconds(
    shape: SpeedShape,
    on: Hardware,
    efficiency: ServingEfficiency,
    method: str,
    batch: float,
    context: float,
    *,
    cache_bytes: float = 2.0,
) -> float:
    """Seconds of one decode step of `batch` sequences that each have `context` tokens."""
    workers = on.workers
    reading = shape.bytes_read(method, batch) / (workers * on.bandwidth * efficiency.bandwidth)
    computing = 2 * shape.active_weights * batch / (workers * on.matmul * _gain(method, on) * efficiency.decode_compute)
    cache = cache_bytes * shape.cache_per_token * shape.cache_tokens(context) * batch
    caching = cache / (workers * on.bandwidth * efficiency.cache_bandwidth)
    busy = _smooth_max(reading, computing) + caching
    return (
        _launched(busy, shape, efficiency)
        + efficiency.sequence_us * batch * 1e-6
        + _allreduce(shape, on, efficiency, batch)
    )


def prefill_seconds(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, batch: float, prompt: float
) -> float:
    """Seconds until `batch` prompts of `prompt` tokens each are read."""
    workers, tokens = on.workers, batch * prompt
    computing = _prefill_flops(shape, tokens, prompt) / (
        workers * on.matmul * _gain(method, on) * efficiency.prefill_compute
    )
    reading = shape.bytes_read(method, tokens) / (workers * on.bandwidth * efficiency.bandwidth)
    busy = _launched(_smooth_max(computing, reading), shape, efficiency)
    return busy + efficiency.admission_us * batch * 1e-6 + _allreduce(shape, on, efficiency, tokens)


def prefill_tokens_per_second(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, batch: float, prompt: float
) -> float:
    """Prompt tokens read per second, below the roof of the datasheet's FLOP/s."""
    seconds = prefill_seconds(shape, on, efficiency, method, batch, prompt)
    roof = on.workers * on.peak * _gain(method, on) / (2 * (shape.active_weights - shape.head_weights))
    return min(batch * prompt / seconds, roof)


def decode_tokens_per_second(
    shape: SpeedShape,
    on: Hardware,
    efficiency: ServingEfficiency,
    method: str,
    batch: float,
    prompt: float,
    generated: float,
    *,
    cache_bytes: float = 2.0,
    with_prefill: bool = True,
) -> float:
    """Generated tokens per second of all `batch` sequences, the reading of prompts included; below the roof."""
    middle = prompt + generated / 2
    seconds = step_seconds(shape, on, efficiency, method, batch, middle, cache_bytes=cache_bytes)
    if with_prefill:
        seconds += prefill_seconds(shape, on, efficiency, method, batch, prompt) / generated
    return min(batch / seconds, decode_roof(shape, on, method, batch, middle, cache_bytes=cache_bytes))


def resident_sequences(
    shape: SpeedShape, on: Hardware, method: str, prompt: float, generated: float, *, cache_bytes: float = 2.0
) -> float:
    """Sequences a server has room for. Below 1: none fits.

    The cache gets what vLLM's default share of the memory leaves after the weights and 1.5 GB a GPU for context and
    activations.
    """
    free = on.gpus * (_SERVED_SHARE * on.memory - 1.5e9) - shape.weight_bytes(method) - 2.0 * shape.head_weights
    each = cache_bytes * shape.cache_per_token * shape.cache_tokens(prompt + 0.6 * generated)
    return free / each if each else 1e9


def decode_roof(
    shape: SpeedShape, on: Hardware, method: str, batch: float, context: float, *, cache_bytes: float = 2.0
) -> float:
    """Tokens per second no stack can exceed: every weight and the cache read once a step at full bandwidth, and the
    datasheet's FLOP/s."""
    cache = cache_bytes * shape.cache_per_token * shape.cache_tokens(context) * batch
    reading = (shape.bytes_read(method, batch) + cache) / (on.workers * on.bandwidth)
    computing = 2 * shape.active_weights * batch / (on.workers * on.peak * _gain(method, on))
    return batch / max(reading, computing)


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
    eight_bit_compute: bool = False  # FP8 matmuls (Transformer Engine): twice the 16-bit rate

    @property
    def flops_per_weight(self) -> int:
        """2 forward, 2 for the gradient that flows on, 2 for the weights' own (full only), 2 to recompute."""
        return (6 if self.method == "full" else 4) + (2 if self.checkpointing else 0)

    @property
    def passes(self) -> int:
        """Forward, backward, and the forward again when activations are recomputed."""
        return 3 if self.checkpointing else 2


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
    launching = efficiency.layer_us * shape.layers * passes * (1.0 if full else _LORA_LAUNCHES) * 1e-6
    seconds = _smooth_max(busy, launching)
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


def _prefill_flops(shape: SpeedShape, tokens: float, prompt: float) -> float:
    """The last token alone needs the output matrix; attention looks back at half the prompt on average."""
    body = 2 * (shape.active_weights - shape.head_weights) * tokens
    return body + 2 * shape.attention_width * shape.cache_tokens(prompt) * tokens


def _launched(busy: float, shape: SpeedShape, efficiency: ServingEfficiency) -> float:
    """GPU time with the time to launch kernels: behind each other in eager code, added in captured graphs."""
    launching = (efficiency.layer_us * shape.layers + efficiency.expert_us * shape.layers * shape.experts) * 1e-6
    return _smooth_max(busy, launching) if efficiency.overlaps else busy + launching


def _gain(method: str, on: Hardware) -> float:
    return COMPUTE_GAIN.get(method, 1.0) if on.fp8 or method == "w8a8" else 1.0


def _allreduce(shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, tokens: float) -> float:
    """Two all-reduces a layer: a latency each, and the 16-bit hidden vectors twice over the link."""
    if on.gpus == 1 or on.split != "tensor":
        return 0.0
    latency = (efficiency.nvlink_allreduce_us if on.link == "nvlink" else efficiency.pcie_allreduce_us) * 1e-6
    moved = 2 * 2 * tokens * shape.hidden * (on.gpus - 1) / on.gpus / LINK[on.link]
    return 2 * shape.layers * (latency + moved)


def _smooth_max(a: float, b: float) -> float:
    """Two things that overlap, but not perfectly: the fourth-power mean."""
    top = max(a, b)
    return top * ((a / top) ** 4 + (b / top) ** 4) ** 0.25 if top else 0.0
