"""Options that several commands share, and the one way a command is registered.

A setting (a field of Workload or RunSettings) becomes an option by `option`, or with its like by `Flags`; what is typed
for it is checked as it is in a file or a line of JSON, and refused in the same sentence.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, get_args, get_origin

import typer

from modelpick.cli.output import Output
from modelpick.cli.plain import PlainCommand
from modelpick.errors import UsageError, nearest
from modelpick.schema import Setting, read_value, settings_of
from modelpick.settings import SettingsFile
from modelpick.workload import AlsoFlag, Workload

_COMMON: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("as_json", "json", ("--json",), "Print one JSON object."),
    ("quiet", "quiet", ("-q", "--quiet"), "Print only the answer."),
    ("verbose", "verbose", ("-v", "--verbose"), "Print more on stderr."),
    ("debug", "debug", ("--debug",), "Write an error log."),
)


_LONGEST_METAVAR = 32  # characters of choices shown in place of a letter


Choice = TypeVar("Choice", bound=str)


class Flags:
    """Marks a parameter of a command that stands for settings: a mapping of names to values, None where not typed.

        work: Annotated[Mapping[str, object], Flags(Workload, "method", "context")]

    Without names: all settings of `kind`, but for those in `without`.
    """

    def __init__(self, kind: type, *names: str, without: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.names = names or tuple(item.name for item in settings_of(kind) if item.name not in without)

    def parameters(self) -> list[inspect.Parameter]:
        """The options, as parameters of the command."""
        return [
            _parameter(name, Annotated[_typed_as(setting(self.kind, name)), option(self.kind, name)], None)
            for name in self.names
        ]

    def take(self, values: dict[str, object]) -> dict[str, object]:
        """Removes what was typed for these settings from `values`, and returns it checked. Raises UsageError."""
        return {name: typed(self.kind, name, values.pop(name)) for name in self.names}


def setting(kind: type, name: str) -> Setting:
    """The setting `name` of a dataclass."""
    return next(item for item in settings_of(kind) if item.name == name)


def option(kind: type, name: str) -> Any:
    """The option of a setting: its flag, its help, its default and its choices come from the field."""
    field = setting(kind, name)
    choices = "|".join(field.choices)
    shown = field.kind is not bool and 0 < len(choices) <= _LONGEST_METAVAR
    text = field.help
    if choices and not shown and field.choices[-1] not in text:
        text = f"{text.rstrip('.')}: {', '.join(field.choices)}."
    if field.shown_default:
        text += f" Default: {field.shown_default}."
    if field.kind is bool:
        return typer.Option(f"{field.flag}/--no-{field.flag[2:]}", help=text)
    flags = (field.flag, *(note.flag for note in field.notes if isinstance(note, AlsoFlag)))
    return typer.Option(*flags, metavar=choices if shown else field.metavar or name.upper(), help=text)


def typed(kind: type, name: str, text: Any) -> Any:
    """What was typed for a setting, as a value of the setting; None where nothing was. Raises UsageError."""
    if text is None:
        return None
    field = setting(kind, name)
    if field.kind not in (int, float):
        return read_value(kind, name, text)
    return read_value(kind, name, _as_number(text), code="bad_number")


def _as_number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _typed_as(field: Setting) -> Any:
    return bool | None if field.kind is bool else str | None


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function `f(out: Output, ...)` as a command that also takes --json, -q, -v and --debug.

    A parameter marked by `Flags` stands for settings. One whose annotation is a dataclass stands for its fields, each
    of them an option: how commands share options that are not settings.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        listed = [parameter for key, parameter in inspect.signature(function).parameters.items() if key != "out"]
        groups: dict[str, type] = {
            parameter.name: parameter.annotation
            for parameter in listed
            if isinstance(parameter.annotation, type) and dataclasses.is_dataclass(parameter.annotation)
        }
        flags = {parameter.name: mark for parameter in listed if (mark := _flags_of(parameter.annotation))}

        @functools.wraps(function)
        def run(**values: Any) -> None:
            out = Output(**{field: values.pop(name) for field, name, _, _ in _COMMON})
            for name, group in groups.items():
                values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
            for name, mark in flags.items():
                values[name] = mark.take(values)
            function(out, **values)

        parameters: list[inspect.Parameter] = []
        for parameter in listed:
            if parameter.name in flags:
                parameters += flags[parameter.name].parameters()
            elif parameter.name in groups:
                fields = dataclasses.fields(groups[parameter.name])
                parameters += [_parameter(field.name, field.type, field.default) for field in fields]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        for _, key, names, text in _COMMON:
            parameters.append(_parameter(key, Annotated[bool, typer.Option(*names, help=text)], False))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, cls=PlainCommand)(run)
        return function

    return wrap


def _flags_of(annotation: Any) -> Flags | None:
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, Flags)), None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def whole_number(flag: str, text: str | None, *, smallest: int = 1, largest: int = 10**15) -> int | None:
    """A whole number typed for `flag`, or None when it was not given. Raises UsageError."""
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError:
        value = smallest - 1
    if not smallest <= value <= largest:
        raise UsageError(
            f"{flag} is {text!r}", fix=f"give a whole number from {smallest} to {largest}", code="bad_number"
        )
    return value


def amount(flag: str, text: str | None) -> float | None:
    """A positive finite amount typed for `flag`, or None when it was not given. Raises UsageError."""
    return _number(flag, text, lambda value: 0 < value < math.inf, "a number above zero")


def fraction(flag: str, text: str | None) -> float | None:
    """A share above 0 and at most 1 typed for `flag`, or None when it was not given. Raises UsageError."""
    return _number(flag, text, lambda value: 0 < value <= 1, "a share above zero and at most 1")


def _number(flag: str, text: str | None, meant: Callable[[float], bool], wanted: str) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not meant(value):  # which no comparison with NaN is
        raise UsageError(f"{flag} is {text!r}", fix=f"give {wanted}", code="bad_number")
    return value


def not_both(flag: str, value: object, other: str, other_value: object) -> None:
    """Raise UsageError when two options that exclude each other were both given."""
    if value is not None and other_value is not None:
        raise UsageError(f"{flag} and {other} contradict each other", fix="give one of them", code="contradiction")


def one_of(flag: str, value: str, choices: Sequence[Choice]) -> Choice:
    """The value typed for `flag`, which is one of `choices`. Raises UsageError that names the nearest."""
    for choice in choices:
        if choice == value:
            return choice
    fix = nearest(value, choices) or f"use one of {', '.join(choices)}"
    raise UsageError(f"unknown {flag} {value!r}", fix=fix, code=f"unknown_{flag.strip('-')}")


def policy_asked(commercial: bool, policy: str | None) -> str | None:
    """The policy that --commercial or --policy names; None for the settings' own. Raises UsageError for two of them."""
    if commercial:
        not_both("--commercial", commercial, f"--policy {policy}", None if policy == "commercial" else policy)
    return "commercial" if commercial else policy


def parameter_count(flag: str, text: str | None) -> int | None:
    """A number of parameters: `7000000000`, `7B`, `350M`. Raises UsageError."""
    if text is None:
        return None
    scales = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
    digits, scale = (text[:-1], scales[text[-1].lower()]) if text[-1:].lower() in scales else (text, 1.0)
    value = amount(flag, digits.strip() or "?")
    assert value is not None
    if value * scale > 1e18:
        raise UsageError(f"{flag} is {text!r}", fix="give a number of parameters such as 7B", code="bad_number")
    return int(value * scale)


Offline = Annotated[bool, typer.Option("--offline", help="Make no network calls.")]
PolicyName = Annotated[str | None, option(SettingsFile, "policy")]
Region = Annotated[str | None, option(SettingsFile, "region")]
Instance = Annotated[str | None, typer.Option("--instance", metavar="TYPE", help="Instance type, e.g. g5.xlarge.")]
MaxUsdPerHour = Annotated[
    str | None, typer.Option("--max-usd-per-hour", metavar="X", help="Most dollars an hour for the machine.")
]
Data = Annotated[str | None, typer.Option("--data", metavar="FILE", help="Training data, to count its tokens.")]
Family = Annotated[
    str | None,
    typer.Option("--family", metavar="any|g5|...", help="Instance families, comma-joined. Default: the G ones."),
]

# The settings of a workload that a command takes to plan, cost or run a model.
RUN = ("method", "objective", "context", "batch", "gpus", "generate", "stack", "dtype")
Run = Annotated[Mapping[str, object], Flags(Workload, *RUN)]
