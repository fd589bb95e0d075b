"""The device at hand: a CUDA GPU if torch sees one, else this machine's memory."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelpick.planning.choose import Device
from modelpick.settings import hub_endpoint


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


@contextmanager
def silence_libraries() -> Iterator[None]:
    """Silence the log lines and progress bars of transformers, datasets and bitsandbytes, and all warnings.

    Warnings, transformers' log level and the progress bars come back afterwards. Raises UsageError for an HF_ENDPOINT
    that is not a web address: the libraries fail on it while they are imported, and print it.
    """
    hub_endpoint()
    import datasets.utils.logging as datasets_logging
    import transformers.utils.logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets_logging.disable_progress_bar()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        transformers_logging.enable_progress_bar()
        datasets_logging.enable_progress_bar()
