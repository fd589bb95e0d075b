"""The least change to a fine-tuning recipe that makes it fit a card. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.offers.instance import InstanceType
from modelpick.planning.fit import fits, longest_context, on_device
from modelpick.workload import LORA_METHODS, Method, Workload


def least_change(
    architecture: Architecture, workload: Workload, instance: InstanceType, parameters: int | None = None
) -> dict[str, Any] | None:
    """The names of the workload to change, with their new values; {} where it fits as it is, None where nothing helps.

    In the order of what a change costs: the same result more slowly (activations recomputed, then one sequence at a
    time with as many accumulated), then coarser weights (LoRA over 8 bits, over 4), at last shorter sequences. Full
    fine-tuning becomes LoRA first.
    """
    for changed in _recipes(workload):
        if fits(on_device(architecture, changed, parameters), instance):
            return _changes(workload, changed)
    context = longest_context(architecture, changed, instance, parameters)
    return None if context is None else _changes(workload, replace(changed, context=context))


def _recipes(workload: Workload) -> Iterator[Workload]:
    methods: tuple[Method, ...] = ("lora", "lora-int8", "qlora")
    first = methods.index(workload.method) if workload.method in LORA_METHODS else -1
    for method in (workload.method, *methods[first + 1 :]):
        same = replace(workload, method=method)
        yield same
        yield replace(same, gradient_checkpointing=True)
        single = replace(same, batch=1, gradient_accumulation=workload.gradient_accumulation * workload.batch)
        yield single
        yield replace(single, gradient_checkpointing=True)


def _changes(before: Workload, after: Workload) -> dict[str, Any]:
    new = after.as_json()
    return {name: new[name] for name, old in before.as_json().items() if new[name] != old}
