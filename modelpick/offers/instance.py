"""What can be rented: GPUs and the instance types that carry them, as facts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GpuLink = Literal["nvlink", "pcie"]

# FP8 tensor cores come with Ada (8.9); bf16 with Ampere (8.0). Older GPUs emulate bf16 at a tenth of fp16's speed
# (measured: T4 2.3 against 42 TFLOPS, V100 10.3 against 94.8; gpus.json, source "gemm").
DTYPES = ("fp32", "fp16", "bf16", "fp8")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One whole GPU. TFLOPS are dense, fp16/bf16 inputs with fp32 accumulate; `gemm_*` the best torch matmul measured.

    None means that no source states it. `status` says how well the figures are known, `sources` where each comes from.
    """

    name: str
    architecture: str
    compute_capability: str
    memory_usable_gib: float  # what the driver shows as total: the CUDA context still comes off
    bandwidth_gbs: float  # GB/s
    fp16_tflops: float
    gemm_fp16_tflops: float | None
    gemm_bf16_tflops: float | None
    bf16: bool
    fp8: bool
    status: str = ""
    note: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def cuda(self) -> bool:
        """Whether CUDA runs on it; Apple's and AMD's GPUs, and shared memory, have no compute capability here."""
        return self.compute_capability != ""

    def supports(self, dtype: str) -> bool:
        """Whether the GPU computes in `dtype` (fp32, fp16, bf16, fp8) itself, not by emulation."""
        return {"fp32": True, "fp16": True, "bf16": self.bf16, "fp8": self.fp8}.get(dtype, False)

    def matmul_tflops(self, dtype: str = "bf16") -> float:
        """TFLOPS that a large torch matmul reaches: measured where it was, else 75 % of the peak.

        75 % is about the median of measured over peak in gpus.json (0.57 on the power-limited L4 to 0.99 on the A10G).
        """
        measured = self.gemm_bf16_tflops if dtype == "bf16" else self.gemm_fp16_tflops
        return measured if measured is not None else 0.75 * self.fp16_tflops


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One EC2 instance type with NVIDIA GPUs. Memory and bandwidth are per GPU: they are never added up.

    `gpu_fraction` < 1: the instance has that part of one GPU (`gpu_count` is 1), in memory, bandwidth and compute.
    """

    name: str
    gpu: Gpu
    gpu_count: int
    gpu_fraction: float
    usable_memory_gib: float  # of one GPU, or of the fraction
    vcpus: int
    ram_gib: float
    nvme_gb: float
    network_gbps: float  # baseline
    cpu: str  # x86_64 or arm64
    gpu_link: GpuLink
    spot: bool | None  # None: not known
    source: str

    @property
    def family(self) -> str:
        """The part before the dot: g5, p4d."""
        return self.name.partition(".")[0]

    @property
    def gpu_class(self) -> str:
        """The class that quotas and defaults use: G or P."""
        return self.name[0].upper()

    @property
    def bandwidth_gbs(self) -> float:
        """Memory bandwidth of one GPU (or its fraction), GB/s."""
        return self.gpu.bandwidth_gbs * self.gpu_fraction

    def matmul_tflops(self, dtype: str = "bf16") -> float:
        """Reachable matmul TFLOPS of one GPU (or its fraction)."""
        return self.gpu.matmul_tflops(dtype) * self.gpu_fraction

    def as_json(self) -> dict[str, Any]:
        """The instance in the names of `offers --json`."""
        return {
            "instance_type": self.name,
            "family": self.family,
            "gpu": self.gpu.name,
            "gpu_count": self.gpu_count,
            "gpu_fraction": self.gpu_fraction,
            "usable_memory_gib": self.usable_memory_gib,
            "bandwidth_gb_per_s": self.bandwidth_gbs,
            "fp16_tflops": self.gpu.fp16_tflops * self.gpu_fraction,
            "compute_capability": self.gpu.compute_capability,
            "vcpus": self.vcpus,
            "ram_gib": self.ram_gib,
            "nvme_gb": self.nvme_gb,
            "network_gbps": self.network_gbps,
            "cpu": self.cpu,
        }


@dataclass(frozen=True, slots=True)
class LeftOutType:
    """An accelerated instance type that is never offered, and why. `status` None: for another reason than its age."""

    name: str
    status: Literal["retired", "announced"] | None
    reason: str
    source: str | None

    def as_json(self) -> dict[str, Any]:
        """One element of `left_out` in `offers --json`."""
        return {"instance_type": self.name, "status": self.status, "reason": self.reason, "source": self.source}


@dataclass(frozen=True, slots=True)
class Families:
    """Which instance families may be rented: the named ones, or all of a class (G, P), or any."""

    names: tuple[str, ...] | None = None
    gpu_class: str | None = None

    def admit(self, instance: InstanceType) -> bool:
        """Whether `instance` is of an admitted family."""
        if self.names is not None:
            return instance.family in self.names
        return self.gpu_class is None or instance.gpu_class == self.gpu_class
