"""The live Hub: the real client against a stand-in on loopback. What is found, what it costs, what is kept."""

from pathlib import Path

import pytest

from modelpick.catalog import hub as live
from modelpick.catalog import index
from modelpick.catalog.model import BaseModel, Model
from modelpick.errors import ModelpickError
from tests.catalog.test_headers import gguf
from tests.stand_ins.hub import Hub, safetensors

CONFIG = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2}


def look(*ids: str, offline: bool = False, patience: float = 5, ancestors: bool = True) -> live.LookUp:
    return live.look_up(ids, offline=offline, catalog=index.load(), patience=patience, ancestors=ancestors)


def one(id: str, **options: bool | float) -> Model:
    result = look(id, **options).results[0]  # type: ignore[arg-type]
    assert isinstance(result, Model), result
    return result


def error(id: str, **options: bool | float) -> ModelpickError:
    result = look(id, **options).results[0]  # type: ignore[arg-type]
    assert isinstance(result, ModelpickError), result
    assert result.message
    assert result.fix
    assert "\n" not in result.message + result.fix
    return result


def test_everything_that_says_something_is_read_and_nothing_else(hub: Hub) -> None:
    sha = hub.add(
        "org/name",
        card="license: other\nlicense_name: qwen\ndatasets: [a/b]",
        body="The text.",
        base_model="org/base",
        config=CONFIG,
        weights={"BF16": 100, "F32": 2},
        files={"LICENSE": "terms", "USE_POLICY.md": "policy", "model.safetensors": "w" * 99, "tokenizer.json": "{}"},
        downloads=7,
    )
    model = one("org/name", ancestors=False)
    assert (model.id, model.origin, model.revision) == ("org/name", "hub", sha)
    assert (model.license, model.license_name, model.datasets) == ("other", "qwen", ("a/b",))
    assert model.base_models == (BaseModel("org/base", "finetune"),)
    assert model.config == CONFIG
    assert (model.parameters, model.parameters_exact) == (102, True)
    assert set(model.texts) == {"README.md", "LICENSE", "USE_POLICY.md"}
    assert "model.safetensors" in model.files
    assert (model.downloads, model.release_date, model.gated) == (7, "2024-01-02", False)
    assert model.notes == ()
    assert hub.requests.api == 1
    assert hub.requests.files == 4
    assert not any("safetensors" in path or "tokenizer" in path for path in hub.requests.paths)


def test_a_second_look_costs_one_call(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", config=CONFIG, files={"LICENSE": "terms"})
    first = one("org/name")
    hub.requests.reset()
    assert one("org/name") == first
    assert (hub.requests.api, hub.requests.files) == (1, 0)


def test_a_new_commit_is_read_anew(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", files={"LICENSE": "one"})
    one("org/name")
    hub.add("org/name", card="license: mit", files={"LICENSE": "another"})
    assert one("org/name").texts["LICENSE"] == "another"


def test_a_damaged_cache_is_as_good_as_none(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/name", card="license: mit")
    catalog = index.load()
    live.look_up(["org/name"], offline=False, catalog=catalog, cache=tmp_path)
    for content in ("", "{", "[]", '{"schema_version": 1}', "\x00"):
        for file in tmp_path.iterdir():
            file.write_text(content)
        (model,) = live.look_up(["org/name"], offline=False, catalog=catalog, cache=tmp_path).results
        assert isinstance(model, Model)
        assert model.license == "mit"


def test_an_unwritable_cache_is_no_obstacle(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/name", card="license: mit")
    (tmp_path / "file").write_text("not a folder")
    (model,) = live.look_up(["org/name"], offline=False, catalog=index.load(), cache=tmp_path / "file").results
    assert isinstance(model, Model)


def test_a_revision_is_looked_up_at_its_own_commit(hub: Hub) -> None:
    hub.add("org/name", card="license: apache-2.0")
    old = hub.add("org/name", card="license: cc-by-nc-4.0", revision="v1")
    for revision in ("v1", old):
        model = one(f"org/name@{revision}")
        assert (model.license, model.revision) == ("cc-by-nc-4.0", old)
    assert one("org/name").license == "apache-2.0"
    assert error("org/name@absent").code == "revision_unknown"
    assert error("org/name@absent").exit_code == 4


def test_a_commit_that_was_read_is_answered_offline(hub: Hub) -> None:
    sha = hub.add("org/name", card="license: mit")
    one("org/name")
    hub.requests.reset()
    assert one(f"org/name@{sha}", offline=True).license == "mit"
    assert error("org/name", offline=True).code == "model_unknown"
    assert hub.requests.api == hub.requests.files == 0


def test_a_renamed_model_is_found_and_says_so(hub: Hub) -> None:
    hub.add("new/name", card="license: mit")
    hub.rename("old/name", "new/name")
    model = one("old/name")
    assert model.id == "new/name"
    assert "old/name is now called new/name" in model.notes
    assert model.former_ids == ("old/name",)
    assert one("NEW/Name").id == "new/name"


def test_what_is_behind_a_gate_is_said_and_the_rest_is_known(hub: Hub) -> None:
    hub.add("org/gated", card="license: llama3.1\nextra_gated_prompt: You accept.", gated="manual",
            config=CONFIG, files={"LICENSE": "secret", "USE_POLICY.md": "secret"})  # fmt: skip
    model = one("org/gated")
    assert (model.license, model.gated, model.gate_text) == ("llama3.1", "manual", "You accept.")
    assert model.config is None
    assert "LICENSE" not in model.texts
    assert "LICENSE" in model.files
    assert model.notes[0] == "gated, not read: LICENSE, USE_POLICY.md, config.json"


def test_a_token_opens_the_gate_and_a_closed_one_is_not_remembered(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/gated", card="license: llama3.1", gated="auto", config=CONFIG, files={"LICENSE": "terms"})
    assert one("org/gated").config is None
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model = one("org/gated")
    assert model.config == CONFIG
    assert model.texts["LICENSE"] == "terms"


def test_a_gated_model_of_the_catalog_keeps_its_shape(hub: Hub) -> None:
    hub.add("meta-llama/Llama-3.1-8B", card="license: llama3.1", gated="manual", config=CONFIG)
    model = one("meta-llama/Llama-3.1-8B")
    known = index.load().models["meta-llama/Llama-3.1-8B"]
    assert model.config == known.config
    assert model.parameters == known.parameters
    assert model.quality == known.quality
    assert model.sources["config.hidden_size"].startswith("catalog: ")
    assert any("the shape is that of the catalog" in note for note in model.notes)


def test_a_damaged_config_is_not_replaced_by_the_catalogs(hub: Hub) -> None:
    hub.add("google/flan-t5-base", card="license: apache-2.0", files={"config.json": "{"})
    assert one("google/flan-t5-base").config is None
    hub.add("google/flan-t5-base", card="license: apache-2.0")
    model = one("google/flan-t5-base")
    assert model.config == index.load().models["google/flan-t5-base"].config
    assert not any("unknown" in note for note in model.notes)


def test_a_license_that_changed_since_the_catalog_is_a_conflict(hub: Hub) -> None:
    hub.add("Qwen/Qwen3-8B", card="license: cc-by-nc-4.0")
    model = one("Qwen/Qwen3-8B")
    assert model.license == "cc-by-nc-4.0"
    assert [(c.field, c.kept, c.other) for c in model.conflicts] == [("license", "cc-by-nc-4.0", "apache-2.0")]


@pytest.mark.parametrize(
    ("told", "parents"),
    [
        ({"baseModels": {"relation": "quantized", "models": [{"id": "a/b"}]}}, [("a/b", "quantized")]),
        ({"baseModels": [{"id": "a/b"}, {"id": "c/d"}]}, [("a/b", "merge"), ("c/d", "merge")]),
        ({"baseModels": ["a/b"]}, [("a/b", "unknown")]),
        ({"tags": ["base_model:a/b", "base_model:adapter:a/b"]}, [("a/b", "adapter")]),
        ({"tags": ["base_model:merge:a/b", "base_model:merge:c/d"]}, [("a/b", "merge"), ("c/d", "merge")]),
        ({"baseModels": 7, "tags": [3, "base_model:"]}, []),
    ],
)
def test_parents_are_found_in_every_form_the_api_has(
    hub: Hub, told: dict[str, object], parents: list[tuple[str, str]]
) -> None:
    hub.add("org/name", card="license: mit", **told)  # type: ignore[arg-type]
    assert [(base.id, base.relation) for base in one("org/name", ancestors=False).base_models] == parents


def test_an_adapter_and_a_gguf_header_are_read(hub: Hub) -> None:
    hub.add("org/lora", card="license: mit", files={"adapter_config.json": {"base_model_name_or_path": "org/base"}})
    assert one("org/lora", ancestors=False).base_models == (BaseModel("org/base", "adapter"),)
    hub.add("org/quant", card="license: mit", files={"m-Q4.gguf": gguf({"general.license": "llama2"}) + b"w" * 10**6})
    hub.requests.reset()
    model = one("org/quant")
    assert model.gguf is not None
    assert model.gguf["general.license"] == "llama2"
    assert hub.requests.sent < 100_000, "only the start of the file"


def test_parameters_are_counted_by_ranges_where_the_api_does_not_tell(hub: Hub) -> None:
    hub.add("org/one", card="license: mit", config=CONFIG,
            files={"model.safetensors": safetensors(a=("BF16", [3, 4]), b=("F32", [5])) + b"w" * 10**6})  # fmt: skip
    assert one("org/one").parameters_by_dtype == {"BF16": 12, "F32": 5}
    shards = {"model-1.safetensors": safetensors(a=("BF16", [3])), "model-2.safetensors": safetensors(b=("BF16", [4]))}
    weight_map = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    hub.add("org/two", card="license: mit", config=CONFIG, files={**shards, "model.safetensors.index.json": weight_map})
    assert one("org/two").parameters == 7
    assert hub.requests.sent < 100_000


def test_ancestors_of_a_batch_are_fetched_once(hub: Hub) -> None:
    hub.add("org/root", card="license: llama2")
    hub.add("org/middle", card="license: mit", base_model="org/root")
    children = [f"org/child-{i}" for i in range(10)]
    for child in children:
        hub.add(child, card="license: mit", base_model="org/middle")
    found = look(*children)
    assert hub.requests.api == 12
    hub.requests.reset()
    root = found.find("org/root")
    assert root is not None
    assert root.license == "llama2"
    assert found.find("ORG/middle") is not None
    assert hub.requests.api == hub.requests.files == 0


def test_rings_and_chains_of_ancestors_end(hub: Hub) -> None:
    hub.add("org/a", card="license: mit", base_model="org/b")
    hub.add("org/b", card="license: mit", base_model=["org/a", "org/b"])
    assert one("org/a").id == "org/a"
    for i in range(40):
        hub.add(f"deep/m{i}", card="license: mit", base_model=f"deep/m{i + 1}")
    hub.requests.reset()
    one("deep/m0")
    assert hub.requests.api == 31


@pytest.mark.parametrize(
    "id", ["../../etc/passwd", "/models/x", "./x", "a/b/c", "", "a b", "org/" + "x" * 200, "ghost/parent"]
)
def test_a_parent_that_cannot_be_found_is_none(hub: Hub, id: str) -> None:
    hub.add("org/name", card="license: mit")
    assert look("org/name").find(id) is None


def test_a_parent_the_hub_dropped_is_what_the_catalog_knew(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", base_model="huggyllama/llama-7b")
    parent = look("org/name").find("huggyllama/llama-7b")
    assert parent is not None
    assert parent.origin == "catalog"
    assert "the Hub no longer has huggyllama/llama-7b" in parent.notes[0]


def test_a_thousand_models_go_through_the_list_endpoint(hub: Hub) -> None:
    ids = [f"org{i % 7}/m{i}" for i in range(1000)]
    for number, id in enumerate(ids):
        hub.add(id, card="license: mit", downloads=number)
    found = look(*ids)
    assert [result.id for result in found.results if isinstance(result, Model)] == ids
    assert hub.requests.api <= 10


def test_wanted_models_beyond_the_popular_ones_are_found_by_organisation(hub: Hub) -> None:
    for number in range(1200):
        hub.add(f"big/m{number}", card="license: mit", downloads=10_000)
    rare = [f"small/m{i}" for i in range(150)]
    for id in rare:
        hub.add(id, card="license: apache-2.0")
    found = look(*rare, "small/absent")
    assert all(isinstance(result, Model) for result in found.results[:-1])
    assert isinstance(found.results[-1], ModelpickError)
    assert hub.requests.api <= 6


def test_results_stand_in_the_order_asked_each_with_its_own_error(hub: Hub) -> None:
    hub.add("org/a", card="license: mit")
    hub.add("org/b", card="license: mit")
    results = look("org/b", "org/absent", "not an id", "org/a", "org/b").results
    kinds = [result.id if isinstance(result, Model) else result.code for result in results]
    assert kinds == ["org/b", "model_not_found", "bad_model_id", "org/a", "org/b"]
    assert sum("/api/" in path for path in hub.requests.paths) == 3


def test_offline_makes_no_call_at_all(hub: Hub) -> None:
    found = look("google/flan-t5-base", "org/name", "gpt2", offline=True)
    assert [isinstance(result, Model) for result in found.results] == [True, False, True]
    assert found.find("org/base") is None
    assert found.find("google/flan-t5-large") is not None
    assert hub.requests.paths == []


def test_an_endpoint_without_file_names_is_asked_for_its_tree(hub: Hub) -> None:
    hub.add("org/name", card="license: mit", files={"LICENSE": "terms"})
    del hub.repositories["org/name"].record["siblings"]
    assert one("org/name").texts["LICENSE"] == "terms"
    assert hub.requests.api == 2
