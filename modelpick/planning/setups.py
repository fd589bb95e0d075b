"""The set-ups of one model, on no offer yet: engine, weights, sharding, and the recipes of a fine-tuning. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, UsageError
from modelpick.memory.estimate import MemoryEstimate, architecture_of
from modelpick.memory.formats import as_held, format_problem
from modelpick.memory.stacks import named_stack
from modelpick.memory.tensor_parallel import split_problem
from modelpick.offers.compatibility import Finding, Rule, Subject, applicable, finding_of, refusal, speaks_on, spoken
from modelpick.offers.instance import InstanceType
from modelpick.planning.choose import Tuning, candidate_recipes
from modelpick.planning.context_limit import context_problem
from modelpick.planning.engines import EngineName, engine_of, engines_for
from modelpick.planning.fit import on_device
from modelpick.planning.recipe import as_trained
from modelpick.planning.rejection import Rejection, rejection_of
from modelpick.planning.request import PlanRequest, SearchFacts
from modelpick.speed.shape import SpeedShape, shape_of
from modelpick.workload import CHECKPOINT_METHODS, Workload


@dataclass(frozen=True)
class Setup:
    """Engine, weights and sharding for one model, on no offer yet: compared with every offer.

    `recipes` are the ways to fine-tune in the order they are tried; `rules` what the table says of the model and the
    workload, `caveats` what it says whatever the hardware.
    """

    model: Model
    architecture: Architecture
    recipes: tuple[Tuning, ...]
    serving: MemoryEstimate | None
    engine: EngineName | None
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]

    @cached_property
    def shape(self) -> SpeedShape:
        """What its speed follows from."""
        return shape_of(self.architecture)

    @cached_property
    def weights_gb(self) -> float:
        """What comes from the Hub, in 10^9 bytes."""
        return download_gb(self.model, self.shape.parameters)

    @cached_property
    def hardware_rules(self) -> tuple[Rule, ...]:
        """The rules that make some hardware impossible."""
        return tuple(rule for rule in self.rules if rule.level == "cannot" and rule.names_gpu)

    @property
    def least(self) -> MemoryEstimate:
        """What the first task needs at the least."""
        memories = [recipe.memory for recipe in self.recipes]
        if self.serving is not None and not memories:
            memories = [self.serving]
        return min(memories, key=lambda memory: memory.high)

    @property
    def result_gb(self) -> float:
        """What fine-tuning leaves: adapters as PEFT saves them (4 bytes a parameter), a full model in 16 bits."""
        if not self.recipes:
            return 0.0
        memory = self.recipes[0].memory
        return memory.trainable_parameters * (2 if memory.workload.method == "full" else 4) / 1e9


def setups_for(request: PlanRequest, facts: SearchFacts, hypothetical: bool) -> tuple[Setup, ...] | Rejection:
    """The set-ups to try in turn, the preferred engine first, or why the model has none whatever the offer."""
    model = request.model
    architecture = request.architecture or architecture_of(model)
    if request.serve is not None:
        request = replace(request, serve=as_held(request.serve, architecture))
    for _, workload in request.tasks:
        if (unheld := format_problem(architecture, workload)) is not None:
            return rejection_of(unheld, "engine")
        problem = context_problem(architecture.longest, workload.context, workload.generate)
        if problem is not None and not hypothetical:
            return rejection_of(problem, "context")
    if request.serve is not None and not hypothetical:
        absent = checkpoint_problem(model, architecture, request.serve.method)
        if absent is not None:
            return rejection_of(absent, "checkpoint")
    tuned: tuple[Rule, ...] = ()
    recipes: tuple[Tuning, ...] = ()
    if request.finetune is not None:
        workload = trained_workload(request.finetune, architecture)
        tuned = applicable(facts.rules, facts.subject_of(model, workload))
        if (problem := refusal(_whatever_the_hardware(tuned))) is not None:
            return rejection_of(problem, "engine")
        recipes = candidate_recipes(
            architecture, workload, model.parameters,
            unset=request.unset, rows=request.tokens.rows if request.tokens else None, epochs=request.epochs,
        )  # fmt: skip
        if request.traced is not None:
            recipes = (replace(recipes[0], memory=request.traced),)
    caveats = _whatever_the_hardware(tuned)
    if request.serve is None:
        return (Setup(model, architecture, recipes, None, None, tuned, caveats),)
    subject = facts.subject_of(model, request.serve)
    if request.finetune is not None and request.finetune.is_lora:
        subject = replace(subject, adapter=True)
    ways = _ways_to_serve(facts.rules, subject, untried=hypothetical)
    if isinstance(ways, ModelpickError):
        return rejection_of(ways, "engine")
    unable: list[ModelpickError] = []
    setups = []
    for way in ways:
        refused = format_problem(architecture, way.workload) or split_problem(architecture, way.workload)
        if refused is not None:
            unable.append(refused)
            continue
        serving = request.traced or on_device(architecture, way.workload, model.parameters)
        rules = tuple(dict.fromkeys((*tuned, *way.rules)))
        all_caveats = tuple(dict.fromkeys((*caveats, *way.caveats)))
        setups.append(Setup(model, architecture, recipes, serving, engine_of(way.workload), rules, all_caveats))
    if unable and not setups:
        return rejection_of(unable[0], "engine")
    return tuple(setups)


# transformers with GPTQ and AWQ kernels: `serve` installs none and refuses it; 83 published speeds say how fast it is.
UNTRIED = "transformers_unknown_method"
_MEASURED_ELSEWHERE = ("gptq", "awq")


@dataclass(frozen=True, slots=True)
class _WayToServe:
    """A workload on an engine, the rules that concern it, and what they say whatever the hardware."""

    workload: Workload
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]


@lru_cache(maxsize=1024)
def _ways_to_serve(
    rules: tuple[Rule, ...], subject: Subject, *, untried: bool
) -> tuple[_WayToServe, ...] | ModelpickError:
    """The way of each engine that can serve `subject`, the preferred one first, or why none can.

    `untried`: also weights that `serve` was never tried with on an engine that is named, though others measured them.
    Remembered: a thousand models of a catalog are a hundred subjects.
    """
    workload = subject.workload
    if workload.stack != "auto":
        concerned = applicable(rules, subject)
        caveats = _whatever_the_hardware(concerned)
        refused = refusal(caveats)
        if refused is not None and untried and refused.code == UNTRIED and workload.method in _MEASURED_ELSEWHERE:
            refused = None
        return refused or (_WayToServe(workload, concerned, caveats),)
    engines = engines_for(rules, subject)
    if isinstance(engines, ModelpickError):
        return engines
    return tuple(_WayToServe(engine.workload, engine.rules, engine.caveats) for engine in engines)


def checkpoint_problem(model: Model, architecture: Architecture, method: str) -> ModelpickError | None:
    """Why weights held as `method` cannot be loaded: only a checkpoint brings them, and this repository does not."""
    brought = architecture.checkpoint.method if architecture.checkpoint is not None else None
    if method not in CHECKPOINT_METHODS or brought == method or (method == "gguf" and model.gguf is not None):
        return None
    return UsageError(
        f"its repository has no {method} weights, and they cannot be made while loading",
        fix=f"name a repository that holds {method} weights, or use --method bf16, int8 or nf4",
        code="no_checkpoint",
    )


def trained_workload(workload: Workload, architecture: Architecture) -> Workload:
    """A fine-tuning as the software that will run it sees it: a stack that was named, else our own loop on one GPU.

    Over several GPUs our loop does not run (aws/from_plan refuses it): it is estimated as transformers would run it.
    """
    if workload.stack != "auto":
        return workload
    if named_stack(workload) != "modelpick":
        return replace(workload, stack="transformers")
    return as_trained(workload, architecture.kind, gpu=True)


def _whatever_the_hardware(rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """What the applicable rules say that does not depend on the instance, the worst first."""
    return spoken(rules, None)


def findings_on(setup: Setup, instance: InstanceType) -> tuple[Finding, ...]:
    """Everything the compatibility table says about a set-up there: a plan's `care`."""
    hardware = (finding_of(rule) for rule in setup.rules if rule.names_gpu and speaks_on(rule, instance))
    return tuple(dict.fromkeys((*setup.caveats, *hardware)))


_STORED_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}


def download_gb(model: Model, parameters: int) -> float:
    """What comes from the Hub: the headers' count by dtype where known, else two bytes a parameter."""
    if model.parameters_by_dtype:
        stored = sum(count * _STORED_BYTES.get(dtype, 1) for dtype, count in model.parameters_by_dtype.items())
        return stored / 1e9
    return 2 * (model.parameters or parameters) / 1e9
