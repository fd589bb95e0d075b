"""A bill of materials as SPDX 3.0.1 JSON-LD, with its AI and Dataset profiles.

https://spdx.github.io/spdx-spec/v3.0.1/: each model is an `ai_AIPackage` with one declared and one concluded license,
each data set a `dataset_DatasetPackage`, each ancestor is named by a relationship, and the verdict is an annotation.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote

from modelpick import __version__
from modelpick.licensing.bom_inventory import Inventory, ListedModel, is_on_hub, remarks
from modelpick.licensing.license import LicenseIndex

CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_CREATION = "_:creationinfo"
_NO_ASSERTION = "spdx:ExpandedLicensing/NoAssertionLicense"
_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9.-]+")
_NO_DAY = "1970-01-01T00:00:00Z"  # SPDX has no document without a time


class _Document:
    """The elements of a document as they are made, each with an id below the document's own."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.elements: list[dict[str, Any]] = []
        self._known: dict[tuple[str, str], str] = {}

    def add(self, type: str, key: str, **values: Any) -> str:
        """Adds an element, or finds the one of this type and key; returns its id."""
        if (type, key) in self._known:
            return self._known[type, key]
        id = f"{self.namespace}#{type.rpartition('_')[2]}-{len(self.elements) + 1}"
        self._known[type, key] = id
        known = {name: value for name, value in values.items() if value not in (None, [], "")}
        self.elements.append({"type": type, "spdxId": id, "creationInfo": _CREATION, **known})
        return id

    def relate(self, source: str, kind: str, targets: Sequence[str]) -> None:
        """That `source` stands in a relation of this kind to `targets`."""
        key = f"{source} {kind} {' '.join(targets)}"
        self.add("Relationship", key, **{"from": source}, relationshipType=kind, to=list(targets))


def text_of(listed: Inventory, license_index: LicenseIndex, made_at: str | None) -> str:
    """SPDX JSON-LD; the same inventory and time give the same bytes."""
    namespace = f"https://spdx.org/spdxdocs/modelpick-{listed.id}"
    document = _Document(namespace)
    agent = document.add("SoftwareAgent", "modelpick", name=f"modelpick {__version__}")
    packages = {key: _package(document, model) for key, model in listed.models.items()}
    datasets = {name: _dataset(document, name) for name in listed.datasets}
    for key, model in listed.models.items():
        for kind, ids in (("hasDeclaredLicense", model.declared), ("hasConcludedLicense", model.concluded)):
            document.relate(packages[key], kind, [_license(document, ids, license_index)])
        if model.datasets:
            document.relate(packages[key], "trainedOn", [datasets[name] for name in model.datasets])
        _annotate(document, packages[key], remarks(model))
    for id in datasets.values():
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            document.relate(id, kind, [_NO_ASSERTION])
    for descent in listed.descents:
        document.relate(packages[descent.child], "descendantOf", [packages[descent.parent]])
    elements = [element["spdxId"] for element in document.elements]
    asked = [packages[key] for key, model in listed.models.items() if model.judgement is not None]
    head = {
        "type": "SpdxDocument",
        "spdxId": namespace,
        "creationInfo": _CREATION,
        "name": f"models judged under the policy {listed.policy}" if listed.policy else "models",
        "profileConformance": ["core", "software", "ai", "dataset", "simpleLicensing"],
        **({"rootElement": asked} if asked else {}),
        **({"element": elements} if elements else {}),
    }
    creation = {
        "type": "CreationInfo", "@id": _CREATION, "specVersion": "3.0.1", "created": made_at or _NO_DAY,
        "createdBy": [agent],
    }  # fmt: skip
    graph = [creation, head, *document.elements]
    return json.dumps({"@context": CONTEXT, "@graph": graph}, indent=1, ensure_ascii=True) + "\n"


def _package(document: _Document, model: ListedModel) -> str:
    family, architecture = model.architecture
    supplier = document.add("Organization", model.publisher, name=model.publisher) if model.publisher else None
    released = model.facts.release_date if model.facts else None
    return document.add(
        "ai_AIPackage",
        model.id.lower(),
        name=model.id,
        suppliedBy=supplier,
        releaseTime=f"{released}T00:00:00Z" if released and re.fullmatch(r"\d{4}-\d\d-\d\d", released) else None,
        software_primaryPurpose="model",
        software_packageVersion=model.revision or "NOASSERTION",
        software_downloadLocation=model.address,
        software_packageUrl=_purl(model),
        ai_typeOfModel=[word for word in (family, architecture) if word],
        ai_domain=[model.facts.pipeline_tag] if model.facts and model.facts.pipeline_tag else None,
    )


def _purl(model: ListedModel) -> str | None:
    """The package URL of a repository (https://github.com/package-url/purl-spec, type huggingface)."""
    if not is_on_hub(model.id):
        return None
    commit = f"@{model.revision}" if model.revision else ""
    return f"pkg:huggingface/{quote(model.publisher or '')}/{quote(model.name)}{commit}"


def _dataset(document: _Document, name: str) -> str:
    address = f"https://huggingface.co/datasets/{quote(name)}" if is_on_hub(name) else None
    return document.add(
        "dataset_DatasetPackage",
        name,
        name=name,
        software_primaryPurpose="data",
        software_downloadLocation=address,
        dataset_datasetType=["noAssertion"],
    )


def _license(document: _Document, ids: Sequence[str], license_index: LicenseIndex) -> str:
    """An expression of all ids; a license that SPDX has no id for is a LicenseRef with the address of its text."""
    if not ids:
        return _NO_ASSERTION
    words, entries = [], []
    for id in ids:
        known = license_index.by_id.get(id)
        if known is not None and known.spdx:
            words.append(known.spdx)
            continue
        word = f"LicenseRef-modelpick-{_NOT_IN_AN_ID.sub('-', id)}"
        title, places = (known.title, known.source.links or known.source.texts) if known else (id, ())
        where = f": {', '.join(places)}" if places else ", whose text was not read"
        text = document.add(
            "simplelicensing_SimpleLicensingText", id, name=title, simplelicensing_licenseText=f"{title}{where}"
        )
        words.append(word)
        entries.append({"type": "DictionaryEntry", "key": word, "value": text})
    return document.add(
        "simplelicensing_LicenseExpression",
        " AND ".join(words),
        simplelicensing_licenseExpression=" AND ".join(dict.fromkeys(words)),
        simplelicensing_customIdToUri=entries,
    )


def _annotate(document: _Document, subject: str, said: Iterable[tuple[str, str]]) -> None:
    statement = "\n".join(f"{word}: {text}" for word, text in said)
    if statement:
        document.add("Annotation", subject, annotationType="review", subject=subject, statement=statement)
