"""Reads a TOML table into a frozen dataclass, and says exactly what is wrong when it cannot. Pure.

The dataclass is the schema: its annotations say which keys there are and what each may hold. Understood annotations:
str, bool, int, float, `IsoDate`, Literal, StrEnum, another dataclass, tuple[X, ...], Mapping[str, X], and unions.
"""

import re
import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from modelpick.errors import UsageError, nearest

IsoDate = NewType("IsoDate", str)  # written as a TOML date (2026-11-23) or as the same in quotes
_ISO_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
LARGEST = 10**18  # no count of users or dollars is larger; NaN and infinity are not below it
_LONGEST_SHOWN = 60  # characters of a wrong value repeated in an error

T = TypeVar("T")


def read(kind: type[T], table: object, where: str, code: str = "bad_policy_file") -> T:
    """`table` as a `kind`. `where` names the file (and the table inside it) in errors.

    Raises UsageError for a key that is not known (naming the key probably meant), a key that is missing, a value of
    the wrong type, not among the choices, not finite or negative.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: expected a table, found {_show(table)}", fix="see docs/policies.md", code=code)
    schema = _schema(cast(Hashable, kind))
    for key in table:
        if key not in schema:
            raise UsageError(
                f"{where}: unknown key {_show(key)}",
                fix=nearest(str(key), schema) or f"known keys: {', '.join(schema)}",
                code=code,
            )
    values = {}
    for key, (annotation, required) in schema.items():
        if key in table:
            values[key] = _value(annotation, table[key], where, key, code)
        elif required:
            raise UsageError(f"{where}: the key {key!r} is missing", fix=f"add {key} = ...", code=code)
    return kind(**values)


@cache
def _schema(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind)
    return {
        item.name: (hints[item.name], item.default is MISSING and item.default_factory is MISSING)
        for item in fields(kind)
        if item.init and not item.metadata.get("internal")
    }


def _value(annotation: Any, value: Any, where: str, key: str, code: str) -> Any:
    if annotation is str and isinstance(value, str):
        return value
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation), value, where, key, code)
    if origin is tuple and isinstance(value, list):
        inner = get_args(annotation)[0]
        return tuple(_value(inner, item, where, f"{key}[{i}]", code) for i, item in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        inner = get_args(annotation)[1]
        return {name: _value(inner, item, where, f"{key}.{name}", code) for name, item in value.items()}
    if isinstance(annotation, type) and is_dataclass(annotation):
        return read(annotation, value, f"{where}: [{key}]", code)
    if _fits_scalar(annotation, value):
        return _scalar(annotation, value)
    raise UsageError(f"{where}: {key} is {_show(value)}", fix=_wanted(annotation, value, key), code=code)


def _fits_scalar(annotation: Any, value: Any) -> bool:
    if annotation is IsoDate:
        return bool(_ISO_DATE.fullmatch(str(value)))
    if get_origin(annotation) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return value in [choice.value for choice in annotation]
    if annotation is bool or annotation is str:
        return isinstance(value, annotation)
    if annotation in (int, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and 0 <= value <= LARGEST and (annotation is float or value == int(value))
    return False


def _scalar(annotation: Any, value: Any) -> Any:
    if annotation is IsoDate:
        return str(value)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum | int | float) and annotation is not bool:
        return annotation(value)
    return value


def _union(choices: tuple[Any, ...], value: Any, where: str, key: str, code: str) -> Any:
    real = [choice for choice in choices if choice is not type(None)]
    for choice in real:
        if get_origin(choice) is None and not is_dataclass(choice) and _fits_scalar(choice, value):
            return _scalar(choice, value)
    return _value(real[0], value, where, key, code)


def _wanted(annotation: Any, value: Any, key: str) -> str:
    if get_origin(annotation) is Literal or (isinstance(annotation, type) and issubclass(annotation, StrEnum)):
        choices = [str(choice) for choice in (get_args(annotation) or list(annotation))]
        return nearest(str(value), choices) or f"{key} is one of {', '.join(choices)}"
    kinds = {
        str: "text in quotes", bool: "true or false", int: "a whole number, 0 or more", float: "a number, 0 or more",
        IsoDate: "a date such as 2026-11-23",
    }  # fmt: skip
    return f"{key} takes {kinds.get(annotation, 'a list in square brackets')}"


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[: _LONGEST_SHOWN - 3] + "..."
