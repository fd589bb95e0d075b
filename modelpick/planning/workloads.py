"""The options of plan, cost and estimate as workloads of a model. Pure.

Options are a workload's names with values that nobody has checked yet: workload_from does.
"""

from collections.abc import Collection, Mapping

from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.memory.estimate import architecture_of
from modelpick.planning.choose import TUNABLE
from modelpick.planning.context_limit import within_limit
from modelpick.workload import ONLY_SERVE, SERVE_METHODS, SERVED_ANSWER, Workload, workload_from


def tasks(
    options: Mapping[str, object], *, data: bool, serve: bool
) -> tuple[dict[str, object] | None, dict[str, object] | None]:
    """What is to be done, as `plan` takes it (finetune, serve): data means tuning, a serving method means serving.

    `options` are a workload's, for both; where both are done, each is given what applies to it.
    """
    method = options.get("method")
    serving_method = method in SERVE_METHODS
    serving = serve or serving_method
    tuning = data or not serving
    served = {**options, "method": method if serving_method else None}
    tuned = {**options, "method": None if serving_method else method}
    if serving:
        tuned = {name: value for name, value in tuned.items() if name not in ONLY_SERVE}
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
    served = None if serve is None else workload_from(_with_answers({"task": "serve", **serve}))
    if tuned is not None and served is not None and tuned.gpus != served.gpus:
        raise UsageError(
            f"fine-tuning on {tuned.gpus} GPUs and serving on {served.gpus} cannot be one machine",
            fix="use the same number of GPUs for both, or make two plans",
            code="contradiction",
        )
    return tuned, served


def unset(options: Mapping[str, object]) -> frozenset[str]:
    """The unset settings of a fine-tuning's workload, which are chosen for each GPU."""
    return frozenset(name for name in TUNABLE if options.get(name) is None)


def as_the_model_takes(model: Model, workload: Workload, options: Mapping[str, object]) -> Workload:
    """At most as many tokens as the model takes; what `options` names stays. Raises what context_limit does.

    An architecture that is not understood is refused later, by the search.
    """
    try:
        limit = architecture_of(model).longest
    except CannotTellError:
        return workload
    return within_limit(limit, workload, _fixed(options))


def as_far_as_the_model_takes(model: Model, workload: Workload, options: Mapping[str, object]) -> Workload:
    """The same for an estimate, which is given anyway: more than the model takes stays as requested."""
    try:
        return as_the_model_takes(model, workload, options)
    except ModelpickError:
        return workload


def _fixed(options: Mapping[str, object]) -> Collection[str]:
    return [name for name in ("context", "generate") if options.get(name) is not None]


def _with_answers(options: Mapping[str, object]) -> Mapping[str, object]:
    """As many new tokens as the server will leave room for."""
    return options if options.get("generate") is not None else {**options, "generate": SERVED_ANSWER}
