"""What works, checked before money is spent: rules over family, method, stack and GPU. Pure; the rules are data.

data/compatibility.toml is the one table; recommend, plan, finetune and serve all consult it through `findings`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from modelpick.errors import CannotTellError, ModelpickError, UsageError, nearest
from modelpick.offers.instance import InstanceType
from modelpick.workload import Workload

Level = Literal["cannot", "unknown", "care"]
_SEVERITY = ("cannot", "unknown", "care")


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One row of the table. It applies where all its conditions hold. Compared by identity: a table is read once."""

    code: str
    level: Level
    why: str
    way_out: str
    source: str
    read_on: str
    families: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    kind: str | None = None
    task: str | None = None
    methods: tuple[str, ...] = ()
    methods_besides: tuple[str, ...] = ()
    stacks: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    adapter: bool | None = None
    dense: bool | None = None
    gpu_lacks: str | None = None
    cpu: str | None = None
    compute_capability_below: float | None = None
    compute_capability_from: float | None = None
    without_cuda: bool | None = None

    @property
    def names_gpu(self) -> bool:
        """Whether the rule is about the hardware."""
        capability = self.compute_capability_below or self.compute_capability_from
        return bool(self.gpu_lacks or self.cpu or capability or self.without_cuda)


@dataclass(frozen=True, slots=True)
class Subject:
    """What the rules are applied to: a model family with a workload, on an instance or on none yet."""

    model_type: str
    workload: Workload
    kind: str = "decoder"
    experts: bool = False
    adapter: bool = False  # a LoRA adapter is served together with the base model
    instance: InstanceType | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that applies."""

    code: str
    level: Level
    why: str
    way_out: str
    source: str


def findings(rules: Sequence[Rule], subject: Subject) -> tuple[Finding, ...]:
    """Every rule that applies to `subject`: what cannot work first, then what is not known to work."""
    return spoken(applicable(rules, subject), subject.instance)


def spoken(applicable_rules: Sequence[Rule], instance: InstanceType | None) -> tuple[Finding, ...]:
    """What the rules that concern a model and a workload say on an instance (None: on any), the worst first."""
    speaking = [rule for rule in applicable_rules if speaks_on(rule, instance)]
    speaking.sort(key=lambda rule: _SEVERITY.index(rule.level))
    return tuple(map(finding_of, speaking))


def applicable(rules: Sequence[Rule], subject: Subject) -> tuple[Rule, ...]:
    """The rules that concern the model and the workload, those about the hardware included, whatever the instance."""
    return tuple(rule for rule in _about_work(tuple(rules), subject.workload) if _about_model(rule, subject))


def speaks_on(rule: Rule, instance: InstanceType | None) -> bool:
    """Whether an applicable rule holds on `instance`; a rule about hardware holds on no unknown one."""
    return not rule.names_gpu or (instance is not None and _on_gpu(rule, instance))


def finding_of(rule: Rule) -> Finding:
    """The finding of a rule that applies."""
    return Finding(rule.code, rule.level, rule.why, rule.way_out, rule.source)


def obstacle(rules: Sequence[Rule], subject: Subject) -> Finding | None:
    """The first thing that makes `subject` impossible, or None."""
    return next((finding for finding in findings(rules, subject) if finding.level == "cannot"), None)


def refusal(rules_met: Sequence[Finding], of: str = "") -> ModelpickError | None:
    """The error for the first obstacle among `rules_met`: exit 2 where it cannot work, 3 where that is not known."""
    for finding in rules_met:
        if finding.level != "care":
            kind = CannotTellError if finding.level == "unknown" else UsageError
            return kind(f"{of}: {finding.why}" if of else finding.why, fix=finding.way_out, code=finding.code)
    return None


def rule_from(row: Mapping[str, Any], where: str) -> Rule:
    """A row of the table as a rule. Raises UsageError for a missing, unknown or ill-typed key."""
    known = Rule.__dataclass_fields__
    for key, value in row.items():
        if key not in known:
            raise UsageError(
                f"{where}: unknown key {key!r}",
                fix=nearest(key, known) or f"use one of {', '.join(known)}",
                code="bad_table",
            )
        several = str(known[key].type).startswith("tuple")
        if several and not (isinstance(value, list) and value and all(isinstance(one, str) for one in value)):
            raise UsageError(f"{where}: {key} is {value!r}", fix="give a list of words", code="bad_table")
    missing = [key for key in ("code", "level", "why", "way_out", "source", "read_on") if key not in row]
    if missing or row["level"] not in _SEVERITY:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has the level {row['level']!r}"
        raise UsageError(f"{where} {wrong}", fix="see the head of compatibility.toml", code="bad_table")
    if len(row) == 6:
        raise UsageError(f"{where} has no condition", fix="add the condition that the rule is about", code="bad_table")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    values["read_on"] = str(row["read_on"])
    return Rule(**values)


def _about_model(rule: Rule, subject: Subject) -> bool:
    return (
        (not rule.families or subject.model_type in rule.families)
        and (not rule.besides or subject.model_type not in rule.besides)
        and (rule.kind is None or rule.kind == subject.kind)
        and (rule.adapter is None or rule.adapter == subject.adapter)
        and (rule.dense is None or rule.dense != subject.experts)
    )


@lru_cache(maxsize=512)
def _about_work(rules: tuple[Rule, ...], workload: Workload) -> tuple[Rule, ...]:
    """The rules that can speak on a workload, whatever the model: what is asked of a thousand models, once."""
    return tuple(
        rule
        for rule in rules
        if (not rule.methods or workload.method in rule.methods)
        and (not rule.methods_besides or workload.method not in rule.methods_besides)
        and (not rule.stacks or workload.stack in rule.stacks)
        and (not rule.dtypes or workload.dtype in rule.dtypes)
        and (not rule.attention or workload.attention in rule.attention)
        and (not rule.objectives or workload.objective in rule.objectives)
        and (rule.task is None or rule.task == workload.task)
    )


def _on_gpu(rule: Rule, instance: InstanceType) -> bool:
    if rule.compute_capability_below is not None or rule.compute_capability_from is not None:
        if not instance.gpu.cuda:
            return False
        capability = float(instance.gpu.compute_capability)
        below, least = rule.compute_capability_below, rule.compute_capability_from
        if not (below is None or capability < below) or not (least is None or capability >= least):
            return False
    return (
        (rule.gpu_lacks is None or not instance.gpu.supports(rule.gpu_lacks))
        and (rule.cpu is None or instance.cpu == rule.cpu)
        and (rule.without_cuda is None or rule.without_cuda != instance.gpu.cuda)
    )
