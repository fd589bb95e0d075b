"""The named parts of a peak. Pure."""

from dataclasses import dataclass

PARTS = ("weights", "kv_cache", "activations", "gradients", "optimizer", "adapter", "runtime")


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """Bytes on one GPU at the peak. A part that does not apply is 0."""

    weights: float = 0.0
    kv_cache: float = 0.0
    activations: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    adapter: float = 0.0
    runtime: float = 0.0

    @property
    def total(self) -> float:
        """The peak: the sum of the parts."""
        return (
            self.weights + self.kv_cache + self.activations + self.gradients + self.optimizer + self.adapter
            + self.runtime
        )  # fmt: skip

    def with_runtime(self, runtime: float) -> "MemoryParts":
        """These parts with the process's own bytes. Spelled out: dataclasses.replace takes as long as a small sum."""
        return MemoryParts(
            self.weights, self.kv_cache, self.activations, self.gradients, self.optimizer, self.adapter, runtime
        )


@dataclass(frozen=True, slots=True)
class TrainingPeak:
    """The parts of a training run's peak, its trainable parameters, and what it moved to the CPU's memory, in bytes."""

    parts: MemoryParts
    trainable: int
    offloaded: float
