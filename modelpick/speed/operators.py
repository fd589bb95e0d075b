"""What single operators were measured to take, by GPU and weight format: data/operators.json, built from
facts/operator_speed.csv (aiconfigurator-core 0.12.0, Apache-2.0; kernels of vLLM 0.14 to 0.24). Pure.

A product of few rows takes a start and then the bytes of its weights at a share of the bandwidth: on every GPU much the
same for dense weights, while the kernels of experts differ by GPU. Constants of a whole engine are then few: what is
left between the products.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from modelpick import files
from modelpick.offers.instance import GpuLink

# Products in both operands' format run faster by what was measured (`Operators.gains`); by the datasheet twice and four
# times as fast as in 16 bits. Other formats save bandwidth alone.
PEAK_GAIN = {"fp8": 2.0, "fp8-block": 2.0, "w8a8": 2.0, "nvfp4": 4.0}
# Of GPUs that have FP8 or FP4 units and were not measured: the middle of those that were.
_USUAL_GAIN = {"fp8": 1.5, "fp8-block": 1.5, "nvfp4": 2.5}
# SmoothQuant's kernels reach INT8's datasheet rate over FP16's (arXiv 2211.10438, figure 7: up to 2).
_INT8_GAIN = 2.0
# T4 has no peer-to-peer copies: fitted on three published rows of four of them (blog evalscope, vLLM 2024-08).
_ALLREDUCE_WITHOUT_PEERS_US = {"T4": 247.0}
_LIKE_LINK: Mapping[GpuLink, str] = {"nvlink": "A100-80GB", "pcie": "L40S"}


@dataclass(frozen=True, slots=True)
class Operators:
    """A GPU's operators. `gains`: FLOP/s of large products over those in 16 bits, by format; `experts`: how those of a
    layer are read, by format; `allreduce_us`: of 16 KiB in a CUDA graph, by the number of GPUs; `link`: bytes/s that
    each GPU sends and receives in a large one."""

    gains: Mapping[str, float]
    experts: Mapping[str, "Line"]
    allreduce_us: Mapping[int, float]
    link: float

    def gain(self, weights: str) -> float:
        """How much faster than in 16 bits large products with these weights are."""
        return _INT8_GAIN if weights == "w8a8" else self.gains.get(weights, 1.0)

    def experts_line(self, weights: str) -> "Line":
        """How the experts of a layer are read; formats that were not measured as FP8 by blocks."""
        return self.experts.get(weights) or self.experts["fp8-block"]

    def allreduce(self, gpus: int) -> float:
        """Seconds of a small all-reduce over `gpus`: of the nearest number measured."""
        return self.allreduce_us[min(self.allreduce_us, key=lambda known: abs(known - gpus))] * 1e-6


@dataclass(frozen=True, slots=True)
class Line:
    """Microseconds to start, and the share of the bandwidth, in relation to dense 16-bit weights'."""

    start_us: float
    share: float


@cache
def operators_of(gpu: str, architecture: str, link: GpuLink, *, fp8: bool) -> Operators:
    """The operators of a GPU; of its like (the same architecture, the same link) where it was not measured itself."""
    known: Mapping[str, Any] = _tables()["gpus"]
    own = known.get(gpu) or known.get(gpu.replace("A100-40GB", "A100-80GB"), {})
    gains = dict(own.get("gains") or {})
    if fp8:
        native = ("fp8", "fp8-block", "nvfp4") if "Blackwell" in architecture else ("fp8", "fp8-block")
        gains = {name: max(1.0, gains.get(name, _USUAL_GAIN[name])) for name in native}
        if "Blackwell" in architecture:  # vLLM multiplies MXFP4 experts by activations in 8 bits there
            gains["mxfp4"] = gains["fp8"]
    joined = own or known[_LIKE_LINK[link]]
    slow = _ALLREDUCE_WITHOUT_PEERS_US.get(gpu)
    return Operators(
        gains,
        {name: Line(**found) for name, found in {**_tables()["experts"], **(own.get("experts") or {})}.items()},
        {int(count): slow or microseconds for count, microseconds in joined["allreduce_us"].items()},
        joined["link_gbs"] * 1e9,
    )


@cache
def line(weights: str) -> Line:
    """How dense products of few rows with these weights are read.

    Formats that were not measured (weights that a kernel unpacks) take what 16-bit ones take. FP8 by blocks quantizes
    its activations in a kernel of its own before each product. (The measured block-wise products of single operators,
    56 us on H100 and 209 us on B200, come from kernels without a tuned configuration: published runs of such
    checkpoints are up to five times faster than that.)
    """
    table = _tables()["weights"]
    if weights == "fp8-block":
        return Line(2 * table["fp8"]["start_us"], table["fp8"]["share"])
    return Line(**(table.get(weights) or table["bf16"]))


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(files.data_file("speed", "operators.json").read_text(encoding="utf-8"))
    return tables
