"""Traps that real repositories set, each as that repository's facts and the answer it should get."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from modelpick.catalog.model import Model
from modelpick.licensing import load
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, codes, model

PARENTS = (
    model("meta-llama/Llama-2-7b-hf", "llama2"),
    model("meta-llama/Meta-Llama-3-70B-Instruct", "llama3"),
    model("meta-llama/Llama-3.1-8B", "llama3.1"),
    model("google/gemma-3-27b-it", "gemma"),
    model("mistralai/Mistral-7B-v0.1", "apache-2.0"),
    model("tiiuae/falcon-11B", "unknown", license_name="falcon-2-tii"),
    model("CohereLabs/c4ai-command-r-v01", "cc-by-nc-4.0"),
    model("unsloth/llama-3-8b-bnb-4bit", "llama3", bases=("meta-llama/Meta-Llama-3-8B",)),
    model("meta-llama/Meta-Llama-3-8B", "llama3"),
)

LAUNDERING = [
    ("David003/llama-7b-hf-20230407", "openrail", (), "deny"),
    ("HyperbeeAI/Tulpar-7b-v0", "apache-2.0", ("meta-llama/Llama-2-7b-hf",), "conditions"),
    ("unsloth/llama-2-7b", "apache-2.0", (), "conditions"),
    ("m8than/Llama-2-7b-chat-hf", "apache-2.0", (), "conditions"),
    ("unsloth/gemma-2b-it", "apache-2.0", (), "conditions"),
    ("RedHatAI/gemma-3-27b-it-FP8-dynamic", "apache-2.0", ("google/gemma-3-27b-it",), "conditions"),
    ("AtlaAI/Selene-1-Mini-Llama-3.1-8B", "apache-2.0", (), "conditions"),
    ("Yhyu13/oasst-rlhf-2-llama-30b-7k-steps-hf", "apache-2.0", (), "deny"),
    ("sesame/csm-1b", "apache-2.0", (), "review"),
    ("someone/lora", None, ("meta-llama/Llama-2-7b-hf",), "review"),
    ("someone/lora", "apache-2.0", ("unsloth/llama-3-8b-bnb-4bit",), "conditions"),
    ("someone/lora", "apache-2.0", ("/mnt/models/llama-3-8b",), "review"),
    ("grapevine-AI/c4ai-command-r-v01-gguf", "cc-by-4.0", ("CohereLabs/c4ai-command-r-v01",), "deny"),
    ("grapevine-AI/c4ai-command-r-v01-gguf", "cc-by-4.0", (), "deny"),
    ("DevQuasar/falcon2-11B-GGUF", "apache-2.0", ("tiiuae/falcon-11B",), "conditions"),
    ("m/merge", "apache-2.0", ("mistralai/Mistral-7B-v0.1", "CohereLabs/c4ai-command-r-v01"), "deny"),
    ("mlabonne/Meta-Llama-3-120B-Instruct", "other", ("meta-llama/Meta-Llama-3-70B-Instruct",) * 7, "conditions"),
    ("XiaomiMiMo/MiMo-V2-Flash", "mit", (), "allow"),
    ("MiniMaxAI/MiniMax-M1-80k", "apache-2.0", (), "review"),
    ("mosaicml/mpt-7b-instruct", "apache-2.0", (), "allow"),
    ("NousResearch/Hermes-3-Llama-3.1-8B", "llama3", ("meta-llama/Llama-3.1-8B",), "conditions"),
    ("zai-org/GLM-5.2", "mit", (), "allow"),
    ("zai-org/GLM-5.3", "mit", (), "allow"),  # its own publisher says so: believed, until known otherwise
    ("someone/GLM-5.3-FP8", "mit", (), "review"),
    ("LGAI-EXAONE/K-EXAONE-2.0-750B-A37B", "apache-2.0", (), "allow"),
    ("ai21labs/Jamba-v0.1", "apache-2.0", (), "allow"),
]


@pytest.mark.parametrize(("id", "license", "bases", "expected"), LAUNDERING)
def test_laundering(judged: Judged, id: str, license: object, bases: tuple[str, ...], expected: str) -> None:
    assert judged(model(id, license, bases=bases), *PARENTS).verdict == expected


def test_a_name_that_breaks_the_prefix_rule_is_warned_of(judged: Judged) -> None:
    answer = judged(model("NousResearch/Hermes-3-Llama-3.1-8B", "llama3", bases=("meta-llama/Llama-3.1-8B",)), *PARENTS)
    assert {"attribution", "name_prefix"} <= {one.code for one in answer.obligations}
    assert {"llama3", "llama3.1"} <= set(answer.license_ids)
    assert "name_prefix_missing" in codes(answer)
    right = judged(model("nvidia/Llama-3.1-Nemotron-70B", "llama3.1", bases=("meta-llama/Llama-3.1-8B",)), *PARENTS)
    assert "name_prefix_missing" not in codes(right)


@pytest.mark.parametrize(
    "dataset", ["Open-Orca/OpenOrca", "meta-math/MetaMathQA", "camel-ai/math", "jondurbin/airoboros-2.2"]
)
def test_restricted_training_data_is_a_question(judged: Judged, dataset: str, commercial: Policy) -> None:
    tuned = model("a/b", "apache-2.0", bases=("mistralai/Mistral-7B-v0.1",), datasets=(dataset,))
    assert judged(tuned, *PARENTS).verdict is Verdict.REVIEW
    child = model("a/c", "apache-2.0", bases=("a/b",))
    assert judged(child, tuned, *PARENTS).verdict is Verdict.REVIEW  # an ancestor's data reach its children
    research = load.load_policy("research")
    assert judged(tuned, *PARENTS, policy=research).verdict <= Verdict.CONDITIONS
    data = replace(commercial.rules.training_data, output_restricted=Verdict.DENY, non_commercial=Verdict.DENY)
    strict = replace(commercial, rules=replace(commercial.rules, training_data=data))
    assert judged(tuned, *PARENTS, policy=strict).verdict is Verdict.DENY


def test_harmless_training_data_change_nothing(judged: Judged) -> None:
    data = ("databricks/databricks-dolly-15k", "OpenAssistant/oasst1", "something/of-their-own")
    assert judged(model("a/b", "apache-2.0", datasets=data)).verdict is Verdict.ALLOW


Profile = Callable[..., Policy]


@pytest.fixture
def profile(commercial: Policy) -> Profile:
    """The commercial policy for another company: `profile(domicile="DE")`."""
    return lambda **company: replace(commercial, company=replace(commercial.company, **company))


VISION = model("meta-llama/Llama-3.2-90B-Vision-Instruct", "llama3.2", pipeline_tag="image-text-to-text")
TEXT = model("meta-llama/Llama-3.2-1B", "llama3.2", pipeline_tag="text-generation")
SCOUT = model("meta-llama/Llama-4-Scout-17B-16E", "llama4")
HUNYUAN = model("tencent/Hunyuan-7B-Instruct", "other", license_name="tencent-hunyuan-community")
LFM = model("LiquidAI/LFM2-1.2B", "other", license_name="lfm1.0")
KIMI = model("moonshotai/Kimi-K2.5", "other", license_name="modified-mit")
FALCON = model("tiiuae/falcon-180B", "unknown")
QWEN = model("Qwen/Qwen1.5-7B-Chat", "other", license_name="tongyi-qianwen")
H3 = model("MiniMaxAI/MiniMax-H3", "other")


@pytest.mark.parametrize(
    ("asked", "company", "expected"),
    [
        (VISION, {"domicile": "DE"}, "deny"),
        (VISION, {"domicile": "EU"}, "deny"),
        (VISION, {"domicile": "CH"}, "conditions"),
        (VISION, {"domicile": None}, "review"),
        (TEXT, {"domicile": "DE"}, "conditions"),
        (SCOUT, {"domicile": "FR"}, "deny"),
        (SCOUT, {"domicile": "US"}, "conditions"),
        (HUNYUAN, {"domicile": "UK"}, "deny"),
        (HUNYUAN, {"domicile": "GB"}, "deny"),
        (HUNYUAN, {"domicile": "KR"}, "deny"),
        (HUNYUAN, {"domicile": "US", "regions": ("us-east-1",)}, "conditions"),
        (HUNYUAN, {"domicile": "US", "regions": ("eu-west-1",)}, "deny"),
        (HUNYUAN, {"domicile": "US", "regions": ("us-east-1", "ap-northeast-2")}, "deny"),
        (HUNYUAN, {"domicile": "US", "regions": ("mars-north-1",)}, "review"),
        (H3, {"domicile": "US"}, "deny"),
        (H3, {"domicile": "JP"}, "conditions"),
        (LFM, {"annual_revenue_usd": 9_999_999}, "conditions"),
        (LFM, {"annual_revenue_usd": 10_000_001}, "deny"),
        (LFM, {"annual_revenue_usd": None}, "review"),
        (QWEN, {"monthly_active_users": 100_000_001}, "deny"),
        (QWEN, {"trains_other_models": True}, "deny"),
        (QWEN, {"trains_other_models": None}, "review"),
        (TEXT, {"trains_other_models": True}, "conditions"),
        (TEXT, {"monthly_active_users": 700_000_001}, "deny"),
        (KIMI, {"monthly_active_users": 200_000_000}, "conditions"),
        (FALCON, {"deployment": "internal"}, "conditions"),
        (FALCON, {"deployment": "product"}, "conditions"),
        (FALCON, {"deployment": "api"}, "deny"),
        (FALCON, {"deployment": None}, "review"),
    ],
)
def test_conditions_become_answers(
    judged: Judged, profile: Profile, asked: Model, company: dict[str, object], expected: str
) -> None:
    assert judged(asked, policy=profile(**company)).verdict == expected


def test_networked_copyleft_owes_its_source(judged: Judged) -> None:
    answer = judged(model("a/b", "agpl-3.0"))
    assert answer.verdict is Verdict.CONDITIONS
    assert {"network_source", "share_alike"} <= {one.code for one in answer.obligations}


def test_a_gate_is_an_obligation_not_a_license(judged: Judged) -> None:
    answer = judged(model("a/b", "mit", gated="manual"))
    assert answer.verdict is Verdict.ALLOW
    assert {"gate"} <= {one.code for one in answer.obligations}
