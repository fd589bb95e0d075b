"""SPDX documents in a repository: which licenses they state, and whether their relationships lead in a circle. Pure.

Read are the fields of SPDX 2.2 and 2.3 in JSON, YAML and tag-value form, by their names
(https://spdx.github.io/spdx-spec/v2.3): enough to weigh what is stated, whatever else a document holds.
"""

import re
from graphlib import CycleError, TopologicalSorter

_NAME = re.compile(r"(?:[^/]*\.)?spdx(?:\.(?:json|ya?ml|txt|tag))?", re.IGNORECASE)
_LICENSE = re.compile(
    r"\b(?:license(?:Concluded|Declared)|(?:Package|File)?License(?:Concluded|Declared))[\"']?[ \t]*:[ \t]*"
    r"(?:\"([^\"\n]{1,400})\"|'([^'\n]{1,400})'|([^\"'\n]{1,400}))"
)
_NOTHING = frozenset({"NOASSERTION", "NONE", ""})
_TAGGED = re.compile(r"^[ \t]*Relationship:[ \t]*(\S+)[ \t]+([A-Z_]+)[ \t]+(\S+)", re.MULTILINE)
_FIELD = re.compile(
    r"[\"']?\b(spdxElementId|relationshipType|relatedSpdxElement)[\"']?[ \t]*:[ \t]*[\"']?([^\"',\s}]+)"
)
# What something was made from, or consists of; an element that leads back to itself has no origin.
_FROM = frozenset({"DESCENDANT_OF", "GENERATED_FROM", "COPY_OF", "VARIANT_OF", "DEPENDS_ON", "CONTAINS", "PATCH_FOR"})
_TO = frozenset({"ANCESTOR_OF", "GENERATES", "DEPENDENCY_OF", "CONTAINED_BY"})


def is_spdx(name: str) -> bool:
    """Whether a file at the top of a repository is an SPDX document, by its name (`model.spdx.json`)."""
    return _NAME.fullmatch(name) is not None


def licenses_in(text: str) -> tuple[str, ...]:
    """The license expressions that a document concludes or declares, each once."""
    found = ("".join(part or "" for part in match.groups()).strip().rstrip(",") for match in _LICENSE.finditer(text))
    return tuple(dict.fromkeys(value for value in found if value not in _NOTHING))


def circle_in(text: str) -> str | None:
    """A circle of elements that a document says are made from each other, or None."""
    made_from: dict[str, set[str]] = {}
    for one, kind, other in _relationships(text):
        if kind in _FROM:
            made_from.setdefault(one, set()).add(other)
        elif kind in _TO:
            made_from.setdefault(other, set()).add(one)
    try:
        TopologicalSorter(made_from).prepare()
    except CycleError as error:
        return " -> ".join(map(str, error.args[1][:6]))
    return None


def _relationships(text: str) -> list[tuple[str, str, str]]:
    found = [(match[1], match[2], match[3]) for match in _TAGGED.finditer(text)]
    fields: dict[str, str] = {}
    for match in _FIELD.finditer(text):
        if match[1] in fields:
            fields = {}  # the one before was not whole
        fields[match[1]] = match[2]
        if len(fields) == 3:
            found.append((fields["spdxElementId"], fields["relationshipType"], fields["relatedSpdxElement"]))
            fields = {}
    return found
