"""Settings as keys and values, whatever the format: which of them are models. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from modelpick.audit.hits import AuditHit, Place
from modelpick.audit.names import url_pattern
from modelpick.audit.readers import shell
from modelpick.audit.readers.commands import Word, in_command
from modelpick.audit.rules import Rules, plain


@dataclass(frozen=True, slots=True)
class Entry:
    """One string value: the keys that lead to it, where it starts, and which object and list it belongs to."""

    keys: tuple[str, ...]
    text: str
    line: int
    column: int
    owner: int  # equal for the values of one object
    in_list: bool = False
    indent: int = 0  # columns that every further line of a block text is moved to the right


@dataclass(slots=True)
class _Object:
    """The values of one object that say something about their neighbours."""

    revision: str | None = None
    other_kind: bool = False
    setting: str | None = None  # {name: MODEL_ID, value: ...}
    commands: dict[str, list[Entry]] = field(default_factory=dict)


def candidates(entries: Iterable[Entry], rules: Rules) -> Iterator[AuditHit]:
    """The candidates among all values of a file."""
    everything = list(entries)
    objects: dict[int, _Object] = {}
    for entry in everything:
        _note(objects.setdefault(entry.owner, _Object()), entry, rules)
    url = url_pattern(rules)
    for entry in everything:
        about = objects[entry.owner]
        words = {word for key in entry.keys for word in plain(key).split("_")}
        holds_data = any(rules.names_data(key) for key in entry.keys[-1:])
        if about.other_kind or holds_data or words & rules.words["data_words"]:
            if "/" in entry.text and len(entry.text) <= 96:
                place: Place = "url" if url.fullmatch(entry.text) else "data"
                yield AuditHit(entry.text, entry.line, entry.column, place, entry.keys[-1] if entry.keys else "string")
            continue
        key = _model_key(entry, about, rules)
        if url.fullmatch(entry.text):
            yield AuditHit(entry.text, entry.line, entry.column, "url", key or "Hub address", about.revision)
        elif key is not None:
            yield AuditHit(entry.text, entry.line, entry.column, "named", key, about.revision)
        elif "/" in entry.text and len(entry.text) <= 96:
            yield AuditHit(entry.text, entry.line, entry.column, "anywhere", entry.keys[-1] if entry.keys else "string")
    for about in objects.values():
        for key, values in about.commands.items():
            yield from _in_commands(key, values, rules)


def _note(about: _Object, entry: Entry, rules: Rules) -> None:
    key = plain(entry.keys[-1]) if entry.keys else ""
    words = rules.words
    if key in words["revision_keys"]:
        about.revision = entry.text
    elif key in words["kind_keys"] and entry.text.lower() in words["other_kinds"]:
        about.other_kind = True
    elif key in words["pair_name_keys"] and rules.names_model(entry.text):
        about.setting = entry.text
    # A list item such as MODEL_ID=org/name is a small command too.
    if key in words["command_keys"] or (entry.in_list and "=" in entry.text):
        about.commands.setdefault(key, []).append(entry)


def _model_key(entry: Entry, about: _Object, rules: Rules) -> str | None:
    """What names the value as a model: its key, its parent's key, or the setting it is the value of."""
    if not entry.keys:
        return None
    key = entry.keys[-1]
    if rules.names_model(key):
        return key
    if about.setting is not None and plain(key) in rules.words["pair_value_keys"]:
        return about.setting
    parent = entry.keys[-2] if len(entry.keys) > 1 else ""
    # models: {small: org/a, large: org/b}
    several = plain(parent).rpartition("_")[2] == "models"
    if rules.names_model(parent) and (several or plain(key) in rules.words["child_keys"]):
        return f"{parent}.{key}"
    return None


def _in_commands(key: str, values: list[Entry], rules: Rules) -> Iterator[AuditHit]:
    """A list of words is one command; a string is a script, its lines counted from where it starts."""
    if all(value.in_list for value in values) and key in rules.words["command_keys"] | {""}:
        yield from in_command([Word(value.text, value.line, value.column) for value in values], rules)
    for value in values:
        if not value.in_list or " " in value.text or "=" in value.text:
            for found in shell.read(value.text, rules):
                if isinstance(found, AuditHit):
                    yield placed(found, value)


def placed(found: AuditHit, inside: Entry) -> AuditHit:
    """A candidate of an inner text at its line and column in the file."""
    return AuditHit(
        found.text,
        inside.line + found.line - 1,
        found.column + (inside.column - 1 if found.line == 1 else inside.indent),
        found.place, found.how, found.revision, found.bare, found.organisation,
    )  # fmt: skip
