"""Saved activations that go to the CPU's memory and come back, by their sizes. Imports torch."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from modelpick.memory.training_peak import OFFLOADED_AT_ONCE

_SMALLEST = 1024  # bytes: trl models/activation_offloading.py, min_offload_size


@contextmanager
def offloaded(model: Any, *, on: bool) -> Iterator[None]:
    """Offloads what autograd saves, as trl's OffloadActivations does: tensors of 1,024 bytes and more that are not
    parameters, the last five of which the GPU still holds while they travel; not the input of the output matrix.
    """
    if not on:
        yield
        return
    travelling: deque[torch.Tensor] = deque(maxlen=OFFLOADED_AT_ONCE)

    def pack(tensor: torch.Tensor) -> Any:
        if isinstance(tensor, nn.Parameter) or tensor.numel() * tensor.element_size() < _SMALLEST:
            return tensor
        travelling.append(tensor.detach())
        return tensor.shape, tensor.dtype

    def unpack(packed: Any) -> torch.Tensor:
        return packed if isinstance(packed, torch.Tensor) else torch.empty(packed[0], dtype=packed[1])

    head = model.get_output_embeddings()
    kept = saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
    hooks = []
    if head is not None:
        hooks = [
            head.register_forward_pre_hook(lambda *_: kept.__enter__()),
            head.register_forward_hook(lambda *_: kept.__exit__(None, None, None)),
        ]
    try:
        with saved_tensors_hooks(pack, unpack):
            yield
    finally:
        travelling.clear()
        for hook in hooks:
            hook.remove()
