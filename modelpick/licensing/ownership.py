"""Whose license is it? Meta publishes models of its own under Llama's, anybody may write `mit`. Pure."""

from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license import License


def is_the_publishers_own(stated: tuple[License, ...], id: str, facts: LicenseFacts) -> bool:
    """Whether every license stated is one that the owner of repository `id` publishes models of its own under."""
    owner = id.partition("/")[0].lower() if "/" in id else ""
    return bool(owner) and bool(stated) and all(_owns(owner, license, facts) for license in stated)


def _owns(owner: str, license: License, facts: LicenseFacts) -> bool:
    if license.permits.commercial_use == "yes":
        return False  # anybody's
    if license.named is not None and owner in {name.lower() for name in license.named.by}:
        return True
    return any(
        license.id in (family.license, *family.licenses) and owner in {name.lower() for name in family.owners}
        for family in facts.families
    )
