"""No two commands answer one question differently: every nth model of the catalog, every set-up, four commands.

The whole grid is benchmarks/agreement.py, whose questions these are.
"""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import modelpick.planning as room
from benchmarks import agreement
from modelpick.catalog import index
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError, ModelpickError
from modelpick.memory.estimate import architecture_of
from modelpick.offers import embedded
from modelpick.offers.instance import Families
from modelpick.planning import caps, catalog_search, compare, gather, placement, plan, report
from modelpick.planning.context_limit import context_problem, within_limit
from modelpick.planning.engines import engine_of
from modelpick.planning.filters import Filters
from modelpick.planning.placement import Placements, offers_for, place
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import Caps, PlanRequest
from modelpick.planning.workloads import as_the_model_takes
from modelpick.serving.engines import ENGINES
from modelpick.serving.machine import LocalGpu, LocalMachine
from modelpick.serving.sizing import size
from modelpick.workload import CHECKPOINT_METHODS, workload_from

# What recommend ranks: copies are their originals again, and what embeds or ranks is not served as text.
RANKED = ("text", "vision-language", "encoder")
MODELS = sorted(
    (model for model in index.load().models.values() if model.kind in RANKED),
    key=lambda model: -(model.downloads or 0),
)
STEP = 23  # a prime: no family of the catalog is always hit or always missed


def sample(setup: int) -> list[Model]:
    """Other models for each set-up."""
    return MODELS[setup::STEP]


@pytest.mark.parametrize("setup", agreement.SETUPS)
def test_all_commands_name_the_same_instance_or_the_same_cause(setup: str) -> None:
    placed = 0
    for model in sample(list(agreement.SETUPS).index(setup)):
        told = agreement.ask(model, agreement.SETUPS[setup])
        instances = {answer.instance for answer in told.values()}
        assert len(instances) == 1, (model.id, told)
        causes = {answer.cause for answer in told.values()} - {None}  # recommend has one code for all of the table
        assert len(causes) <= 1, (model.id, told)
        placed += told["estimate"].instance is not None
    assert placed


def _held_as(model: Model) -> str | None:
    try:
        checkpoint = architecture_of(model).checkpoint
    except CannotTellError:
        return None
    return checkpoint.method if checkpoint is not None else None


# fp8 is made of unquantized weights by vLLM while it loads them.
@pytest.mark.parametrize("method", [method for method in CHECKPOINT_METHODS if method != "fp8"])
def test_weights_that_only_a_checkpoint_brings_are_planned_for_such_a_checkpoint_alone(method: str) -> None:
    refused = 0
    for model in MODELS[::STEP]:
        if _held_as(model) == method:
            continue
        told = agreement.ask(model, {"task": "serve", "method": method})
        assert {answer.instance for answer in told.values()} == {None}, (model.id, told)
        (cause,) = {answer.cause for answer in told.values()}
        assert cause in ("no_checkpoint", "context_unknown", "context_too_long", "unknown_architecture"), model.id
        refused += cause == "no_checkpoint"
    assert refused


def test_a_checkpoint_is_planned_as_it_is_held() -> None:
    placed = 0
    for model in MODELS:
        held = _held_as(model)
        if held not in CHECKPOINT_METHODS:
            continue
        told = agreement.ask(model, {"task": "serve", "method": held})
        assert {answer.cause for answer in told.values()} != {"no_checkpoint"}, (model.id, told)
        placed += told["estimate"].instance is not None
    assert placed


def test_a_published_copy_is_taken_for_a_method_that_the_repository_does_not_hold() -> None:
    compared = gather.compare("Qwen/Qwen3-8B", {"method": "awq"})
    assert compared.refusal is None
    made = gather.plan("Qwen/Qwen3-8B", serve={"method": "awq"})
    assert compared.rows[0].setup["repository"] == made.model.id == "Qwen/Qwen3-8B-AWQ"
    assert compared.rows[0].offer.instance.name == made.instance_type


def test_what_a_checkpoint_would_take_and_cost_is_told_with_the_reason_that_it_is_not_there() -> None:
    assert not any(copy.quantization == "gptq-4bit" for copy in index.load().copies_of("Qwen/Qwen3-8B"))
    compared = gather.compare("Qwen/Qwen3-8B", {"method": "gptq"})
    assert compared.rows
    assert compared.refusal is not None
    assert compared.refusal.code == "no_checkpoint"
    assert any("as if it did" in line for line in compared.assumptions)
    (told,) = gather.estimate_many(["Qwen/Qwen3-8B"], {"method": "gptq"})
    assert not isinstance(told, ModelpickError)
    assert told.refusal is not None
    assert told.refusal.code == "no_checkpoint"
    assert any(row.fits for row in told.fits)


def test_the_set_up_that_is_recommended_is_planned_and_priced() -> None:
    """Where no method is named, all three take the same engine, weights, repository, GPU and price."""
    rows = catalog_search.recommend(shown=0, finetune_rows=0).recommendations.passed
    copied = 0
    for row in rows[::61]:
        told = row.placement.setup_as_json()
        compared = gather.compare(row.model.id, {}).rows[0]
        assert (compared.offer, compared.setup) == (row.placement.offer, told), row.model.id
        made = gather.plan(row.model.id, serve={})
        assert (made.instance_type, made.model.id) == (row.placement.offer.instance.name, told["repository"])
        assert made.workloads["serve"] == row.placement.memory.workload, row.model.id
        copied += told["repository"] != row.model.id
    assert copied


def test_recommend_chooses_for_each_gpu_what_plan_and_cost_choose() -> None:
    options = {"task": "finetune", "method": "qlora", "context": 4096, "batch": 1}
    answer = catalog_search.recommend(workload=options, filters=Filters(instances=("g6.8xlarge",)), finetune_rows=0)
    rows = {row.model.id: row.placement for row in answer.recommendations.passed}
    refused = {left.model: left.code for left in answer.recommendations.rejected}
    recomputed = 0
    for name in [*list(rows)[::STEP], *[name for name, code in refused.items() if code == "does_not_fit"][::STEP]]:
        compared = gather.compare(name, options, instance="g6.8xlarge").rows
        assert [row.offer for row in compared] == ([rows[name].offer] if name in rows else []), name
        recomputed += name in rows and rows[name].memory.workload.gradient_checkpointing
    assert recomputed  # it would not fit as a workload is by default


def _ignoring(**changes: Any) -> Callable[..., Any]:
    """The search with other facts than everybody else has."""

    def mutant(request: Any, offers: Any, limits: Any, facts: Any, **options: Any) -> Any:
        return place(request, offers, limits, replace(facts, **changes), **options)

    return mutant


def _reversed(*arguments: Any, **options: Any) -> Any:
    found = place(*arguments, **options)
    if isinstance(found, Placements):
        found = replace(found, rows=tuple(sorted(found.rows, key=lambda row: -(row.offer.usd_per_hour or 0))))
    return found


def _without_dtype(*arguments: Any, **options: Any) -> Any:
    request, offers, limits, facts = arguments
    rules = tuple(rule for rule in facts.rules if rule.gpu_lacks is None)
    asked, placement.lacking_dtype = placement.lacking_dtype, lambda workload, instance: None
    try:
        return place(request, offers, limits, replace(facts, rules=rules), **options)
    finally:
        placement.lacking_dtype = asked


@pytest.mark.parametrize(
    ("module", "mutant", "setup"),
    [
        (report, _ignoring(rules=()), "int8 fp16"),  # estimate skips the table of what works: ARM hosts
        (plan, _reversed, "bf16"),  # plan has an order of its own
        (plan, _without_dtype, "int8"),  # plan does not ask whether the GPU computes in bf16
        (catalog_search, _without_dtype, "bf16"),  # nor does recommend
    ],
)
def test_a_command_with_a_rule_of_its_own_is_caught(
    monkeypatch: pytest.MonkeyPatch, module: Any, mutant: Any, setup: str
) -> None:
    monkeypatch.setattr(module, "place", mutant)
    differ = 0
    for model in MODELS[:60]:
        told = agreement.ask(model, agreement.SETUPS[setup])
        differ += len({answer.instance for answer in told.values()}) > 1
    assert differ


def test_what_was_named_in_the_wrong_is_not_named_any_more() -> None:
    """An ARM host has the memory and the dtype, and none of the builds."""
    work = workload_from({"method": "int8", "dtype": "fp16"})
    made = report.report(index.load().models["Qwen/Qwen3-4B"], work, embedded.offers(), catalog_search.facts())
    assert made.on is not None
    assert made.on.instance.cpu == "x86_64"
    rejected = next(row.rejection for row in made.fits if row.offer.instance.name == "g5g.xlarge")
    assert rejected is not None
    assert (rejected.cause, rejected.code) == ("engine", "arm64_host")
    rows = gather.compare("Qwen/Qwen3-4B", {"method": "int8", "dtype": "fp16"})
    assert rows.rows[0].offer.instance.name == made.on.instance.name


@pytest.mark.parametrize("method", ["bf16", "int8", "nf4"])
def test_the_machine_has_room_for_every_service_that_is_planned(method: str) -> None:
    """The same share of the GPU, the same engine: sizing on the machine accepts what was priced."""
    facts, planned = catalog_search.facts(), 0
    for model in MODELS:
        options = {"task": "serve", "method": method, "generate": 512}
        try:
            work = as_the_model_takes(model, workload_from(options), options)
            tried = offers_for(embedded.offers(), Families(gpu_class="G"), None, 1)
            found = place(PlanRequest(model, serve=work), tried, Caps(), facts, cheapest_only=True)
        except ModelpickError:
            continue
        if isinstance(found, Rejection) or not found.rows:
            continue
        row = found.rows[0]
        served, kind = row.memory.workload, row.offer.instance
        engine = engine_of(served)
        assert engine is not None
        gpu = LocalGpu(
            kind.gpu.name, kind.usable_memory_gib, kind.usable_memory_gib, float(kind.gpu.compute_capability)
        )
        machine = LocalMachine(gpu, (), kind.ram_gib)
        size(architecture_of(model), served, ENGINES[engine], machine, parameters=model.parameters)
        planned += 1
    assert planned > 500


@pytest.mark.parametrize("tokens", [512, 4096, 40_000, 200_000])
def test_one_limit_of_tokens_for_every_command(tokens: int) -> None:
    """recommend, plan, cost and estimate say the same of the same model and tokens: ok, unknown, too long."""
    facts = catalog_search.facts()
    for model in MODELS[tokens % STEP :: STEP]:
        try:
            shape = architecture_of(model)
        except CannotTellError:
            continue
        if shape.checkpoint is not None:
            continue  # quantized already: int8 is refused before any length is looked at
        limit = shape.longest
        problem = context_problem(limit, tokens)
        work = workload_from({"task": "serve", "method": "int8", "context": tokens})
        if problem is None:
            work = within_limit(limit, work, ("context",))
        found = place(PlanRequest(model, serve=work), embedded.offers(), Caps(), facts)
        told = agreement.ask(model, {"task": "serve", "method": "int8", "context": tokens})
        if problem is not None:
            assert isinstance(found, Rejection)
            assert (found.cause, found.code) == ("context", problem.code)
            assert {answer.cause for answer in told.values()} == {problem.code}
        else:
            assert not isinstance(found, Rejection) or found.cause != "context"
            assert len({answer.instance for answer in told.values()}) == 1, (model.id, told)


def test_a_missing_price_is_not_called_too_small_a_gpu() -> None:
    unpriced = [replace(offer, usd_per_hour=None) for offer in embedded.offers()]
    request = PlanRequest(index.load().models["Qwen/Qwen3-8B"], serve=workload_from({"method": "int8"}))
    found = place(request, unpriced, Caps(), catalog_search.facts())
    assert isinstance(found, Placements)
    assert found.unpriced
    refusal = found.refusal()
    assert refusal is not None
    assert (refusal.cause, refusal.code) == ("price_unknown", "no_price")
    assert "fits" in refusal.reason


def test_it_is_never_called_memory_where_it_was_the_dtype() -> None:
    """A T4 has no bf16; a model too large for it besides is still refused for the dtype, which is asked first."""
    t4 = [offer for offer in embedded.offers() if offer.instance.gpu.name == "T4"]
    for name in ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-32B"):
        request = PlanRequest(index.load().models[name], serve=workload_from({"method": "bf16"}))
        found = place(request, t4, Caps(), catalog_search.facts())
        assert isinstance(found, Placements)
        assert {rejection.cause for rejection in found.rejected} == {"dtype"}


def test_only_the_search_asks_whether_a_workload_fits() -> None:
    """`fits` and the hardware rules have one caller: a second one is a second home of the decision."""
    for file in sorted(Path(room.__file__).parent.parent.rglob("*.py")):
        if file.name in ("fit.py", "placement.py") and file.parent.name == "planning":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "modelpick.planning.fit"
            for alias in node.names
        }
        assert not imported & {"fits", "lacking_dtype", "Fit"}, file
    assert {caps.within_caps.__module__, compare.compare.__module__} == {
        "modelpick.planning.caps", "modelpick.planning.compare",
    }  # fmt: skip
