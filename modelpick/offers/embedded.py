"""Reads the facts in force: instance types, GPUs, prices, what else is billed, what works. I/O, cached per process.

Embedded are all of them; a snapshot (catalog.snapshot) may hold newer ones of all but what works.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from modelpick.catalog import snapshot
from modelpick.catalog.architecture.fields import EXPERTS
from modelpick.catalog.model import Model
from modelpick.errors import UsageError, nearest
from modelpick.files import data_file
from modelpick.offers.chat_parsers import ChatParsers, table_from
from modelpick.offers.compatibility import Rule, Subject, rule_from
from modelpick.offers.instance import Families, Gpu, InstanceType, LeftOutType
from modelpick.offers.price import MARKETS, BillingRates, EgressTier, Market, Offer
from modelpick.offers.price_file import prices_in, types_of
from modelpick.workload import Workload

DEFAULT_REGION = "us-east-1"


@snapshot.per_facts
def gpus() -> Mapping[str, Gpu]:
    """Every GPU by name."""
    listed = _json("gpus.json")["gpus"]
    return MappingProxyType({name: Gpu(name=name, **facts) for name, facts in listed.items()})


@snapshot.per_facts
def instances() -> Mapping[str, InstanceType]:
    """Every NVIDIA instance type by name, ordered by family and size."""
    known = gpus()
    rows = (json.loads(line) for line in _text("instances.jsonl").splitlines())
    return MappingProxyType({row["name"]: InstanceType(**{**row, "gpu": known[row["gpu"]]}) for row in rows})


def gpu_called(device: str) -> Gpu | None:
    """The GPU that a driver calls `device` ("NVIDIA A100-SXM4-80GB"): all words of its name are among the driver's; of
    several the one with most words. None for one that is not offered."""
    words = set(re.split(r"[^A-Za-z0-9]+", device))
    named = [gpu for gpu in gpus().values() if set(re.split(r"[^A-Za-z0-9]+", gpu.name)) <= words]
    return max(named, key=lambda gpu: len(gpu.name), default=None)


def instance(name: str) -> InstanceType:
    """The instance type called `name`. Raises UsageError, saying why a known type is not offered or what is near."""
    found = instances().get(name.strip().lower())
    if found is not None:
        return found
    absent = left_out().get(name.strip().lower())
    if absent is not None:
        raise UsageError(
            f"{name} is not offered: {absent.reason}",
            fix="choose one that `modelpick offers` lists",
            code="instance_not_offered",
        )
    raise UsageError(
        f"unknown instance type {name!r}",
        fix=nearest(name, instances()) or "see `modelpick offers`",
        code="unknown_instance",
    )


@snapshot.per_facts
def regions() -> Mapping[str, str]:
    """Every public AWS region: code -> place."""
    return MappingProxyType(_json("regions.json")["regions"])


def check_region(region: str) -> str:
    """`region` as AWS writes it. Raises UsageError with the nearest code for a mistyped one."""
    code = region.strip().lower()
    if code not in regions():
        raise UsageError(
            f"unknown region {region!r}",
            fix=nearest(region, regions()) or f"use one of {', '.join(sorted(regions()))}",
            code="unknown_region",
        )
    return code


@snapshot.per_facts
def offers(region: str = DEFAULT_REGION, market: Market = "on-demand") -> tuple[Offer, ...]:
    """One offer for every instance type in `region`, in the order of `instances()`; a price not known is None.

    Raises UsageError for an unknown region or market.
    """
    code = check_region(region)
    if market not in MARKETS:
        raise UsageError(f"unknown market {market!r}", fix=f"use one of {', '.join(MARKETS)}", code="unknown_market")
    return tuple(_offer(kind, code, market) for kind in instances().values())


def offer(name: str, region: str = DEFAULT_REGION, market: Market = "on-demand") -> Offer:
    """The offer of one instance type. Raises UsageError for an unknown type or region."""
    return _offer(instance(name), check_region(region), market)


def discounted_offers(
    *, region: str = DEFAULT_REGION, market: str = "on-demand", discounts: Mapping[str, float] | None = None
) -> tuple[Offer, ...]:
    """Every NVIDIA instance type with its price in `region` (None where unknown), negotiated discounts taken off.

    `market` is on-demand or spot. Raises UsageError for an unknown region or market.
    """
    asked = cast(Market, market)  # offers() refuses any other word
    return tuple(offer.discounted(discounts or {}) for offer in offers(region, asked))


def families_named(text: str | None) -> Families:
    """The instance families a user named: None means the G families, `any`, or names joined by commas."""
    if text is None:
        return Families(gpu_class="G")
    words = tuple(word.strip().lower() for word in text.split(",") if word.strip())
    if words == ("any",):
        return Families()
    known = {instance.family for instance in instances().values()}
    for word in words:
        if word not in known:
            fix = nearest(word, known) or f"use any, or some of {', '.join(sorted(known))}"
            raise UsageError(f"unknown instance family {word!r}", fix=fix, code="unknown_family")
    if not words:
        raise UsageError("--family is empty", fix="use any, or names joined by commas", code="unknown_family")
    return Families(names=words)


@snapshot.per_facts
def billing_rates() -> BillingRates:
    """What AWS bills around an instance: disk, address, storage, traffic. us-east-1 figures, used for every region."""
    listed = _json("auxiliary.json")
    egress = listed["egress_usd_per_gb"]
    return BillingRates(
        gp3_usd_per_gb_month=listed["gp3_usd_per_gb_month"]["usd"],
        s3_usd_per_gb_month=listed["s3_usd_per_gb_month"]["usd"],
        public_ipv4_usd_per_hour=listed["public_ipv4_usd_per_hour"]["usd"],
        egress_free_gb_per_month=egress["free_gb_per_month"],
        egress_tiers=tuple(EgressTier(tier["gb"], tier["usd"]) for tier in egress["up_to_gb"]),
        minimum_seconds=listed["billing"]["minimum_seconds"],
        as_of=listed["as_of"],
        region=listed["region"],
        sources=tuple(value["source"] for value in listed.values() if isinstance(value, dict)),
    )


@cache
def load_rules() -> tuple[Rule, ...]:
    """data/compatibility.toml. Raises UsageError for a row that cannot be read."""
    listed = _compatibility()["rule"]
    return tuple(rule_from(_named(row), f"compatibility.toml, rule {number}") for number, row in enumerate(listed, 1))


@cache
def load_chat_parsers() -> ChatParsers:
    """data/chat_parsers.toml. Raises UsageError for a row that cannot be read."""
    return table_from(tomllib.loads(_text("chat_parsers.toml")))


def subject_of(
    model: Model, workload: Workload, instance: InstanceType | None = None, *, adapter: bool = False
) -> Subject:
    """What the table is asked about, read from config.json's own keys: cheap enough for every model of the catalog."""
    config = model.config or {}
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else config
    model_type = str(config.get("model_type", ""))
    kind = "encoder-decoder" if config.get("is_encoder_decoder") is True else _kinds().get(model_type, "decoder")
    experts = any(isinstance(count := inner.get(key), int) and count > 1 for key in EXPERTS)
    return Subject(model_type, workload, kind, experts, adapter, instance)


@snapshot.per_facts
def left_out() -> Mapping[str, LeftOutType]:
    """Accelerated instance types that are not offered, with the reason of each: retired ones and announced ones too."""
    listed = _json("manifest.json")["left_out"]
    return MappingProxyType({name: LeftOutType(name=name, **facts) for name, facts in listed.items()})


@snapshot.per_facts
def price_history() -> Mapping[str, Any]:
    """Prices of us-east-1 over time, oldest first; `error` marks those that were errors of their list."""
    return MappingProxyType(_json("price_history.json")["changes"])


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the list that `besides` names in its place."""
    named = row.get("besides")
    return {**row, "besides": _compatibility()["families"][named]} if isinstance(named, str) else row


@cache
def _compatibility() -> dict[str, Any]:
    return tomllib.loads(data_file("offers", "compatibility.toml").read_text(encoding="utf-8"))


@cache
def _kinds() -> dict[str, str]:
    """model_type -> kind, for those that are not decoders."""
    return {model_type: kind for kind, model_types in _compatibility()["kinds"].items() for model_type in model_types}


def as_of() -> str:
    """The newest date among the embedded on-demand prices, ISO."""
    return str(_json("manifest.json")["prices_as_of"])


def known_prices() -> dict[tuple[str, str, Market], float]:
    """Every embedded price: (instance type, region, market) -> dollars an hour."""
    return dict(prices_in(_text("prices.jsonl")))


def _offer(kind: InstanceType, region: str, market: Market) -> Offer:
    known = _prices(region).get(kind.name, {})
    if market in known:
        price = known[market]
        return Offer(
            kind, region, market, price["usd_per_hour"], _sources(price), price["as_of"], availability="offered"
        )
    how = _how_to_get(kind.name, region, market)
    if "not_offered" in known:
        absent = known["not_offered"]
        return Offer(
            kind, region, market, None, _sources(absent), absent["as_of"], how_to_get=how, availability="not_offered"
        )
    return Offer(
        kind, region, market, None, None, None, how_to_get=how, availability="offered" if known else "unknown"
    )  # fmt: skip


def _how_to_get(name: str, region: str, market: Market) -> str:
    spot = " --market spot" if market == "spot" else ""
    return f"modelpick offers --live --region {region} --instance {name}{spot} (needs AWS credentials)"


def _sources(row: Mapping[str, Any]) -> str:
    listed = _json("manifest.json")["sources"]
    return "; ".join(listed.get(key, key) for key in row["sources"])


@snapshot.per_facts
def _prices(region: str) -> Mapping[str, dict[str, Any]]:
    """What is known of each type in one region: its line of prices.jsonl. The lines of the others are not parsed."""
    return types_of(_text("prices.jsonl"), region)


@snapshot.per_facts
def _json(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(_text(name))
    return answer


def _text(name: str) -> str:
    return snapshot.in_force().text(f"offers/{name}")
