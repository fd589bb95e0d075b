"""The load tool that is there where vLLM serves: `vllm bench serve` run for you, and its results read. I/O.

It is no dependency (it needs vLLM and the model's tokenizer); what it measured is compared with the plan and kept like
`modelpick bench`'s own figures.
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
    """What a file of a load tool holds: one concurrency."""

    tool: str
    model: str
    level: Level


def read(file: Path) -> Measured:
    """A result of `vllm bench serve --save-result --save-detailed`, as of vLLM 0.32.

    Raises UsageError(code="bad_result") for anything else, and for a vLLM result without its details.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}", fix="name a result as JSON", code="bad_result") from None
    try:
        if isinstance(content, dict) and "ttfts" in content:
            return Measured("vllm bench serve", str(content["model_id"]), _vllm_level(content, file))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{file} is not as expected: {type(error).__name__} {error}",
            fix="results of vllm 0.32 are read",
            code="bad_result",
        ) from None
    raise UsageError(
        f"{file} is no result with every request in it",
        fix="vllm bench serve --save-result --save-detailed",
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
        return read(result).level
