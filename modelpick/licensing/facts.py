"""Everything that is known apart from the model itself, bundled for `judge`. Pure."""

from dataclasses import dataclass, field
from typing import Any

from modelpick.licensing.card_prose import Prose
from modelpick.licensing.fingerprint import Fingerprints
from modelpick.licensing.license import LicenseBook
from modelpick.licensing.namesakes import Namesakes
from modelpick.licensing.overrides import Approval, Families, KnownModels, RestrictedDataset
from modelpick.licensing.territory import Territories


@dataclass(frozen=True, slots=True)
class Facts:
    """Licenses, known repositories, families, restricted data sets, territories, prose, and the approvals given.

    `memo` remembers what a license came to under a policy, so that a thousand models with forty licenses cost forty
    assessments. It holds results of pure functions only, and is not part of the value.
    """

    licenses: LicenseBook
    known: KnownModels
    families: Families
    datasets: tuple[RestrictedDataset, ...] = ()
    territories: Territories = field(default_factory=Territories)
    approvals: tuple[Approval, ...] = ()
    prose: Prose = field(default_factory=Prose)
    prints: Fingerprints = field(default_factory=lambda: Fingerprints(tuple))
    namesakes: Namesakes = field(default_factory=lambda: Namesakes(tuple))
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)
