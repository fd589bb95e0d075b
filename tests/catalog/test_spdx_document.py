"""SPDX documents: what they conclude, and circles among their relationships, in every form they are written in."""

import pytest

from modelpick.catalog import spdx_document


@pytest.mark.parametrize(
    ("text", "licenses"),
    [
        ('{"licenseConcluded": "MIT", "licenseDeclared" : "CC-BY-NC-4.0"}', ("MIT", "CC-BY-NC-4.0")),
        ("PackageLicenseConcluded: Apache-2.0\nPackageLicenseDeclared: NOASSERTION\n", ("Apache-2.0",)),
        ("packages:\n- licenseDeclared: 'MIT AND X'\n", ("MIT AND X",)),
        ("licenseComments: none", ()),
        ("", ()),
    ],
)
def test_licenses_are_read_in_every_form(text: str, licenses: tuple[str, ...]) -> None:
    assert spdx_document.licenses_in(text) == licenses


def test_a_circle_is_found_and_a_long_chain_is_none() -> None:
    chain = "".join(f"Relationship: E{n} DESCENDANT_OF E{n + 1}\n" for n in range(20_000))
    assert spdx_document.circle_in(chain) is None
    assert "E0" in str(spdx_document.circle_in(chain + "Relationship: E20000 GENERATED_FROM E0\n"))
    assert spdx_document.circle_in("Relationship: A DESCENDANT_OF A\n") is not None
    assert spdx_document.circle_in("Relationship: A DESCRIBES B\nRelationship: B DESCRIBES A\n") is None
    assert spdx_document.circle_in("Relationship: A ANCESTOR_OF B\nRelationship: A DESCENDANT_OF B\n") is not None


@pytest.mark.parametrize("name", ["model.spdx.json", "SPDX", "bom.spdx"])
def test_documents_are_known_by_name(name: str) -> None:
    assert spdx_document.is_spdx(name)


@pytest.mark.parametrize("name", ["spdxtools.py", "config.json", "x/a.spdx"])
def test_other_files_are_none(name: str) -> None:
    assert not spdx_document.is_spdx(name)
