"""Bills of materials: valid by the formats' own schemas and classes, whatever the chain of ancestors is."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spdx_python_model.bindings.v3_0_1 as spdx

from modelpick.errors import UsageError
from modelpick.licensing import bom
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.verdict import Judgement
from tests.licensing.conftest import Judged, model

CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
LLAMA = model("meta-llama/Llama-3.1-8B", "llama3.1", config=CONFIG, release_date="2024-07-23")
CHILD = model(
    "x/Llama-3.1-8B-y",
    "apache-2.0",
    bases=(LLAMA.id,),
    datasets=("a/data", "mine, own"),
    pipeline_tag="text-generation",
)
CIRCLE = model("a/circle", None, bases=("a/back",))
BACK = model("a/back", "mit", bases=("a/circle", "a/gone", "/tmp/here"))
NAMELESS = model("./a folder", "other", bases=("./a folder",))
FORMATS: tuple[bom.Format, ...] = ("cyclonedx", "spdx")


@pytest.fixture
def answers(judged: Judged) -> list[Judgement]:
    return [judged(CHILD, LLAMA), judged(CIRCLE, BACK), judged(NAMELESS)]


def rendered(answers: list[Judgement], facts: LicenseFacts, format: bom.Format) -> Any:
    return json.loads(bom.render(answers, facts.licenses, policy="commercial", format=format))


def broken_in(document: Any) -> list[str]:
    """What the classes of SPDX 3.0.1 refuse to read or to write: types, properties, values, and how many of each."""
    objects = spdx.SHACLObjectSet()
    try:
        spdx.JSONLDDeserializer().deserialize_data(document, objects)
        spdx.JSONLDSerializer().serialize_data(objects)  # counts are checked when an element is written
    except (ValueError, TypeError, KeyError) as error:
        return [f"{type(error).__name__}: {error}"]
    return []


def wrong_in(document: Any) -> list[str]:
    """What in an SPDX document breaks SPDX's own model, refers to nothing, or lacks what the AI profile asks for."""
    assert document["@context"] == "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
    graph = document["@graph"]
    wrong = broken_in(document)
    ids = {one.get("spdxId", one.get("@id")) for one in graph}
    wrong += [f"{text} refers to nothing" for text in _references(graph) if text not in ids]
    licensed = Counter((one["from"], one["relationshipType"]) for one in graph if one["type"] == "Relationship")
    for one in graph:
        for kind in (
            "hasDeclaredLicense",
            "hasConcludedLicense",
        ):  # https://spdx.github.io/spdx-spec/v3.0.1/model/AI/AI/
            if one["type"] in ("ai_AIPackage", "dataset_DatasetPackage") and licensed[one["spdxId"], kind] != 1:
                wrong.append(f"{one['name']} has {licensed[one['spdxId'], kind]} {kind}")
    return wrong


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("spdxId", "@id"):
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
    elif isinstance(value, str) and value.startswith(("https://spdx.org/spdxdocs/", "_:")):
        yield value


def test_spdx_is_valid_by_its_own_model(answers: list[Judgement], facts: LicenseFacts) -> None:
    document = rendered(answers, facts, "spdx")
    assert wrong_in(document) == []
    by_name = {one["name"]: one for one in document["@graph"] if one["type"] == "ai_AIPackage"}
    assert set(by_name) == {CHILD.id, LLAMA.id, CIRCLE.id, BACK.id, NAMELESS.id, "a/gone", "/tmp/here"}
    assert by_name[LLAMA.id]["ai_typeOfModel"] == ["llama", "LlamaForCausalLM"]
    assert by_name[LLAMA.id]["releaseTime"] == "2024-07-23T00:00:00Z"
    child = by_name[CHILD.id]
    assert child["software_packageUrl"] == f"pkg:huggingface/x/Llama-3.1-8B-y@{'a' * 40}"
    related = {
        one["relationshipType"]: one["to"]
        for one in document["@graph"]
        if one["type"] == "Relationship" and one["from"] == child["spdxId"]
    }
    assert related["descendantOf"] == [by_name[LLAMA.id]["spdxId"]]
    assert len(related["trainedOn"]) == 2
    (remark,) = [one for one in document["@graph"] if one["type"] == "Annotation" and one["subject"] == child["spdxId"]]
    assert "verdict: conditions" in remark["statement"]


@pytest.mark.parametrize(
    ("type", "change"),
    [("ai_AIPackage", {"software_primaryPurpose": "modle"}), ("Relationship", {"relationshipType": "begat"}),
     ("Relationship", {"to": ["https://spdx.org/spdxdocs/elsewhere"]}), ("Annotation", {"annotationType": None}),
     ("ai_AIPackage", {"license": "mit"}), ("CreationInfo", {"created": "yesterday"}),
     ("Relationship", {"relationshipType": "other"})],
)  # fmt: skip
def test_a_planted_mistake_is_seen(type: str, change: dict[str, Any], judged: Judged, facts: LicenseFacts) -> None:
    document = rendered([judged(CHILD, LLAMA)], facts, "spdx")
    next(one for one in document["@graph"] if one["type"] == type).update(change)
    assert wrong_in(document)


def test_cyclonedx_has_cards_data_sets_and_a_pedigree(answers: list[Judgement], facts: LicenseFacts) -> None:
    """`render` validates it against the strict schema of CycloneDX 1.6."""
    document = rendered(answers, facts, "cyclonedx")
    by_name = {one["name"]: one for one in document["components"]}
    card = by_name["Llama-3.1-8B-y"]["modelCard"]["modelParameters"]
    assert card["task"] == "text-generation"
    assert {by_name[name]["bom-ref"] for name in ("a/data", "mine, own")} == {one["ref"] for one in card["datasets"]}
    assert by_name["a/data"]["type"] == "data"
    assert by_name["Llama-3.1-8B"]["modelCard"]["modelParameters"]["modelArchitecture"] == "LlamaForCausalLM"
    (ancestor,) = by_name["Llama-3.1-8B-y"]["pedigree"]["ancestors"]
    assert (ancestor["group"], ancestor["name"]) == ("meta-llama", "Llama-3.1-8B")
    licenses = [one["license"] for one in by_name["Llama-3.1-8B-y"]["licenses"]]
    assert ("Apache-2.0", "declared") in {(one.get("id"), one["acknowledgement"]) for one in licenses}
    assert ("Llama 3.1 Community License", "concluded") in {
        (one.get("name"), one["acknowledgement"]) for one in licenses
    }
    assert {"circle", "back"} <= {one["name"] for one in by_name["back"]["pedigree"]["ancestors"]} | {"back"}


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_answers_give_the_same_bytes_and_others_another_id(
    format: bom.Format, answers: list[Judgement], judged: Judged, facts: LicenseFacts
) -> None:
    texts = {bom.render(answers, facts.licenses, policy="x", format=format) for _ in range(2)}
    assert len(texts) == 1
    ids = [
        bom.render([judged(one)], facts.licenses, policy="x", format=format)
        for one in (LLAMA, model(LLAMA.id, "llama3.1", revision="b" * 40), model(LLAMA.id, "mit"))
    ]
    key = "serialNumber" if format == "cyclonedx" else "spdxId"
    assert len({next(line for line in text.splitlines() if key in line) for text in ids}) == 3


@pytest.mark.parametrize("format", FORMATS)
def test_no_models_at_all_are_a_valid_document(format: bom.Format, facts: LicenseFacts) -> None:
    document = rendered([], facts, format)
    assert format == "cyclonedx" or wrong_in(document) == []


@pytest.mark.parametrize(
    ("asked", "path", "format"),
    [("spdx", "modelpick.spdx.json", "spdx"), ("cyclonedx", "modelpick.cdx.json", "cyclonedx"),
     ("out/bom.spdx.json", "out/bom.spdx.json", "spdx"), ("bom.SPDX3.json", "bom.SPDX3.json", "spdx"),
     ("bom.json", "bom.json", "cyclonedx"), ("spdx/bom.json", "spdx/bom.json", "cyclonedx")],
)  # fmt: skip
def test_the_name_says_the_format(asked: str, path: str, format: str) -> None:
    assert bom.file_of(asked) == (Path(path), format)


def test_a_bill_is_written_whole_or_not_at_all(answers: list[Judgement], facts: LicenseFacts, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        bom.write(str(tmp_path / "absent" / "bom.json"), answers, facts.licenses, policy="x")
    assert refused.value.code == "cannot_write"
    path = bom.write(str(tmp_path / "bom.spdx.json"), answers, facts.licenses, policy="x")
    assert json.loads(path.read_text())["@graph"]
