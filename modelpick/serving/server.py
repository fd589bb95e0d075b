"""`modelpick serve`: from a model or a run to a running server, each step named, in the order it happens. I/O."""

import json
import shutil
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modelpick import settings
from modelpick.catalog.architecture import read
from modelpick.catalog.folder import copy_terms
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, UsageError, printable
from modelpick.extras import require_train
from modelpick.files import tell_at_once, write_atomically
from modelpick.licensing import license_check
from modelpick.licensing.policy import Policy
from modelpick.loading import adapters, load
from modelpick.memory.estimate import GIB, architecture_of
from modelpick.memory.formats import own_method
from modelpick.offers import embedded
from modelpick.offers.chat_parsers import before
from modelpick.schema import to_json
from modelpick.serving import chat_template, command, engine_start, front, machine, sizing, source
from modelpick.serving.capabilities import Abilities
from modelpick.serving.command import Served
from modelpick.serving.engines import ENGINES, EngineChoice, choose
from modelpick.serving.gateway.config import ServedTask
from modelpick.serving.machine import LocalMachine
from modelpick.serving.process import ManagedProcess, Supervisor
from modelpick.serving.sizing import NoRoomError, Sizing
from modelpick.workload import Workload, workload_from

HOST = "127.0.0.1"  # loopback only: other machines come through port forwarding (modelpick connect)
_ASKED_BY = {  # what a model cannot do, and the parameter that asks for it, or its form
    "chat": "messages", "tools": "tools", "forced_tools": "tool_choice.required", "named_tools": "tool_choice.function",
}  # fmt: skip
_SOLVED = ("transformers_serve_open",)  # caveats of the table that the gateway takes care of


@dataclass(frozen=True, slots=True)
class ServeRequest:
    """What a user requested. None: chosen automatically. `workload` has the names of a serving workload."""

    model: str
    workload: dict[str, object]
    adapter: Path | None = None
    chat_template: Path | None = None
    name: str | None = None
    engine: str | None = None
    port: int = 8000
    state: Path | None = None
    key_file: Path | None = None
    policy: str | Policy | None = None
    reviewed_by: str | None = None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything decided, nothing started: what `serve --dry-run` shows."""

    asked: str
    served: Served
    choice: EngineChoice
    sizing: Sizing
    machine: LocalMachine
    permission: license_check.Permission
    words: tuple[str, ...]
    port: int
    server_port: int
    state: Path
    key_file: Path
    abilities: Abilities
    task: ServedTask
    streams_only: bool
    template: str | None  # the chat template that the user gives in the place of the model's
    to_merge: Served | None  # base and adapter that become one model first

    @property
    def upstream(self) -> str:
        """Where the server itself listens."""
        return f"unix/{command.SOCKET}" if self.choice.engine.socket else f"{HOST}:{self.server_port}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user before it starts."""
        caveats = (f"{item.why}; {item.way_out}" for item in self.choice.caveats if item.code not in _SOLVED)
        lacks = self.abilities.why.items() if self.task == "generate" else ()
        refused = tuple(f"tools are refused: {why}" for name, why in lacks if name == "tools")
        return (*self.choice.passed_over, *self.sizing.notes, *caveats, *refused)

    @property
    def address(self) -> str:
        """The base URL for OpenAI clients."""
        return f"http://{HOST}:{self.port}/v1"

    def as_json(self) -> dict[str, object]:
        """The answer of `serve --json`; the key itself is not in it."""
        work = self.sizing.workload
        return {
            "address": self.address,
            "models": list(self.served.names),
            "key_file": str(self.key_file),
            "engine": self.choice.engine.name,
            "task": self.task,
            "proxy": "caddy",
            "command": list(self.words),
            "abilities": to_json(self.abilities),
            "workload": work.as_json(),
            "concurrency": self.sizing.concurrency,
            "tokens": self.sizing.tokens,
            "needed_gib": self.sizing.needed_gib,
            "free_gib": self.sizing.free_gib,
            "license": self.permission.as_json(),
            "state": str(self.state),
            "health": f"http://{HOST}:{self.port}/health",
            "ready": f"http://{HOST}:{self.port}/ready",
            "metrics": f"http://{HOST}:{self.port}/metrics",
            "license_files": str(self.state / "license"),
            "passed_over": list(self.choice.passed_over),
            "care": [to_json(finding) for finding in self.choice.caveats],
            "assumptions": list(self.sizing.notes),
            "sources": ["compatibility.toml", "memory estimate"],
        }


def prepare(request: ServeRequest) -> Launch:
    """Decide everything and check everything that can be checked before a server is started.

    Raises UsageError (port_in_use, other_base, engine_absent, the table's codes, ...), NoRoomError, and what the
    license gate raises.
    """
    if machine.port_in_use(HOST, request.port):
        by = machine.port_holder(request.port)
        raise UsageError(
            f"port {request.port} is in use" + (f" by {by}" if by else ""),
            fix="give another with --port, or stop what uses it",
            code="port_in_use",
        )
    permission = license_check.permission_for(
        _judged(request.model), request.policy, reviewed_by=request.reviewed_by, offline=request.offline
    )
    found = source.find(request.model, adapter=request.adapter, name=request.name, offline=request.offline)
    here = machine.look()
    task = source.task_of(found)
    template = chat_template.read(request.chat_template) if request.chat_template is not None else None
    workload, asked = _workload(request, found.served.folder, here, task)
    subject = embedded.subject_of(found.base, workload, adapter=found.served.adapter is not None)
    if workload.method == "gguf":
        subject = replace(subject, model_type=source.gguf_architecture(found.served.folder), kind="gguf")
    choice = choose(
        embedded.load_rules(),
        subject,
        gpu=here.gpu is not None,
        installed={name: machine.program(engine.program) is not None for name, engine in ENGINES.items()},
        asked=request.engine,
        rank=found.served.rank,
        task=task,
    )
    state = (request.state or settings.state_folder(f"serve-{request.port}")).resolve()
    served = _merged(found, state) if choice.merged else found.served
    served = replace(served, format=_checkpoint_method(served.folder))
    served, sized = _sized(found.base, served, workload, choice, here, asked)
    if found.doubt is not None:
        sized = replace(sized, notes=(found.doubt, *sized.notes))
    key_file = request.key_file or state / "key"
    server_port = machine.free_port(HOST)
    front.require_programs()
    _require_ranking_head(found.base, choice, task)
    able = source.abilities_of(found, choice.engine.name, _vllm_version(choice), task, template)
    words = command.words(
        choice.engine, served, sized,
        host=HOST, port=server_port, gpu=here.gpu is not None, key_file=key_file, chat=able.flags, task=task,
    )  # fmt: skip
    return Launch(
        request.model,
        served,
        choice,
        sized,
        here,
        permission,
        tuple(words),
        request.port,
        server_port,
        state,
        key_file,
        able,
        task,
        template=template,
        streams_only=subject.kind == "encoder-decoder" and choice.engine.name == "transformers",
        to_merge=found.served if choice.merged and found.merged is None else None,
    )


def run(launch: Launch, tell: Callable[[str], None], when_ready: Callable[[], None]) -> None:
    """Start it and keep it running until SIGTERM or SIGINT, then drain. Raises ServerDiedError."""
    state = launch.state
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = machine.key_in(launch.key_file)
    write_terms(launch, state / "license")
    if launch.to_merge is not None:
        tell(f"merging {launch.to_merge.adapter_name} into {launch.to_merge.name}")
        merge(launch.to_merge, launch.served.folder)
    folder = state
    if launch.choice.engine.name == "transformers":
        folder = state / "models"
        source.lay_out(launch.served, folder, launch.template)
    elif launch.template is not None:
        write_atomically(state / chat_template.FILE, launch.template)
    words = [machine.program(launch.words[0]) or launch.words[0], *launch.words[1:]]
    server = ManagedProcess(
        words,
        command.environment(launch.choice.engine, secret),
        folder,
        front.fresh(state / "server.log"),
        leaves=state / command.SOCKET if launch.choice.engine.socket else None,
    )
    watch = Supervisor(
        server=server,
        before=_before(launch, secret),
        address=launch.address,
        health=f"http://{HOST}:{launch.port}/health",
        names=launch.served.names,
        key=secret,
        ready=state / "ready",
        tell=tell,
        task=launch.task,
    )
    record = json.dumps({"schema_version": 1, **launch.as_json()}, indent=1)
    write_atomically(state / "serve.json", record + "\n")
    ready = engine_start.measuring(when_ready, launch.sizing, launch.machine.gpu, server.log, tell)
    with _stopped_by_signals(watch.stop):
        watch.run(ready)


def _vllm_version(choice: EngineChoice) -> str | None:
    """Of the vLLM that will be started. Raises UsageError for one that lacks what `serve` needs of it."""
    if choice.engine.name != "vllm":
        return None
    version, oldest = machine.vllm_version(machine.program("vllm")), embedded.load_chat_parsers().vllm.oldest
    if version is not None and not before(oldest, version):
        raise UsageError(
            f"vLLM {version} has no --uds, on which it listens here",
            fix=f"pip install 'vllm>={oldest}'",
            code="engine_too_old",
        )
    return version


def _judged(model: str) -> str:
    """What the license gate looks at: of a run its base, of a file the folder around it, else the model itself."""
    path = Path(model).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return str(path.absolute().parent)
    return source.run_settings(path).model if (path / "run.json").is_file() else model


def _require_ranking_head(base: Model, choice: EngineChoice, task: ServedTask) -> None:
    """Raises CannotTellError for a reranker that answers yes or no as text: vLLM would compare embeddings instead.

    vLLM 0.32.0 model_executor/models/config.py and config/model.py: such a model needs --hf-overrides of its own kind,
    else its --runner pooling takes any ...ForCausalLM for a maker of embeddings, and /v1/rerank compares those.
    """
    built = (base.config or {}).get("architectures")
    if task == "rank" and choice.engine.name == "vllm" and "ForSequenceClassification" not in str(built):
        raise CannotTellError(
            f"{base.id} ranks by the text that it generates, and how vLLM is to read that is not known here",
            fix="serve a copy converted to ...ForSequenceClassification, or its .gguf file with llama.cpp",
            code="reranker_without_head",
        )


def _workload(
    request: ServeRequest, folder: Path, here: LocalMachine, task: ServedTask
) -> tuple[Workload, Collection[str]]:
    """The serving workload, and what of its load the user named; the method is what the checkpoint brings."""
    names = {name: value for name, value in request.workload.items() if value is not None}
    if names.get("method") == "auto":
        del names["method"]
    asked = [name for name in sizing.ASKED if name in names]
    if folder.suffix == ".gguf":
        names.setdefault("method", "gguf")
    names.setdefault("method", _checkpoint_method(folder) or "bf16")
    names.setdefault("dtype", here.gpu.dtype if here.gpu else "bf16")
    if task != "generate" and names.get("generate"):
        raise UsageError(
            "--generate is for a model that generates, and this one does not",
            fix="leave it out, and give the longest text with --context",
            code="bad_workload",
        )
    if task != "generate":
        names["generate"] = 0
    return workload_from({"task": "serve", **names}), asked


def _checkpoint_method(folder: Path) -> str | None:
    config = folder / "config.json"
    if not config.is_file():
        return None
    try:
        return own_method(read(source.read_json(config)).checkpoint)
    except CannotTellError:  # the engine may know the family
        return None


def _sized(
    base: Model, served: Served, workload: Workload, choice: EngineChoice, here: LocalMachine, asked: Collection[str]
) -> tuple[Served, Sizing]:
    """`transformers serve` holds base and adapter as two models: where only one fits, the tuned one is served."""
    if served.adapter is None or choice.engine.name != "transformers":
        return served, _size(base, served, workload, choice, here, asked, 1)
    try:
        return served, _size(base, served, workload, choice, here, asked, 2)
    except NoRoomError:
        sized = _size(base, served, workload, choice, here, asked, 1)
    note = f"{served.name} is not served along with {served.adapter_name}: its weights do not fit in memory twice"
    return replace(served, base_too=False), replace(sized, notes=(*sized.notes, note))


def _size(
    base: Model,
    served: Served,
    workload: Workload,
    choice: EngineChoice,
    here: LocalMachine,
    asked: Collection[str],
    copies: int,
) -> Sizing:
    if served.folder.suffix == ".gguf" and base.config is None:
        return _size_of_file(served.folder, workload, here)
    return sizing.size(
        architecture_of(base), workload, choice.engine, here,
        parameters=base.parameters, asked=asked, copies=copies,
        by_measurement=engine_start.taught_on(here.gpu),
    )  # fmt: skip


def _size_of_file(file: Path, workload: Workload, here: LocalMachine) -> Sizing:
    """A GGUF without config.json: its size is known but its cache is not; a note says so."""
    needed = file.stat().st_size / GIB
    free = here.gpu.free_gib if here.gpu else here.ram_gib
    if free is not None and needed > free:
        raise NoRoomError(
            f"the file has {needed:.1f} GiB, and {free:.1f} are free",
            fix="choose a smaller quantization",
            code="no_memory",
        )
    note = "the file's size only: without config.json next to it the size of the cache is not known"
    return Sizing(workload, workload.context + workload.generate, workload.batch, None, needed, free, 1, (note,))


def _merged(found: source.ServedSource, state: Path) -> Served:
    """Base and adapter as one model: what the run wrote, else what will be written into the state folder."""
    folder = found.merged or state / "merged"
    return Served(found.served.adapter_name or found.served.name, folder.resolve())


def merge(parts: Served, folder: Path) -> None:
    """Write base + adapter as one model, whole or not at all. Needs the extra `train`; an earlier merge is replaced."""
    require_train()
    assert parts.adapter is not None
    partial = folder.with_name(f".{folder.name}.partial")
    for old in (partial, folder):
        shutil.rmtree(old, ignore_errors=True)
    adapters.merge(str(parts.folder), parts.adapter, partial, load.LoadOptions())
    for origin in (parts.folder, parts.adapter):
        copy_terms(origin, partial)
    partial.rename(folder)


def _before(launch: Launch, secret: str) -> tuple[ManagedProcess, ...]:
    settings = front.gateway_settings(
        launch.choice.engine, launch.upstream, launch.asked, launch.served, launch.sizing,
        models=launch.state / "models", streams_only=launch.streams_only,
        refused={_ASKED_BY[name]: why for name, why in launch.abilities.why.items() if name in _ASKED_BY},
        task=launch.task,
    )  # fmt: skip
    return front.gateway(settings, secret, launch.state), front.caddy(HOST, launch.port, launch.state)


def write_terms(launch: Launch, folder: Path) -> None:
    """License files, NOTICE and obligations of what is served, in `folder`, and at /license/."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parts = launch.to_merge or launch.served
    base = parts.folder if parts.folder.is_dir() else parts.folder.parent
    for origin in (base, parts.adapter):
        if origin is not None:
            copy_terms(origin, folder)
    owed = launch.permission
    lines = [f"Served here: {', '.join(launch.served.names)}.", f"Base model: {owed.model}.", ""]
    lines += [f"License: {', '.join(owed.licenses) or 'none found'} (policy {owed.policy}: {owed.verdict})."]
    lines += [f"Reviewed by {owed.reviewed_by}."] if owed.reviewed_by else []
    lines += [f"- {obligation.text}" for obligation in owed.obligations]
    text = printable("\n".join(lines) + "\n", keep="\n")
    write_atomically(folder / "OBLIGATIONS.txt", text)
    if not (folder / "NOTICE").exists():
        write_atomically(folder / "NOTICE", text)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set `stop`; a second one of them changes nothing, draining has its own limit.

    A signal that was ignored at the start (SIGINT in a shell's background job) stays ignored.
    """
    heard = [number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) is not signal.SIG_IGN]

    def ask(number: int, frame: object) -> None:
        if not stop.is_set():
            tell_at_once(f"{signal.Signals(number).name}: finishing the answers in hand, then stopping; exit code 0")
        stop.set()

    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
