"""The script that builds the catalog, on a small folder of facts with the errors planted that it must not pass on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelpick.catalog import index
from modelpick.catalog.model import Model

LLAMA = {
    "model_type": "llama", "num_layers": 2, "hidden_size": 64, "intermediate_size": 160, "num_heads": 4,
    "num_kv_heads": 2, "head_dim": 16, "vocab_size": 1000,
}  # fmt: skip
# q, k, v, o, gate, up, down, two norms a layer; embedding, final norm; head.
LAYER = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160 + 2 * 64
TIED = 2 * LAYER + 1000 * 64 + 64
UNTIED = TIED + 1000 * 64

ABOUT = """as_of = "2026-11-22"
downloads_as_of = "2026-10"
cards_read_on = "2026-11-23"
[renames]
[sources.src]
title = "a page"
as_of = "2026-10-01"
[sources.cfg]
title = "config.json"
[sources.family]
title = "a list of families"
level = "family"
[sources.llmfit]
title = "a scrape"
[sources.name]
title = "the repository's own name"
[boards.AA]
title = "Artificial Analysis"
as_of = "2026-08-22"
[use_boards]
"""

Build = Callable[..., dict[str, Model]]


@pytest.fixture
def build(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds a catalog of the given fact rows and reads it back."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import build_catalog
    import facts_folder

    def run(
        *rows: dict[str, Any],
        configs: dict[str, Any] | None = None,
        cards: list[Any] | None = None,
        gathered: dict[str, Any] | None = None,
        contexts: str = "",
        measured: str = "",
    ) -> dict[str, Model]:
        folder = tmp_path / "facts"
        folder.mkdir(exist_ok=True)
        (folder / "catalog.toml").write_text(ABOUT)
        (folder / "quality.csv").write_text("id,score,low,high,status,boards\norg/a,50,45,55,rated,AA\n")
        (folder / "board_scores.csv").write_text("board,id,named,value\n")
        (folder / "hub_licenses.txt").write_text("# ids\nmit\nother\n")
        named = [{"id": id, "config": config} for id, config in (configs or {}).items()]
        sourced = [{"source": "src", **row} for row in rows]
        said = [{"id": id, "says": says} for id, says in (gathered or {}).items()]
        (folder / "contexts.csv").write_text(f"id,context,source\n{contexts}")
        (folder / "measured_languages.csv").write_text(f"id,languages\n{measured}")
        (folder / "gathered_left_out.csv").write_text("reason,count\n")
        files = {"models": sourced, "configs": named, "cards": cards or [], "gathered": said, "gathered_configs": []}
        for name, listed in files.items():
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in listed))
        texts = [build_catalog.build(facts_folder.Facts(folder)) for _ in range(2)]
        assert texts[0] == texts[1], "the same facts give the same bytes"
        (tmp_path / "models.jsonl").write_text(texts[0], "utf-8")
        return dict(index.load(tmp_path / "models.jsonl").models)

    return run


def row(id: str, **facts: Any) -> dict[str, Any]:
    return {"id": id, **LLAMA, "parameters": UNTIED, "parameters_rounded": False, **facts}


def test_facts_arrive_under_the_names_of_config_json_with_their_source(build: Build) -> None:
    model = build(row("org/a", license="mit", downloads=5))["org/a"]
    assert model.config is not None
    assert model.config["num_hidden_layers"] == 2
    assert model.config["num_key_value_heads"] == 2
    assert (model.license, model.license_name, model.downloads) == ("mit", None, 5)
    assert model.quality is not None
    assert (model.quality.score, model.quality.as_of) == (50, "2026-08-22")
    assert {model.sources["license"], model.sources["config.hidden_size"], model.sources["downloads"]} == {"src"}


def test_a_custom_license_is_other_with_a_name(build: Build) -> None:
    model = build(row("org/a", license="modified-mit"))["org/a"]
    assert (model.license, model.license_name) == ("other", "modified-mit")


def test_ids_that_differ_in_case_are_one_model_under_the_name_others_use(build: Build) -> None:
    models = build(row("ORG/A", likes=3), row("org/a", license="mit"))
    assert set(models) == {"org/a"}
    assert (models["org/a"].likes, models["org/a"].license) == (3, "mit")


def test_tied_embeddings_follow_from_the_exact_count(build: Build) -> None:
    models = build(row("org/tied", parameters=TIED), row("org/untied"), row("org/odd", parameters=UNTIED - 32_000))
    assert models["org/tied"].config is not None
    assert models["org/tied"].config["tie_word_embeddings"] is True
    assert models["org/untied"].config is not None
    assert models["org/untied"].config["tie_word_embeddings"] is False
    assert models["org/odd"].config is not None
    assert "tie_word_embeddings" not in models["org/odd"].config, "it fits neither, so nothing is derived"


@pytest.mark.parametrize(
    ("planted", "approx", "word"),
    [
        (2 * (4 * 64 * 64 + 2 * 64 * 160) + 1000 * 64, False, "formula"),
        (30_000_000_000_000, True, "rounded"),
        (UNTIED // 100, False, "add-on"),
    ],
)
def test_a_planted_count_that_the_shape_contradicts_is_set_aside(
    build: Build, planted: int, approx: bool, word: str
) -> None:
    model = build(row("org/a", parameters=planted, parameters_rounded=approx))["org/a"]
    assert model.parameters == UNTIED
    assert not model.parameters_exact
    assert model.sources["parameters"].startswith("derived: ")
    assert word in model.notes[0]
    assert f"{planted:,}" in model.notes[0]


def test_a_config_entered_by_hand_wins_and_what_it_overrules_is_kept(build: Build) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3}
    model = build(row("org/a"), configs={"org/a": config})["org/a"]
    assert model.config is not None
    assert model.config["num_hidden_layers"] == 3
    assert [(c.field, c.kept, c.other) for c in model.conflicts] == [("config.num_hidden_layers", 3, 2)]


def test_a_twin_hands_on_its_shape_but_not_its_window(build: Build) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 1000,
              "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 160,
              "sliding_window": 7, "tie_word_embeddings": False}  # fmt: skip
    unknown = {key: value for key, value in row("org/b").items() if key != "vocab_size"}
    models = build(row("org/a"), unknown, configs={"org/a": config})
    assert models["org/b"].config is not None
    assert models["org/b"].config["vocab_size"] == 1000
    assert models["org/b"].sources["config.vocab_size"] == "same shape as org/a"
    assert "sliding_window" not in models["org/b"].config


def context_and_others(model: Model) -> tuple[int | None, list[tuple[Any, str]]]:
    others = [(one.other, one.other_source) for one in model.conflicts if one.field == "context"]
    return model.context, others


def test_of_two_lengths_said_of_a_repository_the_smaller_counts(build: Build) -> None:
    sources = {"max_position_embeddings": "cfg"}
    model = build(row("org/a", context_stated=128, max_position_embeddings=4096, sources=sources))["org/a"]
    assert context_and_others(model) == (128, [(4096, "cfg")])


def test_a_familys_length_counts_only_where_nobody_speaks_of_the_repository(build: Build) -> None:
    family = {"org/a": {"family": {"context": 100}}, "org/b": {"family": {"context": 100}}}
    models = build(row("org/a", context_stated=128), row("org/b"), gathered=family)
    assert context_and_others(models["org/a"]) == (128, [(100, "family")])
    assert context_and_others(models["org/b"]) == (100, [])


def test_a_cited_length_counts_whatever_lists_say(build: Build) -> None:
    model = build(row("org/a", context_stated=128), contexts="org/A,512,a paper\n")["org/a"]
    assert context_and_others(model) == (512, [(128, "src")])
    assert model.sources["context"] == "a paper"


@pytest.mark.parametrize(("said", "kept"), [(16_384, 4096), (12_000, 12_000), (1024, 4096)])
def test_a_multiple_of_the_length_and_a_window_are_not_taken_for_it(build: Build, said: int, kept: int) -> None:
    """llmfit multiplies by a rope factor, and takes the window where a config states no length at its top."""
    says = {"org/a": {"llmfit": {"context": said}, "family": {"context": 4096}}}
    assert build(row("org/a", sliding_window=1024), gathered=says)["org/a"].context == kept


def test_a_fallback_is_believed_only_where_a_config_always_states_its_length(build: Build) -> None:
    says = {id: {"llmfit": {"context_or_fallback": 4096}} for id in ("org/a", "org/b")}
    models = build(row("org/a"), row("org/b", model_type="never_heard_of"), gathered=says)
    assert (models["org/a"].context, models["org/b"].context) == (4096, None)


def test_without_a_limit_the_length_is_what_it_was_trained_on(build: Build) -> None:
    model = build(row("org/a", model_type="bloom", context_stated=2048))["org/a"]
    assert (model.context, model.trained_context) == (None, 2048)


def test_what_the_card_says_of_languages_is_kept_apart(build: Build) -> None:
    says = {"org/a": {"llmfit": {"languages": ["de"]}, "family": {"languages": ["en", "de"]}},
            "org/b": {"family": {"languages": ["en"]}}}  # fmt: skip
    models = build(gathered=says)
    assert (models["org/a"].languages, models["org/a"].languages_elsewhere) == (("de",), ("en", "de"))
    assert (models["org/b"].languages, models["org/b"].languages_elsewhere) == ((), ("en",))
    assert (models["org/a"].card_read, models["org/b"].card_read) == (True, False)


def test_what_a_board_measured_is_added_to_what_others_name_and_never_to_the_card(build: Build) -> None:
    says = {"org/a": {"llmfit": {"languages": ["en"]}}, "org/b": {"family": {"languages": ["en", "zho"]}}}
    models = build(gathered=says, measured="org/a,de en\norg/b,de zh\n")
    told = {id: (models[id].languages, models[id].languages_elsewhere) for id in says}
    assert told == {"org/a": (("en",), ("de", "en")), "org/b": ((), ("en", "zho", "de"))}
    assert models["org/a"].sources["languages_elsewhere"] == "euroeval"
    assert models["org/b"].sources["languages_elsewhere"] == "family; euroeval"
    assert not models["org/b"].card_read


@pytest.mark.parametrize("day", ["2022-03-02", "2016-01-01", "2030-01-01"])
def test_a_day_that_cannot_be_its_release_is_none(build: Build, day: str) -> None:
    assert build(row("org/a", release_date=day))["org/a"].release_date is None


def test_of_two_days_the_earlier_counts(build: Build) -> None:
    says = {"org/a": {"llmfit": {"release_date": "2024-03-01"}, "src": {"release_date": "2024-02-01"}}}
    model = build(gathered=says)["org/a"]
    assert (model.release_date, model.sources["release_date"]) == ("2024-02-01", "src")
    assert [conflict.other for conflict in model.conflicts] == ["2024-03-01"]


@pytest.mark.parametrize(
    ("id", "said", "capabilities"),
    [
        ("org/x-7b-base", ["chat", "tools"], ("base", "tools")),  # its own name outranks its family's list
        ("org/x-7b-instruct", ["base"], ("chat",)),
        ("org/x-coder-embedding-base", ["embedding", "chat"], ("code", "embedding")),
        ("org/x-reranker", ["embedding"], ("rerank",)),
        ("org/x-encoder", [], ()),
        ("org/x-7b", ["chat", "reasoning"], ("chat", "reasoning")),
    ],
)
def test_capabilities_never_contradict_each_other(
    build: Build, id: str, said: list[str], capabilities: tuple[str, ...]
) -> None:
    model = build(gathered={id: {"family": {"capabilities": said}, "src": {"downloads": 5}}})[id]
    assert model.capabilities == capabilities
    assert all(model.sources[f"capabilities.{one}"] for one in capabilities)


def test_a_quantized_copy_has_its_originals_shape_and_a_format_of_its_own(build: Build) -> None:
    says = {"q/a-AWQ": {"llmfit": {"license": "mit", "num_layers": 2, "quantization": ["awq", 4]},
                        "name": {"base_model": ["org/A", "quantized"]}}}  # fmt: skip
    original = row("org/a", license="mit", context_stated=128, tie_word_embeddings=False)
    models = build(original, gathered=says)
    copy = models["q/a-AWQ"]
    assert copy.config is not None
    assert (copy.original, copy.quantization, copy.context) == ("org/a", "awq-4bit", 128)
    assert (copy.config["hidden_size"], copy.config["quantization_config"]["bits"]) == (64, 4)  # type: ignore[index]
    assert copy.parameters == models["org/a"].parameters
    assert copy.weights is not None
    assert copy.weights < 2 * UNTIED
    assert copy.sources["config.hidden_size"] == "quantization of org/a"


def test_a_copy_whose_shape_contradicts_its_name_is_not_taken_up(build: Build) -> None:
    says = {"q/a-AWQ": {"llmfit": {"license": "mit", "num_layers": 9, "quantization": ["awq", 4]},
                        "name": {"base_model": ["org/a", "quantized"]}}}  # fmt: skip
    assert set(build(row("org/a"), gathered=says)) == {"org/a"}


def test_a_count_that_contradicts_a_shape_that_is_known_whole_is_only_claimed(build: Build) -> None:
    model = build(row("org/a", parameters=int(1.6 * UNTIED), tie_word_embeddings=False))["org/a"]
    assert not model.parameters_exact
    assert "taken as claimed" in model.notes[-1]


def test_a_fact_that_no_law_knows_is_refused(build: Build) -> None:
    with pytest.raises(ValueError, match="nobody reads"):
        build(gathered={"org/a": {"src": {"smell": "sweet"}}})


def test_a_card_adds_parents_and_never_a_verdict(build: Build) -> None:
    card = {"id": "org/a", "license": "mit", "base_model": "org/base", "relation": "finetune",
            "datasets": ["d/s", "not an id (said)"], "gated": True, "source": "https://example.org/card"}  # fmt: skip
    model = build(row("org/a"), cards=[card])["org/a"]
    assert [base.id for base in model.base_models] == ["org/base"]
    assert (model.datasets, model.gated, model.license) == (("d/s",), True, "mit")
    assert model.sources["base_models"] == "https://example.org/card"


@pytest.mark.parametrize(
    ("facts", "counted"),
    [
        ({"model_type": "seed_oss"}, True),  # read matrix by matrix, though no test counts one of its models
        ({"model_type": "mistral3"}, False),  # with a tower for images that the facts do not tell of
        ({"model_type": "glm4v"}, False),
        ({"model_type": "never_heard_of"}, False),
    ],
)
def test_the_sum_of_the_shape_counts_a_model_only_where_the_shape_is_all_of_it(
    build: Build, facts: dict[str, Any], counted: bool
) -> None:
    """Without a count the sum stands in for it, marked as derived; a tower that nobody tells of would be missing."""
    told = {name: value for name, value in row("org/a", **facts).items() if not name.startswith("parameters")}
    model = build({**told, "tie_word_embeddings": False})["org/a"]
    assert (model.parameters is not None) == counted
    assert not model.parameters_exact


def test_the_towers_beyond_the_text_are_those_that_transformers_knows(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family read as text whose configuration class has a `text_config` has towers beside it."""
    auto = pytest.importorskip("transformers", reason="needs the extra train").AutoConfig
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    from catalog_configs import MORE_THAN_TEXT

    from modelpick.catalog.architecture.families import FAMILIES

    def has_towers(kind: str) -> bool:
        try:
            return "text_config" in auto.for_model(kind).sub_configs
        except (ValueError, ImportError, AttributeError):  # a family that transformers does not have, or cannot default
            return False

    assert {kind for kind in FAMILIES if has_towers(kind)} == MORE_THAN_TEXT


def test_dbrx_and_qwen_14b_count_what_their_shapes_have() -> None:
    models = index.load().models
    assert models["databricks/dbrx-base"].parameters == 131_596_523_520  # published as 132 B
    chat = models["Qwen/Qwen-14B-Chat"]  # the same shape, counted from its safetensors headers
    assert models["Qwen/Qwen-14B"].parameters == chat.parameters == 14_167_290_880
