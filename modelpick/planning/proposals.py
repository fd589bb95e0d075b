"""What would be much cheaper than a comparison's first row: other weights, another GPU, more requests at once. Pure.

A comparison is of one set-up; who named it may not know that another one costs half. Proposed is what costs at most
MUCH_CHEAPER of the first row, by the search and the prices of the comparison itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from modelpick.errors import ModelpickError
from modelpick.offers.price import Offer
from modelpick.planning.compare import CostOptions, InstanceComparison, Proposal, Row, compare
from modelpick.planning.engines import answered_at_once
from modelpick.planning.placement import Placements, place
from modelpick.planning.request import Caps, PlanRequest, SearchFacts
from modelpick.workload import Method

MUCH_CHEAPER = 0.7
"""A proposal costs at most this share. 30 % is more than the same set-up differs between neighbouring instances; less
is lost in the intervals of the speeds."""
_ADAPTERS: tuple[Method, ...] = ("lora", "lora-int8", "qlora")
_AT_ONCE = (64, 32, 16)  # requests to try, the most first; chosen, not measured: few internal services have more


def proposals(
    compared: InstanceComparison,
    request: PlanRequest,
    offers: Sequence[Offer],
    caps: Caps,
    options: CostOptions,
    facts: SearchFacts,
) -> tuple[Proposal, ...]:
    """What costs at most MUCH_CHEAPER of the first row; nothing where that has no price.

    Weights are those of every method that the search knows, and of published copies where `request` names some.
    """
    if not compared.rows or not compared.rows[0].usd:
        return ()
    first = compared.rows[0]

    def best(changed: PlanRequest, tried: Sequence[Offer]) -> Row | None:
        try:
            found = place(changed, tried, caps, facts)
        except ModelpickError:  # a way that is not known of such an architecture
            return None
        rows = compare(found, changed, options, facts).rows if isinstance(found, Placements) else ()
        return rows[0] if rows and rows[0].usd else None

    if request.serve is not None:
        listed = [*_weights(first, request, offers, best), *_gpus(compared), *_batches(first, request, options, best)]
    else:
        listed = list(_methods(first, request, offers, best))
    return tuple(proposal for proposal in listed if proposal.usd <= MUCH_CHEAPER * proposal.instead_of_usd)


Best = Callable[[PlanRequest, Sequence[Offer]], Row | None]


def _weights(first: Row, request: PlanRequest, offers: Sequence[Offer], best: Best) -> Iterator[Proposal]:
    """The cheapest weights and engine of all, where others were named."""
    asked = request.serve
    assert asked is not None
    anything = replace(asked, method="auto", stack="auto", stack_version=None)
    row = best(replace(request, serve=anything), offers) if anything != asked else None
    if row is None or row.usd is None or first.usd is None:
        return
    work = row.memory.workload
    name = f"{work.method} by {work.stack}"
    repository = str(row.setup.get("repository", ""))
    if repository and repository != request.model.id:
        name += f" ({repository})"
    yield Proposal(
        "weights", "leave out --method and --stack", row.offer.instance.name, name, row.usd, first.usd, "a month"
    )  # fmt: skip


def _gpus(compared: InstanceComparison) -> Iterator[Proposal]:
    """The instance whose million tokens cost least, for who has more load than was asked for."""
    priced = [row for row in compared.rows if row.prices is not None]
    if not priced or compared.rows[0].prices is None or compared.rows[0].load is not None:
        return
    row = min(priced, key=lambda row: row.prices.generated.likely if row.prices else 0.0)
    assert row.prices is not None
    kind = row.offer.instance
    yield Proposal(
        "gpu", f"--instance {kind.name}", kind.name, kind.gpu.name, row.prices.generated.likely,
        compared.rows[0].prices.generated.likely, "per million output tokens", ", if it is kept busy",
    )  # fmt: skip


def _batches(first: Row, request: PlanRequest, options: CostOptions, best: Best) -> Iterator[Proposal]:
    """More requests at once on the same instance: as many as fit, at most the largest of _AT_ONCE."""
    asked, work, offer = request.serve, first.memory.workload, first.offer
    assert asked is not None
    if first.prices is None or options.limits.asked or answered_at_once(work) < work.batch:
        return
    for batch in (many for many in _AT_ONCE if many > work.batch):
        more = replace(asked, batch=batch, method=work.method, stack=work.stack, dtype=work.dtype)
        row = best(replace(request, serve=more), [offer])
        if row is not None and row.prices is not None:
            yield Proposal(
                "batch", f"--batch {batch}", offer.instance.name, f"{batch} requests at once",
                row.prices.generated.likely, first.prices.generated.likely, "per million output tokens",
                ", if so many come",
            )  # fmt: skip
            return


def _methods(first: Row, request: PlanRequest, offers: Sequence[Offer], best: Best) -> Iterator[Proposal]:
    """Another way to train adapters."""
    asked = request.finetune
    assert asked is not None
    for method in _ADAPTERS:
        if method == asked.method or first.usd is None:
            continue
        row = best(replace(request, finetune=replace(asked, method=method)), offers)
        if row is not None and row.usd is not None:
            what = ", training adapters alone" if asked.method == "full" else ""
            yield Proposal(
                "weights", f"--method {method}", row.offer.instance.name, method, row.usd, first.usd,
                "for the job", what,
            )  # fmt: skip
