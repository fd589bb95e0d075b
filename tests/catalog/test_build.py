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
[boards.AA]
title = "Artificial Analysis"
as_of = "2026-08-22"
"""

Build = Callable[..., dict[str, Model]]


@pytest.fixture
def build(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds a catalog of the given fact rows and reads it back."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import build_catalog
    import facts_folder

    def run(
        *rows: dict[str, Any], configs: dict[str, Any] | None = None, cards: list[Any] | None = None
    ) -> dict[str, Model]:
        folder = tmp_path / "facts"
        folder.mkdir(exist_ok=True)
        (folder / "catalog.toml").write_text(ABOUT)
        (folder / "quality.csv").write_text("id,score,low,high,status,boards\norg/a,50,45,55,rated,AA\n")
        (folder / "hub_licenses.txt").write_text("# ids\nmit\nother\n")
        named = [{"id": id, "config": config} for id, config in (configs or {}).items()]
        sourced = [{"source": "src", **row} for row in rows]
        for name, listed in (("models", sourced), ("configs", named), ("cards", cards or [])):
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


def test_the_source_nearest_to_config_json_says_the_context(build: Build) -> None:
    sources = {"max_position_embeddings": "cfg"}
    model = build(row("org/a", context_stated=128, max_position_embeddings=4096, sources=sources))["org/a"]
    assert model.context == 4096
    assert [(c.kept, c.other) for c in model.conflicts if c.field == "context"] == [(4096, 128)]


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
