"""Reads the table of what cannot work, and asks it about a model. I/O, cached per process."""

import tomllib
from functools import cache, lru_cache
from typing import Any

from modelpick.catalog.architecture.fields import EXPERTS
from modelpick.catalog.model import Model
from modelpick.files import data_file
from modelpick.offers import embedded
from modelpick.offers.compatibility import Rule, Subject, narrowed, obstacle, rule_from
from modelpick.offers.instance import InstanceType
from modelpick.workload import Workload


@cache
def load_rules() -> tuple[Rule, ...]:
    """data/compatibility.toml. Raises UsageError for a row that cannot be read."""
    listed = _table()["rule"]
    return tuple(rule_from(_named(row), f"compatibility.toml, rule {number}") for number, row in enumerate(listed, 1))


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the list that `besides` names in its place."""
    named = row.get("besides")
    return {**row, "besides": _table()["families"][named]} if isinstance(named, str) else row


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(data_file("offers", "compatibility.toml").read_text(encoding="utf-8"))


@cache
def _kinds() -> dict[str, str]:
    """model_type -> kind, for those that are no decoders."""
    return {model_type: kind for kind, model_types in _table()["kinds"].items() for model_type in model_types}


@lru_cache(maxsize=512)
def _narrowed(workload: Workload, instance: str | None) -> tuple[Rule, ...]:
    kind = embedded.instance(instance) if instance is not None else None
    return tuple(rule for rule in narrowed(load_rules(), workload, kind) if rule.level == "cannot")


def subject_of(
    model: Model, workload: Workload, instance: InstanceType | None = None, *, adapter: bool = False
) -> Subject:
    """What the table is asked about, told from config.json's own keys: cheap enough for every model of the catalog."""
    config = model.config or {}
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    model_type = str(config.get("model_type", ""))
    kind = "encoder-decoder" if config.get("is_encoder_decoder") is True else _kinds().get(model_type, "decoder")
    experts = any(isinstance(inner.get(key), int) and inner[key] > 1 for key in EXPERTS)
    return Subject(model_type, workload, kind, experts, adapter, instance)


def cannot_run(model: Model, workload: Workload, instance: InstanceType | None = None) -> str | None:
    """Why `workload` cannot run on the model (on that instance), with the way out; None where nothing is known."""
    rules = _narrowed(workload, instance.name if instance is not None else None)
    found = obstacle(rules, subject_of(model, workload, instance)) if rules else None
    return None if found is None else f"{found.why}; {found.way_out}"
