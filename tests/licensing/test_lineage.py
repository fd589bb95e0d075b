"""Ancestors: declared, undeclared, missing, going in circles, too many."""

from dataclasses import replace
from typing import Any

import pytest

from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.name_matches import NameMatches
from modelpick.licensing.overrides import Curation, Curations
from modelpick.licensing.verdict import Verdict
from modelpick.schema import IsoDate
from tests.licensing.conftest import Judged, codes, model

LLAMA2 = model("meta-llama/Llama-2-7b-hf", "llama2")


@pytest.mark.parametrize("tag", ["apache-2.0", "mit", "cc-by-4.0", "llama2", "cc-by-nc-4.0", None, "other", "nonsense"])
def test_no_tag_is_weaker_than_its_ancestor(judged: Judged, tag: str | None) -> None:
    base = model("someone/base", "cc-by-nc-4.0")
    assert judged(model("other/child", tag, bases=("someone/base",)), base).verdict is Verdict.DENY


def test_a_stricter_tag_than_the_base_counts(judged: Judged) -> None:
    base = model("upstage/SOLAR-10.7B-v1.0", "apache-2.0")
    assert judged(model("upstage/SOLAR-10.7B-Instruct-v1.0", "cc-by-nc-4.0", bases=(base.id,)), base).verdict == "deny"


def test_no_tag_over_a_free_base_stays_a_question(judged: Judged) -> None:
    base = model("mistralai/Mistral-7B-v0.1", "apache-2.0")
    answer = judged(model("someone/lora", None, bases=(base.id,)), base)
    assert answer.verdict is Verdict.REVIEW
    assert "no_license" in codes(answer)


def test_of_several_parents_the_strictest_counts(judged: Judged) -> None:
    parents = (model("a/one", "apache-2.0"), model("a/two", "llama3"), model("a/three", "cc-by-nc-4.0"))
    merged = model("m/merge", "apache-2.0", bases=("a/one", "a/two", "a/three"))
    answer = judged(merged, *parents)
    assert answer.verdict is Verdict.DENY
    assert [step.model for step in answer.lineage] == ["a/one", "a/two", "a/three"]


def test_a_parent_that_cannot_be_found_is_a_question(judged: Judged) -> None:
    answer = judged(model("a/child", "mit", bases=("ghost/gone",)))
    assert answer.verdict is Verdict.REVIEW
    assert "missing_ancestor" in codes(answer)


def test_a_deleted_parent_is_known_by_its_tombstone(judged: Judged) -> None:
    answer = judged(model("a/child", "mit", bases=("decapoda-research/llama-7b-hf",)))
    assert answer.verdict is Verdict.DENY


def test_a_renamed_parent_is_followed(judged: Judged) -> None:
    command_r = model("CohereLabs/c4ai-command-r-plus", "cc-by-nc-4.0")
    answer = judged(model("a/quant", "mit", bases=("CohereForAI/c4ai-command-r-plus",)), command_r)
    assert answer.lineage[0].model == "CohereLabs/c4ai-command-r-plus"
    assert answer.verdict is Verdict.DENY


@pytest.mark.parametrize("path", ["./out/checkpoint-500", "/home/me/llama", "C:\\models\\llama", "~/models/x", "a/b/c"])
def test_a_path_as_parent_is_a_question(judged: Judged, path: str) -> None:
    answer = judged(model("a/lora", "mit", bases=(path,)))
    assert answer.verdict is Verdict.REVIEW
    assert "local_path_parent" in codes(answer)


def test_circles_and_self_references_end_as_a_question(judged: Judged) -> None:
    loop = model("a/loop", "mit", bases=("A/Loop",))
    assert "cycle" in codes(judged(loop))
    first, second = model("a/1", "mit", bases=("a/2",)), model("a/2", "mit", bases=("a/1",))
    for answer in (judged(loop), judged(first, second), judged(model("a/0", "mit", bases=("a/1",)), first, second)):
        assert answer.verdict is Verdict.REVIEW


def test_two_ways_to_one_ancestor_are_no_circle(judged: Judged) -> None:
    top = model("a/top", "mit")
    left, right = (model(f"a/{side}", "mit", bases=("a/top",)) for side in ("left", "right"))
    assert judged(model("a/child", "mit", bases=("a/left", "a/right")), left, right, top).verdict is Verdict.ALLOW


@pytest.mark.parametrize(("ancestors", "expected"), [(30, "allow"), (31, "review")])
def test_chains_are_followed_thirty_deep(judged: Judged, ancestors: int, expected: str) -> None:
    chain = [model(f"a/{i}", "mit", bases=(f"a/{i + 1}",)) for i in range(ancestors)]
    answer = judged(*chain, model(f"a/{ancestors}", "mit"))
    assert answer.verdict == expected
    assert ("too_deep" in codes(answer)) == (expected == "review")


def test_a_wide_family_tree_ends(judged: Judged) -> None:
    layers = [
        model(f"l{depth}/{i}", "mit", bases=tuple(f"l{depth + 1}/{j}" for j in range(8)))
        for depth in range(12)
        for i in range(8)
    ]
    assert judged(*layers).verdict is Verdict.REVIEW  # the last layer is missing


@pytest.mark.parametrize(
    ("id", "expected"),
    [
        ("someone/llama-7b-hf-copy", "deny"),
        ("someone/oasst-rlhf-2-llama-30b-steps", "deny"),
        ("someone/vicuna-13b-v1.1", "deny"),
        ("someone/My-Llama-2-13B-chat", "conditions"),
        ("someone/CodeLlama-34B-Python-AWQ", "conditions"),
        ("someone/Hermes-Llama-3.1-8B", "conditions"),
        ("someone/Llama3-Chinese", "conditions"),
        ("someone/Llama-4-Scout-quant", "conditions"),
        ("someone/some-llama-thing", "review"),
        ("someone/gemma-2b-it", "conditions"),
        ("someone/gemma-7b-it-GGUF", "conditions"),
        ("someone/medgemma-4b", "review"),
        ("someone/Qwen2.5-Coder-3B-Instruct-bnb-4bit", "deny"),
        ("someone/c4ai-command-r-v01-gguf", "deny"),
        ("someone/Codestral-22B-v0.1-GGUF", "deny"),
        ("someone/EXAONE-3.5-7.8B-AWQ", "deny"),
        ("someone/MiniMax-H3-mlx", "deny"),
        ("hfl/chinese-alpaca-2-7b", "conditions"),
        ("hfl/chinese-alpaca-plus-13b", "deny"),
        ("someone/L3-8B-Lunaris", "conditions"),
        ("someone/L3.1-70B-x", "conditions"),
        ("someone/facebook_opt-1.3b-4bit", "deny"),
        ("someone/command-a-03-2025-GGUF", "deny"),
        ("someone/Qwen3.8-Flash-Next-GGUF", "review"),
        ("someone/MiniMax-M2.7-GGUF", "review"),
        ("someone/R1-Distill-Qwen-1.5B-x", "allow"),
        ("someone/Qwen1.5-7B-Chat-AWQ", "review"),
        ("someone/TinyLlama-1.1B-tune", "allow"),
        ("someone/open_llama_3b-tune", "allow"),
        ("someone/gemma-4-E4B-it-GGUF", "allow"),
        ("someone/Qwen2.5-32B-x", "allow"),
        ("someone/Qwen3-8B-llamafile", "allow"),
        ("someone/yi-34b-llamafied", "allow"),
        ("someone/falcon-7b-tune", "allow"),
        ("someone/mistral-7b-adopt-13b", "allow"),
    ],
)
def test_a_name_betrays_an_ancestor_nobody_declared(judged: Judged, id: str, expected: str) -> None:
    assert judged(model(id, "apache-2.0")).verdict == expected


def test_a_shape_betrays_an_ancestor_nobody_declared(judged: Judged) -> None:
    llama3 = {"model_type": "llama", "vocab_size": 128256, "hidden_size": 4096}
    answer = judged(model("someone/innocent", "mit", config=llama3))
    assert answer.verdict is Verdict.CONDITIONS
    assert {"undeclared_ancestor", "weaker_than_ancestor"} <= codes(answer)
    first = {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
    }
    assert judged(model("someone/innocent", "mit", config=first)).verdict is Verdict.REVIEW
    assert judged(model("someone/innocent", "mit", config=first | {"num_hidden_layers": 22})).verdict is Verdict.ALLOW
    assert judged(model("someone/innocent", "mit", config={"model_type": "gemma2"})).verdict is Verdict.CONDITIONS


def test_a_publishers_own_tag_outweighs_the_name(judged: Judged) -> None:
    assert judged(model("google/gemma-next", "apache-2.0")).verdict is Verdict.ALLOW
    assert judged(model("else/gemma-next", "apache-2.0")).verdict is Verdict.CONDITIONS


def test_a_mirror_is_known_by_the_whole_name_it_keeps(judged: Judged, facts: LicenseFacts) -> None:
    named = replace(facts, name_matches=NameMatches(lambda: ["Maker/Solid-7B", "Maker/Free-7B", "Maker/tiny"]))
    solid, free, tiny = (
        model("Maker/Solid-7B", "cc-by-nc-4.0"),
        model("Maker/Free-7B", "mit"),
        model("Maker/tiny", "gemma"),
    )
    for copy in ("x/Solid-7B", "x/solid-7b-GGUF", "x/Solid-7B-my-tune", "x/maker_Solid-7B-4bit"):
        answer = judged(model(copy, "mit"), solid, free, tiny, facts=named)
        assert answer.verdict is Verdict.DENY, copy
        assert {"undeclared_ancestor", "weaker_than_ancestor"} <= codes(answer)
        assert [step.model for step in answer.lineage] == ["Maker/Solid-7B"]
    for other in ("x/Solid-70B", "x/NotSolid-7B", "x/Free-7B-GGUF", "x/tiny-thing", "Maker/Solid-7B-v2"):
        assert judged(model(other, "mit"), solid, free, tiny, facts=named).verdict is Verdict.ALLOW, other
    declared = model("x/Solid-7B-GGUF", "mit", bases=("Maker/Free-7B",))
    assert [step.model for step in judged(declared, solid, free, facts=named).lineage] == ["Maker/Free-7B"]


def test_the_embedded_catalog_gives_the_names(facts: LicenseFacts) -> None:
    assert facts.name_matches.of("someone/LFM2-1.2B-GGUF") == "LiquidAI/LFM2-1.2B"
    assert facts.name_matches.of("LiquidAI/LFM2-1.2B") is None
    assert facts.name_matches.of("someone/unheard-of-9B") is None


def test_only_weights_known_to_be_their_own_are_free_of_their_name(judged: Judged, facts: LicenseFacts) -> None:
    def known(**said: Any) -> LicenseFacts:
        entry = Curation("x/Llama-2-7b-y", "for the test", "here", IsoDate("2026-11-23"), **said)
        return replace(facts, curations=Curations([entry]))

    asked = model("x/Llama-2-7b-y", "mit")
    assert judged(asked, facts=known(datasets=("a/b",))).verdict is Verdict.CONDITIONS
    assert judged(asked, facts=known(independent=True)).verdict is Verdict.ALLOW
    elsewhere = known(independent=True, revision="b" * 40)
    assert judged(asked, facts=elsewhere).verdict is Verdict.CONDITIONS  # said of another commit


def test_a_family_name_is_a_license_only_for_the_familys_own_publisher(judged: Judged) -> None:
    assert judged(model("meta-llama/Llama-2-7b-hf", None)).verdict is Verdict.CONDITIONS
    assert judged(model("someone/Llama-2-7b-hf", None)).verdict is Verdict.REVIEW
    assert judged(model("a/child", "mit", bases=("meta-llama/Llama-2-70b-hf",))).verdict is Verdict.CONDITIONS
    assert judged(model("a/child", "mit", bases=("someone/Llama-2-70b-hf",))).verdict is Verdict.REVIEW


def test_a_circle_that_is_entered_at_two_of_its_members_is_found(judged: Judged) -> None:
    answer = judged(
        model("a/asked", "mit", bases=("a/one", "a/two")), model("a/one", "mit", bases=("a/two",)),
        model("a/two", "mit", bases=("a/one",)),
    )  # fmt: skip
    assert answer.verdict is Verdict.REVIEW
    assert "cycle" in codes(answer)


def test_a_parent_that_two_branches_share_is_the_parent_of_both(judged: Judged) -> None:
    answer = judged(
        model("a/asked", "mit", bases=("a/one", "a/two-GGUF")), model("a/one", "mit", bases=("b/root",)),
        model("a/two-GGUF", "mit", bases=("b/root",)), model("b/root", "mit"),
    )  # fmt: skip
    assert "unknown_ancestor" not in codes(answer)
