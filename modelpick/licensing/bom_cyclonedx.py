"""A bill of materials as CycloneDX 1.6 JSON (https://cyclonedx.org/docs/1.6/json/). Needs the extra `bom`.

Each model is a `machine-learning-model` with a model card and its parents as its pedigree; each data set is a component
of type `data`; verdict, reasons and obligations are properties named `modelpick:...`.
"""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from modelpick import __version__
from modelpick.errors import UsageError
from modelpick.licensing.bom_inventory import Inventory, ListedModel, is_on_hub, remarks
from modelpick.licensing.license import LicenseIndex


def text_of(listed: Inventory, license_index: LicenseIndex, made_at: str | None) -> str:
    """CycloneDX JSON, validated against its schema; the same inventory and time give the same bytes.

    Raises UsageError when the extra `bom` is absent, and when the result does not hold against the schema.
    """
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise UsageError(
            "a CycloneDX bill of materials needs the extra bom",
            fix='pip install "modelpick[bom]"',
            code="missing_extra",
        ) from error
    refs = {key: _ref("model", f"{model.id}@{model.revision or 'unknown'}") for key, model in listed.models.items()}
    datasets = {name: _ref("data", name) for name in listed.datasets}
    document: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{listed.id}",
        "version": 1,
        "metadata": {
            **({"timestamp": made_at} if made_at else {}),
            "tools": {"components": [{"type": "application", "name": "modelpick", "version": __version__}]},
            "properties": [{"name": "modelpick:policy", "value": listed.policy}],
        },
        "components": [
            *(_model(key, listed, refs[key], datasets, license_index) for key in listed.models),
            *(_dataset(name, ref) for name, ref in datasets.items()),
        ],
        "dependencies": [_dependency(key, listed, refs, datasets) for key in listed.models]
        + [{"ref": ref} for ref in datasets.values()],
    }
    text = json.dumps(document, indent=2, ensure_ascii=True) + "\n"
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise UsageError(
            f"the bill of materials is not valid CycloneDX: {str(wrong)[:300]}", fix="report this", code="invalid_bom"
        )
    return text


def _model(
    key: str, listed: Inventory, ref: str, datasets: dict[str, str], license_index: LicenseIndex
) -> dict[str, Any]:
    model = listed.models[key]
    parents = listed.parents(key)
    component = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        **_identity(model),
        "licenses": _licenses(model, license_index),
        "modelCard": _card(model, datasets),
        "properties": [{"name": f"modelpick:{word}", "value": text} for word, text in remarks(model)],
        "externalReferences": _addresses(model),
    }
    if parents:
        ancestors = [{"type": "machine-learning-model", **_identity(parent)} for parent in parents]
        component["pedigree"] = {"ancestors": ancestors}
    return {name: value for name, value in component.items() if value not in ([], {})}


def _identity(model: ListedModel) -> dict[str, Any]:
    identity = {
        "group": model.publisher,
        "name": model.name,
        "version": model.revision,
        "purl": _purl(model) if is_on_hub(model.id) else None,
    }
    return {name: value for name, value in identity.items() if value}


def _card(model: ListedModel, datasets: dict[str, str]) -> dict[str, Any]:
    family, architecture = model.architecture
    parameters = {
        "task": model.facts.pipeline_tag if model.facts else None,
        "architectureFamily": family,
        "modelArchitecture": architecture,
        "datasets": [{"ref": datasets[name]} for name in model.datasets],
    }
    known = {name: value for name, value in parameters.items() if value}
    return {"modelParameters": known} if known else {}


def _dataset(name: str, ref: str) -> dict[str, Any]:
    address = f"https://huggingface.co/datasets/{quote(name)}"
    component = {
        "type": "data",
        "bom-ref": ref,
        "name": name,
        "data": [{"type": "dataset", "name": name}],
    }
    return {**component, "externalReferences": [{"type": "website", "url": address}]} if is_on_hub(name) else component


def _licenses(model: ListedModel, license_index: LicenseIndex) -> list[dict[str, Any]]:
    """SPDX ids where the list of this CycloneDX has them, else names, with the address of the text."""
    from cyclonedx.spdx import is_supported_id

    made = []
    for id in dict.fromkeys((*model.declared, *model.concluded)):
        known = license_index.by_id.get(id)
        license: dict[str, Any] = {"name": known.title if known else id}
        if known is not None and known.spdx and is_supported_id(known.spdx):
            license = {"id": known.spdx}
        if known is not None and known.source.links:
            link = known.source.links[0]
            license["url"] = link if "://" in link else f"https://{link}"
        license["acknowledgement"] = "declared" if id in model.declared else "concluded"
        made.append({"license": license})
    return made


def _addresses(model: ListedModel) -> list[dict[str, str]]:
    return [{"type": "distribution", "url": model.address}] if model.address else []


def _dependency(key: str, listed: Inventory, refs: dict[str, str], datasets: dict[str, str]) -> dict[str, Any]:
    parents = dict.fromkeys(refs[descent.parent] for descent in listed.descents if descent.child == key)
    needed: Iterable[str] = [*parents, *(datasets[name] for name in listed.models[key].datasets)]
    return {"ref": refs[key], **({"dependsOn": list(needed)} if needed else {})}


def _purl(model: ListedModel) -> str:
    import packageurl

    return str(packageurl.PackageURL("huggingface", model.publisher, model.name, model.revision))


def _ref(kind: str, name: str) -> str:
    return f"{kind}:{quote(name)}"
