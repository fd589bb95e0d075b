"""Which of several statements about a repository counts, and what becomes of the others (build_catalog.py).

Said of the repository itself outranks said of its family; of several the smaller counts for a length, the earlier for a
day; what does not count stays under `conflicts`. What the card says and what others say are two fields.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from catalog_configs import POSITION_TABLES, WITHOUT_LIMIT, WRITES_POSITIONS
from facts_folder import Row

from modelpick.catalog.architecture.families import FAMILIES
from modelpick.catalog.languages import codes_of

Conflicts = list[list[Any]]
Statement = tuple[Any, str]  # a value and who says it
# In the order in which a list of them is printed.
CAPABILITIES = ("chat", "base", "code", "reasoning", "tools", "vision", "embedding", "rerank")
# The Hub gives this day to all that was there before it noted days (huggingface_hub, ModelInfo.created_at).
HUB_FIRST_DAY = "2022-03-02"
EARLIEST = date(2017, 6, 12)  # the transformer itself: arXiv 1706.03762
# Read from the repository's own card, by the Hub or by a reader.
MEASURED = "euroeval"
CARD_SOURCES = frozenset({"llmfit", "flancard", "cardpages", "xlmrcard"})
_PLAIN = (
    "model_type", "num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads", "head_dim",
    "vocab_size", "num_experts", "num_experts_per_tok", "moe_intermediate_size", "parameters", "parameters_rounded",
    "license", "pipeline_tag", "downloads", "likes", "release_date", "dimension", "base_model", "quantization",
)  # fmt: skip
_LISTED = ("context", "context_or_fallback", "capabilities", "languages")


def flattened(row: Row) -> Row:
    """A row of gathered.jsonl as one of models.jsonl: the first source counts, what another says stays a conflict."""
    facts: dict[str, Any] = {"id": row["id"]}
    sources: dict[str, str] = {}
    conflicts: Conflicts = []
    statements: dict[str, list[Statement]] = {name: [] for name in _LISTED}
    for source, said in row["says"].items():
        if unknown := said.keys() - {*_PLAIN, *_LISTED}:
            raise ValueError(f"{row['id']}: {source} says {sorted(unknown)}, which nobody reads")
        for name in _LISTED:
            if said.get(name):
                statements[name].append((said[name], source))
        for name in _PLAIN:
            value = said.get(name)
            if value is None:
                continue
            if name not in facts:
                facts[name], sources[name] = value, source
            elif _differs(name, facts[name], value):
                conflicts.append([name, facts[name], sources[name], value, source])
    length = row["says"].get("llmfit", {}).get("context")
    if facts.get("model_type") in POSITION_TABLES and length:  # a table of so many rows: no rope factor, no window
        facts["max_position_embeddings"], sources["max_position_embeddings"] = length, "llmfit"
        statements["context"] = [one for one in statements["context"] if one[1] != "llmfit"]
    return row.with_values(**facts, sources=sources, statements=statements, told=conflicts)


def _differs(name: str, kept: Any, other: Any) -> bool:
    """Whether two sources contradict each other; counts within 1 % of each other do not."""
    if name == "parameters":
        return bool(abs(other - kept) > 0.01 * kept)
    return name in ("license", "release_date", "base_model", "dimension") and other != kept


def context_of(
    fact: Mapping[str, Any],
    config: Mapping[str, Any],
    own: str,
    cited: Mapping[str, Any] | None,
    family: Collection[str],
) -> tuple[int | None, str | None, Conflicts]:
    """Tokens it reads: what is cited of the repository, else the least that is said of it, else of its family.

    `own`: the source of a config.json at hand; `family`: the sources that speak of whole families. The others' values
    are kept as conflicts.
    """
    said = [(tokens, by) for tokens, by in _lengths(fact, config, own) if tokens]
    said = [one for one in said if not _misread(*one, config, said)]
    nearest = [one for one in said if one[1] not in family] or said
    if cited is not None:
        nearest = [(int(cited["context"]), cited["source"])]
    if not nearest:
        return None, None, []
    kept, by = min(nearest, key=lambda one: one[0])
    others = {tokens: other for tokens, other in reversed(said) if tokens != kept}
    return kept, by, [["context", kept, by, tokens, other] for tokens, other in sorted(others.items())]


def without_limit(config: Mapping[str, Any]) -> bool:
    """Whether the architecture bounds no sequence: then what is stated is the length it was trained on."""
    return config.get("model_type") in WITHOUT_LIMIT or config.get("alibi") is True


def _lengths(fact: Mapping[str, Any], config: Mapping[str, Any], own: str) -> list[Statement]:
    """What config.json has positions for, and what others say, nearest first."""
    source = fact["sources"].get("max_position_embeddings", own)
    inner = config.get("text_config") or {}
    positions = next(
        (
            one[key]
            for one in (config, inner)
            for key in ("max_position_embeddings", "n_positions", "max_seq_len")
            if one.get(key)
        ),
        fact.get("max_position_embeddings"),
    )
    kind = FAMILIES.get(str(config.get("model_type")))
    said = [] if positions is None else [(positions - (kind.padded_positions if kind else 0), source)]
    said += [(fact[name], fact["sources"][name]) for name in ("context_stated", "context_derived") if fact.get(name)]
    statements = fact.get("statements") or {}
    # 4,096 is also what llmfit writes where it read nothing: it counts where config.json always states the length.
    sure = config.get("model_type") in WRITES_POSITIONS
    return [*said, *statements.get("context", []), *(statements.get("context_or_fallback", []) if sure else [])]


def _misread(tokens: int, by: str, config: Mapping[str, Any], said: Iterable[Statement]) -> bool:
    """Whether llmfit took a window for the length, or multiplied it by a rope factor: another says otherwise."""
    if by != "llmfit":
        return False
    windows = (config.get("sliding_window"), (config.get("text_config") or {}).get("sliding_window"))
    others = [other for other, source in said if source != by]
    return bool(others) and (tokens in windows or any(tokens > other and tokens % other == 0 for other in others))


def languages_of(fact: Mapping[str, Any], measured: Sequence[str] = ()) -> dict[str, tuple[list[str], str]]:
    """`languages`, which the card names, and `languages_elsewhere`, which others do, each with who says so.

    `measured`: those that a board found the model able in. They are added to what others name: most lists of others
    hold two or three of the languages that a model knows.
    """
    said: list[Statement] = list((fact.get("statements") or {}).get("languages", []))
    if fact.get("languages"):
        said.insert(0, (fact["languages"], fact["sources"]["languages"]))
    found: dict[str, tuple[list[str], str]] = {}
    for value, by in said:
        found.setdefault("languages" if is_card(by) else "languages_elsewhere", (value, by))
    named, by = found.get("languages_elsewhere", ([], ""))
    if added := sorted(set(measured) - codes_of(named)):
        found["languages_elsewhere"] = [*named, *added], "; ".join(filter(None, (by, MEASURED)))
    return found


def is_card(source: str | None) -> bool:
    """Whether a source is the repository's own card: read by the Hub, or cited as a page of it."""
    return source is not None and (source in CARD_SOURCES or source.startswith("https://huggingface.co/"))


def release_of(
    fact: Mapping[str, Any], family: Collection[str], as_of: str
) -> tuple[str | None, str | None, Conflicts]:
    """The earliest day that is said of the repository itself, of those that can be one."""
    said = [(fact["release_date"], fact["sources"].get("release_date"))] if fact.get("release_date") else []
    said += [(other, by) for name, _, _, other, by in fact.get("told") or () if name == "release_date"]
    known = [
        (day, by) for day, by in said
        if by and by not in family and day != HUB_FIRST_DAY and EARLIEST.isoformat() <= day <= as_of
    ]  # fmt: skip
    if not known:
        return None, None, []
    kept, by = min(known)
    return kept, by, [["release_date", kept, by, day, other] for day, other in known if day != kept]


_IN_NAME: Mapping[str, re.Pattern[str]] = {
    "chat": re.compile(r"instruct|chat|it|sft|dpo|vicuna|hermes|zephyr|openchat|tulu|alpaca|dolly"),
    "code": re.compile(r"code|coder|codellama|codegemma|codestral|codegen\d*|starcoder\w*|devstral|(?!de|en)\w*coder"),
    "reasoning": re.compile(r"thinking|thinker|think|reasoning|reasoner|reason|r1|qwq|magistral"),
    "tools": re.compile(r"fc|tools?|xlam|functiongemma|calling"),
    "vision": re.compile(r"vl|vlm|vision|ocr|paligemma|llava|pixtral|\w*vl"),
    "rerank": re.compile(r"reranker|rerank"),
    "embedding": re.compile(r"embed|embedding|embeddings"),
}
_BASE_IN_NAME = re.compile(r"base")
# Where "base" is a size, between small and large.
_SIZED_BASE = frozenset(
    {"t5", "mt5", "bert", "roberta", "xlm-roberta", "bart", "florence2", "t5gemma", "switch_transformers"}
)
_PIPELINES = {
    "image-text-to-text": "vision", "any-to-any": "vision", "feature-extraction": "embedding",
    "sentence-similarity": "embedding", "text-ranking": "rerank",
}  # fmt: skip
CHAT_BOARDS = ("ArenaText", "ArenaWeb", "LiveBench")  # of quality.csv: they put questions to it as people do
NAME = "name"


def capabilities_of(
    fact: Mapping[str, Any],
    config: Mapping[str, Any],
    family: Collection[str],
    siblings: Mapping[str, str],
    boards: Collection[str] = (),
    paper: str | None = None,
) -> tuple[dict[str, str], Conflicts]:
    """Capability -> who says so, in the order of CAPABILITIES. A base model does not chat, nor what embeds or ranks.

    `siblings`: capability -> the repository of the same organisation whose name tells it; `boards` rate it; `paper`
    says that it was only pretrained.
    """
    said: dict[str, str] = {}
    for capability, by in _named(fact["id"], config):
        said.setdefault(capability, by)
    if paper is not None and "chat" not in said:
        said["base"] = paper
    tag = _PIPELINES.get(str(fact.get("pipeline_tag")))
    listed: list[Statement] = (fact.get("statements") or {}).get("capabilities", [])
    elsewhere = {one for words, _ in listed for one in words}
    if tag and (tag == "vision" or {"embedding", "rerank"} & elsewhere):
        said.setdefault(tag, fact["sources"].get("pipeline_tag") or NAME)
    if "vision_config" in config:
        said.setdefault("vision", "derived: its config.json has a tower for images")
    for capability, beside in siblings.items():
        if not {"chat", "base"} & said.keys():
            said[capability] = f"derived: {beside} stands beside it"
    if board := next((one for one in CHAT_BOARDS if one in boards), None):
        said.setdefault("chat", f"derived: {board} rates its answers to people")
    for words, by in sorted(listed, key=lambda one: one[1] in family):
        for capability in words:
            # A benchmark of rerankers also tries models that write: a board that rates what it writes knows better.
            if not (boards and capability in ("embedding", "rerank")):
                said.setdefault(capability, by)
    return _without_contradictions(said, family)


def _named(id: str, config: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    organisation, _, name = id.lower().partition("/")
    words = re.split(r"[-_.]", name)
    for capability, pattern in _IN_NAME.items():
        if any(pattern.fullmatch(word) for word in words):
            yield capability, NAME
    kind = str(config.get("model_type"))
    pretrained = "base" in words and kind not in _SIZED_BASE and re.search(r"\d(?:\.\d+)?[bmt](?![a-z])", name)
    if pretrained or (organisation == "google" and "pt" in words):
        yield "base", NAME


def _without_contradictions(said: dict[str, str], family: Collection[str]) -> tuple[dict[str, str], Conflicts]:
    dropped: dict[str, str] = {}
    finder = next((one for one in ("rerank", "embedding") if one in said), None)
    if finder is not None:
        dropped = {one: finder for one in ("chat", "base", "reasoning", "tools") if one in said}
        if finder == "rerank" and "embedding" in said:
            dropped["embedding"] = "rerank"
    elif {"chat", "base"} <= said.keys():
        surer = said["chat"] in family or (said["base"] == NAME and said["chat"] != NAME)
        dropped = {"chat": "base"} if surer else {"base": "chat"}
    conflicts = [["capabilities", kept, said[kept], one, said[one]] for one, kept in dropped.items()]
    return {one: said[one] for one in CAPABILITIES if one in said and one not in dropped}, conflicts


def siblings_of(ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Id -> capability -> the repository beside it whose name says that this one is the other kind."""
    spelling = {id.lower(): id for id in ids}
    found: dict[str, dict[str, str]] = {}
    for low, id in spelling.items():
        for ending, capability in (("-base", "chat"), ("-instruct", "base"), ("-chat", "base"), ("-it", "base")):
            beside = low.removesuffix("-hf") + ending
            if beside in spelling or f"{beside}-hf" in spelling:
                found.setdefault(id, {}).setdefault(capability, spelling.get(beside) or spelling[f"{beside}-hf"])
    return {id: one for id, one in found.items() if len(one) == 1}
