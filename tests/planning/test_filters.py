"""The gates before the search: what was asked for, and what is said of a model that nobody says enough about."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from modelpick import api
from modelpick.catalog import architecture, index, languages
from modelpick.catalog.model import Capability, Model
from modelpick.catalog.size import named_parameters, said_parameters
from modelpick.cli.render.recommend import draw_answer
from modelpick.errors import CannotTellError, UsageError
from modelpick.memory.estimate import architecture_of
from modelpick.offers import embedded
from modelpick.planning.cost import serving_month
from modelpick.planning.filters import (
    FINDERS,
    USE_CASES,
    Filters,
    base_model,
    check_publishers,
    languages_named,
    not_asked_for,
    of_another_kind,
)
from modelpick.workload import Workload

SERVE, FINETUNE = Workload(), Workload(task="finetune", method="lora-int8", context=1024)


def made(*capabilities: Capability, **facts: Any) -> Model:
    return Model("org/name", "catalog", capabilities=capabilities, **facts)


@pytest.mark.parametrize("use", USE_CASES)
def test_a_use_case_takes_the_models_that_somebody_states_it_of(use: Capability) -> None:
    assert of_another_kind(made(use), SERVE, use) is None
    unstated = of_another_kind(made(), SERVE, use)
    assert unstated is not None
    assert unstated.code == "use_unknown"
    assert unstated.reason.startswith("not stated whether it ")
    quantized = of_another_kind(made(use, quantization="awq-4bit"), SERVE, use)
    assert quantized is not None
    assert quantized.code == "quantized_copy"


@pytest.mark.parametrize("use", [use for use in USE_CASES if use not in (*FINDERS, "base")])
def test_base_models_answer_nobody_whatever_else_they_can(use: Capability) -> None:
    left = base_model(made("base", use), SERVE, use)
    assert left is not None
    assert left.code == "base_model"
    assert base_model(made("base", use), SERVE) is not None
    assert base_model(made("base", use), FINETUNE) is None
    assert base_model(made("base", use), FINETUNE, use) is not None
    assert base_model(made("base", use), SERVE, "base") is None
    assert of_another_kind(made("base", use), SERVE, "base") is None


def test_searching_models_are_ranked_among_their_like() -> None:
    for use, other in (FINDERS, FINDERS[::-1]):
        left = of_another_kind(made(other), SERVE, use)
        assert left is not None
        assert left.code == "other_use"
        for asked in (None, "chat", "base"):
            writes = of_another_kind(made(use), SERVE, asked)
            assert writes is not None
            assert writes.code == "not_generative"


def test_no_use_case_shows_two_kinds_of_models() -> None:
    """Over the whole catalog: a base model, an embedding model and a chat model never stand in one list."""
    kinds = {"base": "base", "embedding": "embedding", "rerank": "rerank"}
    for use in USE_CASES:
        taken = [
            one
            for one in index.load().models.values()
            if of_another_kind(one, SERVE, use) is None and base_model(one, SERVE, use) is None
        ]
        assert taken, use
        for one in taken:
            assert use in one.capabilities
            assert not [kind for kind in kinds if kind in one.capabilities and kind != use], (use, one.id)


def test_what_a_card_says_and_what_others_say_are_kept_apart() -> None:
    asked = Filters(languages=("de", "fr"))
    assert not_asked_for(made(languages=("de-AT", "fr")), asked) is None
    mixed = made(languages=("en", "de"), languages_elsewhere=("fra", "ger"))
    assert not_asked_for(mixed, asked) is None
    assert languages_named(mixed, asked.languages) == {"de": "card", "fr": "others"}
    for unnamed, code in ((made(), "languages_unknown"), (made(languages=("en",)), "language")):
        left = not_asked_for(unnamed, asked)
        assert left is not None
        assert left.code == code


def test_a_row_says_who_names_its_languages() -> None:
    found = api.recommend(
        filters=Filters(languages=("zh",), use_case="chat", max_parameters=2 * 10**9), finetune_rows=1
    )
    said = {row["languages"]["zh"] for row in found.as_json(None)["recommendations"]}  # type: ignore[attr-defined]
    assert said == {"card", "others"}
    stream = io.StringIO()
    draw_answer(Console(file=stream, width=80), found, None, False)
    assert "Chinese: named by others, not by the card, of " in stream.getvalue()


def test_a_language_is_known_by_each_of_its_names_and_no_other_word_is_one() -> None:
    for typed in ("de", "DEU", "ger", "German", "de_AT"):
        assert languages.asked(f"en, {typed},en") == ("en", "de")
    assert languages.codes_of(("multilingual", "python", "c++", "zho", "zh-CN")) == {"zh"}
    for typed, near in (("germna", "german"), ("xq", "ISO 639"), (" , ", "en,de")):
        with pytest.raises(UsageError) as refused:
            languages.asked(typed)
        assert near in str(refused.value.fix)
    for code in languages.codes_of(word for one in index.load().models.values() for word in one.languages):
        assert languages.code_of(languages.name_of(code)) == code


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("huggyllama/llama-7b", 6_738_415_616, 7e9),
        ("google/gemma-7b", 8_537_680_896, 7e9),
        ("google/gemma-2-2b", 2_614_341_888, 2e9),
        ("Qwen/Qwen3-30B-A3B", 30_532_122_624, 30e9),
        ("allenai/OLMoE-1B-7B-0125", 6_919_161_856, 7e9),
        ("mistralai/Mixtral-8x7B-v0.1", 46_702_792_704, 47e9),
        ("meta-llama/Llama-4-Scout-17B-16E", 108_641_793_536, 110e9),
        ("google/gemma-3n-E4B-it", 7_849_978_192, 8e9),
        ("microsoft/phi-1_5", 1_418_270_720, 1.4e9),
        ("openai-community/gpt2", 124_439_808, 120e6),
        ("some/thing-13b", None, 13e9),
        ("some/thing", None, None),
    ],
)
def test_a_size_is_what_people_say(name: str, count: int | None, size: float | None) -> None:
    assert said_parameters(Model(name, "catalog", parameters=count)) == size


def test_a_size_in_the_name_is_near_the_count_over_the_whole_catalog() -> None:
    for one in index.load().models.values():
        named = named_parameters(one)
        if named is not None and one.parameters is not None:
            assert 1 / 1.5 <= named / one.parameters <= 1.5, one.id


@pytest.mark.parametrize(
    ("facts", "wanted", "code"),
    [
        ({"parameters": 8_030_261_248}, {"max_parameters": 7_000_000_000}, "too_large"),
        ({"parameters": 6_738_415_616}, {"min_parameters": 7_000_000_000, "max_parameters": 7_000_000_000}, None),
        ({"parameters": 3_000_000_000}, {"min_parameters": 7_000_000_000}, "too_small"),
        ({}, {"min_parameters": 1}, "parameters_unknown"),
        ({}, {"min_score": 50.0}, "score_unknown"),
        ({}, {"publishers": ("ORG",)}, None),
        ({}, {"publishers": ("other",)}, "publisher"),
    ],
)
def test_each_of_the_other_filters_says_why(facts: dict[str, Any], wanted: dict[str, Any], code: str | None) -> None:
    left = not_asked_for(made(**facts), Filters(**wanted))
    assert (left and left.code) == code


def test_a_publisher_that_the_catalog_lacks_is_an_error_with_the_nearest() -> None:
    check_publishers(("MistralAI", "google"), index.load().models)
    with pytest.raises(UsageError, match="mistral") as refused:
        check_publishers(("mistralia",), index.load().models)
    assert "mistralai" in str(refused.value.fix)


def test_a_month_buys_what_it_pays_for_and_no_more() -> None:
    rates = embedded.billing_rates()
    for offer in embedded.offers():
        if offer.usd_per_hour is not None:
            month = serving_month(offer, rates)
            assert month is not None
            most = Filters(max_usd_per_month=month.total_usd).most_per_hour(rates)
            assert most == pytest.approx(offer.usd_per_hour)
    both = Filters(max_usd_per_month=730.0, max_usd_per_hour=0.5)
    assert both.most_per_hour(rates) == 0.5
    too_little = replace(both, max_usd_per_month=0.01).most_per_hour(rates)
    assert too_little is not None
    assert 0 < too_little < 1e-6
    assert replace(both, max_usd_per_month=None, max_usd_per_hour=None).most_per_hour(rates) is None


def test_named_instances_are_taken_whatever_their_family_and_gpus() -> None:
    filters = Filters(instances=("g5.12xlarge", "p5.48xlarge"))
    assert {offer.instance.name for offer in filters.offered(embedded.offers(), 1)} == set(filters.instances)


def test_a_family_alone_tells_that_a_model_neither_encodes_nor_hears() -> None:
    """One model of each model_type of the catalog: what is passed over by its family is a decoder when it is read."""
    by_type = {str((model.config or {}).get("model_type")): model for model in index.load().models.values()}
    passed_over = 0
    for model in by_type.values():
        if model.config is None or architecture.may_encode_or_hear(model.config):
            continue
        try:
            shape = architecture_of(model)
        except CannotTellError:
            continue
        passed_over += 1
        assert (shape.kind, shape.heard) == ("decoder", None), model.id
    assert passed_over > 80
    encoder = index.load().models["openai/whisper-large-v3"]
    assert encoder.config is not None
    assert architecture.may_encode_or_hear(encoder.config)
