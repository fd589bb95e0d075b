"""Reads a model card: its front matter, whatever state that is in, and what it says about license and ancestry. Pure.

Cards contain errors. What the Hub itself would not read as metadata (prose or a byte-order mark before the first `---`,
invalid YAML) is not metadata here either, and the notes say so: such a card grants nothing. Values keep the type they
were parsed to (`license: no` is False): the license verdict must see it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from modelpick.catalog import yaml_text
from modelpick.catalog.model import BaseModel, Relation, Unreadable
from modelpick.catalog.yaml_text import shown

# The longest front matters on the Hub are evaluation tables of some 300 KB; a megabyte is not a card any more.
LARGEST_FRONT_MATTER = 1_000_000
CARD = "README.md"
RELATION = "base_model_relation"

_LICENSE_LINE = re.compile(r"^[ \t]*license[ \t]*:(.*)$", re.MULTILINE | re.IGNORECASE)
# Links to the Hub, to its best known mirror, and as huggingface_hub's file system writes them; in Markdown, or plain.
_HUB_URL = re.compile(
    r"(?:\[[^\]]{0,200}\]\()?(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/|hf://)(?:models/)?",
    re.IGNORECASE,
)
_RELATIONS: dict[str, Relation] = {name: name for name in get_args(Relation)} | {
    "merged": "merge",
    "quantize": "quantized",
}
_ID_KEYS = ("name", "id", "model", "model_id", "model_name", "repo_id", "path", "url", "dataset", "base_model")
# Other spellings of a field, as plain lower-case letters. The Hub does not read them; a person does.
_PARENT_KEYS = frozenset(
    {"basemodel", "basemodels", "basemodelid", "parentmodel", "parentmodels", "sourcemodel", "sourcemodels",
     "originalmodel", "mergedmodel", "mergedmodels", "finetunedfrom", "finetunedfrommodel", "quantizedfrom"}
)  # fmt: skip
_DATA_KEYS = frozenset(
    {"datasets", "dataset", "sourcedatasets", "trainingdata", "traindataset", "traindatasets", "trainingdatasets"}
)
MEANT_KEYS = _PARENT_KEYS | _DATA_KEYS
"""Spellings of the fields of parents and data, as plain lower-case letters."""
_NO_PARENT = frozenset({"none", "null", "n/a", "na", "no", "-", "scratch", "from scratch"})
DEEPEST_LIST = 20  # lists in lists, in a field that holds ids
MOST_IDS = 200  # ids of one field, each of which is looked up; the rest is a question
LONGEST_ID = 300  # characters; the Hub allows 96 on either side of the slash


@dataclass(frozen=True, slots=True)
class Card:
    """A card taken apart: parsed front matter, the text below it, and what a reader must know about the parsing."""

    metadata: Mapping[str, object]
    body: str
    notes: tuple[str, ...] = ()
    unread: str | None = None  # why the front matter, which states something, could not be read


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the front matter says, under the names of `Model`; only `license` keeps whatever type it had."""

    license: object
    license_name: str | None
    license_link: str | None
    base_models: tuple[BaseModel, ...]
    datasets: tuple[str, ...]
    tags: tuple[str, ...]
    languages: tuple[str, ...]
    pipeline_tag: str | None
    library: str | None
    gate_text: str | None
    unreadable: tuple[Unreadable, ...]
    notes: tuple[str, ...]


def decode(data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file, and a note where it was not plain UTF-8. Never fails: latin-1 reads any bytes."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), ("the text is UTF-16, not UTF-8",)
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError:
        return data.decode("latin-1"), ("the text is not UTF-8: read as latin-1",)


def without_surrogates(value: Any) -> Any:
    """Parsed JSON whose texts can all be written again: `"\\ud800"` is JSON, and no text any output could carry."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return [without_surrogates(item) for item in value] if isinstance(value, list) else value


def read(text: str) -> Card:
    """Takes a README.md apart. Never raises: what cannot be read is empty metadata and a note that says why."""
    if text.startswith("\ufeff"):
        return _hidden(text[1:], "there is a byte-order mark before the front matter")
    start = text.lstrip()
    if not start.startswith(("---\n", "---\r")):
        return _hidden(text, "there is text before the front matter") if "\n---" in text else Card({}, text)
    front_matter, body = _split(start)
    if front_matter is None:
        return _hidden(text, "the front matter is not closed by a line `---`")
    if len(front_matter) > LARGEST_FRONT_MATTER:
        why = f"the front matter is {len(front_matter):,} characters long: no metadata read"
        return Card({}, body, (why,), why)
    metadata, notes = yaml_text.mapping(front_matter, "the front matter")
    return Card(metadata, body, notes, notes[0] if notes and not metadata else None)


def body_of(text: str) -> str:
    """The text of a README.md below its front matter, which is not parsed."""
    start = text.lstrip("\ufeff \n\r\t")
    return _split(start)[1] if start.startswith("---") else text


def facts(card: Card, source: str = CARD) -> CardFacts:
    """What the metadata says in the catalog's own terms. Wrong types become a note or, where they may say something of
    license, parents or data, an `Unreadable`; nothing is read into them. `source` is where the metadata stood.
    """
    data = card.metadata
    notes = list(card.notes)
    unread = [] if card.unread is None else [Unreadable("front matter", card.unread, source)]
    words: dict[str, str | None] = {}
    for key in ("license_name", "license_link"):
        words[key] = _word(key, data.get(key), source, unread)
    for key in ("pipeline_tag", "library_name"):
        value = data.get(key)
        words[key] = value.strip() or None if isinstance(value, str) else None
        if value is not None and not isinstance(value, str):
            notes.append(f"{key} is {shown(value)}, not text: ignored")
    bases, datasets, tags = _listed(data, source, notes, unread)
    unread += _misspelt_licenses(data, source)
    return CardFacts(
        license=data.get("license"),
        license_name=words["license_name"],
        license_link=words["license_link"],
        base_models=bases,
        datasets=datasets,
        tags=tags,
        languages=_words(data.get("language")),
        pipeline_tag=words["pipeline_tag"],
        library=words["library_name"],
        gate_text=_gate_text(data),
        unreadable=tuple(unread),
        notes=tuple(notes),
    )


def _listed(
    data: Mapping[str, object], source: str, notes: list[str], unread: list[Unreadable]
) -> tuple[tuple[BaseModel, ...], tuple[str, ...], tuple[str, ...]]:
    """Parents, data sets and tags: the fields that list ids, under every spelling."""
    relation = data.get(RELATION)
    bases = list(base_models(data.get("base_model"), relation, source, unread))
    datasets: dict[str, None] = {}
    for key, value in data.items():
        plain = re.sub(r"[^a-z]", "", key.lower())
        if plain in _PARENT_KEYS and key != "base_model":
            bases += base_models(value, relation, source, unread, key)
        elif plain in _DATA_KEYS:
            datasets |= dict.fromkeys(id.removeprefix("datasets/") for id in _ids(key, value, source, unread))
    if relation is not None and not bases:
        unread.append(Unreadable(RELATION, shown(relation), source))
    elif relation is not None and _relation(relation) is None:
        notes.append(f"base_model_relation is {shown(relation)}, which the Hub does not define")
    tags = data.get("tags")
    if tags is not None and not isinstance(tags, str | list):
        notes.append(f"tags are {shown(tags)}, not a list of words")
    return tuple({base.id.lower(): base for base in reversed(bases)}.values())[::-1], tuple(datasets), _tags(tags)


def base_models(
    value: object, relation: object, source: str, unread: list[Unreadable], field: str = "base_model"
) -> tuple[BaseModel, ...]:
    """Declared parents in every form the Hub has them: an id, a link, a list, mappings that hold an id.

    What cannot be read is added to `unread`; several parents without a stated relation are a merge.
    """
    parents = _ids(field, value, source, unread)
    own = value.get("relation") if isinstance(value, Mapping) else None
    kind = _relation(relation) or _relation(own)
    return tuple(BaseModel(parent, kind or ("merge" if len(parents) > 1 else "unknown")) for parent in parents)


def _relation(value: object) -> Relation | None:
    return _RELATIONS.get(value.strip().lower()) if isinstance(value, str) else None


def _ids(field: str, value: object, source: str, unread: list[Unreadable]) -> list[str]:
    """The Hub ids, links and paths of a field that lists some, each once, from whatever shape it has."""
    found: dict[str, None] = {}

    def read(item: object, depth: int) -> None:
        if item is None or item is False or (isinstance(item, str) and item.strip().lower() in _NO_PARENT):
            return
        if isinstance(item, str):
            ids = _several(item)
            if any(len(id) > LONGEST_ID for id in ids):
                unread.append(Unreadable(field, shown(item[:100]), source))
            else:
                found.update(dict.fromkeys(ids))
        elif isinstance(item, list | tuple) and depth < DEEPEST_LIST:
            for inner in item[:MOST_IDS]:
                read(inner, depth + 1)
            if len(item) > MOST_IDS:
                unread.append(Unreadable(field, f"a list of {len(item):,}", source))
        elif isinstance(item, Mapping) and any(key in item for key in _ID_KEYS) and depth < DEEPEST_LIST:
            read(next(item[key] for key in _ID_KEYS if key in item), depth + 1)
        else:
            unread.append(Unreadable(field, shown(item) if depth < DEEPEST_LIST else "lists in lists", source))

    read(value, 0)
    return list(found)


def _several(text: str) -> list[str]:
    """One id as written, or the ids of a text that lists several: `org/one, org/two`."""
    words = [word for word in re.split(r"[,;\s]+", text.strip()) if word]
    if len(words) > 1 and all("/" in word for word in words) and not text.strip().startswith(("/", ".", "~")):
        return [hub_id(word) for word in words]
    return [hub_id(text)] if words else []


def _misspelt_licenses(data: Mapping[str, object], source: str) -> list[Unreadable]:
    """License fields that the Hub does not define (`License`, `licence`, `licenses`) and that differ from `license`.

    The Hub ignores them, so they grant nothing.
    """
    found = []
    for key, value in data.items():
        known = key in ("license", "license_name", "license_link")
        if not known and re.search("licen[cs]e", key, re.IGNORECASE) and value not in (None, "", data.get("license")):
            found.append(Unreadable(key, shown(value), source))
    return found


def _gate_text(data: Mapping[str, object]) -> str | None:
    """What the gate asks a person to agree to: its heading, its texts, and its form.

    The form is where "I agree to use this model for non-commercial use ONLY: checkbox" stands
    (https://huggingface.co/docs/hub/models-gated#customize-requested-information).
    """
    texts = [data.get(key) for key in ("extra_gated_heading", "extra_gated_prompt", "extra_gated_description")]
    form = data.get("extra_gated_fields")
    texts += list(form) if isinstance(form, Mapping) else form if isinstance(form, list) else [form]
    return "\n\n".join(str(text) for text in texts if text) or None


def hub_id(text: str) -> str:
    """An id as written, or the id inside a link to the Hub (`https://huggingface.co/org/name/tree/main`)."""
    text = text.strip().strip("\"'<>`")
    prefix = _HUB_URL.match(text)
    if prefix is None:
        return text.rstrip("/") or text
    path = re.split(r"[?#)\s]", text[prefix.end() :])[0].strip("/").split("/")
    return "/".join(path[:3] if path[0] == "datasets" else path[:2])


def _split(start: str) -> tuple[str | None, str]:
    """Front matter and body of a text that starts with `---`, at the first line that is `---` and nothing else, as
    huggingface_hub has it (repocard.py, REGEX_YAML_BLOCK). (None, text) where no such line follows.
    """
    at = start.find("\n---", 3 - 1)
    while at >= 0:
        after = start[at + 4 : at + 6]
        if after == "" or after.startswith("\n") or after == "\r\n":
            return start[3:at], start[at + 4 :].lstrip("\r\n")
        at = start.find("\n---", at + 1)
    return None, start


def _hidden(text: str, why: str) -> Card:
    """A card whose metadata the Hub cannot see, with a note of the license it meant to state."""
    found = _LICENSE_LINE.search(text[:20_000])
    if found is None:
        return Card({}, text)
    said = f"{why}: the Hub reads no metadata from this card; it says license: {found[1].strip()[:60]}"
    return Card({}, text, (said,), said)


def _word(key: str, value: object, source: str, unread: list[Unreadable]) -> str | None:
    if value is None or isinstance(value, str):
        return value.strip() or None if isinstance(value, str) else None
    unread.append(Unreadable(key, shown(value), source))
    return None


def _words(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(item.strip() for item in items if isinstance(item, str) and item.strip())


def _tags(value: object) -> tuple[str, ...]:
    """Tags; `- license: mit` without quotes is YAML for a mapping, and the tag "license:mit" all the same."""
    items = value if isinstance(value, list) else [value]
    words = [
        word
        for item in items
        for word in ([f"{key}:{inner}" for key, inner in item.items()] if isinstance(item, Mapping) else [item])
    ]
    return _words([re.sub(r"^(\w+):\s+", r"\1:", word) if isinstance(word, str) else word for word in words])
