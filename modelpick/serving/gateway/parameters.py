"""Which parameters a server honours, from data/request_parameters.toml; everything else is refused by its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from modelpick import files, schema
from modelpick.serving.gateway import values
from modelpick.serving.gateway.config import ServedTask
from modelpick.serving.gateway.refusal import Refused, bad

EndpointName = Literal["chat", "completions", "embeddings", "rerank", "score", "responses"]
EngineKey = Literal["vllm", "transformers", "llama.cpp"]
_Bound = Annotated[float | None, schema.Bounds(-schema.LARGEST)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One request parameter and what it may hold.

    `neutral`: values that ask for nothing. `off`: values that turn it off, which ask for nothing where it is not there.
    `label`: the endpoints where every server may have it, since nothing of an answer depends on it. `needs`: the
    parameter without which it would have no effect. `least`, `above`, `most`: bounds of a number; `count`: of a list's
    length; `longest`: of a text's.
    """

    name: str
    kind: values.Kind
    least: _Bound = None
    above: _Bound = None
    most: _Bound = None
    count: int | None = None
    longest: int | None = None
    neutral: tuple[Any, ...] = ()
    off: tuple[Any, ...] = ()
    label: tuple[EndpointName, ...] = ()
    needs: str | None = None

    def asks(self, value: object, *, honoured: bool) -> bool:
        """Whether `value` asks for something of a server that does (`honoured`) or does not have the parameter."""
        return value is not None and not _among(value, self.neutral if honoured else (*self.neutral, *self.off))

    def require(self, value: object) -> None:
        """Raises Refused where `value` is of another type or out of bounds."""
        values.require(self.kind, self.name, value, count=self.count, longest=self.longest)
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._require_within(self.name, value)
        if self.kind == "biases" and isinstance(value, dict):
            for token, bias in value.items():
                self._require_within(f"{self.name}.{token}", bias)

    def _require_within(self, name: str, value: float) -> None:
        if self.least is not None and value < self.least:
            raise bad(name, f"{name} must be at least {self.least:g}")
        if self.above is not None and value <= self.above:
            raise bad(name, f"{name} must be above {self.above:g}")
        if self.most is not None and value > self.most:
            raise bad(
                name,
                f"{name} must be at most {self.most:.0f}"
                if self.most >= 100
                else f"{name} must be at most {self.most:g}",
            )


def _among(value: object, listed: tuple[Any, ...]) -> bool:
    """Whether it is one of them; false is not 0, as in JSON."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in listed)


@dataclass(frozen=True, slots=True)
class RequestEndpoint:
    """A path of an API, what a request there must name, and which servers have it when they are started for `task`."""

    name: EndpointName
    path: str
    required: tuple[str, ...]
    engines: tuple[EngineKey, ...]
    source: str
    task: ServedTask = "generate"


@dataclass(frozen=True, slots=True)
class Honoured:
    """Parameters that a version of a server does as asked. `source` is the file of its code that says so."""

    engine: EngineKey
    version: str
    endpoints: tuple[EndpointName, ...]
    names: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class NotHonoured:
    """Why a server does not do what a parameter asks, where its name alone does not say it."""

    engine: EngineKey
    names: tuple[str, ...]
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class RequestTable:
    """The whole of data/request_parameters.toml."""

    endpoint: tuple[RequestEndpoint, ...]
    parameter: tuple[Parameter, ...]
    honours: tuple[Honoured, ...]
    refuses: tuple[NotHonoured, ...]


@dataclass(frozen=True, slots=True)
class RequestRules:
    """What one server does at one endpoint. `version` is the server's, of whose code the rules are.

    `why` tells why a parameter is not honoured, by its name, or one form of it: `tool_choice.required`.
    """

    engine: str
    version: str
    endpoint: RequestEndpoint
    known: Mapping[str, Parameter]
    honoured: frozenset[str]
    why: Mapping[str, str]

    def check(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body without what asks for nothing. Raises Refused for the first parameter that is not to pass."""
        checked: dict[str, Any] = {}
        for name, value in body.items():
            parameter = self.known.get(name)
            if parameter is None:
                raise bad(name, f"unknown parameter: {name}", "unknown_parameter")
            honoured = name in self.honoured
            if not parameter.asks(value, honoured=honoured):
                continue
            if not honoured:
                raise self._not_honoured(name)
            parameter.require(value)
            if (form := f"{name}.{_form(value)}") in self.why:
                raise self._not_honoured(name, form)
            checked[name] = value
        for name in self.endpoint.required:
            if name not in checked:
                raise bad(name, f"{name} is missing", "missing_required_parameter")
        for name in checked:
            if (other := self.known[name].needs) is not None and other not in checked:
                raise bad(name, f"{name} has no effect without {other}")
        return checked

    def _not_honoured(self, name: str, form: str | None = None) -> Refused:
        why = self.why.get(form or name)
        said = f"{form or name} is not supported by this server ({self.engine} {self.version})" + (
            f": {why}" if why else ""
        )
        return bad(name, said, "unsupported_parameter")


def _form(value: object) -> str:
    """What a value says in one word: itself, or the type that an object names."""
    named = value.get("type", "") if isinstance(value, dict) else value
    return named if isinstance(named, str) else ""


@cache
def table() -> RequestTable:
    """The embedded table. Raises UsageError where it is damaged."""
    path = files.data_file("serving", "request_parameters.toml")
    return schema.read(RequestTable, files.read_toml(path, code="bad_data"), str(path), code="bad_data")


def endpoints() -> Mapping[str, RequestEndpoint]:
    """Every endpoint that is known, by its path."""
    return {endpoint.path: endpoint for endpoint in table().endpoint}


def rules(engine: str, endpoint: str, refused: Mapping[str, str] | None = None) -> RequestRules:
    """What `engine` does at `endpoint`. `refused`: parameters, or forms of one (`tool_choice.required`), that it does
    not do for this model, and why."""
    whole, refused = table(), refused or {}
    known = {parameter.name: parameter for parameter in whole.parameter}
    mine = [row for row in whole.honours if row.engine == engine and endpoint in row.endpoints]
    names = {name for row in mine for name in row.names}
    names |= {parameter.name for parameter in whole.parameter if endpoint in parameter.label}
    why = {name: row.why for row in whole.refuses if row.engine == engine for name in row.names}
    return RequestRules(
        engine=engine,
        version=mine[0].version if mine else "",
        endpoint=next(one for one in whole.endpoint if one.name == endpoint),
        known=known,
        honoured=frozenset(names - refused.keys()),
        why={**why, **refused},
    )
