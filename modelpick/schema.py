"""Reads a mapping into a frozen dataclass, says exactly what is wrong when it cannot, and writes it back. Pure.

The dataclass is the schema: its annotations say which keys there are and what each may hold. Understood annotations:
str, bool, int, float, Path, `IsoDate`, Literal, StrEnum, another dataclass, tuple[X, ...], tuple[X, Y],
Mapping[str, X], Any, and unions of them.

`Annotated` says the rest about a setting, once: Bounds, Pattern, Help, Source, FormerNames.

    rank: Annotated[int, Bounds(1, 65_536), Help("Rank of the adapters."), Source("LoRA, arXiv 2106.09685")] = 16
"""

import re
import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from modelpick.errors import UsageError, nearest

IsoDate = NewType("IsoDate", str)  # written as a TOML date (2026-11-23) or as the same in quotes
_ISO_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
LARGEST = 10**18  # no count of users or dollars is larger; NaN and infinity are not below it
_LONGEST_SHOWN = 60  # characters of a wrong value repeated in an error
_POLICY_FILE = "bad_policy_file"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest and the largest value of a number, both allowed unless `above` or `below` excludes them."""

    smallest: float = 0
    largest: float = LARGEST
    above: bool = False  # larger than `smallest`
    below: bool = False  # smaller than `largest`

    def allows(self, value: float) -> bool:
        """Whether `value` lies within; NaN never does."""
        low = value > self.smallest if self.above else value >= self.smallest
        return low and (value < self.largest if self.below else value <= self.largest)

    def __str__(self) -> str:
        low = f"above {_number(self.smallest)}" if self.above else f"from {_number(self.smallest)}"
        if self.largest == LARGEST:
            return low if self.above else f"{_number(self.smallest)} or more"
        if self.below:
            return f"{low} to below {_number(self.largest)}"
        return f"{low} {'and at most' if self.above else 'to'} {_number(self.largest)}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text must match `regex` as a whole; `wanted` says so in words ("a version number such as 4.42")."""

    regex: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Help:
    """What the setting does, in one sentence for `--help` and the documentation. `metavar` stands for its value.

    `default` says in words what happens where nothing is given; None: the field's own default.
    """

    text: str
    metavar: str = ""
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the default and the bounds come from: a paper, a document, a measurement, or the library that has them."""

    text: str


@dataclass(frozen=True, slots=True)
class FormerNames:
    """Keys under which older files hold the value. They are read; only the field's own name is written."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """All that is known about one field. `kind` is its type without None; `choices` are a Literal's or an enum's."""

    name: str
    kind: Any
    default: Any  # dataclasses.MISSING where the key is required
    optional: bool  # None is a value
    choices: tuple[str, ...]
    bounds: Bounds | None
    pattern: Pattern | None
    help: str
    metavar: str
    shown_default: str  # in words; "" where there is none to show
    source: str
    former_names: tuple[str, ...]
    notes: tuple[Any, ...]  # every mark of the annotation, also those that this module does not know

    @property
    def flag(self) -> str:
        """The option of the command line that sets it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def wanted(self) -> str:
        """What the setting takes, in words: "a whole number from 1 to 4096", "one of adamw, sgd"."""
        return _wanted(self.kind, self.bounds, self.pattern)


def read(kind: type[T], table: object, where: str = "", code: str = _POLICY_FILE, *, ignore_unknown: bool = False) -> T:
    """`table` as a `kind`. `where` names the file (and the table inside it) in errors; "" for no file.

    `ignore_unknown` drops keys that the dataclass has no field for, as a record of a newer version may hold. A
    dataclass whose `ignores_unknown` is True always does: it is a part of a larger table.
    Raises UsageError for a key that is not known (naming the key probably meant), a key that is missing, a value of
    the wrong type, not among the choices, not finite, or out of bounds (negative, where a number has no bounds).
    """
    if not isinstance(table, Mapping):
        fix = "see docs/policies.md" if code == _POLICY_FILE else "write keys and values"
        raise UsageError(f"{_prefix(where)}expected a table, found {_show(table)}", fix=fix, code=code)
    schema = _schema(cast(Hashable, kind))
    former = _former_names(cast(Hashable, kind))
    if former:
        table = current_names(kind, table)
    ignore_unknown = ignore_unknown or bool(getattr(kind, "ignores_unknown", False))
    for key in table:
        if key not in schema and not ignore_unknown:
            raise UsageError(
                f"{_prefix(where)}unknown key {_show(key)}",
                fix=nearest(str(key), schema) or f"use one of the known keys: {', '.join(schema)}",
                code=code,
            )
    values = {}
    for key, (parse, required) in schema.items():
        if key in table:
            values[key] = parse(table[key], where, key, code)
        elif required:
            raise UsageError(f"{_prefix(where)}the key {key!r} is missing", fix=f"add the key {key}", code=code)
    return kind(**values)


def read_value(kind: type, name: str, value: object, where: str = "", code: str | None = None) -> Any:
    """One value of the field `name` of a dataclass, checked as `read` checks it.

    Raises UsageError(code=code); without a code it is `unknown_NAME` for a value that is not among the choices, and
    `bad_NAME` for any other wrong value.
    """
    key = cast(Hashable, kind)
    if code is None:
        code = _codes(key)[name]
    return _schema(key)[name][0](value, where, name, code)


def read_options(kind: type, options: Mapping[str, object], unknown: str) -> dict[str, Any]:
    """The checked values of those fields that `options` names; None means: not given.

    What flags, a line of JSON, a run file and a job file have in common: all of them name settings, none names all.
    Raises UsageError as `read_value` does, and with the code `unknown` for a name that is not a field.
    """
    readers = _readers(cast(Hashable, kind))
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in readers:
            fields_now = _schema(cast(Hashable, kind))
            fix = nearest(name, fields_now) or f"use one of {', '.join(fields_now)}"
            raise UsageError(f"{name!r} is not a setting", fix=fix, code=unknown)
        current, parse, code = readers[name]
        if value is not None and (current == name or options.get(current) is None):
            values[current] = parse(value, "", current, code)
    return values


def current_names(kind: type, options: Mapping[str, T]) -> dict[str, T]:
    """`options` under the names that the fields have today; a value under the current name wins."""
    former = _former_names(cast(Hashable, kind))
    renamed = {former[name]: value for name, value in options.items() if name in former}
    return renamed | {name: value for name, value in options.items() if name not in former}


def settings_of(kind: type) -> tuple[Setting, ...]:
    """Every field of a dataclass, in its order, with what its annotation says about it."""
    return _settings(cast(Hashable, kind))


def to_json(record: Any) -> dict[str, Any]:
    """A dataclass as JSON has it: fields in their order, tuples as lists, paths and enums as text.

    `read` takes it back. Fields marked `metadata={"internal": True}` are left out.
    """
    return {name: _plain(getattr(record, name)) for name in _names(cast(Hashable, type(record)))}


_ATOMS = frozenset((str, int, float, bool, type(None)))


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is tuple or kind is list:
        return [_plain(item) for item in value]
    if is_dataclass(kind):
        return to_json(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, frozenset | set):
        return sorted(_plain(item) for item in value)
    return value


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind) if not item.metadata.get("internal"))


Parse = Callable[[Any, str, str, str], Any]  # value, where, key, code -> value


@cache
def _schema(kind: Any) -> dict[str, tuple[Parse, bool]]:
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: (_parser(hints[item.name]), _default(item) is MISSING) for item in _readable(kind)}


@cache
def _settings(kind: Any) -> tuple[Setting, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_setting(item, hints[item.name]) for item in _readable(kind))


@cache
def _readers(kind: Any) -> dict[str, tuple[str, Parse, str]]:
    """Every name a setting is read under: the field's own name, its reader, and the error code of a wrong value."""
    schema, codes = _schema(kind), _codes(kind)
    names = {name: name for name in schema} | _former_names(kind)
    return {name: (current, schema[current][0], codes[current]) for name, current in names.items()}


@cache
def _codes(kind: Any) -> dict[str, str]:
    return {item.name: f"{'unknown' if item.choices else 'bad'}_{item.name}" for item in _settings(kind)}


@cache
def _former_names(kind: Any) -> dict[str, str]:
    return {former: setting.name for setting in _settings(kind) for former in setting.former_names}


def _readable(kind: Any) -> "list[Field[Any]]":
    return [item for item in fields(kind) if item.init and not item.metadata.get("internal")]


def _default(item: "Field[Any]") -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _setting(item: "Field[Any]", annotation: Any) -> Setting:
    notes: list[Any] = []
    kind, optional = annotation, False
    while True:  # Annotated and None may be nested either way: Annotated[int, ...] | None, Annotated[int | None, ...]
        if get_origin(kind) is Annotated:
            notes += kind.__metadata__
            kind = get_args(kind)[0]
        elif _is_union(kind) and type(None) in get_args(kind) and len(get_args(kind)) == 2:
            kind, optional = next(choice for choice in get_args(kind) if choice is not type(None)), True
        else:
            break
    return Setting(
        name=item.name,
        kind=kind,
        default=_default(item),
        optional=optional,
        choices=_choices(kind),
        bounds=_note(notes, Bounds),
        pattern=_note(notes, Pattern),
        help=help_note.text if (help_note := _note(notes, Help)) else "",
        metavar=help_note.metavar if help_note else "",
        shown_default=_shown_default(item, help_note),
        source=source.text if (source := _note(notes, Source)) else "",
        former_names=former.names if (former := _note(notes, FormerNames)) else (),
        notes=tuple(notes),
    )


def _shown_default(item: "Field[Any]", help_note: Help | None) -> str:
    if help_note is not None and help_note.default is not None:
        return help_note.default
    default = _default(item)
    if default is MISSING or default is None or isinstance(default, bool | Mapping | tuple):
        return ""
    return f"{default:g}" if isinstance(default, float) else str(default)


def _note(notes: list[Any], kind: type[T]) -> T | None:
    return next((note for note in notes if isinstance(note, kind)), None)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _choices(kind: Any) -> tuple[str, ...]:
    if get_origin(kind) is Literal:
        return tuple(str(choice) for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return tuple(choice.value for choice in kind)
    return ()


def _parser(annotation: Any, notes: tuple[Any, ...] = ()) -> Parse:
    """The function that checks a value of `annotation`. Made once a field, so that reading costs no inspection."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parser(get_args(annotation)[0], (*annotation.__metadata__, *notes))
    if _is_union(annotation):
        return _union_parser(get_args(annotation), notes)
    if annotation is Any or annotation is object:
        return lambda value, where, key, code: value
    if origin in (tuple, list):
        return _sequence_parser(annotation, get_args(annotation), notes)
    if origin in (Mapping, dict):
        return _mapping_parser(annotation, get_args(annotation)[1], notes)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return lambda value, where, key, code: read(annotation, value, f"{_prefix(where)}[{key}]", code)
    return _scalar_parser(annotation, notes)


def _scalar_parser(annotation: Any, notes: tuple[Any, ...]) -> Parse:
    bounds = _note(list(notes), Bounds)
    pattern = _note(list(notes), Pattern)
    matches = re.compile(pattern.regex).fullmatch if pattern else None
    convert = _converter(annotation)

    def parse(value: Any, where: str, key: str, code: str) -> Any:
        if _fits(annotation, value, bounds) and (matches is None or matches(value)):
            return convert(value) if convert else value
        fix = nearest(str(value), _choices(annotation)) or f"set {key} to {_wanted(annotation, bounds, pattern)}"
        raise UsageError(f"{_prefix(where)}{key} is {_show(value)}", fix=fix, code=code)

    return parse


def _sequence_parser(annotation: Any, inner: tuple[Any, ...], notes: tuple[Any, ...]) -> Parse:
    make = get_origin(annotation)
    repeated = make is list or inner[-1] is Ellipsis
    parsers = [_parser(item, notes) for item in inner if item is not Ellipsis]

    def parse(value: Any, where: str, key: str, code: str) -> Any:
        if not isinstance(value, list | tuple) or not (repeated or len(value) == len(parsers)):
            wanted = "a list in square brackets" if repeated else f"a list of {len(parsers)} values"
            raise UsageError(f"{_prefix(where)}{key} is {_show(value)}", fix=f"set {key} to {wanted}", code=code)
        of = parsers * len(value) if repeated else parsers
        return make(of[i](item, where, f"{key}[{i}]", code) for i, item in enumerate(value))

    return parse


def _mapping_parser(annotation: Any, inner: Any, notes: tuple[Any, ...]) -> Parse:
    parse_item = _parser(inner, notes)

    def parse(value: Any, where: str, key: str, code: str) -> Any:
        if not isinstance(value, Mapping):
            fix = f"set {key} to a table of names and values"
            raise UsageError(f"{_prefix(where)}{key} is {_show(value)}", fix=fix, code=code)
        return {name: parse_item(item, where, f"{key}.{name}", code) for name, item in value.items()}

    return parse


def _union_parser(choices: tuple[Any, ...], notes: tuple[Any, ...]) -> Parse:
    """The first member whose kind of value it is; where none takes it, the first member says what is wrong."""
    members = [choice for choice in choices if choice is not type(None)]
    optional = len(members) < len(choices)
    parsers = [_parser(choice, notes) for choice in members]
    if len(parsers) == 1:
        only = parsers[0]
        return lambda value, where, key, code: None if optional and value is None else only(value, where, key, code)

    def parse(value: Any, where: str, key: str, code: str) -> Any:
        if optional and value is None:
            return None
        problem: UsageError | None = None
        for member in parsers:
            try:
                return member(value, where, key, code)
            except UsageError as error:
                problem = problem or error
        assert problem is not None  # a union has members
        raise problem

    return parse


def _fits(annotation: Any, value: Any, bounds: Bounds | None) -> bool:
    if annotation is bool or annotation is str:
        return isinstance(value, annotation)
    if annotation in (int, float):
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        within = bounds.allows(value) if bounds else 0 <= value <= LARGEST
        return within and (annotation is float or value == int(value))
    if annotation is IsoDate:
        return bool(_ISO_DATE.fullmatch(str(value)))
    if get_origin(annotation) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return value in [choice.value for choice in annotation]
    if isinstance(annotation, type) and issubclass(annotation, Path):
        return isinstance(value, str | Path) and str(value) != ""
    return False


def _converter(annotation: Any) -> Callable[[Any], Any] | None:
    if annotation is IsoDate:
        return str
    if isinstance(annotation, type) and issubclass(annotation, StrEnum | int | float | Path) and annotation is not bool:
        return annotation
    return None


def _wanted(annotation: Any, bounds: Bounds | None, pattern: Pattern | None) -> str:
    if choices := _choices(annotation):
        return f"one of {', '.join(choices)}"
    if pattern is not None:
        return pattern.wanted
    if annotation in (int, float):
        noun = "a whole number" if annotation is int else "a number"
        return f"{noun}, 0 or more" if bounds is None else f"{noun} {bounds}"
    words = {str: "text in quotes", bool: "true or false", IsoDate: "a date such as 2026-11-23", Path: "a path"}
    if get_origin(annotation) in (Mapping, dict) or is_dataclass(annotation):
        return "a table of names and values"
    return words.get(annotation, "a list in square brackets")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _prefix(where: str) -> str:
    return f"{where}: " if where else ""


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."
