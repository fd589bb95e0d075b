"""The script that builds the catalog, on a small folder of facts with the errors planted that it must not pass on."""

import json
import sys
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

Build = Callable[..., dict[str, Model]]


@pytest.fixture
def build(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Builds a catalog of the given fact rows and reads it back."""
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import build_catalog

    def run(
        *rows: dict[str, Any], configs: dict[str, Any] | None = None, cards: list[Any] | None = None
    ) -> dict[str, Model]:
        facts = tmp_path / "facts"
        (facts / "configs").mkdir(parents=True, exist_ok=True)
        rows = tuple({"sources": dict.fromkeys(row, "src"), **row} for row in rows)
        document = {"generated": "2026-11-22", "downloads_as_of": "2026-10", "models": list(rows),
                    "sources": {"src": "a page (2026-10-01)", "cfg": "config.json"}}  # fmt: skip
        quality = {"org/a": {"q": 50, "lo": 45, "hi": 55, "status": "rated", "sources": ["AA"], "n": 3}}
        licenses = {"licenses": [{"hub_id": "mit"}, {"hub_id": "other"}]}
        for name, content in (
            ("models.json", document), ("quality.json", quality), ("licenses.json", licenses),
            ("license_verdicts.json", {"generated": "2026-11-23", "models": cards or []}),
        ):  # fmt: skip
            (facts / name).write_text(json.dumps(content))
        for id, config in (configs or {}).items():
            (facts / "configs" / f"{id.replace('/', '--')}.json").write_text(json.dumps(config))
        texts = []
        for number in (1, 2):
            out = tmp_path / f"models{number}.jsonl"
            monkeypatch.setattr(sys, "argv", ["build_catalog.py", str(facts), "--out", str(out)])
            build_catalog.main()
            texts.append(out.read_bytes())
        assert texts[0] == texts[1], "the same facts give the same bytes"
        return dict(index.load(tmp_path / "models1.jsonl").models)

    yield run  # type: ignore[misc]
    sys.modules.pop("build_catalog", None)
    sys.modules.pop("catalog_configs", None)


def row(id: str, **facts: Any) -> dict[str, Any]:
    return {"id": id, **LLAMA, "params_total": UNTIED, "params_approx": False, **facts}


def test_facts_arrive_under_the_names_of_config_json_with_their_source(build: Build) -> None:
    model = build(row("org/a", license="mit", downloads_30d=5))["org/a"]
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
    models = build(row("org/tied", params_total=TIED), row("org/untied"), row("org/odd", params_total=UNTIED - 32_000))
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
    model = build(row("org/a", params_total=planted, params_approx=approx))["org/a"]
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
    sources = {"context_length_vendor": "src", "max_position_embeddings": "cfg"}
    model = build(row("org/a", context_length_vendor=128, max_position_embeddings=4096, sources=sources))["org/a"]
    assert model.context == 4096
    assert [(c.kept, c.other) for c in model.conflicts if c.field == "context"] == [(4096, 128)]


def test_a_card_adds_parents_and_never_a_verdict(build: Build) -> None:
    card = {"id": "org/a", "license": "mit", "license_name": None, "license_link": None, "base_model": "org/base",
            "relation": "finetune", "datasets": ["d/s", "not an id (said)"], "gated": True, "verdict": "deny",
            "source": "https://example.org/card", "confidence": "high"}  # fmt: skip
    weak = {**card, "id": "org/b", "confidence": "low"}
    models = build(row("org/a"), row("org/b"), cards=[card, weak])
    model = models["org/a"]
    assert [base.id for base in model.base_models] == ["org/base"]
    assert (model.datasets, model.gated, model.license) == (("d/s",), True, "mit")
    assert model.sources["base_models"] == "https://example.org/card"
    assert models["org/b"].base_models == ()
