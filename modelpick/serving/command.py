"""The command line and environment of each server. Pure. No secret is ever part of a command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelpick.serving.engines import Engine, lora_rank_setting
from modelpick.serving.gateway.config import ServedTask
from modelpick.serving.sizing import Sizing

SOCKET = "server.sock"  # in the state folder, where all are started: a path of any depth would be too long
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, under which names: `name` the base's (or the one model's), `adapter_name` the tuned one's.

    `folder` holds config.json and weights, or is a .gguf file; `adapter` is a folder that peft wrote. `base_too`:
    whether the base answers too, in addition to the adapter. `format`: the method that the files are held in already.
    """

    name: str
    folder: Path
    adapter_name: str | None = None
    adapter: Path | None = None
    rank: int | None = None
    base_too: bool = True
    format: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a client may ask for, the tuned one first."""
        if self.adapter_name is None:
            return (self.name,)
        return (self.adapter_name, self.name) if self.base_too else (self.adapter_name,)


def words(
    engine: Engine,
    served: Served,
    sizing: Sizing,
    *,
    host: str,
    port: int,
    gpu: bool,
    key_file: Path,
    chat: Sequence[str] = (),
    task: ServedTask = "generate",
) -> list[str]:
    """The server's command line, the program first. `port` is where it listens itself, if not on its socket.

    `chat`: the flags by which it reads the family's tool calls and reasoning, or makes embeddings
    (capabilities.Abilities.flags).
    """
    if engine.name == "vllm":
        return [*_vllm(served, sizing), *chat]
    if engine.name == "llama.cpp":
        return [*_llama_cpp(served, sizing, host, port, gpu, key_file, task), *chat]
    return [*_transformers(served, sizing, host, port, gpu), *chat]


def environment(engine: Engine, key: str) -> dict[str, str]:
    """The server's environment variables: the key where it checks one itself, no network, no telemetry."""
    # HF_HUB_OFFLINE: all is on disk already. DO_NOT_TRACK: vLLM's usage statistics.
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
    # vllm/envs.py. VLLM_HOST_IP: else its processes talk to each other over the machine's address.
    own = {"VLLM_API_KEY": key, "VLLM_HOST_IP": "127.0.0.1"}
    # Started where folders bear the names of models: none of them may pass for a package (`python -m`).
    return {**quiet, **(own if engine.name == "vllm" else {"PYTHONSAFEPATH": "1"})}


def _vllm(served: Served, sizing: Sizing) -> list[str]:
    """vLLM's documented engine arguments; the key comes by VLLM_API_KEY. Requests are not logged unless asked for."""
    workload = sizing.workload
    flags: dict[str, str | None] = {
        "--uds": SOCKET,
        "--served-model-name": served.name,
        "--max-model-len": str(sizing.tokens),
        "--max-num-seqs": str(sizing.concurrency),
        "--gpu-memory-utilization": f"{sizing.utilization:.2f}" if sizing.utilization is not None else None,
        "--dtype": _DTYPES[workload.dtype],
        "--quantization": _vllm_quantization(workload.method, served.format),
        "--kv-cache-dtype": workload.kv_cache_dtype if workload.kv_cache_dtype != "auto" else None,
        "--tensor-parallel-size": str(workload.gpus) if workload.gpus > 1 else None,
    }
    listed = ["vllm", "serve", str(served.folder), *_listed(flags)]
    if served.adapter is not None and served.adapter_name is not None:
        rank = lora_rank_setting(served.rank or 1)
        listed += ["--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "1"]
        listed += ["--lora-modules", f"{served.adapter_name}={served.adapter}"]
    return listed


def _vllm_quantization(method: str, held: str | None) -> str | None:
    """--quantization for what is made of the weights while they are loaded; a checkpoint names its own format."""
    if method == "nf4":
        return "bitsandbytes"
    return "fp8" if method == "fp8" and held != "fp8" else None


def _transformers(served: Served, sizing: Sizing, host: str, port: int, gpu: bool) -> list[str]:
    """`transformers serve`, started where each name is a folder. One model is pinned; of two the client names one.

    When quantized, it is started by the module that counts the quantized layers.
    """
    workload = sizing.workload
    quantization = {"int8": "bnb-8bit", "nf4": "bnb-4bit"}.get(workload.method)
    flags: dict[str, str | None] = {
        "--host": host,
        "--port": str(port),
        "--device": "cuda:0" if gpu else "cpu",
        "--dtype": _DTYPES[workload.dtype],
        "--quantization": quantization,
        "--model-timeout": "-1",  # never unload
        "--log-level": "warning",
    }
    pinned = list(served.names) if len(served.names) == 1 else []
    program = ["python", "-m", "modelpick.serving.quantized_server"] if quantization else ["transformers"]
    return [*program, "serve", *pinned, *_listed(flags)]


def _llama_cpp(
    served: Served, sizing: Sizing, host: str, port: int, gpu: bool, key_file: Path, task: ServedTask
) -> list[str]:
    """llama-server (tools/server/README.md): -c is shared by all slots, so it is tokens times slots.

    A text that is embedded or ranked goes through in one physical batch, which has 512 tokens by default.
    With a cache for each slot, a mean over the tokens loses some of them where texts of several lengths come together:
    7 of 40 vectors were others than those of the same texts alone, none with one cache for all (seen with the server of
    xllamacpp 2026.10.11549).
    """
    whole = str(sizing.tokens) if task != "generate" else None
    flags: dict[str, str | None] = {
        "--model": str(served.folder),
        "--alias": served.name,
        "--host": host,
        "--port": str(port),
        "--ctx-size": str(sizing.tokens * sizing.concurrency),
        "--parallel": str(sizing.concurrency),
        "--batch-size": whole,
        "--ubatch-size": whole,
        "--api-key-file": str(key_file),
        "--n-gpu-layers": "999" if gpu else None,  # more layers than any model has: all of them
    }
    one_cache = ["--kv-unified"] if task != "generate" else []
    return ["llama-server", *_listed(flags), "--metrics", *one_cache]


def _listed(flags: Mapping[str, str | None]) -> list[str]:
    return [word for flag, value in flags.items() if value is not None for word in (flag, value)]
