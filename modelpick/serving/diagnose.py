"""Why a server died, from its last lines. Pure.

The patterns are messages of torch, vLLM, transformers, safetensors and the kernel.
"""

import re
from collections.abc import Sequence

# A line that names what was raised. Of several the first is the root: later ones only pass it on, the last of them in
# the process that is watched.
_RAISED = re.compile(r"(?:^|\s)(?:\w+\.)*\w*(?:Error|Exception): \S|(?:^|\s)error: ", re.ASCII)
# (words that occur in the lines, in lower case; the likely cause; the fix)
_CAUSES = (
    (
        ("cuda out of memory", "outofmemoryerror"),
        "the GPU ran out of memory",
        "lower --context or --concurrency, or use --method int8 or nf4",
    ),
    (
        ("no available memory for the cache blocks", "larger than the available kv cache", "available kv cache memory"),
        "no GPU memory is left for the cache",
        "lower --context or --concurrency",
    ),
    (
        ("free memory on device", "desired gpu memory utilization", "desired cpu memory utilization"),
        "another program took the memory meanwhile",
        "see nvidia-smi or free, and start it again",
    ),
    (
        ("failed to infer device type",),
        "vLLM finds no GPU",
        "see nvidia-smi, and modelpick doctor; or use --engine transformers",
    ),
    (
        ("greater than max_lora_rank",),
        "the adapter's rank is higher than the server allows",
        "merge it first: modelpick merge",
    ),
    (
        ("cannot allocate memory", "memoryerror", "std::bad_alloc", "failed to allocate", "unable to allocate"),
        "this machine ran out of memory",
        "stop other programs, or lower --context",
    ),
    (
        ("stayed in full precision",),
        "some of its layers could not be quantized, so it does not match --method",
        "use --method bf16, or another model",
    ),
    (("address already in use",), "another program took the port", "give another --port"),
    (
        ("no module named", "missing dependencies", "modulenotfounderror"),
        "a Python package that the server needs is missing",
        "pip install 'modelpick[train,serve]'",
    ),
    (
        ("trust_remote_code",),
        "the model needs its own code, which is not run",
        "choose a model of a family that the server supports",
    ),
    (
        ("safetensors_rust", "safetensorerror", "header too large", "metadataincompletebuffer", "invalidheader"),
        "the weights are damaged or incomplete",
        "fetch or write them again",
    ),
    (
        ("size mismatch", "shape mismatch"),
        "weights and config.json do not belong together",
        "fetch or write them again",
    ),
    (
        (
            "does not recognize this architecture",
            "are not supported for now",
            "has no vllm implementation",
            "unknown model architecture",
        ),
        "the server does not know this model's architecture",
        "try --engine transformers, or a newer server",
    ),
    (
        ("cuda error", "nvidia driver", "cuda initialization"),
        "the GPU or its driver fails",
        "see nvidia-smi, and modelpick doctor",
    ),
    (("no space left on device",), "the disk is full", "make room"),
)


def relevant_lines(lines: Sequence[str], last: int = 6) -> list[str]:
    """The lines worth showing: the first that names what was raised, and the last ones."""
    root = next((line for line in lines[:-last] if _RAISED.search(line)), None)
    return [*([root] if root is not None else []), *lines[-last:]]


def diagnose(lines: Sequence[str], code: int | None) -> tuple[str, str]:
    """(cause, fix) of a server that ended with `code` after printing `lines`; an unknown cause is named as such."""
    # Warnings long before the end name much that did not happen.
    raised = [line for line in lines if _RAISED.search(line)]
    text = "\n".join([*raised, *lines[-12:]]).lower()
    for words, cause, fix in _CAUSES:
        if any(word in text for word in words):
            return cause, fix
    if "enginedeaderror" in text:
        return "vLLM's engine ended without a reason", "see its log"
    if code == -9:  # SIGKILL, which nothing here sends while loading: the kernel's out-of-memory killer, or a person
        return (
            "it was killed, most likely because memory ran out",
            "stop other programs, or lower --context",
        )
    return "the cause is not known", "see its log"
