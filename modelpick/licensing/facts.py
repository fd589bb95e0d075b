"""Everything that is known apart from the model itself, bundled for `judge`. Pure."""

from dataclasses import dataclass, field
from typing import Any

from modelpick.licensing.card_links import RelationWords
from modelpick.licensing.fingerprints import Fingerprints
from modelpick.licensing.license import LicenseIndex
from modelpick.licensing.name_matches import NameMatches
from modelpick.licensing.overrides import Approval, Curations, DerivedDataset, RestrictedDataset, WeightFamilies
from modelpick.licensing.policy import Territories
from modelpick.licensing.statements.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class LicenseFacts:
    """The facts of policies/, and the approvals given.

    `licenses`: licenses/*.toml. `curations`: known_models.toml. `families`: families.toml. `datasets`:
    restricted_datasets.toml. `derived_datasets`: derived_datasets.toml. `words`: words.toml. `relation_words`:
    relations.toml. `fingerprints`: licenses/*.prints. `name_matches`: the names of the catalog's models.

    `memo` remembers what each claim came to under a policy, and what each license text was recognised as. It holds
    results of pure functions of these facts only: it is not part of the value, and `dataclasses.replace` starts anew.
    """

    licenses: LicenseIndex
    curations: Curations
    families: WeightFamilies
    datasets: tuple[RestrictedDataset, ...] = ()
    derived_datasets: tuple[DerivedDataset, ...] = ()
    territories: Territories = field(default_factory=Territories)
    approvals: tuple[Approval, ...] = ()
    relation_words: RelationWords = field(default_factory=RelationWords)
    words: Vocabulary = field(default_factory=lambda: Vocabulary(dict))
    fingerprints: Fingerprints = field(default_factory=lambda: Fingerprints(tuple))
    name_matches: NameMatches = field(default_factory=lambda: NameMatches(tuple))
    memo: dict[Any, Any] = field(init=False, default_factory=dict, repr=False, compare=False)
