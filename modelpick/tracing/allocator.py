"""A replay of PyTorch's CUDA caching allocator: what it reserves for a given sequence of requests. Pure.

Source: pytorch/c10/cuda/CUDACachingAllocator.h and .cpp (v2.13), default settings: requests are rounded to 512 bytes;
up to 1 MiB they are cut from 2 MiB segments, up to 10 MiB from 20 MiB segments, above from segments of their own
size rounded to 2 MiB. The smallest free block that is large enough is taken (oldest first among equals), and split when
the rest is worth keeping. Freed neighbours within a segment are joined.
"""

import weakref
from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROUND = 512  # kMinBlockSize
SMALL = 1 << 20  # kSmallSize
SMALL_SEGMENT = 2 << 20  # kSmallBuffer
LARGE_SEGMENT = 20 << 20  # kLargeBuffer
OWN_SEGMENT_FROM = 10 << 20  # kMinLargeAlloc
OWN_SEGMENT_ROUND = 2 << 20  # kRoundLarge


@dataclass(slots=True, eq=False)
class _Block:
    number: int
    size: int
    small: bool
    free: bool = False
    before: "_Block | None" = None
    after: "_Block | None" = None


class CachingAllocator:
    """Serves requests by key, and keeps the present and peak of allocated and reserved bytes."""

    def __init__(self) -> None:
        self.allocated = self.peak_allocated = 0
        self.reserved = self.peak_reserved = 0
        self._pools: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._blocks: dict[int, _Block] = {}
        self._taken: dict[int, _Block] = {}
        self._made = 0

    def allocate(self, key: int, size: int) -> None:
        """Serve a request of `size` bytes, to be freed later under `key`."""
        size = max(ROUND, -(-size // ROUND) * ROUND)
        small = size <= SMALL
        pool = self._pools[small]
        place = bisect_left(pool, (size, -1))
        if place < len(pool):
            block = self._blocks[pool.pop(place)[1]]
            block.free = False
        else:
            block = self._new_segment(size, small)
        rest = block.size - size
        if rest >= ROUND if small else rest > SMALL:
            self._split(block, size, rest)
        self._taken[key] = block
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)

    def release(self, key: int) -> None:
        """Free what was allocated under `key`; an unknown key is passed over."""
        block = self._taken.pop(key, None)
        if block is None:
            return
        self.allocated -= block.size
        block = self._joined(block, block.after, absorb_into_left=True)
        block = self._joined(block, block.before, absorb_into_left=False)
        block.free = True
        insort(self._pools[block.small], (block.size, block.number))

    def _new_segment(self, size: int, small: bool) -> _Block:
        if small:
            segment = SMALL_SEGMENT
        elif size < OWN_SEGMENT_FROM:
            segment = LARGE_SEGMENT
        else:
            segment = -(-size // OWN_SEGMENT_ROUND) * OWN_SEGMENT_ROUND
        self.reserved += segment
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return self._new_block(segment, small)

    def _new_block(self, size: int, small: bool) -> _Block:
        self._made += 1
        block = _Block(self._made, size, small)
        self._blocks[block.number] = block
        return block

    def _split(self, block: _Block, size: int, rest: int) -> None:
        other = self._new_block(rest, block.small)
        other.before, other.after, other.free = block, block.after, True
        if block.after is not None:
            block.after.before = other
        block.after, block.size = other, size
        insort(self._pools[block.small], (rest, other.number))

    def _joined(self, block: _Block, neighbour: _Block | None, *, absorb_into_left: bool) -> _Block:
        if neighbour is None or not neighbour.free:
            return block
        pool = self._pools[block.small]
        pool.pop(bisect_left(pool, (neighbour.size, neighbour.number)))
        left, right = (block, neighbour) if absorb_into_left else (neighbour, block)
        left.size += right.size
        left.after = right.after
        if right.after is not None:
            right.after.before = left
        del self._blocks[right.number]
        left.free = False
        return left


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
