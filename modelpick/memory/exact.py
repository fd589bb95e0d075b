"""`estimate --exact`: the same report with the traced peak in place of the formulas'. Needs the extra `train`."""

from dataclasses import replace

from modelpick.errors import CannotTellError
from modelpick.memory.estimate import MemoryEstimate, Parts
from modelpick.memory.report import MemoryReport
from modelpick.memory.runtime import CONTEXT
from modelpick.memory.trace import Trace, trace
from modelpick.workload import Workload

# Traced against published peaks (benchmarks/trace_accuracy.py): median 0.2 %, worst 4.4 % of 18 rows of transformers,
# none of them with 8-bit or 4-bit weights. The worst is doubled and rounded up, since the rows are few. litgpt's own
# implementation is up to 17.7 % away: other stacks are not traced.
BELOW, ABOVE = 0.10, 0.10
# Tied or untied output embeddings move a count by a few per cent; another model's class by more.
_SAME_MODEL = 0.10


def exact(report: MemoryReport) -> tuple[MemoryReport, Trace]:
    """The report with its memory, and what must fit a card, from a trace of the real transformers and peft code.

    Longest context and largest batch stay the formulas'. Raises CannotTellError for what cannot be traced.
    """
    config = report.model.config
    if config is None:
        raise CannotTellError(
            f"{report.model.id} has no config.json to trace", fix="leave out --exact", code="unknown_architecture"
        )
    stack = report.memory.workload.stack
    if stack not in ("transformers", "trl"):
        raise CannotTellError(
            f"--exact runs the code of transformers, not of {stack}", fix="leave out --exact", code="not_traceable"
        )
    traced = trace(config, report.memory.workload)
    known = report.model.parameters
    if known and abs(traced.parameters / known - 1) > _SAME_MODEL:
        raise CannotTellError(
            f"the class that transformers has for {report.model.id} holds {traced.parameters / 1e9:.2f} B parameters, "
            f"the repository {known / 1e9:.2f} B",
            fix="leave out --exact",
            code="not_traceable",
        )
    return replace(
        report, memory=traced_estimate(report.memory, traced), device=traced_estimate(report.device, traced)
    ), traced


def traced_estimate(estimate: MemoryEstimate, traced: Trace) -> MemoryEstimate:
    """An estimate whose parts are the trace's, counted as its workload's `measure` says.

    `runtime` is what the allocator holds beyond the tensors, and on the device the CUDA context as well.
    """
    parts = Parts(
        **{name: float(size) for name, size in traced.parts.items()}, runtime=_runtime(estimate.workload, traced)
    )
    told = f"traced: {traced.operations:,} operations of transformers and peft, peak in {traced.peak_phase}"
    return replace(
        estimate,
        parts=parts,
        low=parts.total * (1 - BELOW),
        high=parts.total * (1 + ABOVE),
        parameters=traced.parameters,
        parameters_source="trace",
        trainable_parameters=traced.trainable_parameters,
        assumptions=(told, *estimate.assumptions),
    )


def _runtime(workload: Workload, traced: Trace) -> float:
    if workload.measure == "allocated":
        return 0.0
    reserve = float(traced.reserved - traced.allocated)
    return reserve if workload.measure == "reserved" else reserve + CONTEXT[workload.task]
