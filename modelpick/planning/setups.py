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
from modelpick.planning.engines import ONE_AT_A_TIME, STACKS, EngineName, engine_of, engines_for
from modelpick.planning.fit import on_device
from modelpick.planning.recipe import as_trained
from modelpick.planning.rejection import Rejection, rejection_of
from modelpick.planning.request import PlanRequest, SearchFacts
from modelpick.planning.weights import LoadableWeights, loadable
from modelpick.speed.shape import SpeedShape, shape_of
from modelpick.workload import CHECKPOINT_METHODS, Dtype, Method, Workload


@dataclass(frozen=True)
class Setup:
    """Engine, weights and sharding for one model, on no offer yet: compared with every offer.

    `model` is the repository whose weights are loaded, `served` the workload of its server on the engine; `recipes` are
    the ways to fine-tune in the order they are tried; `rules` what the table says of the model and the workload,
    `caveats` what it says whatever the hardware. `traced` stands in for the server's estimate.
    """

    model: Model
    architecture: Architecture
    recipes: tuple[Tuning, ...]
    served: Workload | None
    engine: EngineName | None
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]
    traced: MemoryEstimate | None = None

    @cached_property
    def serving(self) -> MemoryEstimate | None:
        """What the server needs, at device level."""
        if self.served is None:
            return None
        return self.traced or on_device(self.architecture, self.served, self.model.parameters)

    @property
    def one_at_a_time(self) -> bool:
        """Whether its server answers one request after another."""
        return self.engine in ONE_AT_A_TIME

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
    if request.encodes and request.serve is not None:
        return _encoding(request, request.serve, architecture, facts)
    if request.serve is not None and (held := as_held(request.serve, architecture)) is not request.serve:
        request = replace(request, serve=held)
    for _, workload in request.tasks:
        if (unheld := format_problem(architecture, workload)) is not None:
            return rejection_of(unheld, "engine")
        problem = context_problem(architecture.longest, workload.context, workload.generate)
        if problem is not None and not hypothetical:
            return rejection_of(problem, "context")
    if request.serve is not None and not hypothetical:
        absent = None
        if not (request.converted and request.serve.method == "gguf" and architecture.checkpoint is None):
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
            unset=request.unset, rows=request.data.rows, epochs=request.epochs,
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
        rules = tuple(dict.fromkeys((*tuned, *way.rules))) if tuned else way.rules
        all_caveats = tuple(dict.fromkeys((*caveats, *way.caveats))) if caveats else way.caveats
        setups.append(
            Setup(
                model, architecture, recipes, way.workload, engine_of(way.workload), rules, all_caveats, request.traced
            )
        )
    if unable and not setups:
        return rejection_of(unable[0], "engine")
    return tuple(setups)


def _encoding(
    request: PlanRequest, workload: Workload, architecture: Architecture, facts: SearchFacts
) -> tuple[Setup, ...] | Rejection:
    """The one set-up of a model that embeds or ranks: its weights as transformers holds them, a batch of whole texts,
    no server of ours (docs/decisions/0074). What the table says of hardware holds for whatever else serves it."""
    workload = replace(as_held(workload, architecture), stack="transformers", generate=0)
    if (unheld := format_problem(architecture, workload)) is not None:
        return rejection_of(unheld, "engine")
    if (problem := context_problem(architecture.longest, workload.context, 0)) is not None:
        return rejection_of(problem, "context")
    concerned = applicable(facts.rules, facts.subject_of(request.model, workload))
    rules = tuple(rule for rule in concerned if rule.names_gpu)
    return (Setup(request.model, architecture, (), workload, None, rules, (), request.traced),)


@dataclass(frozen=True)
class WeightsChoice:
    """One kind of weights to try, for a server or a fine-tuning. What its set-ups are is worked out when first asked.

    `asked` is the request as it came, `dtype` what its server computes in instead, if anything. `lacking`: a number
    format; the choice is for GPUs that lack it alone. `copied`: of another repository.
    """

    asked: PlanRequest
    facts: SearchFacts
    hypothetical: bool = False
    weights: LoadableWeights | None = None
    dtype: Dtype | None = None
    lacking: str | None = None

    @property
    def request(self) -> PlanRequest:
        """The request for these weights. Raises what memory.estimate.architecture_of does, of a copy."""
        asked, weights = self.asked, self.weights
        if weights is None or asked.serve is None:
            return asked
        workload = _as(asked.serve, weights.method, self.dtype or asked.serve.dtype)
        if weights.copied:
            return replace(asked, model=weights.model, architecture=weights.architecture, serve=workload)
        return replace(asked, serve=workload)

    @property
    def copied(self) -> bool:
        """Whether the weights are in another repository than the model's own."""
        return self.weights is not None and self.weights.copied

    @cached_property
    def least_gib(self) -> float:
        """What its weights take of each GPU at the very least: below the estimate, and known without it."""
        served = self.asked.serve
        if self.weights is None or served is None or served.cpu_offload_gb:
            return 0.0
        return self.weights.least_bytes / served.gpus / 2**30

    @cached_property
    def setups(self) -> tuple[Setup, ...] | Rejection:
        """The set-ups, the preferred engine first, or why there is none whatever the offer.

        Raises CannotTellError for an architecture that is not understood, but not for that of a copy.
        """
        if not self.copied:
            return setups_for(self.request, self.facts, self.hypothetical)
        try:
            return setups_for(self.request, self.facts, self.hypothetical)
        except ModelpickError as error:
            return rejection_of(error, "checkpoint")


def choices_for(
    request: PlanRequest, facts: SearchFacts, hypothetical: bool, *, without_bf16: bool, owned: bool = False
) -> list[WeightsChoice]:
    """Every kind of weights that `request` may be served with, the least quantized first.

    A method that is named is kept; published copies are tried after the model's own weights. Where the method is
    `auto`, a GPU without bf16 (`without_bf16`: there is one among the offers) computes in fp16, if the model bears it.
    On a card of one's own (`owned`) llama.cpp is as much at hand as vLLM: a GGUF file is tried as well, after what vLLM
    loads in as many bits. On a rented machine nobody has put it there.
    A fine-tuning, and what is served after one, takes the weights of its own repository.
    """
    served = request.serve
    if served is None or request.finetune is not None or request.traced is not None or hypothetical:
        return [WeightsChoice(request, facts, hypothetical)]
    architecture = request.architecture or architecture_of(request.model)
    request = replace(request, architecture=architecture)
    gguf = owned and request.converted and served.stack in ("auto", STACKS["llama.cpp"])
    listed = list(loadable(request.model, architecture, request.copies, served.method, gguf=gguf))
    if request.encodes and served.method == "auto":
        listed = listed[:1]
    elif request.bits is not None:
        listed = [weights for weights in listed if weights.bits == request.bits]
    elif served.method != "auto" and (not listed or listed[0].copied):
        listed.insert(0, LoadableWeights(request.model, served.method, 0, request.model, architecture))
    as_told: tuple[Dtype | None, ...] = (None,)
    as_the_card_allows: tuple[Dtype | None, ...] = ("bf16", "fp16")
    free = without_bf16 and served.dtype == "bf16" and served.method == "auto"
    return [
        WeightsChoice(request, facts, False, weights, dtype, "bf16" if dtype == "fp16" else None)
        for weights in listed
        for dtype in (as_the_card_allows if free else as_told)
    ]


@lru_cache(maxsize=256)  # the same for every model of a catalog, so made once
def _as(workload: Workload, method: Method, dtype: Dtype) -> Workload:
    return replace(workload, method=method, dtype=dtype)


# transformers with GPTQ and AWQ kernels: `serve` installs none and refuses it; 83 published speeds say how fast it is.
UNTRIED = "transformers_unknown_method"
_MEASURED_ELSEWHERE = ("gptq", "awq")


@dataclass(frozen=True, slots=True)
class _WayToServe:
    """A workload on an engine, the rules that concern it, and what they say whatever the hardware."""

    workload: Workload
    rules: tuple[Rule, ...]
    caveats: tuple[Finding, ...]


@lru_cache(maxsize=4096)
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
    if method == "fp8" and brought is None:
        return None  # vLLM makes them while loading; which other engine cannot is in the compatibility table
    return UsageError(
        f"its repository has no {method} weights, and they cannot be made while loading",
        fix=f"name a repository that holds {method} weights, or use --method bf16, fp8, int8 or nf4",
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
