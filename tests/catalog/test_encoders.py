"""Shapes from parameter counts: what they were counted from comes back, and nothing is guessed."""

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


def test_every_shape_so_derived_is_read_and_counts_what_its_row_states(encoders: ModuleType) -> None:
    derived = [
        model for model in index.load().models.values()
        if model.sources.get("config.num_hidden_layers", "").startswith("derived: the only published encoder")
    ]  # fmt: skip
    assert len(derived) > 30
    assert "BAAI/bge-m3" in {model.id for model in derived}
    for model in derived:
        assert model.config is not None
        assert model.parameters is not None
        shape = architecture.read(model.config)
        assert shape.parameters == pytest.approx(model.parameters, rel=0.005), model.id
