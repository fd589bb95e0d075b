"""What a card's license fields mean, however they are written."""

from dataclasses import replace

import pytest

from modelpick.catalog.model import Model
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, codes, model


@pytest.mark.parametrize(
    ("license", "expected"),
    [
        ("MIT", "allow"),
        (" Apache-2.0 ", "allow"),
        ("MIT OR Apache-2.0", "allow"),
        ("MIT AND Apache-2.0", "allow"),
        ("MIT OR CC-BY-NC-4.0", "allow"),
        ("MIT AND CC-BY-NC-4.0", "deny"),
        ("(MIT OR CC-BY-NC-4.0) AND GPL-3.0-or-later", "conditions"),
        ("GPL-2.0+ WITH Classpath-exception-2.0", "conditions"),
        ("GPL-3.0-only", "conditions"),
        ("mit OR llama3.1", "allow"),
        ("MIT OR something", "allow"),
        ("MIT AND something", "review"),
        ("MIT OR", "review"),
        ("OR", "review"),
        ("(((((", "review"),
        (["cc-by-sa-3.0", "gfdl"], "review"),
        (["mit", "apache-2.0"], "allow"),
        (["mit", "cc-by-nc-4.0"], "deny"),
        ([], "review"),
        (["mit", None], "review"),
        ([["mit"]], "allow"),
        (False, "review"),
        (True, "review"),
        (2.0, "review"),
        ({"name": "mit"}, "review"),
        ("", "review"),
        (None, "review"),
        ("no", "review"),
        ("other", "review"),
        ("unknown", "review"),
        ("cc", "review"),
        ("gpl", "review"),
        ("lgpl", "review"),
        ("gfdl", "review"),
        ("openrail", "review"),
        ("bsd", "allow"),
        ("cc-by-4.0", "conditions"),
        ("cc-by-sa-4.0", "conditions"),
        ("agpl-3.0", "conditions"),
        ("apache 2.0", "review"),
        ("mit " * 500, "review"),
    ],
)
def test_a_license_field_of_any_shape(judged: Judged, license: object, expected: str) -> None:
    assert judged(model("a/b", license)).verdict == expected


@pytest.mark.parametrize(
    ("org", "name", "found"),
    [
        ("moonshotai", "modified-mit", {"kimi-k2-modified-mit"}),
        ("MiniMaxAI", "modified-mit", {"minimax-modified-mit"}),
        ("minimaxai", "Modified-MIT", {"minimax-modified-mit"}),
        ("Qwen", "qwen-research", {"qwen-research"}),
        ("Qwen", "qwen", {"tongyi-qianwen", "qwen-2024"}),
    ],
)
def test_a_license_name_is_read_with_its_organisation(judged: Judged, org: str, name: str, found: set[str]) -> None:
    answer = judged(model(f"{org}/some-model", "other", license_name=name))
    assert set(answer.license_ids) == found
    assert "name_without_owner" not in codes(answer)


@pytest.mark.parametrize("name", ["modified-mit", "qwen", "nvidia-open-model-license"])
def test_a_name_used_by_somebody_else_is_a_question(judged: Judged, name: str) -> None:
    answer = judged(model("stranger/some-model", "other", license_name=name))
    assert answer.verdict is Verdict.REVIEW
    assert "name_without_owner" in codes(answer)


def test_a_strangers_claim_of_a_forbidding_license_is_believed(judged: Judged) -> None:
    assert judged(model("stranger/some-model", "other", license_name="exaone")).verdict is Verdict.DENY


def test_a_derivative_may_use_its_parents_name(judged: Judged) -> None:
    parent = model("moonshotai/Kimi-K2-Base", "other", license_name="modified-mit")
    child = model("quants/Kimi-K2-GGUF", "other", license_name="modified-mit", bases=(parent.id,))
    assert judged(child, parent).verdict is Verdict.CONDITIONS
    assert set(judged(child, parent).license_ids) == {"kimi-k2-modified-mit"}


def test_every_candidate_counts_when_a_name_means_two_texts(judged: Judged) -> None:
    owed = {one.text for one in judged(model("Qwen/Some-72B", "other", license_name="qwen")).obligations}
    assert any("do not use its outputs" in text for text in owed)  # the 2023 text
    assert any("Built with Qwen" in text for text in owed)  # the 2024 text


def test_a_license_whose_text_was_not_read_is_never_allowed(judged: Judged) -> None:
    answer = judged(model("x/y", "other", license_name="open-weights-permissive-1.0.0"))
    assert answer.verdict is Verdict.REVIEW
    assert "unread_license" in codes(answer)


@pytest.mark.parametrize(
    ("license", "found", "expected"),
    [
        ("Apache License 2.0", {"apache-2.0"}, "review"),
        ("Mistral AI Research License", {"mistral-research"}, "deny"),
        ("EXAONE AI Model License Agreement 1.2 - NC", {"exaone-1.2-nc"}, "deny"),
    ],
)
def test_a_title_is_shown_but_grants_nothing(judged: Judged, license: str, found: set[str], expected: str) -> None:
    answer = judged(model("a/b", license))
    assert answer.verdict == expected
    assert set(answer.license_ids) == found


def test_a_folder_is_nobodys_word_but_the_hubs_cache_keeps_the_id(judged: Judged) -> None:
    def folder(path: str) -> Model:
        return replace(model(path, "other", license_name="nvidia-open-model-license"), origin="folder")

    assert judged(folder("/home/me/nvidia/some-model")).verdict is Verdict.REVIEW
    assert judged(folder("nvidia/some-model")).verdict is Verdict.REVIEW
    cached = "/home/me/.cache/huggingface/hub/models--nvidia--some-model/snapshots/" + "a" * 40
    assert judged(folder(cached)).verdict is Verdict.CONDITIONS
    assert judged(replace(folder("/home/me/model"), license="mit", license_name=None)).verdict is Verdict.ALLOW
    assert (
        judged(replace(folder("/home/me/Llama-2-7b/"), license="mit", license_name=None)).verdict is Verdict.CONDITIONS
    )


def test_of_names_that_begin_alike_the_longest_is_the_one_mentioned(facts: LicenseFacts) -> None:
    def named(sentence: str) -> list[str]:
        return [license.id for license in facts.licenses.mentioned(sentence)]

    assert named("Under the Apache License, Version 2.0, and parts under the MIT License.") == ["apache-2.0", "mit"]
    assert named("Llama 3.1 Community License Agreement") == ["llama3.1"]
    assert named("MIT License, and again the MIT License") == ["mit"]
    assert named("the llama 3.1 community") == named("") == []
    for license in facts.licenses.licenses:
        assert len(license.title.split()) == 1 or license.title.isascii() is False or named(license.title), license.id
