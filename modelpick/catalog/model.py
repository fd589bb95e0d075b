"""A model, as facts: what its repository states, and where each fact came from. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from modelpick.catalog.gguf_table import GgufTable

Origin = Literal["catalog", "hub", "folder"]
HUB_ON = "Hub, "
"""How the source of a fact begins that an update read on the Hub; the day follows."""
Relation = Literal["finetune", "adapter", "merge", "quantized", "mirror", "unknown"]
Capability = Literal["chat", "base", "code", "reasoning", "tools", "vision", "embedding", "rerank"]
Kind = Literal["text", "vision-language", "embedding", "reranking", "encoder", "quantized"]
QualityStatus = Literal["rated", "legacy", "vendor-only"]
ScoredUse = Literal["chat", "code", "reasoning", "vision", "embedding"]
"""The uses that boards rate models for."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A declared parent: its id as written (a Hub id, rarely a path) and how the child came from it."""

    id: str
    relation: Relation = "unknown"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that a repository states about license, parents or data, in a shape that cannot be read.

    `value` is what stands there, cut to a line; `source` the file, or "Hub API".
    """

    field: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Quality:
    """A quality score (mean 50, standard deviation 15 points), its 80 % interval, and the boards it rests on."""

    score: float
    low: float
    high: float
    status: QualityStatus
    sources: tuple[str, ...]
    as_of: str | None  # the newest board's day; None: makers' own figures, undated


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two sources that disagree on a fact: the value kept and the one set aside."""

    field: str
    kept: Any
    kept_source: str
    other: Any
    other_source: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that is, or may be, the card or terms and was not wholly read: its name, and why ("it is a PDF").

    `gated`: it stands behind the repository's gate, where who accepts the terms can read it.
    """

    name: str
    why: str
    gated: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """One model repository (or local folder with the same files) at one revision.

    `config` holds what config.json says, in config.json's own keys (`num_hidden_layers`, `num_key_value_heads`, ...):
    catalog, Hub and folder models all go through the same reader, `architecture.read`. Unknown is None, never a guess.
    `sources` maps a field name (`license`, `parameters`, `config.hidden_size`) to a source key; the catalog's sources
    table says what each key means and when it was read.
    """

    id: str
    origin: Origin
    revision: str | None = None  # commit sha; None: not known (the embedded catalog)
    config: Mapping[str, object] | None = None
    parameters: int | None = None
    parameters_exact: bool = False  # counted from safetensors headers or derived exactly; False: rounded or unknown
    active_parameters: int | None = None  # mixture of experts: parameters used per token
    parameters_by_dtype: Mapping[str, int] = field(default_factory=dict)  # {"BF16": n, "F8_E4M3": m}
    context: int | None = None  # the longest context its makers state, tokens
    trained_context: int | None = None  # tokens it was trained on, where its architecture bounds no sequence
    dimension: int | None = None  # of an embedding: numbers in one vector
    capabilities: tuple[Capability, ...] = ()  # what it is for, as far as somebody says; () : nobody does
    quantization: str | None = None  # of a quantized copy: format and bits, "awq-4bit"
    weights: int | None = None  # of a quantized copy: bytes of its weights as stored
    license: object = None  # the card's `license` as it was parsed: str, list, bool, ... (cards contain errors)
    license_name: str | None = None
    license_link: str | None = None
    base_models: tuple[BaseModel, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    gated: Literal["auto", "manual"] | bool | None = None
    languages: tuple[str, ...] = ()  # as the card names them
    languages_elsewhere: tuple[str, ...] = ()  # as others name them, where the card is silent or beside it
    card_read: bool = True  # whether the card's own fields were read, so that what it does not name it does not name
    pipeline_tag: str | None = None
    library: str | None = None
    downloads: int | None = None  # last 30 days
    likes: int | None = None
    release_date: str | None = None  # ISO date
    quality: Quality | None = None
    quality_by_use: Mapping[ScoredUse, Quality] = field(default_factory=dict)  # where boards of that use rate it
    texts: Mapping[str, str] = field(default_factory=dict)  # file name -> text: the card and the files of terms
    files: tuple[str, ...] = ()  # every file name in the repository, where a listing was read
    unread: tuple[Unread, ...] = ()  # what of the card and the terms is known to exist and was not wholly read
    adapter_config: Mapping[str, object] | None = None  # adapter_config.json, as parsed
    gguf: Mapping[str, object] | None = None  # general.* keys of a GGUF header: license, base_model.*
    gguf_table: GgufTable | None = None  # of a GGUF file without a config.json: its parts, and its shape
    gguf_problem: str | None = None  # why a GGUF file's table cannot be believed
    gate_text: str | None = None  # what the gate asks to accept (extra_gated_prompt / extra_gated_heading)
    sources: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    former_ids: tuple[str, ...] = ()  # under which it was known or asked for: what is known of those is of it as well
    notes: tuple[str, ...] = ()  # what a reader must know: "card has a BOM before its front matter: no metadata read"

    @property
    def generates(self) -> bool:
        """Whether it writes text: not what turns text into vectors, ranks passages or fills in masked words."""
        return self.pipeline_tag != "fill-mask" and not {"embedding", "rerank"} & set(self.capabilities)

    @property
    def kind(self) -> Kind:
        """The one word for what it is; a quantized copy first, then what it makes, then what it reads."""
        if self.quantization is not None:
            return "quantized"
        if not self.generates:
            found = "rerank" in self.capabilities, "embedding" in self.capabilities
            return "reranking" if found[0] else "embedding" if found[1] else "encoder"
        return "vision-language" if "vision" in self.capabilities else "text"

    @property
    def original(self) -> str | None:
        """Of a quantized copy, the id of the model whose weights it holds."""
        return next((base.id for base in self.base_models if base.relation == "quantized"), None)
