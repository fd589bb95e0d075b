"""The embedded catalog as data: counts, units, sources, and the traps that others fall into."""

import re
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from modelpick.catalog import index
from modelpick.catalog.model import Model

MEMORY_KEYS = (
    {"num_hidden_layers", "n_layer", "n_layers", "num_layers"},
    {"hidden_size", "n_embd", "d_model"},
    {"num_attention_heads", "n_head", "n_heads", "num_heads"},
)
MODELS = list(index.load().models.values())


def _flat(model: Model) -> dict[str, object]:
    config = dict(model.config or {})
    return config | dict(config.get("text_config") or {})


def test_every_model_with_all_memory_fields_and_a_license_is_there() -> None:
    ready = [
        model
        for model in MODELS
        if model.license and model.parameters and all(keys & _flat(model).keys() for keys in MEMORY_KEYS)
    ]
    assert len(MODELS) >= 2_700
    assert len(ready) >= 1_500


@pytest.mark.parametrize(
    "id",
    [
        *(f"google/flan-t5-{size}" for size in ("small", "base", "large", "xl", "xxl")),
        "FacebookAI/xlm-roberta-large",
        "huggyllama/llama-7b",
        "tiiuae/falcon-7b",
        "tiiuae/falcon-40b",
        "tiiuae/falcon-180B",
        "mosaicml/mpt-7b",
        "mosaicml/mpt-7b-chat",
        "mosaicml/mpt-30b",
    ],
)
def test_the_models_of_the_founding_article_are_complete(id: str) -> None:
    model = index.load().models[id]
    assert model.license
    assert model.parameters
    assert all(keys & _flat(model).keys() for keys in MEMORY_KEYS)


def test_no_two_ids_are_the_same_repository() -> None:
    assert [id for id, count in Counter(model.id.lower() for model in MODELS).items() if count > 1] == []
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", model.id) for model in MODELS)


def test_every_fact_names_a_source_with_a_day() -> None:
    catalog = index.load()
    for model in MODELS:
        fields = {"parameters", "context", "license", "downloads", "release_date", "base_models", "gated", "languages"}
        told = {name for name in fields if getattr(model, name) not in (None, ())}
        told |= {f"config.{key}" for key in model.config or ()}
        missing = told - model.sources.keys()
        assert not missing, f"{model.id}: {missing}"
        for name, key in model.sources.items():
            source = catalog.source(key)
            assert source.title, f"{model.id} {name}"
            date.fromisoformat(source.read_on)


def test_no_source_is_a_key_that_the_table_forgot() -> None:
    catalog = index.load()
    for key in {key for model in MODELS for key in model.sources.values()}:
        known = key in catalog.sources or key.startswith(("same shape as ", "derived: "))
        assert known or re.search(r"[/ ]", key), f"{key!r} is neither in the table nor a citation"


def test_a_twin_named_as_source_exists_and_has_the_same_parameters() -> None:
    models = index.load().models
    for model in MODELS:
        for name, key in model.sources.items():
            if key.startswith("same shape as ") and (twin := models.get(key.removeprefix("same shape as "))):
                if twin.parameters is None or model.parameters is None:
                    continue  # set aside on either side, for the reason in the notes
                assert twin.parameters == pytest.approx(model.parameters, rel=1e-3), f"{model.id} {name}"


def test_units_are_plain_counts_in_believable_ranges() -> None:
    for model in MODELS:
        config = _flat(model)
        assert model.parameters is None or 1e5 < model.parameters < 4e12, model.id
        assert model.active_parameters is None or 1e5 < model.active_parameters <= 3e12, model.id
        if model.active_parameters and model.parameters:
            assert model.active_parameters <= model.parameters, model.id
        assert model.context is None or 16 <= model.context <= 20_000_000, model.id
        assert 1 <= config.get("num_hidden_layers", 1) <= 200, model.id
        assert 8 <= config.get("hidden_size", 64) <= 20_480, model.id
        assert 128 <= config.get("vocab_size", 256) <= 300_000, model.id
        heads, kv_heads = config.get("num_attention_heads"), config.get("num_key_value_heads")
        if heads and kv_heads and config.get("model_type") != "nemotron-nas":
            assert kv_heads <= heads, model.id
        assert model.downloads is None or model.downloads >= 0
        if model.release_date:
            assert date(2018, 1, 1) <= date.fromisoformat(model.release_date) <= date(2026, 12, 31), model.id


def test_license_is_written_as_cards_write_it() -> None:
    for model in MODELS:
        assert model.license is None or isinstance(model.license, str)
        if model.license_name:
            assert model.license in ("other", "unknown"), model.id
    named = {model.id: model.license_name for model in MODELS}
    assert named["Qwen/Qwen2.5-72B-Instruct"] == "qwen"
    assert named["moonshotai/Kimi-K2-Instruct"] == "modified-mit"
    assert named["Qwen/Qwen3-8B"] is None


def test_quality_is_a_score_inside_its_interval_with_named_boards() -> None:
    boards = index.load().boards
    rated = [model for model in MODELS if model.quality]
    assert len(rated) == 539
    for model in rated:
        quality = model.quality
        assert quality is not None
        assert 0 <= quality.low <= quality.score <= quality.high <= 100, model.id
        assert quality.sources, model.id
        assert set(quality.sources) <= boards.keys(), model.id
        assert quality.as_of or quality.status == "vendor-only" or quality.sources == ("Aider",), model.id


def test_falcon_7b_has_a_single_key_value_head() -> None:
    for id in ("tiiuae/falcon-7b", "tiiuae/falcon-7b-instruct"):
        config = index.load().models[id].config
        assert config is not None
        assert config["multi_query"] is True
        assert config["new_decoder_architecture"] is False
        assert config.get("num_kv_heads", 1) == 1


def test_falcon_180b_has_eight_and_is_not_apache() -> None:
    model = index.load().models["tiiuae/falcon-180B"]
    assert model.config is not None
    assert model.config["new_decoder_architecture"] is True
    assert model.config["num_kv_heads"] == 8
    assert model.license != "apache-2.0"


def test_deepseek_v3_compresses_its_cache() -> None:
    for id in ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1", "moonshotai/Kimi-K2-Instruct"):
        config = index.load().models[id].config
        assert config is not None
        assert (config["kv_lora_rank"], config["qk_rope_head_dim"]) == (512, 64)


def test_llama_4_scout_reads_ten_million_tokens() -> None:
    assert index.load().models["meta-llama/Llama-4-Scout-17B-16E-Instruct"].context == 10_485_760


def test_bloom_has_seventy_layers() -> None:
    config = index.load().models["bigscience/bloom"].config
    assert config is not None
    assert config["n_layer"] == 70


def test_sliding_windows_are_not_handed_on_to_models_of_the_same_shape() -> None:
    """Mistral-7B v0.1 looks back 4,096 tokens, v0.2 and v0.3 at everything; all have one shape."""
    models = index.load().models
    first, third = models["mistralai/Mistral-7B-v0.1"].config, models["mistralai/Mistral-7B-Instruct-v0.3"].config
    assert first is not None
    assert third is not None
    assert first["sliding_window"] == 4096
    assert third.get("sliding_window") is None
    fourth = models["mistralai/mathstral-7B-v0.1"].config
    assert fourth is not None
    assert fourth["sliding_window"] == 4096, "stated for this very model"


def test_conflicts_keep_both_values_and_both_sources() -> None:
    kept = [conflict for model in MODELS for conflict in model.conflicts]
    assert len(kept) > 50
    assert all(conflict.kept != conflict.other and conflict.kept_source and conflict.other_source for conflict in kept)
    maverick = index.load().models["meta-llama/Llama-4-Maverick-17B-128E-Instruct"]
    assert any(c.field == "config.num_experts" and (c.kept, c.other) == (128, 16) for c in maverick.conflicts)


def test_the_file_is_small_enough_to_ship() -> None:
    from modelpick.files import data_file

    assert data_file("catalog", "models.jsonl").stat().st_size < 3_000_000


def test_training_tokens_in_a_name_are_not_parameters() -> None:
    """Ling-3.0-flash-base-30T was trained on 30 T tokens."""
    model = index.load().models["inclusionAI/Ling-3.0-flash-base-30T"]
    assert model.parameters is None or model.parameters < 1e12
    assert "30,000,000,000,000" in model.notes[0]


def test_packed_elements_are_not_counted_as_parameters() -> None:
    """Ling-3.0-flash-fp4 holds two weights in each byte that was counted."""
    model = index.load().models["inclusionAI/Ling-3.0-flash-fp4"]
    assert model.parameters is None or model.parameters > 100e9
    assert "pack" in model.notes[0]


def test_no_exact_count_is_far_below_the_size_in_the_models_own_name() -> None:
    """`-7B` with a fifth of it, counted exactly, is a part, a packed checkpoint or an error."""
    for model in MODELS:
        sizes = re.findall(r"(?<![A-Za-z0-9._])([1-9]\d*(?:\.\d+)?)[bB](?![A-Za-z0-9])", model.id)
        if sizes and model.parameters_exact and model.parameters:
            assert model.parameters >= min(map(float, sizes)) * 1e9 / 5, model.id


@pytest.mark.parametrize(
    "id",
    [
        "ByteDance-Seed/AHN-Mamba2-for-Qwen-2.5-Instruct-7B",  # 18 M parameters that need 7 B beside them
        "microsoft/FrogMini-14B-2510",  # one file of many
        "google/gemma-4-26B-A4B-it-qat-q4_0-unquantized-assistant",  # a draft model
        "LiquidAI/LFM2.5-8B-A1B-DSpark",
    ],
)
def test_a_part_does_not_pass_for_a_small_model(id: str) -> None:
    """What needs another model's weights must not be said to fit where its own few would."""
    model = index.load().models[id]
    assert not model.parameters_exact
    assert "part of another model" in model.notes[0]


@pytest.mark.parametrize(
    ("id", "formula"),
    [
        ("deepseek-ai/deepseek-llm-7b-base", 5_138_022_400),
        ("lmsys/vicuna-7b-v1.3", 5_164_236_800),
        ("Zyphra/Zamba2-7B-Instruct", 16_876_568_576),
    ],
)
def test_a_count_made_by_a_formula_is_not_taken_for_a_count(id: str, formula: int) -> None:
    """A scraper's fallback (no norms, an ungated MLP) is a quarter too low for a 7 B Llama: it would `fit` wrongly."""
    model = index.load().models[id]
    assert model.parameters != formula
    assert not model.parameters_exact
    assert f"{formula:,}" in model.notes[0]


def test_the_page_on_data_names_every_source_and_board(repository: Path) -> None:
    page = (repository / "docs" / "data.md").read_text("utf-8")
    catalog = index.load()
    assert [key for key in catalog.sources if f"| `{key}` |" not in page] == []
    assert [key for key in catalog.boards if f"| {key} |" not in page] == []
    assert f"{len(catalog.models):,} models" in page
    told = (source for model in catalog.models.values() for source in model.sources.values())
    used = Counter(key for source in told for key in source.split("; "))
    for key, count in re.findall(r"^\| `([^`]+)` \|.*\| ([\d,]+) \|$", page, re.MULTILINE):
        if key in catalog.sources and key not in (
            "same shape as",
            "quantization of",
            "derived",
            "citation",
        ):  # those name a model, a page
            assert count == f"{used[key]:,}", key
