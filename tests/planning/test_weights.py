"""Which weights of a model are tried, in which order, and what is known of them without an estimate."""

import json
from dataclasses import replace

import pytest

from modelpick.catalog import index
from modelpick.catalog.model import BaseModel, Model
from modelpick.errors import CannotTellError
from modelpick.memory.estimate import GIB, architecture_of
from modelpick.planning import catalog_search
from modelpick.planning.rejection import Rejection
from modelpick.planning.request import PlanRequest
from modelpick.planning.setups import choices_for
from modelpick.planning.weights import ENOUGH_DOWNLOADS, loadable
from modelpick.workload import workload_from

CATALOG = index.load()
GENERATING = [model for model in CATALOG.models.values() if model.kind in ("text", "vision-language")]


def listed(model: Model, *copies: Model) -> list[tuple[str, str]]:
    return [(one.model.id, one.method) for one in loadable(model, architecture_of(model), copies, "auto")]


def copy(id: str, quantization: str, of: Model, downloads: int = ENOUGH_DOWNLOADS) -> Model:
    return replace(
        of, id=id, quantization=quantization, downloads=downloads, base_models=(BaseModel(of.id, "quantized"),)
    )  # fmt: skip


def test_the_least_quantized_is_tried_first_and_nobodys_copy_not_at_all() -> None:
    model = CATALOG.models["Qwen/Qwen3-8B"]
    copies = [
        copy("some/Qwen3-8B-AWQ", "awq-4bit", model),
        copy("Qwen/Qwen3-8B-AWQ", "awq-4bit", model, 0),
        copy("some/Qwen3-8B-NVFP4", "nvfp4-4bit", model),
        copy("some/Qwen3-8B-GPTQ-Int4", "gptq-4bit", model, ENOUGH_DOWNLOADS - 1),
        copy("some/Qwen3-8B-GPTQ", "gptq-2bit", model),
        copy("some/Qwen3-8B-bnb-4bit", "bitsandbytes-4bit", model),
        copy("some/Qwen3-8B-FP8-dynamic", "fp8-8bit", model),
    ]
    id = model.id
    assert listed(model, *copies) == [
        (id, "bf16"),
        (id, "fp8"),
        ("some/Qwen3-8B-FP8-dynamic", "fp8"),
        (id, "int8"),
        ("Qwen/Qwen3-8B-AWQ", "awq"),
        ("some/Qwen3-8B-AWQ", "awq"),
        ("some/Qwen3-8B-NVFP4", "nvfp4"),
        (id, "nf4"),
    ]


def test_a_copy_whose_name_says_more_than_a_format_is_not_taken_for_the_original() -> None:
    model = CATALOG.models["Qwen/Qwen3-8B"]
    for name in ("Qwen3-8B-uncensored-AWQ", "Qwen3-8B-heretic-AWQ", "Better-Qwen3-8B-AWQ", "Other-AWQ"):
        assert f"some/{name}" not in dict(listed(model, copy(f"some/{name}", "awq-4bit", model)))


def test_of_a_quantized_repository_nothing_is_made_while_loading() -> None:
    model = CATALOG.models["openai/gpt-oss-20b"]
    assert listed(model, copy("some/gpt-oss-20b-FP8", "fp8-8bit", model)) == [(model.id, "mxfp4")]


def test_a_gguf_file_is_made_of_unquantized_weights_alone_and_tried_last() -> None:
    for id, made in (("Qwen/Qwen3-8B", [("Qwen/Qwen3-8B", "gguf")]), ("openai/gpt-oss-20b", [])):
        model = CATALOG.models[id]
        with_it = loadable(model, architecture_of(model), (), "auto", gguf=True)
        assert [(one.model.id, one.method) for one in with_it] == [*listed(model), *made]


@pytest.mark.parametrize("tokens", [1, 4096])
def test_what_weights_surely_take_is_below_every_estimate(tokens: int) -> None:
    facts, seen = catalog_search.facts(), 0
    work = workload_from({"context": tokens, "generate": 1, "batch": 1})
    quantized = [model for model in GENERATING if '"quant_method"' in json.dumps(model.config)]
    for model in (*GENERATING[::7], *quantized):
        try:
            choices = choices_for(
                PlanRequest(model, serve=work, copies=CATALOG.copies_of(model.id)), facts, False, without_bf16=False
            )  # fmt: skip
            for choice in choices:
                if isinstance(choice.setups, Rejection):
                    continue
                for setup in choice.setups:
                    assert setup.serving is not None
                    assert choice.least_gib <= setup.serving.high / GIB, (model.id, setup.model.id, setup.engine)
                    seen += 1
        except CannotTellError:
            continue
    assert seen > 300


def test_weights_of_a_width_that_the_engine_does_not_load_are_put_nowhere() -> None:
    load = workload_from({"task": "serve", "context": 512, "generate": 64, "batch": 1})
    wide = [model for model in CATALOG.models.values() if model.quantization == "awq-8bit" and model.config is not None]
    assert wide
    for model in wide:
        made = choices_for(PlanRequest(model, serve=load), catalog_search.facts(), False, without_bf16=True)
        for choice in made:
            assert isinstance(choice.setups, Rejection), model.id
            assert choice.setups.cause in ("engine", "context"), (model.id, choice.setups)
