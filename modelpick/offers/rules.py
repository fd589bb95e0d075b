"""Reads the table of what cannot work, and asks it about a model. I/O, cached per process."""

import tomllib
from functools import cache, lru_cache

from modelpick.catalog.model import Model
from modelpick.offers import embedded
from modelpick.offers.compatibility import Rule, Subject, narrowed, obstacle, rule_from
from modelpick.offers.instance import InstanceType
from modelpick.resources import data_file
from modelpick.workload import Workload

# model_types whose text goes through an encoder first, or which are encoders only: told from config.json's own keys
# where the architecture cannot be read.
_ENCODER_DECODERS = ("t5", "mt5", "umt5", "bart", "mbart", "pegasus", "marian", "longt5", "switch_transformers")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


@cache
def load_rules() -> tuple[Rule, ...]:
    """data/compatibility.toml. Raises UsageError for a row that cannot be read."""
    listed = tomllib.loads(data_file("offers", "compatibility.toml").read_text(encoding="utf-8"))["rule"]
    return tuple(rule_from(row, f"compatibility.toml, rule {number}") for number, row in enumerate(listed, 1))


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
    seq2seq = bool(config.get("is_encoder_decoder")) or model_type in _ENCODER_DECODERS
    experts = any(isinstance(inner.get(key), int) and inner[key] > 1 for key in _EXPERTS)
    return Subject(model_type, workload, "encoder-decoder" if seq2seq else "decoder", experts, adapter, instance)


def cannot_run(model: Model, workload: Workload, instance: InstanceType | None = None) -> str | None:
    """Why `workload` cannot run on the model (on that instance), with the way out; None where nothing is known."""
    rules = _narrowed(workload, instance.name if instance is not None else None)
    found = obstacle(rules, subject_of(model, workload, instance)) if rules else None
    return None if found is None else f"{found.why}; {found.way_out}"
