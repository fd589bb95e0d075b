"""The options of plan, cost and estimate as workloads of a model. Pure.

Options are a workload's names with values that nobody has checked yet: workload_from does.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.memory.estimate import architecture_of
from modelpick.planning.choose import TUNABLE
from modelpick.planning.context_limit import within_limit
from modelpick.planning.engines import STACKS
from modelpick.workload import ONLY_SERVE, SERVE_METHODS, Workload, workload_from


def tasks(
    options: Mapping[str, object], *, data: bool, serve: bool
) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """What is to be done, as `plan` takes it (finetune, serve): data means tuning, a serving method means serving.

    `options` are a workload's, for both; where both are done, each is given what applies to it: a stack that serves
    (transformers too) is the server's, since the machine fine-tunes by modelpick's own loop.
    """
    method = options.get("method")
    serving_method = method in SERVE_METHODS
    serving = serve or serving_method
    tuning = data or not serving
    served = {**options, "method": method if serving_method else None}
    if tuning:  # what is learned says nothing of the server
        served.pop("objective", None)
    tuned = {**options, "method": None if serving_method else method}
    if serving:
        tuned = {name: value for name, value in tuned.items() if name not in ONLY_SERVE}
    if serving and tuning and options.get("stack") is not None:
        other = tuned if options["stack"] in STACKS.values() else served
        other.pop("stack")
        other.pop("stack_version", None)
    return tuned if tuning else None, served if serving else None


def workloads(
    finetune: Mapping[str, object] | None, serve: Mapping[str, object] | None, *, data: bool
) -> tuple[Workload | None, Workload | None]:
    """What a machine shall fine-tune and serve. With data it fine-tunes, and where nothing is named.

    Raises UsageError for what workload_from refuses, and for two tasks that are not of one machine.
    """
    if finetune is None and (data or serve is None):
        finetune = {}
    tuned = None if finetune is None else workload_from({"task": "finetune", **finetune})
    served = None if serve is None else workload_from({"task": "serve", **serve})
    if tuned is not None and served is not None and tuned.gpus != served.gpus:
        raise UsageError(
            f"fine-tuning on {tuned.gpus} GPUs and serving on {served.gpus} cannot be one machine",
            fix="use the same number of GPUs for both, or make two plans",
            code="contradiction",
        )
    return tuned, served


def unset(options: Mapping[str, object]) -> frozenset[str]:
    """The unset settings that are chosen: of a fine-tuning for each GPU, of a server's load for each model."""
    return frozenset(name for name in (*TUNABLE, *_TOKENS) if options.get(name) is None)


def as_the_model_takes(model: Model, workload: Workload, options: Mapping[str, object]) -> Workload:
    """At most as many tokens as the model takes; what `options` names stays. Raises what context_limit does.

    An encoder writes no answer. An architecture that is not understood is refused later, by the search.
    """
    try:
        architecture = architecture_of(model)
    except CannotTellError:
        return workload
    fixed = _fixed(options)
    if architecture.kind == "encoder" and "generate" not in fixed:
        workload = replace(workload, generate=0)
    return within_limit(architecture.longest, workload, fixed)


def as_far_as_the_model_takes(model: Model, workload: Workload, options: Mapping[str, object]) -> Workload:
    """The same for an estimate, which is given anyway: more than the model takes stays as requested."""
    try:
        return as_the_model_takes(model, workload, options)
    except ModelpickError:
        return workload


_TOKENS = ("context", "generate")


def _fixed(options: Mapping[str, object]) -> Collection[str]:
    return [name for name in _TOKENS if options.get(name) is not None]
