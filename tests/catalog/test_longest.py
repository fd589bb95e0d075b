"""One limit of tokens for a model, over the whole catalog."""

from dataclasses import replace

import pytest

from modelpick.catalog import index
from modelpick.catalog.architecture import UNLIMITED, Architecture, longest_of, read
from modelpick.catalog.model import Model
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import architecture_of

CATALOG = index.load()


def shapes() -> list[tuple[Model, Architecture]]:
    known = []
    for model in CATALOG.models.values():
        try:
            known.append((model, architecture_of(model)))
        except CannotTellError:
            continue
    return known


SHAPES = shapes()


def test_the_limit_is_within_all_that_is_stated_and_known_wherever_one_place_states_it() -> None:
    assert len(SHAPES) > 900
    for model, shape in SHAPES:
        limit = shape.longest
        if shape.relative_positions:
            assert limit == UNLIMITED, model.id
            continue
        for bound in (model.context, shape.context):
            assert bound is None or 0 < (limit or 0) <= bound, model.id
        if limit not in (None, UNLIMITED):
            assert limit in (model.context, shape.context, (shape.context or 0) - shape.padded_positions), model.id


def test_a_context_that_only_the_config_tells_is_known() -> None:
    for model, shape in SHAPES:
        if model.config and model.config.get("max_position_embeddings") and shape.model_type != "unknown":
            assert architecture_of(replace(model, context=None)).longest is not None, model.id


def test_t5_has_no_limit_which_is_not_unknown() -> None:
    found = [shape.longest for _, shape in SHAPES if shape.kind == "encoder-decoder"]
    assert len(found) >= 10
    assert set(found) == {UNLIMITED}


def test_layers_that_all_recur_have_no_limit_unless_it_is_stated() -> None:
    mamba = {model.id: shape for model, shape in SHAPES if shape.model_type in ("mamba", "falcon_mamba")}
    assert mamba
    for id, shape in mamba.items():
        assert shape.longest == (CATALOG.models[id].context or UNLIMITED), id


@pytest.mark.parametrize(
    ("id", "limit"), [("FacebookAI/roberta-large", 512), ("FacebookAI/xlm-roberta-base", 512), ("bert", 512)]
)
def test_an_encoder_takes_no_token_at_the_positions_it_pads(id: str, limit: int) -> None:
    by_id = {model.id: shape for model, shape in SHAPES if shape.kind == "encoder"}
    shape = by_id.get(id) or next(shape for shape in by_id.values() if shape.model_type == "bert")
    assert replace(shape, stated_context=None).longest == limit


BERT = {
    "model_type": "bert", "hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4,
    "intermediate_size": 128, "max_position_embeddings": 512,
}  # fmt: skip


def test_a_config_alone_has_the_limit_of_its_architecture() -> None:
    assert longest_of(BERT) == read(BERT).longest == 512
    assert longest_of({**BERT, "model_type": "roberta"}) == 510
    for model, _ in SHAPES:
        try:
            shape = read(model.config)
        except CannotTellError:
            continue
        assert longest_of(model.config or {}) == shape.longest, model.id


def test_a_family_that_is_not_known_still_tells_its_positions() -> None:
    unknown = {**BERT, "model_type": "not_yet_published"}
    assert longest_of(unknown) == 512
    assert longest_of(unknown, encoder=True) == 510
    assert longest_of({"model_type": "not_yet_published"}) is None
