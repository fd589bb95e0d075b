"""How fast a server really is: tokens per second, first token, time between tokens, at several concurrencies.

A closed loop: `concurrency` clients each send the next request when their last one is answered. Definitions as in
vLLM's benchmark (vllm bench serve): TTFT from sending to the first piece of text; ITL the rest of the time over the
rest of the tokens; throughput all generated tokens over the wall time of the whole level.
"""

import math
import os
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick import files, schema
from modelpick.errors import RemoteError, UsageError, first_line
from modelpick.serving.client import Asking, Endpoint, answer
from modelpick.serving.process import inherited

# Common words of one or two tokens each in every tokenizer: a prompt of N words has about 1.3 N tokens. The real number
# had is read from the server's own count.
_WORDS = (
    "river", "stone", "window", "garden", "letter", "morning", "paper", "bridge", "silver", "winter", "number",
    "summer", "forest", "engine", "street", "music", "doctor", "simple", "yellow", "travel", "island", "answer",
)  # fmt: skip
_TOKENS_PER_WORD = 1.3
_ASK = "Continue this list with as many words as you can, and never stop: "


@dataclass(frozen=True, slots=True)
class Load:
    """What each request is: about `prompt_tokens` read, at most `generate` written; another seed, other prompts."""

    prompt_tokens: int = 256
    generate: int = 128
    seed: int = 0
    plain: bool = False  # by /completions, without a chat template


@dataclass(frozen=True, slots=True)
class Timed:
    """One answered request, in seconds and tokens. `counted`: the server said how many tokens, else pieces stand in."""

    first: float
    total: float
    tokens: int
    prompt_tokens: int | None
    counted: bool

    @property
    def between(self) -> float | None:
        """Mean seconds between tokens after the first."""
        return (self.total - self.first) / (self.tokens - 1) if self.tokens > 1 else None


@dataclass(frozen=True, slots=True)
class Level:
    """One concurrency: everything that was answered within `seconds`, and what was not."""

    concurrency: int
    seconds: float
    answered: tuple[Timed, ...]
    errors: tuple[str, ...]

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens of all clients per second of wall time."""
        return sum(one.tokens for one in self.answered) / self.seconds if self.seconds else 0.0

    @property
    def prompt_tokens(self) -> float | None:
        """Mean tokens of a prompt, as the server counts; None when it does not."""
        counts = [one.prompt_tokens for one in self.answered if one.prompt_tokens is not None]
        return statistics.fmean(counts) if counts else None

    @property
    def generated(self) -> float:
        """Mean tokens of an answer."""
        return statistics.fmean(one.tokens for one in self.answered) if self.answered else 0.0

    @property
    def first_token_s(self) -> dict[str, float | None]:
        """Seconds to the first token of an answer: p50 and p95."""
        return quantiles([answer.first for answer in self.answered])

    @property
    def inter_token_s(self) -> dict[str, float | None]:
        """Seconds between two tokens of an answer: p50 and p95."""
        return quantiles([gap for answer in self.answered if (gap := answer.between) is not None])

    def as_json(self) -> dict[str, object]:
        """The level in `bench --json`; a figure that was not measured is null."""
        return {
            "concurrency": self.concurrency,
            "requests": len(self.answered) + len(self.errors),
            "errors": len(self.errors),
            "first_error": self.errors[0] if self.errors else None,
            "seconds": self.seconds,
            "tokens_per_s": self.tokens_per_s if self.answered else None,
            "prompt_tokens_mean": self.prompt_tokens,
            "generated_tokens_mean": self.generated if self.answered else None,
            "first_token_s": self.first_token_s,
            "inter_token_s": self.inter_token_s,
        }


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50 and p95 by nearest rank: with few requests p95 is the slowest of them."""
    ordered = sorted(values)
    if not ordered:
        return {"p50": None, "p95": None}
    return {name: ordered[max(math.ceil(share * len(ordered)), 1) - 1] for name, share in (("p50", 0.5), ("p95", 0.95))}


def prompt(tokens: int, seed: int) -> str:
    """A prompt of about `tokens` tokens, different for every seed, so that no prefix cache can help."""
    draw = random.Random(seed)
    return _ASK + " ".join(draw.choice(_WORDS) for _ in range(max(round(tokens / _TOKENS_PER_WORD), 1)))


def measure(
    at: Endpoint,
    model: str,
    load: Load,
    *,
    concurrency: int,
    requests: int,
    progress: Callable[[int], None] | None = None,
) -> Level:
    """One level. Raises RemoteError only when not a single request was answered."""
    answered: list[Timed] = []
    errors: list[str] = []
    failure: list[RemoteError] = []
    left = iter(range(requests))
    lock = threading.Lock()

    def client() -> None:
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            try:
                one = _ask(at, model, load, number)
            except RemoteError as error:
                with lock:
                    errors.append(error.message)
                    failure.append(error)
            else:
                with lock:
                    answered.append(one)
            if progress is not None:
                progress(len(answered) + len(errors))

    clients = [threading.Thread(target=client, daemon=True) for _ in range(min(concurrency, requests))]
    began = time.perf_counter()
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    seconds = time.perf_counter() - began
    if failure and not answered:
        raise failure[0]
    return Level(concurrency, seconds, tuple(answered), tuple(errors))


def _ask(at: Endpoint, model: str, load: Load, number: int) -> Timed:
    text = prompt(load.prompt_tokens, load.seed * 1_000_003 + number)
    asking = Asking([{"role": "user", "content": text}], load.generate, plain=load.plain)
    first, last, pieces, usage = None, 0.0, 0, None
    for piece in answer(at, model, asking):
        usage = piece.usage or usage
        if piece.text or piece.thought:  # what a reasoning model thinks is generated and paid for like the rest
            first = piece.seconds if first is None else first
            last, pieces = piece.seconds, pieces + 1
    if first is None:
        raise RemoteError("an answer had no text", fix="ask for more tokens with --generate", code="empty_answer")
    counted = (usage or {}).get("completion_tokens")
    read = (usage or {}).get("prompt_tokens")
    return Timed(first, last, int(counted or pieces), int(read) if read is not None else None, counted is not None)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The content of a load tool's result file: one concurrency."""

    tool: str
    model: str
    level: Level


def read_result(file: Path) -> ToolResult:
    """A result of `vllm bench serve --save-result --save-detailed`, as of vLLM 0.32.

    Raises UsageError(code="bad_result") for anything else, and for a vLLM result without its details.
    """
    content = files.read_json(file, code="bad_result", fix="name a result as JSON", allow_nan=True)
    if not isinstance(content, dict) or "ttfts" not in content:
        raise UsageError(
            f"{file} is not a result that lists every request",
            fix="vllm bench serve --save-result --save-detailed",
            code="bad_result",
        )
    if not isinstance(content.get("max_concurrency"), int):
        raise UsageError(
            f"{file} was measured without a fixed concurrency",
            fix="vllm bench serve --max-concurrency N",
            code="bad_result",
        )
    try:
        result = schema.read(_VllmResult, content, str(file), code="bad_result", ignore_unknown=True)
        return ToolResult("vllm bench serve", result.model_id, result.level())
    except (UsageError, ValueError) as error:
        raise UsageError(
            f"{file} has unexpected content: {first_line(error)}", fix="give a result of vllm 0.32", code="bad_result"
        ) from None


@dataclass(frozen=True, slots=True)
class _VllmResult:
    """vllm/benchmarks/serve.py: lists in the order of the requests; a request that failed has its error's text."""

    model_id: str
    max_concurrency: int
    duration: float  # seconds
    ttfts: tuple[float, ...]  # seconds to the first token
    itls: tuple[tuple[float, ...], ...]  # seconds between tokens
    output_lens: tuple[int, ...]
    input_lens: tuple[int, ...]
    errors: tuple[str, ...]

    def level(self) -> Level:
        """The level measured. Raises ValueError where the lists are not of one length."""
        rows = zip(self.ttfts, self.itls, self.output_lens, self.input_lens, self.errors, strict=True)
        answered, errors = [], []
        for first, gaps, tokens, prompt, error in rows:
            if error or not tokens:
                errors.append(error or "an answer had no text")
            else:
                answered.append(Timed(first, first + sum(gaps), tokens, prompt, True))
        return Level(self.max_concurrency, self.duration, tuple(answered), tuple(errors))


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
        done = subprocess.run(words, capture_output=True, text=True, env={**inherited(os.environ), **key})
        result = Path(folder) / "result.json"
        if done.returncode or not result.is_file():
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1][:300]
            raise RemoteError(
                f"vllm bench serve failed: {last}", fix="run it by hand, or without --tool", code="tool_failed"
            )
        return read_result(result).level
