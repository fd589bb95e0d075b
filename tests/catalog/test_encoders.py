"""Shapes from parameter counts: what they were counted from comes back, and nothing is guessed."""

import ast
from pathlib import Path
from types import ModuleType

import pytest

from modelpick.catalog import architecture, index


@pytest.fixture
def encoders(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import catalog_encoders

    return catalog_encoders


def test_an_exact_count_tells_its_encoder_and_a_neighbour_nothing(encoders: ModuleType) -> None:
    for count, length, config in encoders._encoders():
        assert encoders.shape_of_count(count, config["hidden_size"], length) == config
        assert encoders.shape_of_count(count + 1, config["hidden_size"], length) is None
        assert encoders.shape_of_count(count, config["hidden_size"] + 1, length) is None


def test_a_rounded_count_needs_its_width_and_its_length(encoders: ModuleType) -> None:
    found = encoders.shape_of_count(568_000_000, 1024, 8192)
    assert (found["model_type"], found["num_hidden_layers"]) == ("xlm-roberta", 24)
    assert encoders.shape_of_count(568_000_000, None, 8192) is None
    assert encoders.shape_of_count(568_000_000, 1024, 512) is None
    assert encoders.shape_of_count(118_000_000, 384, 512) is None, "too few digits to tell"


def test_a_rounded_count_with_its_family_needs_no_width(encoders: ModuleType) -> None:
    found = encoders.shape_of_count(568_000_000, None, 8192, "xlm-roberta")
    assert found == encoders.shape_of_count(568_000_000, 1024, 8192)
    assert encoders.shape_of_count(568_000_000, None, 8192, "roberta") is None


def test_every_shape_so_derived_is_read_and_counts_what_its_row_states(encoders: ModuleType) -> None:
    derived = [
        model for model in index.load().models.values()
        if model.sources.get("config.num_hidden_layers", "").startswith("derived: the only published encoder")
    ]  # fmt: skip
    assert len(derived) > 30
    named = {"BAAI/bge-m3", "mixedbread-ai/mxbai-rerank-large-v1", "cross-encoder/ms-marco-MiniLM-L6-v2"}
    assert named <= {model.id for model in derived}
    for model in derived:
        assert model.config is not None
        assert model.parameters is not None
        shape = architecture.read(model.config)
        assert shape.parameters == pytest.approx(model.parameters, rel=0.005), model.id


@pytest.fixture
def bases(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import catalog_bases

    return catalog_bases


def test_a_base_lends_its_shape_to_its_own_count_alone(bases: ModuleType) -> None:
    base = index.load().models["Qwen/Qwen3-8B-Base"].config
    assert base is not None
    whole = architecture.read({**base, "tie_word_embeddings": False})
    words, width = base["vocab_size"], base["hidden_size"]
    kept = {key: value for key, value in base.items() if key in bases._MACHINE}
    for tied, matrices in ((True, 1), (False, 2)):
        for dropped in (0, 267, bases.MOST_PADDING):
            count = whole.parameters - (2 - matrices) * words * width - dropped * matrices * width
            shape = bases.shape_of_base(base, count)
            assert shape is not None
            assert {key: shape[key] for key in kept} == kept | {
                "vocab_size": words - dropped, "tie_word_embeddings": tied,
            }  # fmt: skip
        count = whole.parameters - (2 - matrices) * words * width
        for other in (count + 1, count + width, count - (bases.MOST_PADDING + 1) * matrices * width):
            assert bases.shape_of_base(base, other) is None, "another head, more words, or more than padding gone"
    assert bases.shape_of_base({**base, "quantization_config": {"quant_method": "awq"}}, whole.parameters) is None


def test_models_of_one_family_that_disagree_lend_nothing(bases: ModuleType) -> None:
    config = index.load().models["Qwen/Qwen2.5-0.5B"].config
    assert config is not None

    def rows(**other: int) -> list[dict[str, object]]:
        asks: dict[str, object] = {
            "id": "a/reranker", "config": {"model_type": "qwen2"}, "parameters": 494_032_768, "parameters_exact": True,
            "capabilities": ["rerank"], "sources": {},
        }  # fmt: skip
        lends = [{"id": f"a/{one}", "config": {**config, **more}} for one, more in (("one", {}), ("two", other))]
        return [asks, *({**row, "parameters_exact": True, "parameters": 1, "capabilities": []} for row in lends)]

    for told, agreed in (({}, True), ({"num_attention_heads": 7, "num_key_value_heads": 1}, False)):
        made = rows(**told)
        bases.add_base_shapes(made)
        assert ("num_hidden_layers" in made[0]["config"]) is agreed  # type: ignore[operator]


def test_every_shape_of_a_base_counts_what_its_row_states() -> None:
    lent = [
        model for model in index.load().models.values()
        if "has this shape, and so many parameters" in model.sources.get("config.num_hidden_layers", "")
    ]  # fmt: skip
    assert {f"Qwen/Qwen3-Reranker-{size}B" for size in ("0.6", "4", "8")} <= {model.id for model in lent}
    for model in lent:
        assert model.config is not None
        assert architecture.read(model.config).parameters == model.parameters, model.id


def test_a_list_of_models_may_share_what_it_says_of_them(encoders: ModuleType) -> None:
    import catalog_readers

    known = catalog_readers._constants(ast.parse("COMMON = dict(license='mit', max_tokens=512)\nNAME = 'a/b'"))
    call = ast.parse("ModelMeta(**COMMON, name=NAME, max_tokens=256, **UNKNOWN)", mode="eval").body
    assert isinstance(call, ast.Call)
    assert catalog_readers._keywords(call, known) == {"license": "mit", "max_tokens": 256, "name": "a/b"}
