"""What is on the device at every moment of a trace: each storage from the operation that makes it until it dies."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from modelpick.tracing.allocator import CachingAllocator


class StorageTracker(TorchDispatchMode):
    """Counts storages by part (weights, activations, ...) and keeps what the peak was made of.

    `phase` is set by whoever runs the model: what is made in the phase `weights` is weights, anything else activations
    until it is named.
    """

    def __init__(self) -> None:
        super().__init__()
        self.allocator = CachingAllocator()
        self.phase = "weights"
        self.present: Counter[str] = Counter()
        self.at_peak: dict[str, int] = {}
        self.peak = self.operations = self.peak_operation = 0
        self.peak_phase = ""
        self._live: dict[int, tuple[int, str, int]] = {}  # bytes, part, operation of birth

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf)
        return result

    def name(self, tensor: torch.Tensor, part: str) -> None:
        """Count a tensor's storage as `part` from now on."""
        key = id(tensor.untyped_storage())
        if key in self._live:
            size, old, born = self._live[key]
            self._live[key] = (size, part, born)
            self.present[old] -= size
            self.present[part] += size
            if born <= self.peak_operation:  # it was there at the peak, not yet known for what it is
                self.at_peak[old] = self.at_peak.get(old, 0) - size
                self.at_peak[part] = self.at_peak.get(part, 0) + size

    def _see(self, tensor: torch.Tensor) -> None:
        try:
            storage = tensor.untyped_storage()
        except NotImplementedError:  # sparse and other tensors without one storage
            return
        key, size = id(storage), -(-storage.nbytes() // 512) * 512
        if key in self._live or size == 0:
            return
        part = "weights" if self.phase == "weights" else "activations"
        self._live[key] = (size, part, self.operations)
        self.present[part] += size
        self.allocator.allocate(key, size)
        weakref.finalize(storage, self._gone, key)
        if self.allocator.allocated > self.peak:
            self.peak, self.at_peak, self.peak_phase = self.allocator.allocated, dict(self.present), self.phase
            self.peak_operation = self.operations

    def _gone(self, key: int) -> None:
        size, part, _ = self._live.pop(key, (0, "activations", 0))
        self.present[part] -= size
        self.allocator.release(key)
