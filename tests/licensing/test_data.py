"""The facts under policies/ hold together: every file is sound, sourced, and says nothing a rule would misread."""

import re
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license import License
from modelpick.licensing.policy import TrainingDataRules


def test_every_license_has_a_source_and_a_day(facts: LicenseFacts) -> None:
    assert len(facts.licenses.licenses) >= 140
    for one in facts.licenses.licenses:
        assert one.source.texts, one.id
        assert all(text.strip() for text in one.source.texts), one.id
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", one.source.read_on), one.id


def test_identities_are_not_shared(facts: LicenseFacts) -> None:
    hub_ids = [id for one in facts.licenses.licenses for id in one.hub_ids]
    assert len(hub_ids) == len(set(hub_ids))
    claims = [
        (name.lower(), owner.lower())
        for one in facts.licenses.licenses
        if one.named
        for name in one.named.names
        for owner in one.named.by
    ]
    shared = {claim for claim in claims if claims.count(claim) > 1}
    assert shared <= {("exaone", "lgai-exaone"), ("qwen", "qwen")}  # two texts under one name: their files decide


def is_free(one: License) -> bool:
    """Whether a license by itself could come to allow."""
    return one.permits.commercial_use == "yes" and one.confidence == "high" and not one.family


def test_only_these_licenses_can_come_to_allow(facts: LicenseFacts) -> None:
    """The list is short on purpose: whoever adds to it makes an allow possible, and shows up in this test."""
    free = {
        one.id for one in facts.licenses.licenses if is_free(one) and not one.owes.attribution and not one.owes.credit
    }
    assert free == {
        "afl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "bsl-1.0",
        "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "ecl-2.0", "isc", "mit", "ms-pl", "ncsa",
        "openmdw-1.0", "openmdw-1.1", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
    }  # fmt: skip


def test_a_permissive_license_sets_no_limits(facts: LicenseFacts) -> None:
    for one in facts.licenses.licenses:
        if one.permits.commercial_use == "yes":
            assert one.limits == type(one.limits)(), one.id
            assert not one.owes.use_policy, one.id
            assert not one.owes.use_restrictions, one.id
        if one.confidence == "low":
            assert one.permits.commercial_use != "conditional", one.id


def test_names_that_say_non_commercial_are_non_commercial(facts: LicenseFacts) -> None:
    for one in facts.licenses.licenses:
        if re.search(r"non-?commercial|\bnc\b|-nc-|research (only|purpose)", one.title.lower()):
            assert one.permits.commercial_use == "no", one.id


def test_every_reference_leads_somewhere(facts: LicenseFacts) -> None:
    for family in facts.families:
        assert family.license or family.licenses, family.name
        assert family.names or family.shapes, family.name
        for id in (family.license, *family.licenses):
            assert id is None or id in facts.licenses.by_id, family.name
            # A family only ever adds what its license demands: one that could come to allow has no place here.
            assert id is None or not is_free(facts.licenses.by_id[id]), family.name
    kinds = set(TrainingDataRules.__dataclass_fields__)
    for dataset in facts.datasets:
        assert set(dataset.restrictions) <= kinds, dataset.id
        assert dataset.terms, dataset.id
    for derived in facts.derived_datasets:
        for source in derived.made_from:
            known = [entry for entry in (*facts.datasets, *facts.derived_datasets) if entry.matches(source)]
            assert known, f"{derived.id} was made from {source}, of which nothing is known"
    assert {one.license for one in facts.fingerprints.all} <= set(facts.licenses.by_id)


def test_every_family_pattern_holds_one_of_its_words(facts: LicenseFacts) -> None:
    """The words are a first look: a pattern that could match without one of them would never be tried."""
    for family in facts.families:
        for pattern in family.names:
            required = re.sub(
                r"\([^()]*\)|\[[^\]]*\][?*+]?|.[?*]", " ", re.sub(r"\(\?[!=<][^()]*\)", " ", pattern)
            ).lower()
            assert any(word in required for word in family.words or (family.root,)), (family.name, pattern)


def test_known_models_are_not_a_list_of_permissions(facts: LicenseFacts) -> None:
    for entry in facts.curations:
        assert entry.source, entry.id
        assert entry.because, entry.id
        if entry.license:
            assert not is_free(facts.licenses.by_id[entry.license]), entry.id


def test_renames_end(facts: LicenseFacts) -> None:
    for entry in facts.curations:
        end = facts.curations.canonical(entry.id)
        assert facts.curations.canonical(end) == end


def test_a_bad_license_file_is_refused(tmp_path: Path) -> None:
    for name, text in {
        "typo": 'title = "x"\ncategory = "permissive"\nconfidence = "high"\ncomercial_use = "yes"',
        "id": 'id = "mit"\ntitle = "x"',
        "enum": 'title = "x"\ncategory = "permissive"\nconfidence = "certain"',
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mit.toml").write_text(text)
        with pytest.raises(UsageError, match=r"mit\.toml"):
            load.load_licenses(folder)


def test_no_license_text_is_kept(repository: Path) -> None:
    for path in (repository / "policies").rglob("*"):
        assert path.is_dir() or path.suffix in (".toml", ".prints"), path
    for path in (repository / "policies" / "licenses").glob("*.prints"):
        assert not re.search(r"[A-Za-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,}", path.read_text()), path


def test_a_bad_pattern_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "families.toml"
    path.write_text('[[family]]\nname="x"\nroot="x"\nbecause="x"\nsource="x"\ndate=2026-11-23\nnames=["(x"]\n')
    with pytest.raises(UsageError, match="regular expression"):
        load.load_families(path)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('order = "middle"', "en.order"),
        ('weight = ["model"]', "en.weight"),
        ('weights = "model"', "en.weights"),
        ('weights = ["model", "*"]', "en.weights"),
        ('weights = ["mo*del"]', "en.weights"),
        ("weights = [7]", "en.weights"),
    ],
)
def test_a_bad_word_is_refused_and_named(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "words.toml"
    path.write_text(f"[languages.en]\n{line}\n")
    with pytest.raises(UsageError, match=r"words\.toml") as caught:
        load.load_words(path)
    assert named in caught.value.message


def test_every_language_says_what_it_takes_to_restrict_and_to_permit(facts: LicenseFacts) -> None:
    """A language without one of these words would let a kind of restriction pass, or ask about a kind of permission."""
    needed = {"weights", "code", "data", "non_commercial", "commercial", "company", "research", "only", "not", "may"}
    needed |= {"ban", "limit", "ask", "consent", "need", "fee", "license", "use", "free"}
    for code, language in facts.words.languages.items():
        if code != "any":
            assert needed <= {concept for concept, words in language.words.items() if words}, code
