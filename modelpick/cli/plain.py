"""Commands whose options are text that is taken as it was typed: what it means is checked by the command itself.

typer builds a pydantic validator for every option, typed or not, which takes longer than all our own imports.
"""

from collections.abc import Callable, Iterable
from typing import Any

from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command of one name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does, with the validators that are needed."""
        _take_as_typed(self.get_params(ctx))
        return super().parse_args(ctx, args)


class PlainGroup(TyperGroup):
    """A group of commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does, with the validators that are needed."""
        _take_as_typed(self.get_params(ctx))
        return super().parse_args(ctx, args)


def _take_as_typed(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        validator = getattr(parameter, "get_runtime_param", None)
        if validator is not None:
            parameter.get_runtime_param = lambda own=validator: _AsTyped(own)


class _AsTyped:
    """Stands in for typer's validator of one parameter; `own` makes that one, for all but absent options and text."""

    def __init__(self, own: Callable[[], Any]) -> None:
        self.own = own

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value as it was typed. Raises what typer does for text that is not Unicode."""
        single = param.nargs == 1 and not param.multiple
        if single and (value is None or (_is_unicode(value) and param.type_descriptor.annotation is str)):
            return value
        return self.own().coerce(value, param=param, ctx=ctx)


def _is_unicode(value: Any) -> bool:
    """Whether a value is text without lone surrogates, which stand for bytes that are not UTF-8."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
