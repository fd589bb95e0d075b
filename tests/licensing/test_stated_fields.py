"""Every field a card states is weighed against the others; one that cannot be read is a question that quotes it."""

from typing import Any

import pytest
import yaml

from modelpick.catalog import card, hub_record
from modelpick.catalog.model import Model
from modelpick.catalog.parts import RepositoryParts
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, codes, model

BASES = (model("a/free-7b", "apache-2.0"), model("a/closed-7b", "cc-by-nc-4.0"))


def read(
    front_matter: str | dict[str, Any], id: str = "x/y", record: dict[str, Any] | None = None, **parts: Any
) -> Model:
    """The model that a repository with this card is, as the Hub client would make it."""
    text = front_matter if isinstance(front_matter, str) else yaml.safe_dump(front_matter)
    texts = {"README.md": f"---\n{text}\n---\n", **parts.pop("texts", {})}
    whole = {
        "id": id, "origin": "hub", "revision": "a" * 40, "files": tuple(texts), "config": None, "texts": texts,
        "adapter_config": None, "gguf": None, "parameters_by_dtype": {}, "notes": (), **parts,
    }  # fmt: skip
    return hub_record.merged(RepositoryParts(**whole), record or {}, asked=id)


UNREADABLE = [
    "base_model: 7",
    "base_model: true",
    "base_model: {finetune: 3}",
    "base_model: [a/free-7b, 7]",
    "base_model: [[[{}]]]",
    f"base_model: {'x' * 900_000}",
    "license_name: [a, b]",
    "license_name: 3",
    "license_link: {a: b}",
    "datasets: 7",
    "datasets: [{}]",
    "License: cc-by-nc-4.0",
    "licence: cc-by-nc-4.0",
    "licenses: [cc-by-nc-4.0]",
    "license_type: non-commercial",
]


@pytest.mark.parametrize("field", UNREADABLE)
def test_a_field_that_cannot_be_read_is_a_question_that_quotes_it(judged: Judged, field: str) -> None:
    answer = judged(read(f"license: apache-2.0\n{field}"), *BASES)
    assert answer.verdict is Verdict.REVIEW
    quoted = next(reason for reason in answer.reasons if reason.code == "unreadable_field")
    key, _, value = field.partition(": ")
    assert key in quoted.text
    assert value.strip("[]{}")[:4] in quoted.text or value[0] in "[{" or value == "true"
    assert len(quoted.text) < 400


HARMLESS = [
    "base_model: a/free-7b",
    "base_model: [a/free-7b]",
    "base_model: [[a/free-7b]]",
    "base_model: {name: a/free-7b, relation: quantized}",
    "base_model: [{model: {id: a/free-7b}}]",
    "base_model: a/free-7b@main",
    "base_model: https://huggingface.co/a/free-7b/tree/main",
    "base_model: 'a/free-7b, a/free-7b'",
    "base_model: []",
    "base_model:",
    "base_model: no",
    "base_model: none",
    "license_name: Apache License, Version 2.0",
    "license_name: apache-2.0",
    "license_name: Apache 2.0 license",
    "license_name: other",
    "license_link: https://www.apache.org/licenses/LICENSE-2.0.txt",
    "license_link: https://huggingface.co/a/free-7b/blob/main/LICENSE",
    "license_link: https://huggingface.co/x/y/blob/main/README.md",
    "License: apache-2.0",
    "tags: [7, 2024-01-01, 'license:apache-2.0', chat]",
    "datasets: [some/thing, {name: other/thing}]",
    "language: no",
]


@pytest.mark.parametrize("field", HARMLESS)
def test_a_field_that_says_the_same_or_nothing_is_no_question(judged: Judged, field: str) -> None:
    answer = judged(read(f"license: apache-2.0\n{field}"), *BASES)
    assert answer.verdict is Verdict.ALLOW, answer.reasons


@pytest.mark.parametrize(
    ("card_text", "least"),
    [
        ("license: apache-2.0\nlicense_name: qwen-research", "review"),
        ("license: apache-2.0\nlicense_name: modified-apache", "review"),
        ("license: mit\nlicense_name: modified-mit", "review"),
        ("license: mit\nlicense_name: cc-by-nc-4.0", "deny"),
        ("license: mit\nlicense_link: https://ai.google.dev/gemma/terms", "review"),
        ("license: mit\nlicense_link: https://creativecommons.org/licenses/by-nc/4.0/", "deny"),
        ("license: mit\nlicense_link: https://example.org/our-terms", "review"),
        ("license: mit\nlicense_link: LICENSE-MODEL.md", "review"),
        ("license: mit\nlicense_link: https://huggingface.co/a/closed-7b/blob/main/LICENSE", "deny"),
        ("license: Apache-2.0 WITH Commons-Clause", "review"),
        ("license: MIT AND CC-BY-NC-4.0", "deny"),
        ("license: [mit, cc-by-nc-4.0]", "deny"),
        ("license: [[mit], [cc-by-nc-4.0]]", "deny"),
        ("license: mit\ntags: ['license:cc-by-nc-4.0']", "deny"),
        ("license: mit\ntags:\n- license: cc-by-nc-4.0", "deny"),
        ("license: mit\ntags: ['license:something-else']", "review"),
        ("license: mit\ntags: ['base_model:a/closed-7b']", "deny"),
        ("license: mit\ntags: ['base_model:quantized:a/closed-7b']", "deny"),
        ("license: mit\ntags: ['dataset:tatsu-lab/alpaca']", "review"),
        ("license: mit\nbase_models: [a/closed-7b]", "deny"),
        ("license: mit\nmerged_models: [a/free-7b, a/closed-7b]", "deny"),
        ("license: mit\nbase_model: 'a/free-7b, a/closed-7b'", "deny"),
        ("license: mit\nbase_model: [[a/free-7b], {path: a/closed-7b}]", "deny"),
        ("license: mit\nbase_model: a/closed-7b@main", "deny"),
        ("license: mit\nbase_model: a/free-7b@0123abc", "review"),  # that commit is not to be found
        ("license: mit\nbase_model: https://modelscope.cn/models/a/closed-7b", "review"),
        ("license: mit\nbase_model_relation: quantized", "review"),
        ("license: mit\nextra_gated_fields:\n  I use this for non-commercial purposes ONLY: checkbox", "review"),
        ("license: mit\ndatasets: tatsu-lab/alpaca, some/thing", "review"),
    ],
)
def test_of_two_stated_things_the_stricter_counts_and_both_are_named(
    judged: Judged, card_text: str, least: str
) -> None:
    answer = judged(read(card_text), *BASES)
    assert answer.verdict >= Verdict(least), answer.reasons
    assert answer.verdict is not Verdict.ALLOW


def test_what_the_api_adds_to_a_card_counts_as_well(judged: Judged) -> None:
    plain = "license: apache-2.0"
    records = [
        {"cardData": {"license": "apache-2.0", "base_model": 7}},
        {"cardData": {"license": "apache-2.0", "license_name": "qwen-research"}},
        {"cardData": {"license": "apache-2.0", "datasets": ["tatsu-lab/alpaca"]}},
        {"tags": ["license:cc-by-nc-4.0"]},
        {"tags": ["base_model:a/closed-7b"]},
        {"baseModels": {"models": [{"id": "a/closed-7b"}], "relation": "quantized"}},
        {"baseModels": {"models": [{"nothing": 1}]}},
    ]
    for record in records:
        assert judged(read(plain, record=record), *BASES).verdict > Verdict.CONDITIONS, record
    same = {"cardData": {"license": "apache-2.0"}, "tags": ["license:apache-2.0", "region:us"], "baseModels": None}
    assert judged(read(plain, record=same), *BASES).verdict is Verdict.ALLOW


@pytest.mark.parametrize("broken", ["a: *b", "- a\n- b", "x: &a [*a]", "a: [" + "[" * 100, "license: mit\n  b: : :"])
def test_a_front_matter_that_cannot_be_read_is_no_permission_of_the_apis(judged: Judged, broken: str) -> None:
    answer = judged(read(broken, record={"cardData": {"license": "mit"}, "tags": ["license:mit"]}))
    assert answer.verdict is Verdict.REVIEW
    assert "unreadable_field" in codes(answer)


def test_ten_thousand_parents_end_as_a_question(judged: Judged) -> None:
    many = read({"license": "mit", "base_model": [f"a/m{n}" for n in range(10_000)]})
    assert judged(many).verdict is Verdict.REVIEW
    assert len(many.base_models) == card.MOST_IDS


def test_a_name_that_several_licenses_bear_is_settled_by_the_makers_own_family(judged: Judged) -> None:
    big = model("Qwen/Qwen2.5-72B", "other", license_name="qwen")
    for asked in (big, model("x/tune", "other", license_name="qwen", bases=("Qwen/Qwen2.5-72B",))):
        assert set(judged(asked, big).license_ids) == {"qwen-2024"}
    older = model("Qwen/Qwen-99B", "other", license_name="qwen")
    assert set(judged(older).license_ids) == {"qwen-2024", "tongyi-qianwen"}
    named_alike = model("x/Qwen2.5-72B", "other", license_name="qwen")
    assert judged(named_alike).verdict is Verdict.REVIEW
