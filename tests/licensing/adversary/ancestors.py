"""Fields that contradict each other or cannot be read, parents that only files and text name, data under terms."""

import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from tests.licensing.adversary import Case, Repository, harmless, kind, misleading

TAG = "license: apache-2.0"
HUB = "https://huggingface.co"
CLOSED = "CohereLabs/c4ai-command-r-v01"  # both are in the embedded catalog: CC-BY-NC-4.0, Apache-2.0
FREE = "mistralai/Mistral-7B-v0.1"
RECIPE = "merge_method: slerp\nslices:\n- sources:\n  - model: {free}\n  - model: {parent}\n"


def gguf(**general: str) -> bytes:
    """The header of a GGUF file with these `general.*` keys ("__" for a dot)."""
    keys = [(f"general.{key.replace('__', '.')}".encode(), value.encode()) for key, value in general.items()]
    entries = b"".join(
        struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, len(value)) + value for key, value in keys
    )
    return b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + entries


def _config(**values: Any) -> dict[str, bytes]:
    return {"config.json": json.dumps(values).encode()}


def _adapter(base: object) -> dict[str, str | bytes]:
    return {"adapter_config.json": json.dumps({"peft_type": "LORA", "base_model_name_or_path": base})}


@kind("two fields of a card that disagree", "every stated field counts, the stricter first")
def fields() -> Iterator[Case]:
    for number, more in enumerate(
        ("license_name: qwen-research", "license_name: gemma", "license_name: modified-apache-2.0",
         "license_name: cc-by-nc-4.0", "license_name: apache-2.0-non-commercial", "tags: ['license:cc-by-nc-4.0']",
         "tags:\n- license: cc-by-nc-4.0", "License: cc-by-nc-4.0", "licence: research only",
         "licenses: [cc-by-nc-4.0]", "license_link: https://creativecommons.org/licenses/by-nc/4.0/",
         "license_details: non-commercial",
         "extra_gated_fields:\n  I will use it for non-commercial purposes only: checkbox",
         f"tags: ['base_model:finetune:{CLOSED}']", "tags: ['dataset:tatsu-lab/alpaca']")
    ):  # fmt: skip
        yield misleading(f"acme/fields-{number}", f"{TAG}\n{more}")
    for number, license in enumerate(
        ("Apache-2.0 WITH Commons-Clause", "MIT WITH No-Commercial-Use", "MIT AND CC-BY-NC-4.0", "[mit, cc-by-nc-4.0]",
         "[[apache-2.0], [cc-by-nc-sa-4.0]]", "apache-2.0 (research only)", "{id: mit}", "mit\nlicense: cc-by-nc-4.0",
         "(Apache-2.0 OR MIT) AND LicenseRef-acme", "DocumentRef-spdx:LicenseRef-other")
    ):  # fmt: skip
        yield misleading(f"acme/expression-{number}", f"license: {license}")
    for number, more in enumerate(
        ("license_name: Apache License 2.0", "license_name: apache-2.0", "license_name: other", "License: apache-2.0",
         "tags: ['license:apache-2.0', 7]", "license_link: https://www.apache.org/licenses/LICENSE-2.0", "language: no")
    ):  # fmt: skip
        yield harmless(f"acme/agrees-{number}", f"{TAG}\n{more}")
    for number, license in enumerate(("MIT OR CC-BY-NC-4.0", "[mit, apache-2.0]", "Apache-2.0 WITH LLVM-exception")):
        yield harmless(f"acme/expression-free-{number}", f"license: {license}")


@kind("a field that cannot be read", "what it says is not known")
def unreadable() -> Iterator[Case]:
    for number, more in enumerate(
        ("base_model: 7", "base_model: true", "base_model: {finetune: 1}", f"base_model: [{FREE}, 7]",
         "base_model: [[[{}]]]", "base_model: " + "x" * 100_000, "license_name: [a]", "license_link: 3",
         "datasets: 7", "datasets: [{}]", "base_model_relation: quantized", "license_name: {a: b}",
         "base_model:\n" + "".join(f"- acme/m{n}\n" for n in range(10_000)))
    ):  # fmt: skip
        yield misleading(f"acme/unread-{number}", f"{TAG}\n{more}")
    for number, broken in enumerate(("a: *b", "- a", "x: &a [*a]", "a: " + "[" * 100, "a: b: c")):
        told = {"cardData": {"license": "apache-2.0"}, "tags": ["license:apache-2.0"]}
        yield misleading(f"acme/broken-{number}", readme=f"---\n{broken}\n---\n", **told)
    for number, more in enumerate(("base_model:", "base_model: []", "base_model: no", "base_model: none", "datasets:")):
        yield harmless(f"acme/nothing-{number}", f"{TAG}\n{more}")


def _shapes(parent: str) -> tuple[str, ...]:
    name = parent.partition("/")[2]
    return (
        f"base_model: {parent}", f"base_model: [{parent}]", f"base_model: [[{parent}]]",
        f"base_model: {{name: {parent}}}",
        f"base_model: [{{model: {{id: {parent}}}}}]", f"base_model: {parent}@main", f"base_model: '`{parent}`'",
        f"base_model: {HUB}/{parent}/tree/main", f"base_model: hf.co/{parent}", f"base_model: '{FREE}, {parent}'",
        f"base_models: {parent}", f"merged_models: [{FREE}, {parent}]", f"parent_model: {parent.lower()}",
        f"base_model: '[it]({HUB}/{parent})'", f"base_model: hf://{parent}", f"base_model: https://hf-mirror.com/{parent}/",
        f"base_model: {FREE}\nbase_model: {parent}", f"basemodel: {parent.partition('/')[0]}/{name.upper()}",
    )  # fmt: skip


def _spdx(license: str, *relationships: tuple[str, str, str]) -> dict[str, str | bytes]:
    keys = ("spdxElementId", "relationshipType", "relatedSpdxElement")
    document = {
        "spdxVersion": "SPDX-2.3",
        "packages": [{"name": "weights", "licenseConcluded": license, "licenseDeclared": "NOASSERTION"}],
        "relationships": [dict(zip(keys, one, strict=True)) for one in relationships],
    }
    return {"model.spdx.json": json.dumps(document)}


@kind("an SPDX document that says otherwise", "what it concludes is stated too, and a circle has no origin")
def spdx() -> Iterator[Case]:
    circle = (("A", "DESCENDANT_OF", "B"), ("B", "GENERATED_FROM", "A"))
    for number, files in enumerate(
        (_spdx("CC-BY-NC-4.0"), _spdx("LicenseRef-acme"), _spdx("MIT AND CC-BY-NC-SA-4.0"),
         _spdx("Apache-2.0", *circle),
         {"bom.spdx": "SPDXVersion: SPDX-2.3\nPackageLicenseConcluded: CC-BY-NC-4.0\n"},
         {"bom.spdx": "Relationship: A ANCESTOR_OF B\nRelationship: B ANCESTOR_OF A\n"},
         {"bom.spdx.yaml": "packages:\n- licenseDeclared: CC-BY-NC-ND-4.0\n"})
    ):  # fmt: skip
        yield misleading(f"acme/spdx-{number}", TAG, files)
    chain = (("A", "DESCENDANT_OF", "B"), ("B", "DESCENDANT_OF", "C"), ("A", "CONTAINS", "C"))
    yield harmless("acme/spdx-same", TAG, _spdx("Apache-2.0", *chain))
    yield harmless("acme/spdx-none", TAG, _spdx("NOASSERTION"))
    yield harmless("acme/spdx-free", TAG, _spdx("Apache-2.0 AND MIT"))


@kind("a parent in every shape of base_model", "a shape is no reason to overlook it")
def shapes() -> Iterator[Case]:
    for number, (closed, free) in enumerate(zip(_shapes(CLOSED), _shapes(FREE), strict=True)):
        yield misleading(f"acme/shape-{number}", f"{TAG}\n{closed}", expect="deny")
        yield harmless(f"acme/shape-free-{number}", f"{TAG}\n{free}")
    for number, base in enumerate(
        ("./out", "/data/llama", "C:\\models\\x", "https://example.org/a/b", "a/b/c", "ghost/x")
    ):
        yield misleading(f"acme/nowhere-{number}", f"{TAG}\nbase_model: {base}")
    yield misleading("acme/itself", f"{TAG}\nbase_model: acme/itself", only="hub")
    other = Repository("acme/circle-2", f"{TAG}\nbase_model: acme/circle-1")
    yield misleading("acme/circle-1", f"{TAG}\nbase_model: acme/circle-2", None, other)
    chain = [Repository(f"acme/chain-{n}", f"{TAG}\nbase_model: acme/chain-{n + 1}") for n in range(1, 33)]
    yield misleading("acme/chain-0", f"{TAG}\nbase_model: acme/chain-1", None, *chain)


def _in_files(parent: str) -> tuple[Mapping[str, str | bytes], ...]:
    publisher, _, name = parent.partition("/")
    return (
        _config(_name_or_path=parent), _config(text_config={"_name_or_path": parent}),
        _config(quantization_config={"quant_method": "gptq", "model_name_or_path": parent}),
        _config(vision_config={"deep": {"_name_or_path": parent}}), _adapter(parent), _adapter(f"{HUB}/{parent}"),
        {"mergekit_config.yml": RECIPE.format(free=FREE, parent=parent)},
        {"mergekit_config.yaml": RECIPE.format(free=FREE, parent=f"{FREE}+{parent}")},
        {"mergekit_moe_config.yml": f"base_model: {FREE}\nexperts:\n- source_model: {parent}\n"},
        {"model.Q4_K_M.gguf": gguf(base_model__0__repo_url=f"{HUB}/{parent}")},
        {"model.Q4_K_M.gguf": gguf(source__url=f"{HUB}/{parent}")},
        {"model.Q4_K_M.gguf": gguf(source__huggingface__repository=parent)},
        {"model.gguf": gguf(base_model__0__organization=publisher, base_model__0__name=name.replace("-", " "))},
    )  # fmt: skip


@kind("a parent that only a file names", "configs, adapters, recipes and headers keep what a card leaves out")
def files() -> Iterator[Case]:
    for number, (closed, free) in enumerate(zip(_in_files(CLOSED), _in_files(FREE), strict=True)):
        yield misleading(f"acme/file-{number}", TAG, closed)
        yield harmless(f"acme/file-free-{number}", TAG, free)
    for number, base in enumerate((7, None, [FREE], "", "./base")):
        yield misleading(f"acme/adapter-{number}", TAG, _adapter(base))
    yield misleading("acme/adapter-broken", TAG, {"adapter_config.json": "{not JSON"})
    for number, recipe in enumerate(("", "- a", "x: &a [*a]", "merge_method: ties", "models: 7")):
        yield misleading(f"acme/recipe-{number}", f"{TAG}\nbase_model: {FREE}", {"mergekit_config.yml": recipe})
    lying = b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60) + struct.pack("<Q", 2**62) + b"general.base_model.0.repo_url"
    yield misleading("acme/gguf-lies", TAG, {"model.gguf": lying})
    yield misleading("acme/gguf-cut", TAG, {"model.gguf": gguf(base_model__0__repo_url=f"{HUB}/{CLOSED}")[:40]})
    yield harmless("acme/path", TAG, _config(_name_or_path="/data/out/checkpoint-500"))
    yield harmless("acme/folder", TAG, _config(_name_or_path="output/checkpoint-500"))
    yield harmless("acme/own-name", TAG, _config(_name_or_path="acme/own-name"))


@kind("a derived model that names no parent", "a quantization, an adapter or a merge always has one")
def derived() -> Iterator[Case]:
    for number, name in enumerate(
        ("orca_mini_3B-GGML", "thing-GGUF", "thing-AWQ", "thing-GPTQ-Int4", "thing-4bit", "thing-8bit-mlx",
         "thing-exl2", "thing-Q4_K_M", "thing-FP8-Dynamic", "thing-lora", "thing-qlora", "thing-adapter",
         "thing-merged", "thing-slerp", "thing-onnx", "thing-w4a16", "thing-imatrix")
    ):  # fmt: skip
        yield misleading(f"acme{number}/{name}", "license: mit")
        yield harmless(f"acme{number}/named-{name}", f"license: mit\nbase_model: {FREE}")
    for number, files in enumerate(
        ({"model.gguf": gguf(architecture="llama")}, {"orca-mini-3b.ggmlv3.q4_0.bin": b"x"},
         {"quantize_config.json": "{}"}, {"adapter_model.safetensors": b"x"},
         _config(quantization_config={"quant_method": "awq"}),
         _config(quantization_config={"quant_method": "bitsandbytes"}))
    ):  # fmt: skip
        yield misleading(f"acme/unnamed-{number}", TAG, files)
    for number, more in enumerate(("tags: [mergekit]", "tags: [lora]", "library_name: peft")):
        yield misleading(f"acme/tagged-{number}", f"{TAG}\n{more}")
    yield harmless("acme/emerge-7b", TAG)
    yield harmless("acme/bitnet-1.58b", TAG)
    yield harmless("acme/both", TAG, {"model.safetensors": b"", "model.gguf": gguf(architecture="llama")}, only="hub")
    yield harmless("acme/native", TAG, _config(quantization_config={"quant_method": "fp8"}))


@kind("a parent that only the card's text names", "a relation word and a link, in any language")
def links() -> Iterator[Case]:
    for number, text in enumerate(
        ("Fine-tuned from [it](L).", "This is a GGUF conversion of [it](L).", "A quantized version of `P`.",
         "GGML format model files for [Acme's Model](L).", "**Base model:** [it](L)", "| Original model | [it](L) |",
         "Merged from P and others.", 'Derived from <a href="L">it</a>.', "Finetuned from model : P",
         "Quantisierte Version von [it](L).", "Version affinée de [it](L).", "Versión cuantizada de [it](L).",
         "本模型基于[it](L)微调。", "[it](L)をファインチューニングしたモデルです。", "[it](L)를 파인튜닝했습니다.",
         "Дообучена на основе [it](L).", "Được tinh chỉnh từ [it](L).", "Models merged:\n* [it](L)")
    ):  # fmt: skip
        for parent, case in ((CLOSED, misleading), (FREE, harmless)):
            said = re.sub(r"\bP\b", parent, re.sub(r"\bL\b", f"{HUB}/{parent}", text))
            yield case(f"acme/{'closed' if parent == CLOSED else 'free'}-link-{number}", TAG, body=f"# It\n\n{said}\n")
    recipe = f"```yaml\n{RECIPE.format(free=FREE, parent=CLOSED)}```\n"
    yield misleading("acme/link-recipe", TAG, body=f"Merged so:\n\n{recipe}")
    yield misleading("acme/link-axolotl", TAG, body=f"```yaml\nbase_model: {CLOSED}\nload_in_8bit: true\n```\n")
    for number, text in enumerate(
        ("It beats [it](L).", "Unlike [it](L), it is free.", "See also [it](L).", "Compared with [it](L).",
         "Quantized versions of this model: [it](L)", "The demo is [here](L).")
    ):  # fmt: skip
        yield harmless(f"acme/no-link-{number}", TAG, body=text.replace("L)", f"{HUB}/{CLOSED})"))


@kind(
    "training data under terms", "a restriction counts wherever it is stated, and through what the data were made from"
)
def data() -> Iterator[Case]:
    for number, name in enumerate(
        ("tatsu-lab/alpaca", "HuggingFaceH4/ultrachat_200k", "someone/ultrachat_200k_sharegpt", "ultrachat_200k",
         "HuggingFaceH4/ultrafeedback_binarized", "yahma/alpaca-cleaned", "ShareGPT", "anyone/sharegpt-90k",
         "GAIR/lima", f"{HUB}/datasets/tatsu-lab/alpaca", "datasets/GAIR/lima", "{name: GAIR/lima}", "[[GAIR/lima]]")
    ):  # fmt: skip
        yield misleading(f"acme/data-{number}", f"{TAG}\ndatasets: [{name}]")
    yield misleading("acme/data-text", TAG, body=f"Fine-tuned on [data]({HUB}/datasets/GAIR/lima).")
    yield misleading("acme/data-axolotl", TAG, body=f"```yaml\nbase_model: {FREE}\ndatasets:\n- path: GAIR/lima\n```\n")
    yield misleading(
        "acme/data-gguf",
        f"{TAG}\nbase_model: {FREE}",
        {"m.gguf": gguf(dataset__0__repo_url=f"{HUB}/datasets/GAIR/lima")},
    )
    for number, card in enumerate(
        (Repository("datasets/d/one", "license: cc-by-nc-4.0"), Repository("datasets/d/two", "license: llama3"),
         Repository("datasets/d/three", "license: mit", told={"body": "For non-commercial use only."}),
         Repository("datasets/d/four", "license: mit", told={"body": "All answers were generated by ChatGPT."}),
         Repository("datasets/d/five", "license: mit\nsource_datasets: [GAIR/lima]"),
         Repository("datasets/d/six", "license: mit", told={"body": f"Cleaned from [it]({HUB}/datasets/GAIR/lima)."}))
    ):  # fmt: skip
        name = card.id.removeprefix("datasets/")
        yield misleading(f"acme/data-card-{number}", f"{TAG}\ndatasets: [{name}]", None, card)
    free = Repository("datasets/d/free", "license: cc-by-4.0\nsource_datasets: [original]", told={"body": "By people."})
    yield harmless("acme/data-free", f"{TAG}\ndatasets: [d/free, d/gone]", None, free)
    yield harmless("acme/data-known", f"{TAG}\ndatasets: [OpenAssistant/oasst1, databricks/databricks-dolly-15k]")
    yield harmless("acme/data-unknown", f"{TAG}\ndatasets: [acme/of-our-own]")
    yield harmless("acme/data-seen", TAG, body=f"An alternative is [this]({HUB}/datasets/GAIR/lima).")
