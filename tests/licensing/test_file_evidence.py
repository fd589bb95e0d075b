"""Card against files: what settles an open claim, what adds to it, what contradicts it."""

from dataclasses import replace
from typing import Any

import pytest

from modelpick.catalog.model import Conflict, Model
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.verdict import Verdict
from tests.licensing.conftest import Judged, codes, model
from tests.licensing.test_license_text import MIT

HUNYUAN_3D = "TENCENT HUNYUAN 3D 2.0 COMMUNITY LICENSE AGREEMENT\nRelease Date: January 21, 2025"
TII = "TII Falcon LLM License Version 1.0\nMay 2023"


def card(body: str, metadata: str = "license: apache-2.0") -> dict[str, str]:
    return {"README.md": f"---\n{metadata}\n---\n{body}"}


def test_a_license_file_settles_a_card_that_says_nothing(judged: Judged) -> None:
    answer = judged(model("a/b", None, texts={"LICENSE": MIT}))
    assert answer.verdict is Verdict.ALLOW
    assert answer.licenses[0].source == "license_file"
    assert judged(model("a/b", "other", texts={"LICENSE": HUNYUAN_3D})).verdict is Verdict.CONDITIONS


def test_a_license_file_settles_which_text_a_name_means(judged: Judged, facts: LicenseFacts) -> None:
    answer = judged(
        model("a/b", "other", license_name="exaone", texts={"LICENSE": "EXAONE AI Model License Agreement 1.0 - NC"})
    )
    assert set(answer.license_ids) == {"exaone-1.0-nc"}
    assert "name_without_owner" not in codes(answer)


def test_tag_and_file_both_bind(judged: Judged) -> None:
    answer = judged(model("PKU/UltraShape", "apache-2.0", texts={"LICENSE": HUNYUAN_3D}))
    assert answer.verdict is Verdict.CONDITIONS
    assert "contradiction" in codes(answer)
    assert set(answer.license_ids) == {"apache-2.0", "tencent-hunyuan-3d-2.0"}
    assert (
        judged(model("tiiuae/falcon-7b-instruct", "apache-2.0", texts={"LICENSE.txt": TII})).verdict is Verdict.REVIEW
    )
    assert judged(model("a/b", "cc-by-nc-4.0", texts={"LICENSE": MIT})).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("LICENSE", MIT + "Not for commercial use.", "modified_license_text"),
        ("LICENSE", "Our own terms, as follows: ask us. " * 30, "unknown_license_text"),
        ("LICENSE.md", "See https://huggingface.co/01-ai/Yi-34B/blob/main/LICENSE", "unread_terms"),
        ("LICENSE-CODE", MIT, "code_license_only"),
        ("LICENSE", "MIT License", "license_file_only_names_it"),
        ("LICENSE", MIT[: MIT.index("IN NO EVENT")], "license_file_cut_short"),
    ],
)
def test_a_file_that_does_not_bear_out_the_tag_is_a_question(judged: Judged, file: str, text: str, code: str) -> None:
    answer = judged(model("a/b", "apache-2.0", texts={file: text}))
    assert answer.verdict is Verdict.REVIEW
    assert code in codes(answer)


def test_a_file_that_only_names_a_permissive_license_grants_nothing(judged: Judged) -> None:
    assert judged(model("a/b", None, texts={"LICENSE": "MIT License"})).verdict is Verdict.REVIEW
    assert judged(model("a/b", "mit", texts={"LICENSE": "MIT License"})).verdict is Verdict.ALLOW
    assert judged(model("a/b", "mit", texts={"LICENSE": "CC-BY-NC-4.0"})).verdict is Verdict.DENY


def test_files_that_bear_out_the_tag_change_nothing(judged: Judged) -> None:
    for text in (MIT, "", "https://opensource.org/licenses/MIT"):
        assert judged(model("a/b", "mit", texts={"LICENSE": text})).verdict is Verdict.ALLOW
    assert judged(model("a/b", "apache-2.0", texts={"NOTICE": "anything", "LICENSE": MIT})).verdict is Verdict.ALLOW


def test_a_license_for_the_code_is_never_the_weights_license(judged: Judged) -> None:
    assert judged(model("a/b", None, texts={"LICENSE-CODE": MIT})).verdict is Verdict.REVIEW
    both = {"LICENSE-CODE": MIT, "LICENSE-MODEL": "DEEPSEEK LICENSE AGREEMENT\nVersion 1.0"}
    answer = judged(model("a/b", None, texts=both))
    assert answer.verdict is Verdict.CONDITIONS
    assert set(answer.license_ids) == {"deepseek"}


def test_an_acceptable_use_policy_beside_a_free_license_is_a_condition(judged: Judged) -> None:
    answer = judged(model("a/b", "apache-2.0", texts={"ACCEPTABLE_USE_POLICY.txt": "Do not..."}))
    assert answer.verdict is Verdict.CONDITIONS
    assert "use_policy" in {one.code for one in answer.obligations}


def test_the_gate_may_carry_the_license(judged: Judged) -> None:
    answer = judged(
        model("a/b", "apache-2.0", gate_text="# Mistral AI Research License\nIf You want to use", gated="auto")
    )
    assert answer.verdict is Verdict.DENY
    assert "gate" in {one.source for one in answer.licenses}


def test_a_gguf_header_that_differs_is_a_question(judged: Judged) -> None:
    assert judged(model("a/b", "mit", gguf={"general.license": "llama3"})).verdict is Verdict.REVIEW
    assert judged(model("a/b", "mit", gguf={"general.license": "mit"})).verdict is Verdict.ALLOW
    assert judged(model("a/b", "mit", gguf={"general.license": "cc-by-nc-4.0"})).verdict is Verdict.DENY


def test_parents_named_only_in_files_count(judged: Judged) -> None:
    base = model("some/base", "cc-by-nc-4.0")
    adapter = model("a/lora", "mit", adapter_config={"base_model_name_or_path": "some/base"})
    header = model("a/gguf", "mit", gguf={"general.base_model.0.repo_url": "https://huggingface.co/some/base"})
    for child in (adapter, header):
        assert judged(child, base).verdict is Verdict.DENY
    local = model("a/lora", "mit", adapter_config={"base_model_name_or_path": "/data/llama"})
    assert judged(local).verdict is Verdict.REVIEW


@pytest.mark.parametrize(
    ("license", "body", "expected"),
    [
        ("apache-2.0", "The model is licensed under CC-BY-4.0.", "review"),
        ("apache-2.0", "License: Apache 2.0", "allow"),
        ("apache-2.0", "Released under the Apache License, Version 2.0.", "allow"),
        ("apache-2.0", "The weights are licensed under the MIT license.", "allow"),
        ("llama2", "License: Non-commercial license", "review"),
        ("apache-2.0", "This model is for research purposes only.", "review"),
        ("apache-2.0", "The license allows commercial and non-commercial use.", "allow"),
        ("cc-by-nc-4.0", "For non-commercial use.", "deny"),
        (None, "**License:** Non-commercial license", "deny"),
        (None, "Licensed under Apache 2.0.", "review"),
        ("apache-2.0", "The dataset is licensed under CC-BY-NC-4.0.", "allow"),
        ("apache-2.0", "# Model\n\n## License\n\nCC-BY-NC-4.0\n", "deny"),
        ("apache-2.0", "## License\r\n\r\nApache 2.0\r\n", "allow"),
        ("apache-2.0", "| License | CC-BY-SA-4.0 |", "review"),
        ("apache-2.0", "Built with Meta Llama 3", "review"),
        ("apache-2.0", "Built with love and PyTorch", "allow"),
        ("apache-2.0", "Nothing about terms here, and MIT is a university.", "allow"),
    ],
)
def test_prose_is_held_against_the_metadata(judged: Judged, license: object, body: str, expected: str) -> None:
    assert judged(model("a/b", license, texts=card(body))).verdict == expected


def test_prose_that_an_ancestor_explains_is_no_contradiction(judged: Judged) -> None:
    base = model("tiiuae/falcon-11B", "unknown", license_name="falcon-2-tii")
    child = model(
        "DevQuasar/falcon2-11B-GGUF", "apache-2.0", bases=(base.id,), texts=card("TII Falcon License 2.0 applies")
    )
    assert judged(child, base).verdict is Verdict.CONDITIONS


def test_front_matter_is_not_prose(judged: Judged) -> None:
    text = {"README.md": "---\nlicense: mit\ndatasets: [x]\nmodel_card: licensed under cc-by-nc-4.0\n---\nHello"}
    assert judged(model("a/b", "mit", texts=text)).verdict is Verdict.ALLOW


def test_a_link_to_a_restrictive_license_says_which_other_it_is(judged: Judged) -> None:
    research = model("a/b", "other", license_link="https://mistral.ai/licenses/MRL-0.1.md")
    assert judged(research).verdict is Verdict.DENY
    free = model("a/b", "other", license_link="https://www.apache.org/licenses/LICENSE-2.0")
    assert judged(free).verdict is Verdict.REVIEW


def test_places_that_differ_are_told_and_bind_when_they_speak_of_one_commit(judged: Judged) -> None:
    def asked(field: str, other: object, source: str) -> Model:
        conflict = Conflict(field, "apache-2.0", "README.md", other, source)
        return model("a/b", "apache-2.0", conflicts=(conflict,))

    same_commit = judged(asked("license", "cc-by-nc-4.0", "Hub API"))
    assert same_commit.verdict is Verdict.DENY
    assert "contradiction" in codes(same_commit)
    earlier = judged(asked("license", "cc-by-nc-4.0", "catalog 2026-10-01"))
    assert earlier.verdict is Verdict.ALLOW
    assert "relicensed" in codes(earlier)
    assert judged(asked("license", "Apache-2.0", "Hub API")).verdict is Verdict.ALLOW
    assert judged(asked("license", False, "Hub API")).verdict is Verdict.REVIEW
    assert "contradiction" in codes(judged(asked("base_models", "x/y", "adapter_config.json")))
    assert "contradiction" not in codes(judged(asked("parameters", 3, "Hub API")))


@pytest.mark.parametrize("gated", [False, "auto", "manual"])
@pytest.mark.parametrize(
    ("kept_source", "other", "other_source", "says"),
    [
        ("README.md", "cc-by-nc-4.0", "catalog 2026-10-01", "relicensed since 2026-10-01"),
        ("README.md", "llama3.1", "catalog 2026-10-01", "relicensed since 2026-10-01"),
        ("Hub, 2026-11-29", None, "an older list", "relicensed since 2026-11-29"),
        ("Hub, 2026-11-29", "other", "an older list", "relicensed since 2026-11-29"),
    ],
)
def test_a_license_that_became_milder_says_so_and_is_a_question_behind_a_gate(
    judged: Judged, kept_source: str, other: str | None, other_source: str, says: str, gated: Any
) -> None:
    conflict = Conflict("license", "apache-2.0", kept_source, other, other_source)
    origin: Any = "catalog" if kept_source.startswith("Hub") else "hub"
    answer = judged(replace(model("a/b", "apache-2.0", conflicts=(conflict,), gated=gated), origin=origin))
    (reason,) = [reason for reason in answer.reasons if reason.code == "relicensed"]
    assert says in reason.text
    assert answer.verdict is (Verdict.REVIEW if gated else Verdict.ALLOW)


def test_a_license_that_became_stricter_or_stayed_is_not_called_milder(judged: Judged) -> None:
    for now, was in (("cc-by-nc-4.0", "apache-2.0"), ("apache-2.0", "mit"), ("apache-2.0", "Apache-2.0")):
        conflict = Conflict("license", now, "README.md", was, "catalog 2026-10-01")
        assert "relicensed" not in codes(judged(model("a/b", now, conflicts=(conflict,), gated="auto"))), (now, was)


def test_lists_that_differ_on_a_catalog_row_are_told(judged: Judged) -> None:
    conflict = Conflict("license", "apache-2.0", "its commit ce0d183", "cc-by-sa-3.0", "an older list")
    row = replace(model("mosaicml/mpt-7b-instruct", "apache-2.0", conflicts=(conflict,)), origin="catalog")
    answer = judged(row)
    assert answer.verdict is Verdict.ALLOW
    assert "contradiction" in codes(answer)


HOSTILE = [
    "<html>" + "<script" * 50_000,
    "<html>" + "<!--" * 90_000,
    "<html>" + "<a" * 150_000,
    "license " * 50_000,
    "licen" * 80_000 + ".",
    "a" * 390_000,
    "a." * 190_000 + " license",
    "# license" * 40_000,
    "# " * 190_000,
    "---\n" * 90_000,
    "applies " * 50_000,
    "https://x/" * 39_000,
    "(" * 300_000,
    "\x00" * 300_000,
    "non-commercial and " * 20_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_a_hostile_file_is_read_to_an_end(judged: Judged, text: str) -> None:
    answer = judged(model("a/b", "mit", texts={"LICENSE": text, "README.md": text}, gate_text=text))
    assert answer.verdict is not Verdict.ALLOW


@pytest.mark.parametrize(
    "sentence",
    [
        "本模型仅供学术研究，禁止商业用途。",
        "Dieses Modell darf nur nicht-kommerziell genutzt werden.",
        "商用利用不可です。",
        "이 모델은 비상업적 용도로만 사용할 수 있습니다.",
        "Uso no comercial.",
        "Commercial use is strictly prohibited.",
        "For commercial use, please contact us at sales@example.com.",
        "Please contact the authors for a commercial license.",
        "We prohibit commercial use.",
        "The weights may not be used commercially.",
        "You can't deploy it in commercial products.",
        "Commercial use requires a separate license from us.",
        "Released for academic and educational use only.",
        "It is available strictly for research.",
        "Commercial applications are not covered by this release.",
        "L'utilisation commerciale est interdite.",
        "Solo para fines de investigación.",
        "商用目的での利用は禁止します。",
        "상업적 이용은 금지됩니다.",
    ],
)
def test_prose_and_gate_that_forbid_commerce_are_believed_in_any_tongue(judged: Judged, sentence: str) -> None:
    assert judged(model("a/b", "apache-2.0", texts=card(sentence))).verdict is Verdict.REVIEW
    gated = judged(model("a/b", "apache-2.0", gated="auto", gate_text=f"You agree. {sentence}"))
    assert gated.verdict is Verdict.REVIEW
    assert any(reason.evidence.startswith("the gate") for reason in gated.reasons)


@pytest.mark.parametrize(
    "sentence",
    [
        "Free for commercial and non-commercial use.",
        "允许商业使用。",
        "Questions? Contact us.",
        "It may be used in commercial applications.",
        "This license does not restrict commercial use.",
        "It is not only for research but also for commercial use.",
        "There are no restrictions on commercial use.",
        "Only the weights of the last epoch are published; research code follows.",
        "Access requires approval.",
    ],
)
def test_prose_that_permits_commerce_is_no_question(judged: Judged, sentence: str) -> None:
    assert judged(model("a/b", "apache-2.0", texts=card(sentence))).verdict is Verdict.ALLOW


def test_a_link_to_another_publishers_license_is_held_against_the_card(judged: Judged) -> None:
    link = "https://huggingface.co/meta-llama/Llama-2-7b-hf/blob/main/LICENSE.txt"
    answer = judged(model("a/b", "mit", license_link=link))
    assert answer.verdict is Verdict.REVIEW
    assert "llama2" in answer.license_ids
    other = "https://huggingface.co/a/c/blob/main/LICENSE"
    assert judged(model("a/b", "mit", license_link=other)).verdict is Verdict.REVIEW
    own = "https://huggingface.co/a/b/blob/main/LICENSE"
    assert judged(model("a/b", "mit", license_link=own, texts={"LICENSE": MIT})).verdict is Verdict.ALLOW
