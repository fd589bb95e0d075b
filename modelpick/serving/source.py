"""From MODEL or RUN to what is served: a folder of weights, perhaps an adapter of its own base. I/O."""

import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from modelpick import files, schema
from modelpick.catalog import folder as snapshot
from modelpick.catalog import headers, index, lookup
from modelpick.catalog.lookup import is_folder
from modelpick.catalog.model import Model
from modelpick.errors import UsageError
from modelpick.offers.embedded import load_chat_parsers
from modelpick.planning.engines import EngineName
from modelpick.planning.recipe import RunSettings, run_from_json
from modelpick.schema import Bounds
from modelpick.serving.capabilities import Abilities, ChatModel, abilities, pooling_abilities
from modelpick.serving.chat_template import FILE as TEMPLATE_FILE
from modelpick.serving.command import Served
from modelpick.serving.gateway.config import ServedTask

_NAME = re.compile(r"[^A-Za-z0-9._-]+")  # valid as a model name, a folder name and part of a URL
_PEFT_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class ServedSource:
    """`served` with folders on disk, the base's facts for estimate and verdict, and what `license` is to judge."""

    served: Served
    base: Model
    judged: str  # a Hub id or a folder
    merged: Path | None = None  # base and adapter as one model, where a run wrote it
    doubt: str | None = None  # the adapter names another base, though its shapes fit this one


@dataclass(frozen=True, slots=True)
class _Ranks:
    """The ranks in an adapter_config.json (peft 0.21, LoraConfig): of all layers, and of those that differ."""

    r: Annotated[int, Bounds(1, 1_000_000)] = 1
    rank_pattern: Mapping[str, Annotated[int, Bounds(1, 1_000_000)]] = field(default_factory=dict)


def find(asked: str, *, adapter: Path | None = None, name: str | None = None, offline: bool = False) -> ServedSource:
    """What `asked` means: a run of `modelpick finetune`, an adapter folder, a model folder, a .gguf file, a Hub id.

    Raises UsageError: `unfinished_run`, `no_model`, `other_base` for an adapter made for another base.
    """
    path = Path(asked).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(path, name)
    if not is_folder(asked):
        return _with_adapter(_hub(asked, offline), adapter, asked, name)
    if not path.is_dir():
        raise UsageError(f"{asked} does not exist", fix="name a run, a model folder or a Hub id", code="no_model")
    if (path / "run.json").is_file():
        return _run(path, name, offline)
    if (path / "adapter_config.json").is_file():
        base = str(read_json(path / "adapter_config.json").get("base_model_name_or_path") or "")
        folder = Path(base) if base and is_folder(base) else _hub(base, offline)
        return _with_adapter(folder, path, base, name)
    return _with_adapter(path, adapter, asked, name)


def _run(run: Path, name: str | None, offline: bool) -> ServedSource:
    """A finished run: the tuned model together with its base, or the tuned model alone after full fine-tuning."""
    settings, result_file = run_settings(run), run / "result.json"
    result = read_json(result_file) if result_file.is_file() else {}
    if result.get("status") != "done" or not result.get("model"):
        raise UsageError(
            f"the run in {run} is not finished",
            fix=f"modelpick finetune --output {run} --resume",
            code="unfinished_run",
        )
    tuned = run / Path(str(result["model"])).name
    base = settings.model
    if not (tuned / "adapter_config.json").is_file():
        return _with_adapter(tuned, None, base, name or tuned.name)
    folder = Path(base) if is_folder(base) else _hub(base, offline, settings.revision)
    source = _with_adapter(folder, tuned, base, name)
    return replace(source, merged=tuned / "merged") if (tuned / "merged").is_dir() else source


def run_settings(run: Path) -> RunSettings:
    """What a run was made from, by its run.json. Raises UsageError as `read_json` and `run_from_json` do."""
    return run_from_json(read_json(run / "run.json"))


def _with_adapter(folder: Path, adapter: Path | None, judged: str, name: str | None) -> ServedSource:
    base = snapshot.read_folder(folder)
    own = served_name(judged)
    if adapter is None:
        return ServedSource(Served(name or own, folder.resolve()), base, judged)
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(
            f"{adapter} does not hold an adapter", fix="give the folder with adapter_config.json", code="no_adapter"
        )
    check_adapter(folder, adapter)
    tuned = name or served_name(str(adapter.resolve()))
    tuned = f"{tuned}-tuned" if tuned == own else tuned
    config = read_json(adapter / "adapter_config.json")
    served = Served(own, folder.resolve(), tuned, adapter.resolve(), _rank(adapter / "adapter_config.json", config))
    return ServedSource(served, base, judged, doubt=_doubt(str(config.get("base_model_name_or_path") or ""), judged))


def _doubt(made_for: str, base: str) -> str | None:
    """Two bases of one family have the same shapes: only their names show that an adapter was made for the other."""
    names = [os.path.abspath(name) if is_folder(name) else name.partition("@")[0].lower() for name in (made_for, base)]
    if not made_for or names[0] == names[1]:
        return None
    return f"the adapter was made for {made_for}, not for {base}: its shapes fit, but its answers may be wrong"


def served_name(asked: str) -> str:
    """The name clients use: the last part of an id or path, letters that need no quoting."""
    last = Path(asked).expanduser().resolve().name if is_folder(asked) else asked.partition("@")[0].rsplit("/", 1)[-1]
    return _NAME.sub("-", last.removesuffix(".gguf")).strip("-.") or "model"


def _gguf(file: Path, name: str | None) -> ServedSource:
    base = snapshot.read_folder(file.parent) if (file.parent / "config.json").is_file() else Model(str(file), "folder")
    return ServedSource(Served(name or served_name(file.name), file.resolve()), base, str(file.parent))


def gguf_architecture(file: Path) -> str:
    """`general.architecture` of a GGUF file, empty where its first key is another one: writers put it first.

    Magic, version, counts of tensors and keys (24 bytes), then keys: length and name, type (8: text), length and text,
    all little-endian (ggml/docs/gguf.md).
    """
    try:
        head = files.read_start(file, 512, code="bad_gguf")
        (length,) = struct.unpack_from("<Q", head, 24)
        name = head[32 : 32 + length]
        kind, size = struct.unpack_from("<IQ", head, 32 + length)
        text = head[44 + length : 44 + length + size].decode("ascii")
    except (UsageError, struct.error, OverflowError, UnicodeDecodeError):
        return ""
    return text if (head[:4], name, kind, len(text)) == (b"GGUF", b"general.architecture", 8, size) else ""


def _hub(id: str, offline: bool, revision: str | None = None) -> Path:
    """The files of a Hub repository, from the cache or downloaded; never pickles."""
    if not id:
        raise UsageError(
            "the adapter does not say which base it was made for",
            fix="modelpick serve BASE --adapter DIR",
            code="no_base",
        )
    name, _, pinned = id.partition("@")
    return lookup.download(name, pinned or revision, offline=offline)


def check_adapter(base: Path, adapter: Path) -> None:
    """Every adapted module must be in the base with the same width, by the safetensors headers of both.

    Raises UsageError(code="other_base"). What cannot be read is left to the server: nothing is assumed.
    """
    widths = {name: shape for file in sorted(base.glob("*.safetensors")) for name, shape in _shapes(file).items()}
    parts = _shapes(adapter / "adapter_model.safetensors")
    if not widths or not parts:
        return
    made_for = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    for name, shape in parts.items():
        if not name.endswith(".lora_A.weight") or len(shape) != 2:
            continue
        module = name.removeprefix(_PEFT_PREFIX).removesuffix(".lora_A.weight") + ".weight"
        found = widths.get(module)
        if found is None or (len(found) == 2 and found[1] != shape[1]):
            has = "has no such module" if found is None else f"has {found[1]} inputs there"
            raise UsageError(
                f"the adapter in {adapter} was made for {made_for}: it has {shape[1]} inputs at "
                f"{module.removesuffix('.weight')}, and {base} {has}",
                fix=f"serve it with {made_for}",
                code="other_base",
            )


def _shapes(file: Path) -> dict[str, list[int]]:
    """Names and shapes of a safetensors file's tensors; empty where it cannot be read."""
    try:
        length = headers.safetensors_header_length(files.read_start(file, 8, code="bad_weights"))
        header = files.read_start(file, 8 + length, code="bad_weights")[8:]
        listed = files.parse_json(header, where=str(file), code="bad_weights")
    except (UsageError, ValueError):
        return {}
    entries = (
        {name: entry for name, entry in listed.items() if name != "__metadata__"} if isinstance(listed, dict) else {}
    )
    shapes = {name: entry.get("shape") if isinstance(entry, dict) else None for name, entry in entries.items()}
    lists = {name: shape for name, shape in shapes.items() if isinstance(shape, list)}
    known = {name: shape for name, shape in lists.items() if all(isinstance(size, int) for size in shape)}
    return known if len(known) == len(shapes) else {}


def _rank(file: Path, config: Mapping[str, Any]) -> int:
    """The largest rank of the adapter's layers. Raises UsageError(code="bad_adapter")."""
    named = {name: config[name] for name in ("r", "rank_pattern") if config.get(name) is not None}
    ranks = schema.read(_Ranks, named, str(file), code="bad_adapter")
    return max(ranks.r, *ranks.rank_pattern.values(), 1)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of a model, an adapter or a run. Raises UsageError(code="broken_json")."""
    content = files.read_json(file, code="broken_json", fix="write it again", allow_nan=True)
    if not isinstance(content, dict):
        raise UsageError(f"{file} is not a JSON object", fix="write it again", code="broken_json")
    return content


# Where vLLM's container image keeps its example templates (vllm docs/features/tool_calling.md); its wheel has none.
_VLLM_EXAMPLES = Path("/vllm-workspace/examples")


def task_of(found: ServedSource) -> ServedTask:
    """What a model is served for, by what its maker, its files or the catalog say. A tuned adapter generates.

    Raises CannotTellError (bad_gguf) for a .gguf file whose table cannot be read, as its start would fail.
    """
    base, file = found.base, found.served.folder
    if file.suffix == ".gguf":
        table, _ = snapshot.gguf_table_of(file)
        pooling = table.pooling if table is not None else ""
        return "rank" if pooling == "rank" else "embed" if pooling else "generate"
    if found.served.adapter is not None:
        return "generate"
    known = None if is_folder(found.judged) else index.load().find(found.judged.partition("@")[0])
    told = {*base.capabilities, *(known.capabilities if known is not None else ())}
    built = (base.config or {}).get("architectures")
    classifies = isinstance(built, list) and any(str(name).endswith("ForSequenceClassification") for name in built)
    if "rerank" in told or base.pipeline_tag == "text-ranking" or classifies:
        return "rank"
    # A folder of sentence-transformers says in modules.json how a vector is made (sentence_transformers, model.py).
    embeds = "embedding" in told or base.pipeline_tag in ("sentence-similarity", "feature-extraction")
    return "embed" if embeds or "modules.json" in base.files else "generate"


def abilities_of(
    found: ServedSource, engine: EngineName, version: str | None, task: ServedTask, own_template: str | None = None
) -> Abilities:
    """What `engine` (vLLM: in `version`) does with the model that is to be served for `task`.

    `own_template`: the chat template that the user gives in the place of the model's.
    """
    if task != "generate":
        return pooling_abilities(engine, task)
    folder, config = found.served.folder, found.base.config or {}
    tokenizer = folder / "tokenizer_config.json"
    stated = read_json(tokenizer) if tokenizer.is_file() else {}
    model = ChatModel(
        str(config.get("model_type", "")),
        (found.judged, *(parent.id for parent in found.base.base_models)),
        chat_template(folder) if own_template is None else own_template,
        vision="vision_config" in config,
        response_template=bool(stated.get("response_template")),
        template_file=None if own_template is None else TEMPLATE_FILE,
    )
    places = [folder, _VLLM_EXAMPLES] if folder.is_dir() else []
    examples = [str(file) for place in places for file in sorted(place.glob("tool_chat_template_*.jinja"))]
    return abilities(load_chat_parsers(), engine, model, version=version, examples=examples)


def chat_template(folder: Path) -> str | None:
    """The chat template of a model folder or .gguf file, several joined; empty where it has none, None where it cannot
    be read here: a file whose table is broken, or a tokenizer of mistral-common, which has its own way.

    transformers keeps it in chat_template.jinja, further ones in additional_chat_templates/, and wrote it into
    tokenizer_config.json or chat_template.json before (tokenization_utils_base.py, save_chat_templates).
    """
    if not folder.is_dir():
        table, _ = snapshot.gguf_table_of(folder)
        return table.chat_template if table is not None else None
    files_of_it = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    texts = [files.read_text(file, code="bad_template") for file in files_of_it if file.is_file()]
    for file in (folder / "chat_template.json", folder / "tokenizer_config.json"):
        stated = read_json(file).get("chat_template") if file.is_file() and not texts else None
        listed = stated if isinstance(stated, list) else [{"template": stated}]
        texts += [text for one in listed if isinstance(one, dict) and isinstance(text := one.get("template"), str)]
    if not texts and (folder / "tekken.json").is_file():
        return None
    return "\n".join(texts)


def lay_out(served: Served, folder: Path, own_template: str | None = None) -> None:
    """In `folder`, each served name as a model folder of its own, by links: what `transformers serve` is started in.

    `own_template` stands there in the place of the model's chat template (chat_template.jinja comes before what
    tokenizer_config.json says: transformers 5.23, tokenization_utils_base.py).

    A folder with both config.json and adapter_config.json is to transformers a whole model with an adapter on it
    (integrations/peft.py, maybe_load_adapters), so the tuned name has the links of both; the adapter's tokenizer wins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        _remove(old)
    names: dict[str, tuple[Path, ...]] = {served.name: (served.folder,)}
    if served.adapter is not None and served.adapter_name is not None:
        names[served.adapter_name] = (served.folder, served.adapter)
    for name, origins in names.items():
        if len(origins) == 1 and own_template is None:
            (folder / name).symlink_to(origins[0], target_is_directory=True)
        else:
            _link_files(origins, folder / name)
            if own_template is not None:
                (folder / name / TEMPLATE_FILE).unlink(missing_ok=True)
                files.write_atomically(folder / name / TEMPLATE_FILE, own_template)


def _link_files(origins: Sequence[Path], folder: Path) -> None:
    folder.mkdir()
    for origin in origins:
        for file in sorted(origin.iterdir()):
            if file.is_file():
                (folder / file.name).unlink(missing_ok=True)
                (folder / file.name).symlink_to(file.resolve())


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        for inside in path.iterdir():
            _remove(inside)
        os.rmdir(path)
