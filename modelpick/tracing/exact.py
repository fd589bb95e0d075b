"""`estimate --exact`: the same report with the traced peak in place of the formulas'. Needs the extra `train`."""

from dataclasses import replace
from typing import TYPE_CHECKING

from modelpick.errors import CannotTellError
from modelpick.loading.environment import silence_libraries
from modelpick.memory.assumptions import CLASSIFIED
from modelpick.memory.estimate import MemoryEstimate
from modelpick.memory.overhead import CONTEXT
from modelpick.memory.parts import MemoryParts
from modelpick.planning.report import MemoryReport
from modelpick.workload import Workload

if TYPE_CHECKING:
    from modelpick.tracing.trace import Trace

# Traced against published peaks (benchmarks/trace_accuracy.py): worst 7.2 % of 32 rows of transformers, 4-bit ones of a
# version that copied its logits once more (4.48). None has 8-bit weights: those are held to bitsandbytes' code alone.
BELOW, ABOVE = 0.10, 0.10
# Tied or untied output embeddings move a count by a few per cent; another model's class by more.
_SAME_MODEL = 0.10


def exact(report: MemoryReport) -> MemoryReport:
    """The report with its memory, and what must fit a card, from a trace of the real transformers and peft code.

    Longest context and largest batch stay the formulas'. Raises CannotTellError for what cannot be traced.
    """
    from modelpick.tracing.trace import trace

    config = report.model.config
    if config is None:
        raise CannotTellError(
            f"{report.model.id} has no config.json to trace", fix="leave out --exact", code="unknown_architecture"
        )
    with silence_libraries():
        traced = trace(config, report.memory.workload)
    known = report.memory.parameters  # the repository's, a tied output matrix counted once
    if abs(traced.parameters / known - 1) > _SAME_MODEL:
        raise CannotTellError(
            f"the class that transformers has for {report.model.id} holds {traced.parameters / 1e9:.2f} B parameters, "
            f"the repository {known / 1e9:.2f} B",
            fix="leave out --exact",
            code="not_traceable",
        )
    assumptions = _assumptions(report, traced)
    return report.with_trace(
        traced_estimate(report.memory, traced, assumptions),
        traced_estimate(report.device, traced, assumptions),
        traced.as_json(),
    )


def _assumptions(report: MemoryReport, traced: "Trace") -> tuple[str, ...]:
    """The assumptions: what was traced, then what the formulas assume for the same workload."""
    assumptions = [f"traced: {traced.operations:,} operations of {', '.join(traced.code)}, peak in {traced.peak_phase}"]
    work, kind = report.memory.workload, report.architecture.kind
    if work.task == "finetune" and work.stack != "modelpick":
        assumptions.append(f"a loop of {work.stack}: modelpick finetune trains as --stack modelpick")
    if work.task == "finetune" and kind == "encoder":
        assumptions.append("trained with a classification head of two labels")
    return (*assumptions, *(text for text in report.memory.assumptions if text != CLASSIFIED))


def traced_estimate(estimate: MemoryEstimate, traced: "Trace", assumptions: tuple[str, ...]) -> MemoryEstimate:
    """An estimate whose parts are the trace's, counted as its workload's `measure` says.

    `runtime` is what the allocator holds beyond the tensors, and on the device the CUDA context as well.
    """
    parts = MemoryParts(
        **{name: float(size) for name, size in traced.parts.items()}, runtime=_runtime(estimate.workload, traced)
    )
    return replace(
        estimate,
        parts=parts,
        low=parts.total * (1 - BELOW),
        high=parts.total * (1 + ABOVE),
        parameters=traced.parameters,
        parameters_source="trace",
        trainable_parameters=traced.trainable_parameters,
        assumptions=assumptions,
    )


def _runtime(workload: Workload, traced: "Trace") -> float:
    if workload.measure == "allocated":
        return 0.0
    reserve = float(traced.reserved - traced.allocated)
    return reserve if workload.measure == "reserved" else reserve + CONTEXT[workload.task]
