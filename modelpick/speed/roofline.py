"""How fast a server is: tokens per second, and the wait for the first one, from bandwidth, compute and launches. Pure.

The roofline of a decode step (weights and cache are read once a step; arXiv 2211.05102, section 3.3) and of a prefill,
with what was measured of single operators (speed/operators.py) and a few constants of each engine: shares of bandwidth
and compute, time per layer between the products, time per sequence, time per prompt.
benchmarks/speed_accuracy.py fits them on published measurements and shows the error on sources left out of the fit.
Units are seconds, bytes and tokens. No result is faster than the hardware allows.
"""

import math
from dataclasses import dataclass

from modelpick.speed.hardware import Hardware
from modelpick.speed.operators import PEAK_GAIN, line
from modelpick.speed.shape import WEIGHT_BYTES, SpeedShape
from modelpick.speed.training import smooth_max
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class ServingEfficiency:
    """What a serving stack reaches. Shares are of the bandwidth and of the measured matmul; times in microseconds."""

    bandwidth: float  # share at which 16-bit weights are read
    cache_bandwidth: float  # share at which keys and values are read
    decode_compute: float
    prefill_compute: float
    layer_us: float  # launches and small kernels between the products, per layer and step
    sequence_us: float  # scheduling, sampling and detokenizing, per sequence and step
    prompt_layer_us: float  # what a prompt takes besides its products, per layer: steps with prompts use no whole graph
    expert_compute: float = 1.0  # of `prefill_compute`, what products with experts reach
    overlap: float = 1.0  # of a prompt's time, what the sequences that are generating wait for it
    burst: float = 0.0  # of the other prompts' times, what one waits that comes with them
    queue: float = 0.0  # of its own time, what a prompt waits where prompts keep the GPUs busy all the time
    prompt_expert_us: float = 0.0  # the same per routed expert and layer: a prompt's few rows meet all of them
    expert_us: float = 0.0  # per expert and layer, where experts run one after the other
    overlaps: bool = False  # launches run ahead of the GPU (eager) instead of adding to its time (captured graphs)


# The share of requests that comes together with all others: published closed loops send ten a slot, the first at once.
AT_ONCE = 0.1
_STEP_TOKENS = 8192  # of a step with prompts: vLLM's max_num_batched_tokens, TensorRT-LLM's max_num_tokens by default

# Of the memory, what vLLM takes where a workload says nothing else.
_SERVED_SHARE = Workload().gpu_memory_utilization


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
    computing = _products_flops(shape, on, method, batch, 1.0) / (workers * on.matmul * efficiency.decode_compute)
    cache = cache_bytes * shape.cache_read(context) * shape.cache_copies(workers) * batch
    caching = cache / (workers * on.bandwidth * efficiency.cache_bandwidth)
    busy = smooth_max(_reading(shape, on, efficiency, method, batch), computing) + caching
    return (
        _launched(busy, shape, on, efficiency, method)
        + efficiency.sequence_us * batch * 1e-6
        + _allreduce(shape, on, batch)
    )


def prefill_seconds(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, batch: float, prompt: float
) -> float:
    """Seconds until `batch` prompts of `prompt` tokens each are read, each in a step of its own."""
    return _prompts_seconds(shape, on, efficiency, method, batch, prompt, steps=batch)


def _prompts_seconds(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, batch: float, prompt: float, *,
    steps: float,
) -> float:  # fmt: skip
    """The same where they come in so many steps: those that come together share what a step takes besides products."""
    tokens = batch * prompt
    attended = shape.cache_tokens(prompt)  # half the prompt on average, twice
    if shape.picked is not None:
        attended = min(attended, 2.0 * shape.picked)
    flops = _products_flops(shape, on, method, tokens, efficiency.expert_compute, last=batch)
    flops += 2 * shape.attention_width * attended * tokens
    computing = flops / (on.workers * on.matmul * efficiency.prefill_compute)
    reading = _reading(shape, on, efficiency, method, tokens)
    busy = _launched(smooth_max(computing, reading), shape, on, efficiency, method)
    return busy + _beside_products(shape, efficiency) * steps + _allreduce(shape, on, tokens)


@dataclass(frozen=True, slots=True)
class Answer:
    """Seconds of one of several concurrent requests: to its first token, and from there to its last one."""

    first: float
    rest: float

    @property
    def whole(self) -> float:
        """Seconds from the request to its last token."""
        return self.first + self.rest


def answer_seconds(
    shape: SpeedShape,
    on: Hardware,
    efficiency: ServingEfficiency,
    method: str,
    batch: float,
    prompt: float,
    generated: float,
    *,
    cache_bytes: float = 2.0,
    at_once: float = AT_ONCE,
    polled_every: int = 1,
) -> Answer:
    """What one of `batch` concurrent requests takes that all fit the cache, each followed by the next one.

    The first token: its own prompt and a step, and the wait for others: a share of the requests (`at_once`) comes
    together with all others, whose prompts are read before it or after it; a prompt finds the GPUs busy with others'
    for the share of the time that those take; an engine that looks for new requests every so many steps
    (`polled_every`) lets it wait half of them. The rest: a step for each token, and the steps that the others' prompts
    prolong (each of them is read once in that time; what comes in the same step shares what it takes besides products).
    """
    middle = prompt + generated / 2
    step = step_seconds(shape, on, efficiency, method, batch, middle, cache_bytes=cache_bytes)
    own = prefill_seconds(shape, on, efficiency, method, 1, prompt)
    beside = _beside_products(shape, efficiency)
    steps = _steps_with_prompts(batch, prompt, generated, at_once)
    every = _prompts_seconds(shape, on, efficiency, method, batch, prompt, steps=steps)
    others = every * (batch - 1) / batch
    rest = generated * step + efficiency.overlap * others
    taken = others / (rest + own)
    together = efficiency.burst * at_once * (batch - 1) * (own - beside)
    first = step * (1 + (polled_every - 1) / 2) + own * (1 + efficiency.queue * taken) + together
    return Answer(first, rest * (generated - 1) / generated)


def _steps_with_prompts(batch: float, prompt: float, generated: float, at_once: float) -> float:
    """In how many of the steps of an answer a prompt comes in: of prompts that come apart as many as they hit, of those
    that come at once as many as their tokens fill."""
    apart = -generated * math.expm1(-batch / generated)
    return (1 - at_once) * apart + at_once * max(1.0, batch * prompt / _STEP_TOKENS)


def prefill_tokens_per_second(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, batch: float, prompt: float
) -> float:
    """Prompt tokens read per second, below the roof of the datasheet's FLOP/s."""
    seconds = prefill_seconds(shape, on, efficiency, method, batch, prompt)
    return min(batch * prompt / seconds, prefill_roof(shape, on, method))


def prefill_roof(shape: SpeedShape, on: Hardware, method: str) -> float:
    """Prompt tokens per second that the datasheet's FLOP/s allow; the output matrix is for the last token alone."""
    return on.workers * on.peak * _peak_gain(shape, on, method) / (2 * (shape.active_weights - shape.head_weights))


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
    at_once: float = AT_ONCE,
    polled_every: int = 1,
) -> float:
    """Generated tokens per second of all `batch` sequences, the reading of prompts included; below the roof."""
    middle = prompt + generated / 2
    if with_prefill:
        seconds = answer_seconds(
            shape, on, efficiency, method, batch, prompt, generated, cache_bytes=cache_bytes, at_once=at_once,
            polled_every=polled_every,
        ).whole  # fmt: skip
    else:
        seconds = generated * step_seconds(shape, on, efficiency, method, batch, middle, cache_bytes=cache_bytes)
    return min(batch * generated / seconds, decode_roof(shape, on, method, batch, middle, cache_bytes=cache_bytes))


def resident_sequences(
    shape: SpeedShape, on: Hardware, method: str, prompt: float, generated: float, *, cache_bytes: float = 2.0
) -> float:
    """Sequences a server has room for. Below 1: none fits.

    The cache gets what vLLM's default share of the memory leaves after the weights and 1.5 GB a GPU for context and
    activations.
    """
    free = on.gpus * (_SERVED_SHARE * on.memory - 1.5e9) - shape.weight_bytes(method) - 2.0 * shape.head_weights
    each = cache_bytes * shape.cache_per_token * shape.cache_tokens(prompt + 0.6 * generated)
    each *= shape.cache_copies(on.workers)
    return free / each if each else 1e9


def decode_roof(
    shape: SpeedShape, on: Hardware, method: str, batch: float, context: float, *, cache_bytes: float = 2.0
) -> float:
    """Tokens per second no stack can exceed: every weight and the cache read once a step at full bandwidth, and the
    datasheet's FLOP/s."""
    cache = cache_bytes * shape.cache_read(context) * batch
    reading = (shape.bytes_read(method, batch) + cache) / (on.workers * on.bandwidth)
    computing = 2 * shape.active_weights * batch / (on.workers * on.peak * _peak_gain(shape, on, method))
    return batch / max(reading, computing)


def _reading(
    shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str, sequences: float
) -> float:  # fmt: skip
    """Seconds to read the weights of a step, each format at its share of the bandwidth."""
    dense, experts = shape.formats(method)
    read = shape.dense_weights * WEIGHT_BYTES[dense] / line(dense).share
    if shape.experts:
        read += shape.touched(sequences) * WEIGHT_BYTES[experts] / on.operators.experts_line(experts).share
    read += shape.head_weights * (WEIGHT_BYTES[method] if method == "gguf" else 2.0)
    return read / (on.workers * on.bandwidth * efficiency.bandwidth)


def _products_flops(
    shape: SpeedShape, on: Hardware, method: str, tokens: float, expert_share: float, *, last: float | None = None
) -> float:
    """FLOPs of the products with weights, as many 16-bit ones as take the same time. `last`: tokens that need the
    output matrix (all of them when decoding)."""
    dense, experts = shape.formats(method)
    gain = on.operators.gain
    each = shape.dense_weights / gain(dense) + shape.active_experts / (gain(experts) * expert_share)
    return 2 * (each * tokens + shape.head_weights * (tokens if last is None else last))


def _launched(
    busy: float, shape: SpeedShape, on: Hardware, efficiency: ServingEfficiency, method: str
) -> float:  # fmt: skip
    """GPU time with the time to launch kernels: behind each other in eager code, added in captured graphs."""
    dense, experts = shape.formats(method)
    starting = shape.products * line(dense).start_us * 1e-6
    if shape.experts:
        starting += shape.layers_with_experts * on.operators.experts_line(experts).start_us * 1e-6
    launching = (efficiency.layer_us + efficiency.expert_us * shape.experts) * shape.layers * 1e-6
    if efficiency.overlaps:
        return smooth_max(busy + starting, launching)
    return busy + starting + launching


def _beside_products(shape: SpeedShape, efficiency: ServingEfficiency) -> float:
    """Seconds of a step with a prompt in it, besides its products."""
    return (efficiency.prompt_layer_us + efficiency.prompt_expert_us * shape.experts) * shape.layers * 1e-6


def _peak_gain(shape: SpeedShape, on: Hardware, method: str) -> float:
    dense, _ = shape.formats(method)
    return PEAK_GAIN.get(dense, 1.0) if on.fp8 or dense == "w8a8" else 1.0


def _allreduce(shape: SpeedShape, on: Hardware, tokens: float) -> float:
    """Two all-reduces a layer: a latency each, and the 16-bit hidden vectors twice over the link."""
    if on.gpus == 1 or on.split != "tensor":
        return 0.0
    moved = 2 * 2 * tokens * shape.hidden * (on.gpus - 1) / on.gpus / on.operators.link
    return 2 * shape.layers * (on.operators.allreduce(on.gpus) + moved)
