"""The AI bill of materials: models, their licenses, ancestry and evidence as CycloneDX 1.6 JSON. Needs the extra `bom`.

Each model is a `machine-learning-model` component; ancestors are components it depends on; verdict, reasons and
obligations are properties named `modelpick:...` (https://cyclonedx.org/docs/1.6/json/).
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from modelpick.errors import UsageError
from modelpick.licensing.license import LicenseIndex
from modelpick.licensing.verdict import Judgement

if TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL


def render(answers: Sequence[Judgement], license_index: LicenseIndex, *, policy: str = "") -> str:
    """CycloneDX JSON, validated against its schema; the same answers give the same bytes.

    Raises UsageError when the extra `bom` is absent, and when the result does not hold against the schema.
    """
    try:
        from cyclonedx.model import Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.output import make_outputter
        from cyclonedx.schema import OutputFormat, SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise UsageError(
            "a bill of materials needs the extra bom", fix='pip install "modelpick[bom]"', code="missing_extra"
        ) from error
    components: dict[str, Component] = {}
    for answer in answers:
        components[answer.model.lower()] = _component(answer, license_index)
    bom = Bom(components=[])
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the same answers give the same bytes
    bom.metadata.properties.add(Property(name="modelpick:policy", value=policy))
    for answer in answers:
        for step in answer.lineage:
            components.setdefault(step.model.lower(), _ancestor(step.model, step.license, license_index))
    for component in components.values():
        bom.components.add(component)
    for answer in answers:
        for child in (answer.model, *(step.model for step in answer.lineage)):
            parents = [components[step.model.lower()] for step in answer.lineage if step.child.lower() == child.lower()]
            if parents:
                bom.register_dependency(components[child.lower()], parents)
    digest = hashlib.sha256(repr([answer.as_json() for answer in answers]).encode()).digest()
    bom.serial_number = uuid.UUID(bytes=digest[:16], version=4)
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise UsageError(
            f"the bill of materials is not valid CycloneDX: {wrong}", fix="report this", code="invalid_bom"
        )
    return text


def _component(answer: Judgement, license_index: LicenseIndex) -> "Component":
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType

    properties = [("modelpick:verdict", answer.verdict.value), ("modelpick:basis", answer.basis)]
    properties += [
        ("modelpick:reason", f"{reason.code}: {reason.text} ({reason.evidence})") for reason in answer.reasons
    ]
    properties += [("modelpick:obligation", f"{owed.code}: {owed.text}") for owed in answer.obligations]
    properties += [
        ("modelpick:evidence", f"{found.id} from {found.source}: {found.evidence}") for found in answer.licenses
    ]
    group, _, name = answer.model.rpartition("/")
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name,
        group=group or None,
        version=answer.revision,
        bom_ref=_ref(answer.model, answer.revision),
        purl=_purl(answer.model, answer.revision),
        licenses=_licenses(answer.license_ids, license_index),
        properties=[Property(name=key, value=value) for key, value in properties],
    )


def _ancestor(id: str, license: str | None, license_index: LicenseIndex) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    group, _, name = id.rpartition("/")
    ids = tuple(license.split(" AND ")) if license else ()
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=name or id,
        group=group or None,
        bom_ref=_ref(id, None),
        licenses=_licenses(ids, license_index),
    )


def _licenses(ids: Sequence[str], license_index: LicenseIndex) -> "list[DisjunctiveLicense]":
    from cyclonedx.contrib.license.exceptions import InvalidSpdxLicenseException
    from cyclonedx.contrib.license.factories import LicenseFactory

    factory, made = LicenseFactory(), []
    for id in ids:
        known = license_index.by_id.get(id)
        try:
            made.append(factory.make_with_id(known.spdx) if known and known.spdx else factory.make_with_name(id))
        except InvalidSpdxLicenseException:  # an SPDX id this CycloneDX does not list yet
            made.append(factory.make_with_name(id))
    return made


def _purl(id: str, revision: str | None) -> "PackageURL | None":
    import packageurl

    group, _, name = id.rpartition("/")
    if not group or "/" in group or id.startswith((".", "/", "~")):
        return None  # a folder is not a package
    return packageurl.PackageURL("huggingface", group, name, revision)


def _ref(id: str, revision: str | None) -> str:
    return f"model:{quote(id)}@{revision or 'unknown'}"
