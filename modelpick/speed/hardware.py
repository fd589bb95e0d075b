"""GPUs of one kind that work together, as the formulas of speed see them. Pure."""

from dataclasses import dataclass
from typing import Literal

from modelpick.offers.instance import GpuLink, InstanceType
from modelpick.speed.operators import Operators, operators_of


@dataclass(frozen=True, slots=True)
class Hardware:
    """GPUs of one kind that work together. Per GPU: `bandwidth` bytes/s, `matmul` FLOP/s reached by a large 16-bit
    matmul, `peak` FLOP/s of the datasheet, `memory` bytes. `link` is what joins them; `fp8` whether 8-bit is native;
    `operators` what its kernels were measured to take."""

    bandwidth: float
    matmul: float
    peak: float
    memory: float
    fp8: bool
    operators: Operators
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
        operators=operators_of(kind.gpu.name, kind.gpu.architecture, kind.gpu_link, fp8=kind.gpu.fp8),
        gpus=gpus,
        link=kind.gpu_link,
    )
