"""Parents that only files and text tell; and derived models that name none."""

from typing import Any

import pytest

from modelpick.catalog.derived import derivation
from modelpick.catalog.model import Model
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, codes, model
from tests.licensing.test_stated_fields import BASES, read

HUB = "https://huggingface.co/"
MERGE = "merge_method: slerp\nmodels:\n- model: a/free-7b\n- model: {parent}\n"


def naming(parent: str) -> dict[str, Model]:
    """A model for each place in which a parent may be named and nothing else says it."""
    card = "---\nlicense: apache-2.0\n---\n"
    axolotl = f"{card}<details>\n\n```yaml\nbase_model: {parent}\ndatasets:\n- path: x/y\n```\n</details>"
    recipe = MERGE.format(parent=parent)

    def told(**parts: Any) -> Model:
        return read("license: apache-2.0", "x/tune", **parts)

    return {
        "config": told(config={"_name_or_path": parent}),
        "inner config": told(config={"text_config": {"_name_or_path": parent}, "model_type": "llava"}),
        "quantization config": told(config={"quantization_config": {"model_name_or_path": parent}}),
        "adapter": told(adapter_config={"base_model_name_or_path": parent}),
        "recipe file": told(texts={"mergekit_config.yml": recipe}),
        "recipe's adapter": told(texts={"mergekit_config.yml": MERGE.format(parent=f"a/free-7b+{parent}")}),
        "recipe in the card": told(texts={"README.md": f"{card}```yaml\n{recipe}```"}),
        "training recipe in the card": told(texts={"README.md": axolotl}),
        "gguf base": told(gguf={"general.base_model.0.repo_url": HUB + parent}),
        "gguf source": told(gguf={"general.source.url": HUB + parent}),
        "gguf repository": told(gguf={"general.source.huggingface.repository": parent}),
        "gguf name": told(
            gguf={
                "general.base_model.0.organization": parent.split("/")[0],
                "general.base_model.0.name": parent.split("/")[1].replace("-", " "),
            }
        ),
        "link": told(texts={"README.md": f"{card}A GGUF conversion of [it]({HUB}{parent})."}),
        "id it was tuned on": told(texts={"README.md": f"{card}Fine-tuned on {parent}."}),
        "id": told(texts={"README.md": f"{card}A GGUF conversion of {parent}."}),
    }


@pytest.mark.parametrize("place", naming("a/b"))
def test_a_parent_counts_wherever_it_is_named(judged: Judged, place: str) -> None:
    closed = judged(naming("a/closed-7b")[place], *BASES)
    assert closed.verdict is Verdict.DENY, closed.reasons
    assert "a/closed-7b" in {step.model for step in closed.lineage}
    assert judged(naming("a/free-7b")[place], *BASES).verdict is Verdict.ALLOW
    gone = judged(naming("ghost/gone-7b")[place], *BASES)
    if place == "id it was tuned on":  # it may be a data set
        assert gone.verdict is Verdict.ALLOW
        return
    assert gone.verdict is Verdict.REVIEW
    assert codes(gone) & {"missing_ancestor"}


@pytest.mark.parametrize("path", ["./out", "/data/x", "C:\\x", "output/checkpoint-500", "models/llama", "~/a"])
def test_a_path_that_a_tool_left_is_a_question_only_of_what_is_derived(judged: Judged, path: str) -> None:
    config = {"_name_or_path": path}
    assert judged(read("license: mit", "x/model-7b", config=config)).verdict is Verdict.ALLOW
    assert judged(read("license: mit\nbase_model: a/free-7b", "x/y-GGUF", config=config), *BASES).verdict == "allow"
    answer = judged(read("license: mit", "x/unheard-of-GGUF", config=config))
    assert answer.verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        ("Smollm2 135M 8k Lc100K Mix1 Ep2", "allow"),
        ("a  title", "allow"),
        ("a/gone", "review"),
    ],
)
def test_a_title_that_a_converter_left_names_no_parent(judged: Judged, left: str, verdict: str) -> None:
    folder = read("license: mit", "/models--x--tune", config={"_name_or_path": left})
    assert judged(folder).verdict == verdict


@pytest.mark.parametrize("residue", ["x/tune", "X/Tune", "x/tune-internal-0825"])
def test_what_leads_back_to_the_model_or_its_publisher_is_no_question(judged: Judged, residue: str) -> None:
    assert judged(read("license: mit", "x/tune", config={"_name_or_path": residue})).verdict is Verdict.ALLOW
    text = f"---\nlicense: mit\n---\nQuantized from [this]({HUB}{residue})."
    assert judged(read("license: mit", "x/tune", texts={"README.md": text})).verdict in ("allow", "review")


def test_two_models_that_point_at_each_other_in_files_are_no_circle(judged: Judged) -> None:
    one, two = (read("license: mit", f"a/{n}", config={"_name_or_path": f"a/{m}"}) for n, m in (("1", "2"), ("2", "1")))
    assert judged(one, two).verdict is Verdict.ALLOW


DERIVED: list[dict[str, Any]] = [
    *({"id": f"x/{name}"} for name in (
        "thing-GGUF", "thing.Q4_K_M", "thing-4bit", "thing-8-bit", "thing-AWQ", "Thing_GPTQ_Int4", "thing-exl2",
        "thing-FP8", "thing-nvfp4", "thing-mlx", "thing-onnx", "thing-w4a16", "thing-lora", "thing-qlora-adapter",
        "thing-merged", "thing-slerp", "orca-thing-GGML",
    )),
    {"files": ("README.md", "thing.Q4_K_M.gguf")}, {"files": ("README.md", "orca-mini-3b.ggmlv3.q4_0.bin")},
    {"files": ("README.md", "adapter_model.safetensors")}, {"files": ("quantize_config.json", "model.safetensors")},
    {"files": ("mergekit_config.yml", "model.safetensors")}, {"adapter_config": {"peft_type": "LORA"}},
    {"config": {"quantization_config": {"quant_method": "gptq"}}},
    {"config": {"quantization_config": {"quant_method": "bitsandbytes"}}},
    {"front_matter": "license: mit\ntags: [mergekit, merge]"}, {"front_matter": "license: mit\nlibrary_name: peft"},
]  # fmt: skip


@pytest.mark.parametrize("told", DERIVED, ids=lambda told: str(next(iter(told.values()))))
def test_a_derived_model_that_names_no_parent_is_a_question(judged: Judged, told: dict[str, Any]) -> None:
    """nomic-ai/gpt4all issue 1308: orca_mini GGML, tagged MIT, no base named, the original CC-BY-NC-SA."""
    parts = {"id": "x/thing", **told}
    answer = judged(read(parts.pop("front_matter", "license: mit"), parts.pop("id"), **parts))
    assert answer.verdict is Verdict.REVIEW
    assert "unknown_ancestor" in codes(answer)
    named = f"{told.get('front_matter', 'license: mit')}\nbase_model: a/free-7b"
    parts = {key: value for key, value in told.items() if key not in ("front_matter", "id")}
    assert judged(read(named, told.get("id", "x/thing"), **parts), *BASES).verdict is Verdict.ALLOW


ORIGINALS = [
    {"id": "x/emerge-7b"}, {"id": "x/thing-unquantized-7b"}, {"id": "x/bitnet-1.58b"}, {"id": "x/thing-16bit"},
    {"id": "x/thing", "files": ("model-00001-of-2.safetensors", "thing.gguf")},
    {"id": "x/thing", "config": {"quantization_config": {"quant_method": "fp8"}}},
    {"id": "x/thing", "config": {"quantization_config": {"quant_method": "mxfp4"}}},
]  # fmt: skip


@pytest.mark.parametrize("told", ORIGINALS, ids=str)
def test_an_original_is_not_asked_for_its_parent(judged: Judged, told: dict[str, Any]) -> None:
    id, parts = told["id"], {key: value for key, value in told.items() if key != "id"}
    assert derivation(read("license: mit", id, **parts), id) is None
    assert judged(read("license: mit", id, **parts)).verdict is Verdict.ALLOW


def test_a_publishers_own_quantization_is_of_its_own_model(judged: Judged) -> None:
    free, closed = model("maker/Sound-9x", "mit"), model("maker/Vision-9x", "cc-by-nc-4.0")
    assert judged(model("maker/Sound-9x-GPTQ-Int4", "mit"), free, closed).verdict is Verdict.ALLOW
    assert judged(model("maker/Vision-9x-AWQ", "mit"), free, closed).verdict is Verdict.DENY
    assert judged(model("other/Sound-9x-AWQ", "mit"), free, closed).verdict is Verdict.REVIEW


def test_a_known_models_own_name_names_the_parent_of_a_quantization(judged: Judged, facts: LicenseFacts) -> None:
    assert facts.name_matches.of("x/Qwen2.5-7B-Instruct-GGUF") == "Qwen/Qwen2.5-7B-Instruct"
    assert judged(model("x/Qwen2.5-7B-Instruct-GGUF", "apache-2.0")).verdict is Verdict.ALLOW
    assert judged(model("x/Qwen2.5-7B-Instruct-merge", "apache-2.0")).verdict is Verdict.REVIEW  # of what else?


def test_the_names_of_converted_files_betray_the_family(judged: Judged) -> None:
    for told in ({"files": ("llama-2-7b-chat.Q4_K_M.gguf",)}, {"gguf": {"general.name": "llama-2-7b-chat"}}):
        answer = judged(read("license: mit", "x/my-bot", **told))
        assert answer.verdict is Verdict.CONDITIONS, answer.reasons


def test_the_names_of_converted_files_are_those_of_known_models(judged: Judged) -> None:
    known = model("LiquidAI/LFM2-1.2B", "other", license_name="lfm1.0")
    for told in ({"files": ("LFM2-1.2B-Q4_K_M.gguf",)}, {"gguf": {"general.name": "LFM2 1.2B"}}):
        answer = judged(read("license: mit\n", "x/my-bot", **told), known)
        assert "undeclared_ancestor" in codes(answer), answer.reasons


LLAMA_SHAPE = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("The model was pretrained from scratch on 1.3T tokens.", "allow"),
        ("Trained from scratch.", "allow"),
        ("It was not trained from scratch.", "review"),
        ("Instead of training from scratch we took other weights.", "review"),
        ("A fine model.", "review"),
    ],
)
def test_a_shape_gives_way_to_a_card_that_says_from_scratch(judged: Judged, says: str, expected: str) -> None:
    text = {"README.md": f"---\nlicense: apache-2.0\n---\n{says}"}
    assert judged(read("", "maker/Own", texts=text, config=LLAMA_SHAPE)).verdict == expected
    named = judged(read("", "maker/Llama-2-7b-own", texts=text, config=LLAMA_SHAPE))
    assert named.verdict is Verdict.CONDITIONS  # a name does not


@pytest.mark.parametrize(
    "recipe", ["", "- a\n- b", "a: [", "x: &a [*a]", "merge_method: slerp", "models: 7", "models:\n- model: 7"]
)
def test_a_recipe_that_names_no_model_is_a_question(judged: Judged, recipe: str) -> None:
    answer = judged(read("license: mit\nbase_model: a/free-7b", texts={"mergekit_config.yml": recipe}), *BASES)
    assert answer.verdict is Verdict.REVIEW
    assert "unreadable_field" in codes(answer)


@pytest.mark.parametrize("base", [7, ["a/free-7b"], {}, "x" * 1_000_000, True])
def test_an_adapter_whose_base_cannot_be_read_is_a_question(judged: Judged, base: object) -> None:
    adapter = read("license: mit\nbase_model: a/free-7b", adapter_config={"base_model_name_or_path": base})
    answer = judged(adapter, *BASES)
    assert answer.verdict is Verdict.REVIEW
    assert all(len(reason.text) < 1000 for reason in answer.reasons)
    broken = read("license: mit\nbase_model: a/free-7b", files=("README.md", "adapter_config.json"))
    assert judged(broken, *BASES).verdict is Verdict.REVIEW


def test_a_model_trained_from_scratch_is_not_asked_for_its_shape(judged: Judged) -> None:
    """LLM360/Amber has the shape of the first LLaMA, and weights of its own."""
    amber = model("LLM360/Amber", "apache-2.0", config=LLAMA_SHAPE)
    assert judged(amber).verdict is Verdict.ALLOW
    chat = model("LLM360/AmberChat", "apache-2.0", bases=("LLM360/Amber",), config=LLAMA_SHAPE)
    assert judged(chat, amber).verdict is Verdict.ALLOW
