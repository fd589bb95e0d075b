"""Options that several commands share, and the one way a command is registered.

Numbers arrive as text and are read here, so a flag, a `--cases` line and a settings file complain alike.
"""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from modelpick.cli.output import Output
from modelpick.errors import UsageError

_COMMON: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("as_json", "json", ("--json",), "Answer as one JSON object."),
    ("quiet", "quiet", ("-q", "--quiet"), "Say nothing but the answer."),
    ("verbose", "verbose", ("-v", "--verbose"), "Say more on stderr."),
    ("debug", "debug", ("--debug",), "Write a log of what went wrong."),
)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function `f(out: Output, ...)` as a command that also takes --json, -q, -v and --debug.

    A parameter whose annotation is a dataclass stands for its fields, each of them an option: how commands share them.
    """

    def wrap(function: Callable[..., None]) -> Callable[..., None]:
        listed = [parameter for key, parameter in inspect.signature(function).parameters.items() if key != "out"]
        groups: dict[str, Any] = {
            one.name: one.annotation for one in listed if dataclasses.is_dataclass(one.annotation)
        }

        @functools.wraps(function)
        def run(**values: Any) -> None:
            out = Output(**{field: values.pop(name) for field, name, _, _ in _COMMON})
            for name, group in groups.items():
                values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
            function(out, **values)

        own = [one for each in listed for one in (_options_of(each.annotation) if each.name in groups else [each])]
        shared = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False,
                annotation=Annotated[bool, typer.Option(*flags, help=text)],
            )
            for _, name, flags, text in _COMMON
        ]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name)(run)
        return function

    return wrap


def _options_of(group: Any) -> list[inspect.Parameter]:
    """The fields of a group of options as parameters of a command."""
    return [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in dataclasses.fields(group)
    ]


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


def chance(flag: str, text: str | None) -> float | None:
    """A share from 0 to below 1 typed for `flag`, or None when it was not given. Raises UsageError."""
    return _number(flag, text, lambda value: 0 <= value < 1, "a share from 0 to below 1")


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


# The most that anybody could mean, by the workload's name; below it the core says what is too much, and why.
_COUNTED: dict[str, tuple[int, int]] = {
    "context": (1, 100_000_000),
    "generate": (0, 100_000_000),
    "batch": (1, 1_000_000),
    "lora_rank": (1, 65_536),
    "gradient_accumulation": (1, 1_000_000),
    "gpus": (1, 4096),
}
_SHARES: Mapping[str, Callable[[str, str | None], float | None]] = {
    "gpu_memory_utilization": fraction, "lora_dropout": chance,
}  # fmt: skip


def _read(name: str, typed: Any) -> Any:
    """What was typed for a workload's name: counts and shares read, words and switches as they are."""
    flag = f"--{name.replace('_', '-')}"
    if name in _COUNTED:
        smallest, largest = _COUNTED[name]
        return whole_number(flag, typed, smallest=smallest, largest=largest)
    return _SHARES[name](flag, typed) if name in _SHARES else typed


def not_both(flag: str, value: object, other: str, other_value: object) -> None:
    """Raise UsageError when two options that exclude each other were both given."""
    if value is not None and other_value is not None:
        raise UsageError(f"{flag} and {other} contradict each other", fix="give one of them", code="contradiction")


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


Offline = Annotated[bool, typer.Option("--offline", help="Make no network call at all.")]
PolicyName = Annotated[
    str | None, typer.Option("--policy", metavar="NAME|FILE", help="License policy. Default: commercial.")
]
Region = Annotated[str | None, typer.Option("--region", metavar="R", help="AWS region. Default: us-east-1.")]
Task = Annotated[str | None, typer.Option("--task", metavar="serve|finetune", help="What the model is to do.")]
Method = Annotated[
    str | None,
    typer.Option(
        "--method", metavar="M", help="bf16, int8, nf4, gptq, awq, fp8, mxfp4, gguf; full, lora, lora-int8, qlora."
    ),
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="N", help="Prompt tokens (serve) or tokens per sequence (finetune).")
]
Batch = Annotated[str | None, typer.Option("--batch", metavar="N", help="Concurrent sequences, or the micro-batch.")]
Stack = Annotated[
    str | None,
    typer.Option("--stack", metavar="S", help="transformers, trl, llama-factory, litgpt, torchtune, vllm."),
]
Dtype = Annotated[str | None, typer.Option("--dtype", metavar="bf16|fp16|fp32", help="Compute type.")]
Gpus = Annotated[str | None, typer.Option("--gpus", metavar="N", help="GPUs the model is sharded over.")]
Instance = Annotated[str | None, typer.Option("--instance", metavar="TYPE", help="One instance type, e.g. g5.xlarge.")]
Data = Annotated[str | None, typer.Option("--data", metavar="FILE", help="Training data: its tokens are counted.")]
Epochs = Annotated[str | None, typer.Option("--epochs", metavar="X", help="Passes over the data.")]
Family = Annotated[
    str | None,
    typer.Option("--family", metavar="any|g5|...", help="Instance families, comma-joined. Default: the G ones."),
]


@dataclasses.dataclass(frozen=True)
class WorkloadOptions:
    """The options that say what a model is asked to do: each field is a name of the workload."""

    method: Method = None
    context: Context = None
    batch: Batch = None
    gpus: Gpus = None

    def names(self) -> dict[str, Any]:
        """What was typed, by the workload's names; None: not given. Raises UsageError for what is no number."""
        return {field.name: _read(field.name, getattr(self, field.name)) for field in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True)
class RunOptions(WorkloadOptions):
    """The same, and how it is run: where more than a ranking is asked for."""

    generate: Annotated[
        str | None, typer.Option("--generate", metavar="N", help="New tokens of an answer, when serving.")
    ] = None
    stack: Stack = None
    dtype: Dtype = None
