"""Joining API record, files and catalog: whatever JSON the API sends, a Model comes out that says where it is from."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog import hub_record, index
from modelpick.catalog.model import Model
from modelpick.catalog.parts import RepositoryParts

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
_RECORD = st.dictionaries(
    st.sampled_from(
        ["cardData", "baseModels", "gated", "tags", "disabled", "library_name", "pipeline_tag", "safetensors",
         "downloads", "likes", "createdAt"]
    ),
    _JSON,
)  # fmt: skip
_CARD = st.dictionaries(
    st.sampled_from(["license", "license_name", "license_link", "base_model", "base_model_relation", "datasets", "tags",
                     "language", "extra_gated_prompt"]),
    _JSON,
)  # fmt: skip


def _parts(readme: str | None = None, **changes: Any) -> RepositoryParts:
    parts: dict[str, Any] = {
        "id": "org/name", "origin": "hub", "revision": "a" * 40, "files": ("README.md",), "config": None,
        "texts": {} if readme is None else {"README.md": readme}, "adapter_config": None, "gguf": None,
        "parameters_by_dtype": {}, "notes": (),
    }  # fmt: skip
    return RepositoryParts(**(parts | changes))


def _merged(record: dict[str, Any], readme: str | None = None) -> Model:
    return hub_record.merged(_parts(readme), record, asked="org/name")


@settings(deadline=None)
@given(_RECORD, _CARD)
def test_any_record_makes_a_model(record: dict[str, Any], card: dict[str, Any]) -> None:
    record.setdefault("cardData", card)
    model = _merged(record)
    assert all(isinstance(base.id, str) and base.id for base in model.base_models)
    assert all(isinstance(tag, str) for tag in model.tags)
    assert model.downloads is None or isinstance(model.downloads, int)
    json.dumps(model.license)
    if model.license is not None:
        assert model.sources["license"] in ("Hub API", "Hub tags")


def test_tags_that_are_no_list_are_none() -> None:
    """Found by the test above."""
    assert _merged({"tags": 1.0}).tags == ()


def test_the_card_at_the_commit_speaks_before_the_api_and_both_are_kept() -> None:
    model = _merged({"cardData": {"license": "mit"}}, readme="---\nlicense: cc-by-nc-4.0\n---\n")
    assert model.license == "cc-by-nc-4.0"
    assert model.sources["license"] == "README.md"
    assert [(c.kept, c.other, c.other_source) for c in model.conflicts] == [("cc-by-nc-4.0", "mit", "Hub API")]


def test_tags_speak_where_no_card_does() -> None:
    assert _merged({"tags": ["license:mit"]}).license == "mit"
    assert _merged({"tags": ["license:mit", "license:gpl-3.0"]}).license == ["mit", "gpl-3.0"]
    assert _merged({"tags": ["license:mit"], "cardData": {"license": "gpl-3.0"}}).license == "gpl-3.0"


def test_every_parent_that_anybody_names_is_kept_with_the_most_telling_relation() -> None:
    model = _merged(
        {
            "cardData": {"base_model": ["a/b", "c/d"]},
            "baseModels": {"relation": "quantized", "models": [{"id": "A/b"}]},
            "tags": ["base_model:adapter:e/f"],
        }
    )
    assert [(base.id, base.relation) for base in model.base_models] == [
        ("a/b", "quantized"),
        ("c/d", "merge"),
        ("e/f", "adapter"),
    ]


def test_the_catalog_adds_what_the_hub_does_not_tell_and_overrules_nothing() -> None:
    known = index.load().models["Qwen/Qwen3-8B"]
    live = _merged({"downloads": 3}, readme="---\nlicense: apache-2.0\nlanguage: [xx]\n---\n")
    model = hub_record.catalog_completes(live, known, "2026-11-22")
    assert (model.downloads, model.languages, model.license) == (3, ("xx",), "apache-2.0")
    assert (model.quality, model.context) == (known.quality, known.context)
    assert model.sources["context"].startswith("catalog: ")
    assert model.conflicts == ()
