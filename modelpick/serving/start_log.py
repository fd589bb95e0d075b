"""What vLLM says of memory and time while it starts, from its log. Pure.

The lines as versions 0.6 to 0.19 write them (vllm/worker/worker.py, model_runner.py and executor_base.py of the first
engine; vllm/v1/worker/gpu_worker.py, gpu_model_runner.py and v1/core/kv_cache_utils.py of the second). Every worker
writes its own: what counts is the fullest GPU. "GB" there is GiB as well (the code divides by 2**30).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NUMBER = r"(\d[\d,]*(?:\.\d+)?)"


@dataclass(frozen=True, slots=True)
class StartLog:
    """GiB, seconds and tokens of the fullest GPU; None: no line says it. `share_gib` is what the server may take."""

    version: str | None = None
    weights_gib: float | None = None
    load_s: float | None = None
    share_gib: float | None = None
    cache_gib: float | None = None
    cache_tokens: int | None = None
    concurrency: float | None = None
    graphs_gib: float | None = None

    @property
    def taken_gib(self) -> float | None:
        """What the server takes besides its cache: None where its share or its cache is not known."""
        if self.share_gib is None or self.cache_gib is None:
            return None
        return self.share_gib - self.cache_gib + (self.graphs_gib or 0.0)


# Which of several workers' figures is of the fullest GPU.
_LARGEST, _SMALLEST = max, min
# (field, pattern whose first group is the figure, which of several counts)
_LINES = (
    # "Loading model weights took 7.5 GB" (0.6, 0.7), "Model loading took 3.3 GB and 0.7 seconds" (0.8),
    # "... 12.7 GiB and 31.7 seconds" (0.9 to 0.11), "... 12.7 GiB memory and 31.7 seconds" (from 0.12 on)
    ("weights_gib", rf"Loading model weights took {_NUMBER} Gi?B", _LARGEST),
    ("weights_gib", rf"Model loading took {_NUMBER} Gi?B", _LARGEST),
    # 0.6.5 and 0.6.6: "model weights take 14.96GiB", with a tab in between, and up to 0.9 in one sentence
    ("weights_gib", rf"model weights take\s+{_NUMBER}\s?GiB", _LARGEST),
    ("load_s", rf"Model loading took {_NUMBER} Gi?B(?: memory)? and {_NUMBER} seconds", _LARGEST),
    ("load_s", rf"Loading weights took {_NUMBER} seconds", _LARGEST),
    ("share_gib", rf"the current vLLM instance can use\s+{_NUMBER}\s?GiB", _SMALLEST),
    ("share_gib", rf"can use total_gpu_memory \({_NUMBER}GiB\) x gpu_memory_utilization \({_NUMBER}\)", _SMALLEST),
    # 0.6.0 to 0.6.4, all in one line
    ("share_gib", rf"total_gpu_memory={_NUMBER}GiB .*gpu_memory_utilization={_NUMBER}", _SMALLEST),
    ("cache_gib", rf"kv_cache_size={_NUMBER}Gi?B", _SMALLEST),
    ("cache_gib", rf"available_kv_cache_memory\s+{_NUMBER}\s?GiB", _SMALLEST),
    ("cache_gib", rf"rest of the memory reserved for KV Cache is {_NUMBER}GiB", _SMALLEST),
    ("cache_gib", rf"Available KV cache memory: {_NUMBER} GiB", _SMALLEST),
    ("cache_tokens", rf"GPU KV cache size: {_NUMBER} tokens", _SMALLEST),
    ("concurrency", rf"Maximum concurrency for [\d,]+ tokens per request: {_NUMBER}x", _SMALLEST),
    # Before 0.6.4 the line has no size.
    ("graphs_gib", rf"Graph capturing finished in \d+ secs?, took {_NUMBER} GiB", _LARGEST),
)
_PATTERNS = tuple((name, re.compile(pattern), which) for name, pattern, which in _LINES)
_PRODUCTS = {"share_gib"}  # two figures in a line: their product
_LAST = {"load_s"}  # two figures in a line: the second
# "Initializing an LLM engine (v0.6.3) with config", "Initializing a V1 LLM engine (v0.11.0) ...", "vLLM API server
# version 0.8.5.post1"
_VERSION = re.compile(r"(?:LLM engine \(v|vLLM API server version )(\d+\.\d+(?:\.\d+)?)")
_BLOCK = 16  # tokens of vLLM's default block, in versions that count blocks
_BLOCKS = re.compile(rf"# (?:GPU|CUDA|cuda) blocks: {_NUMBER}")
_TIMES = re.compile(rf"Maximum concurrency for {_NUMBER} tokens per request: {_NUMBER}x")


def read_start(lines: Iterable[str]) -> StartLog:
    """The figures of a start. Lines of other programs and other versions are passed over."""
    found: dict[str, list[float]] = {}
    version, tokens = None, []
    for line in lines:
        if version is None and (match := _VERSION.search(line)):
            version = match[1]
        for name, pattern, _ in _PATTERNS:
            if match := pattern.search(line):
                found.setdefault(name, []).append(_figure(name, match))
        if match := _TIMES.search(line):
            tokens.append(round(_number(match[1]) * _number(match[2])))
        elif match := _BLOCKS.search(line):
            tokens.append(round(_number(match[1]) * _BLOCK))
    chosen = {name: which(found[name]) for name, _, which in _PATTERNS if name in found}
    cache_tokens = chosen.pop("cache_tokens", None)
    if cache_tokens is None and tokens:
        cache_tokens = min(tokens)
    return StartLog(version, cache_tokens=None if cache_tokens is None else int(cache_tokens), **chosen)


def _figure(name: str, match: re.Match[str]) -> float:
    figures = [_number(text) for text in match.groups()]
    if name in _PRODUCTS and len(figures) == 2:
        return figures[0] * figures[1]
    return figures[-1] if name in _LAST else figures[0]


def _number(text: str) -> float:
    return float(text.replace(",", ""))
