"""The device at hand: a CUDA GPU if torch sees one, else this machine's memory."""

import os
from typing import Any

from modelpick.planning.choose import Device


def current() -> Device:
    """The first CUDA GPU's free memory, or nine tenths of the RAM that is free now (the rest is the system's)."""
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        dtype = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return Device("cuda", torch.cuda.get_device_name(), float(free), dtype)
    import psutil

    # bf16 has no fast path on most CPUs; fp32 does everywhere.
    return Device("cpu", f"CPU ({os.cpu_count()} cores)", 0.9 * psutil.virtual_memory().available, "fp32")


def place(model: Any) -> Any:
    """Put an unquantized model onto the device; a quantized one was loaded there."""
    import torch

    if torch.cuda.is_available() and not getattr(model, "is_quantized", False):
        return model.to("cuda")
    return model
