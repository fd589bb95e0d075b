"""What LLM.int8 keeps of models with random weights, and hardly of trained ones: the outlier columns of its inputs.

While training, bitsandbytes keeps each column that holds a value of 6 or more once more, as long as the graph
(bitsandbytes 0.50.2, autograd/_functions.py MatMul8bitLt: `ctx.tensors = (CAt, subA, A)`; backends/default/ops.py
int8_mixed_scaled_mm: `subA = A[:, outlier_cols].contiguous()`). In trained models those are a handful of a layer's
columns (arXiv 2208.07339, section 4). With random weights the inputs of an MLP's down projection are products of two
normal variables, whose tails are heavy: of 4,096 tokens one is beyond 6 in a fifth to two thirds of the columns.
"""

import math

from modelpick.catalog.architecture import Architecture
from modelpick.memory.activations import is_gated, mlp_width
from modelpick.workload import Workload

_THRESHOLD = 6.0  # bitsandbytes' llm_int8_threshold
_STEPS = 4000
_INITIAL = 0.02  # standard deviation of random weights: initializer_range of the families measured


def kept_bytes(architecture: Architecture, workload: Workload) -> float:
    """Bytes of the outlier columns of every layer's down projection, for gated MLPs with random weights.

    A normed input has a mean square of 1, so gate and up are normal with a variance of `hidden` times the weights'.
    """
    tokens = workload.batch * workload.context
    share = 1 - (1 - beyond(_INITIAL * math.sqrt(architecture.hidden))) ** tokens
    width = sum(group.count * mlp_width(group) for group in architecture.layers if is_gated(group))
    return 2.0 * tokens * width * share


def beyond(deviation: float) -> float:
    """The probability that silu(gate) * up is 6 or more in size, both normal with this deviation."""
    total, width = 0.0, 16 * deviation / _STEPS
    for step in range(_STEPS):
        gate = -8 * deviation + (step + 0.5) * width
        activated = abs(gate / (1 + math.exp(-gate)))
        density = math.exp(-((gate / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))
        if activated:
            total += density * width * math.erfc(_THRESHOLD / activated / deviation / math.sqrt(2))
    return total
