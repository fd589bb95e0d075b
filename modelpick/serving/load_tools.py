"""Other people's load tools: `vllm bench serve` run for you, its results and guidellm's read. I/O.

Both are the standard of their kind, and heavy: vLLM is there where vLLM serves, guidellm brings some sixty packages. So
neither is a dependency; what they measured is compared with the plan and kept like `modelpick bench`'s own figures.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import RemoteError, UsageError
from modelpick.serving.bench import Level, Load, Timed
from modelpick.serving.client import Endpoint


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file of a load tool holds: one level each concurrency."""

    tool: str
    model: str
    levels: tuple[Level, ...]


def read(file: Path) -> Measured:
    """A result of `vllm bench serve --save-result --save-detailed` or of `guidellm benchmark` (benchmarks.json).

    Raises UsageError(code="bad_result") for anything else, and for a vLLM result without its details.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", fix="name a result as JSON", code="bad_result") from None
    try:
        if isinstance(content, dict) and "ttfts" in content:
            return Measured("vllm bench serve", str(content["model_id"]), (_vllm_level(content, file),))
        if isinstance(content, dict) and content.get("benchmarks"):
            return _guidellm(content["benchmarks"], file)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{file} is not as expected: {type(error).__name__} {error}",
            fix="vllm 0.32 and guidellm 0.8 are read",
            code="bad_result",
        ) from None
    raise UsageError(
        f"{file} is no result with every request in it",
        fix="vllm bench serve --save-result --save-detailed, or guidellm's benchmarks.json",
        code="bad_result",
    )


def _vllm_level(content: Mapping[str, Any], file: Path) -> Level:
    """vllm/benchmarks/serve.py: lists in the order of the requests; a request that failed has its error's text."""
    concurrency = content.get("max_concurrency")
    if not isinstance(concurrency, int):
        raise UsageError(
            f"{file} was measured without a fixed concurrency",
            fix="vllm bench serve --max-concurrency N",
            code="bad_result",
        )
    rows = zip(
        content["ttfts"], content["itls"], content["output_lens"], content["input_lens"], content["errors"], strict=True
    )
    answered, errors = [], []
    for first, gaps, tokens, prompt, error in rows:
        if error or not tokens:
            errors.append(str(error) or "an answer had no text")
        else:
            answered.append(Timed(float(first), float(first) + sum(gaps), int(tokens), int(prompt), True))
    return Level(concurrency, float(content["duration"]), tuple(answered), tuple(errors))


def _guidellm(benchmarks: list[Any], file: Path) -> Measured:
    """guidellm: a benchmark each concurrency; times in milliseconds, latencies in seconds."""
    levels, model = [], ""
    for one in benchmarks:
        strategy = one["config"]["strategy"]
        streams = strategy.get("streams") or (1 if strategy.get("type_") == "synchronous" else None)
        if streams is None:
            continue  # a rate, not a concurrency
        good = [_guidellm_request(request) for request in one["requests"]["successful"]]
        bad = [str((row.get("info") or {}).get("error") or "failed") for row in one["requests"]["errored"]]
        levels.append(Level(int(streams), float(one["duration"]), tuple(good), tuple(bad)))
        model = model or str((one["config"].get("backend") or {}).get("model") or "")
    if not levels:
        raise UsageError(
            f"{file} was measured by rate, not by concurrency",
            fix="guidellm benchmark --rate-type concurrent",
            code="bad_result",
        )
    return Measured("guidellm", model or "a model", tuple(levels))


def _guidellm_request(row: Mapping[str, Any]) -> Timed:
    first = float(row["time_to_first_token_ms"]) / 1000
    return Timed(first, float(row["request_latency"]), int(row["output_tokens"]), int(row["prompt_tokens"]), True)


def vllm_bench(
    program: str, at: Endpoint, model: str, load: Load, tokenizer: Path, *, concurrency: int, requests: int
) -> Level:
    """One level by `vllm bench serve`; the key goes by OPENAI_API_KEY. `tokenizer`: a folder with the model's.

    Raises RemoteError with its last line when it fails.
    """
    path = "/completions" if load.plain else "/chat/completions"
    base, _, version = at.url.rpartition("/")
    with tempfile.TemporaryDirectory() as folder:
        flags: dict[str, object] = {
            "--backend": "openai" if load.plain else "openai-chat",
            "--base-url": base,
            "--endpoint": f"/{version}{path}",
            "--model": model,
            "--tokenizer": tokenizer,
            "--dataset-name": "random",
            "--random-input-len": load.prompt_tokens,
            "--random-output-len": load.generate,
            "--num-prompts": requests,
            "--max-concurrency": concurrency,
            "--seed": load.seed,
            "--temperature": 0,
            "--result-dir": folder,
            "--result-filename": "result.json",
        }
        pairs = [str(word) for pair in flags.items() for word in pair]
        words = [program, "bench", "serve", *pairs, "--save-result", "--save-detailed", "--disable-tqdm"]
        key = {"OPENAI_API_KEY": at.key} if at.key else {}
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **key})
        result = Path(folder) / "result.json"
        if done.returncode or not result.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1][:300]
            raise RemoteError(
                f"vllm bench serve failed: {last}", fix="run it by hand, or without --tool", code="tool_failed"
            )
        (level,) = read(result).levels
    return level
