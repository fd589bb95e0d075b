"""What `estimate` tells: memory by part, where it fits, how far it could go there; a file of cases, too. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, get_args

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import EXIT_YES, CannotTellError, ModelpickError, UsageError
from modelpick.memory.estimate import GIB, MemoryEstimate, architecture_of, estimate
from modelpick.memory.formats import as_held, own_method
from modelpick.offers.instance import Families
from modelpick.offers.price import Offer
from modelpick.planning import fit
from modelpick.planning.fit import KvCacheCapacity, kv_cache_capacity, smallest_change
from modelpick.planning.overview import SetupSummary, served_elsewhere
from modelpick.planning.placement import Placement, Placements, offers_for, place, settle
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import Caps, PlanRequest, SearchFacts
from modelpick.planning.workloads import as_far_as_the_model_takes
from modelpick.workload import Method, RunMethod, Workload, workload_from

_G_CLASS = Families(gpu_class="G")


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a workload could go on one GPU: None where it does not even start."""

    longest_context: int | None
    largest_batch: int | None


@dataclass(frozen=True, slots=True)
class OfferFit:
    """One offer and whether the set-up may be put there: `rejection` says why not, `free_gib` what memory is left."""

    offer: Offer
    free_gib: float
    rejection: Rejection | None

    @property
    def fits(self) -> bool:
        """Whether it may."""
        return self.rejection is None

    @property
    def reason(self) -> str:
        """Why not, in one sentence; empty where it may."""
        return "" if self.rejection is None else self.rejection.reason

    def as_json(self) -> dict[str, object]:
        """One element of `fits` in `estimate --json`."""
        return {
            "instance_type": self.offer.instance.name,
            "gpu": self.offer.instance.gpu.name,
            "gpu_count": self.offer.instance.gpu_count,
            "fits": self.fits,
            "free_gib": self.free_gib,
            "cause": self.rejection.cause if self.rejection else None,
            "reason": self.reason or None,
            "usd_per_hour": self.offer.usd_per_hour,
            "availability": self.offer.availability,
        }


@dataclass(frozen=True)
class MemoryReport:
    """The estimate as asked (`memory`), the device-level one that a GPU must hold (`device`), and every offer's answer.

    `on` is the offer the user named, or the first placement on the offers that plan and cost take by default; None when
    there is none, and `refusal` says why.
    """

    model: Model
    architecture: Architecture
    memory: MemoryEstimate
    device: MemoryEstimate
    fits: tuple[OfferFit, ...]
    on: Offer | None
    refusal: Rejection | None
    facts: SearchFacts
    requested: Workload  # before an engine was chosen
    exact: Mapping[str, Any] | None = None  # what `--exact` traced, in its JSON names
    setups: tuple[SetupSummary, ...] = ()  # where no method was named

    @property
    def placement_fits(self) -> bool:
        """Whether the workload may be put on the offer the report is about."""
        return self.on is not None and self.fit_on(self.on).fits

    def fit_on(self, offer: Offer) -> OfferFit:
        """The answer for one of the offers."""
        return next(row for row in self.fits if row.offer.instance.name == offer.instance.name)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """Every offer."""
        return tuple(row.offer for row in self.fits)

    def with_trace(self, memory: MemoryEstimate, device: MemoryEstimate, exact: Mapping[str, Any]) -> "MemoryReport":
        """The report with a traced peak in place of the formulas': `device` is what every offer is compared with."""
        fits = _fits(_request(self.model, self.device.workload, self.architecture, device), self.offers, self.facts)
        return replace(self, memory=memory, device=device, fits=fits, exact=exact)

    @cached_property
    def reach(self) -> Reach:
        """How far the workload could go on the offer the report is about."""
        return Reach(None, None) if self.on is None else self.reach_on(self.on)

    def reach_on(self, offer: Offer) -> Reach:
        """How far the workload could go on one GPU (or shard) of an offer; nowhere where it cannot run at all."""
        rejection = self.fit_on(offer).rejection
        if rejection is not None and rejection.cause != "memory":
            return Reach(None, None)
        arguments = (self.architecture, self.memory.workload, offer.instance, self.model.parameters)
        return Reach(fit.longest_context(*arguments), fit.largest_batch(*arguments))

    def solved(self) -> dict[str, Any]:
        """The most that fits the offer the report is about: context, batch, rank (LoRA), the least coarse method."""
        if self.on is None:
            return {}
        work, on = self.memory.workload, self.on
        answer: dict[str, Any] = {
            "longest_context": self.reach.longest_context,
            "largest_batch": self.reach.largest_batch,
        }
        if work.task == "finetune":
            answer["change_recipe"] = smallest_change(
                work,
                lambda changed: self._placed(changed, [on]) is not None,
                lambda changed: fit.longest_context(self.architecture, changed, on.instance, self.model.parameters),
            )
        if work.is_lora:
            answer["largest_rank"] = fit.largest_rank(self.architecture, work, on.instance, self.model.parameters)
        answer["methods_that_fit"] = ", ".join(self._methods(on)) or "none"
        capacity = self.kv_cache_capacity()
        if capacity is not None:
            answer |= capacity.as_json()
        best = self._cheapest_method()
        if best is not None:
            answer["cheapest_method"], answer["cheapest_instance"] = best
        return answer

    def kv_cache_capacity(self) -> KvCacheCapacity | None:
        """What vLLM's share of the GPU in `on` leaves for its cache; None for other stacks."""
        if self.on is None or self.memory.workload.stack != "vllm":
            return None
        return kv_cache_capacity(self.architecture, self.memory.workload, self.on.instance, self.model.parameters)

    def _placed(self, workload: Workload, offers: Iterable[Offer]) -> Placement | None:
        """The first placement of a changed workload, at any price."""
        found = place(_request(self.model, workload, self.architecture), offers, Caps(), self.facts)
        if isinstance(found, Rejection):
            return None
        return next(iter((*found.rows, *found.unpriced)), None)

    def _cheapest_method(self) -> tuple[Method, str] | None:
        """The method and instance of the cheapest placement that some method has; at one price the least coarse."""
        work = self.memory.workload
        methods = _methods_of(work, self.architecture)
        offers = [offer for offer in self.offers if offer.instance.gpu_count == work.gpus and offer.usd_per_hour]
        best: tuple[tuple[float, float, str], Method] | None = None
        for method in methods:
            row = self._placed(replace(self.requested, method=method), offers)
            if row is not None and (best is None or _hourly(row) < best[0]):
                best = (_hourly(row), method)
        return None if best is None else (best[1], best[0][2])

    def _methods(self, on: Offer) -> list[Method]:
        """The methods of the same task that fit `on`, as listed in design order (unquantized first)."""
        work = self.memory.workload
        return [
            name
            for name in _methods_of(work, self.architecture)
            if self._placed(replace(self.requested, method=name), [on]) is not None
        ]

    def gpus(self) -> list[OfferFit]:
        """The cheapest offer of each distinct GPU, or part of one, that has enough GPUs; the smallest memory first.

        Of the same GPU in two kinds of host the one that can run it. Where no offer of a GPU has a price, one whose
        price is unknown before one that is not rented there: it stands for the GPU and is not the cheapest of anything.
        """
        cheapest: dict[tuple[str, float], OfferFit] = {}
        for row in sorted(self.fits, key=lambda row: (not row.fits, _price(row.offer))):
            instance = row.offer.instance
            if instance.gpu_count >= self.memory.workload.gpus:
                cheapest.setdefault((instance.gpu.name, instance.usable_memory_gib), row)
        return sorted(cheapest.values(), key=lambda row: (row.offer.instance.usable_memory_gib, _price(row.offer)))

    def as_json(self, *, explain: bool = False, solve: bool = False) -> dict[str, object]:
        """The `estimate --json` object, without the schema version."""
        capacity = self.kv_cache_capacity()
        return {
            "model": self.model.id,
            "revision": self.model.revision,
            **self.memory.as_json(),
            "assumptions": [*self.memory.assumptions, *(self.on.assumed if self.on is not None else ())],
            "device_high_gib": self.device.high / GIB,
            "on": self.on.instance.name if self.on else None,
            "not_placed": self.refusal.as_json() if self.refusal else None,
            "longest_context": self.reach.longest_context,
            "largest_batch": self.reach.largest_batch,
            "fits": [row.as_json() for row in self.fits],
            **(capacity.as_json() if capacity is not None else {}),
            **({"solved": self.solved()} if solve else {}),
            **({"exact": self.exact} if self.exact is not None else {}),
            **({"explain": self.memory.explain()} if explain else {}),
            **({"setups": [row.as_json() for row in self.setups]} if self.setups else {}),
            "sources": sorted({offer.source for offer in self.offers if offer.source}),
        }


def report(
    model: Model, workload: Workload, offers: Iterable[Offer], facts: SearchFacts, on: Offer | None = None
) -> MemoryReport:
    """The report on one model. Raises CannotTellError where its architecture cannot be known.

    The engine is settled by the search over the offer named, or over those of the G class with exactly the GPUs asked
    for, as plan and cost do; then every offer is held against that set-up.
    """
    listed = tuple(offers)
    tried = [on] if on is not None else default_offers(listed, workload.gpus)
    architecture = architecture_of(model)
    if workload.task == "serve":  # never chosen by price: the checkpoint's own format, or bf16
        workload = as_held(workload, architecture)
    request = _request(model, workload, architecture)
    found = place(request, tried, Caps(), facts)
    refusal = found if isinstance(found, Rejection) else found.refusal()
    if isinstance(found, Rejection) and found.cause in ("context", "checkpoint"):  # its memory is estimated anyway
        found = place(request, tried, Caps(), facts, hypothetical=True)
    if isinstance(found, Rejection):
        try:
            memory = estimate(architecture, workload, model.parameters)
        except CannotTellError:  # nor can its memory be estimated: the first reason is the one every command gives
            raise found.error(model.id) from None
        device = fit.on_device(architecture, workload, model.parameters)
        fits = tuple(
            OfferFit(offer, _free_gib(device, offer), _left(architecture, device, offer, found)) for offer in listed
        )
        return MemoryReport(model, architecture, memory, device, fits, on, refusal, facts, workload)
    device = found.setup.least
    settled = replace(device.workload, measure=workload.measure)
    memory = device if workload.measure == "device" else estimate(architecture, settled, model.parameters)
    fits = _fits(_request(model, device.workload, architecture), listed, facts)
    here = on or (found.rows[0].offer if refusal is None else None)
    return MemoryReport(model, architecture, memory, device, fits, here, refusal, facts, workload)


def default_offers(offers: Iterable[Offer], gpus: int) -> list[Offer]:
    """The default offers of plan and cost: the G class with exactly the requested GPUs."""
    return offers_for(offers, _G_CLASS, None, gpus)


def settled_estimate(
    model: Model, architecture: Architecture, workload: Workload, offers: Iterable[Offer], facts: SearchFacts
) -> tuple[MemoryEstimate, MemoryEstimate]:
    """The estimates as asked and at device level, of a workload on the engine that `report` would settle on.

    `offers` are those of the G class with the GPUs asked for.
    """
    setup = settle(_request(model, workload, architecture), offers, facts)
    device = fit.on_device(architecture, workload, model.parameters) if isinstance(setup, Rejection) else setup.least
    if workload.measure == "device":
        return device, device
    settled = replace(device.workload, measure=workload.measure)
    return estimate(architecture, settled, model.parameters), device


def _request(
    model: Model, workload: Workload, architecture: Architecture, traced: MemoryEstimate | None = None
) -> PlanRequest:
    on_device = workload if workload.measure == "device" else replace(workload, measure="device")
    if workload.task == "serve":
        return PlanRequest(model, serve=on_device, traced=traced, architecture=architecture)
    return PlanRequest(model, finetune=on_device, traced=traced, architecture=architecture)


def _fits(request: PlanRequest, offers: Sequence[Offer], facts: SearchFacts) -> tuple[OfferFit, ...]:
    """The answer for every offer, in their order. A price that is unknown, or a region without it, make none unfit."""
    found = place(request, offers, Caps(), facts, hypothetical=True)
    assert isinstance(found, Placements)  # the model was admitted with this very workload
    rows = {row.offer.instance.name: OfferFit(row.offer, row.headroom_gib, None) for row in found.rows + found.unpriced}
    for rejection in found.rejected:
        assert rejection.offer is not None
        free_gib = _free_gib(found.setup.least, rejection.offer)
        unfit = None if rejection.cause == "not_offered" else rejection
        rows[rejection.offer.instance.name] = OfferFit(rejection.offer, free_gib, unfit)
    return tuple(rows[offer.instance.name] for offer in offers)


def _left(architecture: Architecture, device: MemoryEstimate, offer: Offer, found: Rejection) -> Rejection | None:
    """Why a set-up may not be put on an offer, where no engine has a place for it: `found`.

    Of what encodes or hears, that reason only says that it writes no answers. Other programs serve it, so the answer is
    whether its memory fits.
    """
    if not served_elsewhere(architecture, found):
        return found
    lacking = fit.lacking_dtype(device.workload, offer.instance)
    if lacking is not None:
        reason = f"{offer.instance.gpu.name} lacks {lacking}"
        return Rejection("dtype", f"{lacking}_not_native", reason, "use --dtype fp16", offer)
    held = fit.fits(device, offer.instance)
    return None if held else Rejection("memory", "does_not_fit", held.reason, "use a smaller batch", offer)


def _free_gib(device: MemoryEstimate, offer: Offer) -> float:
    return fit.fits(device, offer.instance).free_gib


def _methods_of(workload: Workload, architecture: Architecture) -> tuple[Method, ...]:
    """The methods that the checkpoint can be loaded as, unquantized first."""
    if workload.task == "finetune":
        return get_args(RunMethod)
    return tuple(dict.fromkeys(("bf16", own_method(architecture.checkpoint), "int8", "nf4")))


def _hourly(row: Placement) -> tuple[float, float, str]:
    return (row.offer.usd_per_hour or 0.0, 0.0, row.offer.instance.name)


def _price(offer: Offer) -> tuple[float, bool, str]:
    usd = float("inf") if offer.usd_per_hour is None else offer.usd_per_hour
    return (usd, offer.availability == "not_offered", offer.instance.name)


FindModel = Callable[[str], Model | None]
_OWN_NAMES = ("model", "id")  # `id`, when given, comes back in the result


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One line's answer: `body` for `--json` (an `error` object in place of what failed), `line` for a screen."""

    body: dict[str, Any]
    line: str
    exit_code: int


def estimate_cases(
    lines: Iterable[str], find_model: FindModel, offers: Sequence[Offer], facts: SearchFacts
) -> Iterator[CaseResult]:
    """An answer for every line that is not blank, in order, as the lines come.

    `find_model` gives the facts of a model id, None when it is not known, or raises a ModelpickError, which becomes the
    line's error. Never raises for a bad line.
    """
    shapes: dict[str, tuple[Model, Architecture]] = {}

    @cache
    def tried(gpus: int) -> list[Offer]:
        return default_offers(offers, gpus)

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        asked: str | None = None
        try:
            names = _names(line, number)
            asked = names["model"]
            yield _answer(names, shapes, find_model, tried, facts)
        except ModelpickError as error:
            body = {"model": None, "asked": asked, "line": number, "error": error.as_json()}
            yield CaseResult(body, f"line {number}: {error.message}; {error.fix}", error.exit_code)


def models_named(lines: Iterable[str]) -> list[str]:
    """The models that the lines name, each once, so that they can be looked up together; bad lines name none."""
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        try:
            found[_names(line, number)["model"]] = None
        except UsageError:
            continue
    return list(found)


def _names(line: str, number: int) -> dict[str, Any]:
    try:
        names = json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise UsageError(f"line {number} is not JSON", fix="write one object per line", code="bad_case") from broken
    if not isinstance(names, dict):
        raise UsageError(f"line {number} is not an object", fix='write {"model": ...}', code="bad_case")
    if not isinstance(names.get("model"), str) or not names["model"].strip():
        raise UsageError(f"line {number} names no model", fix='add "model": "org/name"', code="bad_case")
    return names


def _answer(
    names: dict[str, Any],
    shapes: dict[str, tuple[Model, Architecture]],
    find_model: FindModel,
    offers: Callable[[int], list[Offer]],
    facts: SearchFacts,
) -> CaseResult:
    asked = names["model"]
    known = shapes.get(asked)
    if known is None:
        model = find_model(asked)
        if model is None:
            raise CannotTellError(f"{asked} is not a known model", fix="check the id", code="unknown_model")
        known = shapes[asked] = (model, architecture_of(model))
    model, architecture = known
    options = {key: value for key, value in names.items() if key not in _OWN_NAMES}
    workload = as_far_as_the_model_takes(model, workload_from(options), options)
    found, device = settled_estimate(model, architecture, workload, offers(workload.gpus), facts)
    body = {"model": model.id, "asked": asked, **found.as_json(), "device_high_gib": device.high / GIB}
    if "id" in names:
        body["id"] = names["id"]
    line = f"{model.id}  {found.total / GIB:.2f} GiB  ({found.low / GIB:.2f} to {found.high / GIB:.2f})"
    return CaseResult(body, line, EXIT_YES)
