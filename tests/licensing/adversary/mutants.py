"""Defects to plant in our own code: the table of misleading repositories has to notice each of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from modelpick.catalog import card, folder, text_file
from modelpick.catalog.text_file import TextFile
from modelpick.licensing import (
    file_evidence,
    identify,
    implied,
    lineage,
    model_evidence,
    stated_fields,
    text_match,
    training_data,
    unread,
)
from modelpick.licensing.card_links import RelationWords
from modelpick.licensing.conditions import Assessment
from modelpick.licensing.outcome import Verdict
from tests.licensing.adversary import Place


@dataclass(frozen=True)
class Mutant:
    """One defect: its name, the module and the name in it that is replaced, by what, and a kind that has to notice."""

    name: str
    where: Any
    attribute: str
    instead: Callable[..., Any]
    noticed_by: tuple[str, ...]
    place: Place = "folder"  # where it is looked for

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The defect in place for a while."""
        with mock.patch.object(self.where, self.attribute, self.instead):
            yield


def _nothing(*_: Any, **__: Any) -> Assessment:
    return Assessment(Verdict.ALLOW)


_NUMBER, _CLAUSE = "a known license with a number changed", "a known license with a clause more"
_GATE, _NAME = "a LICENSE behind a gate", "a publisher's new license name"
_FIELDS, _UNREADABLE = "two fields of a card that disagree", "a field that cannot be read"
_SHAPES, _TEXT = "a parent in every shape of base_model", "a parent that only the card's text names"
_DERIVED, _DATA = "a derived model that names no parent", "training data under terms"


class _Anything:
    """A set that holds whatever it is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


MUTANTS = (
    Mutant("the files say nothing", model_evidence, "assess_files", lambda *_, **__: [], ("terms in a folder",)),
    Mutant("what was not read is no question", model_evidence, "assess_unread", _nothing, ("an empty LICENSE",)),
    Mutant("links are not followed up", model_evidence, "unread_link", lambda *_: None, ("terms behind a link",)),
    Mutant(
        "any bytes are text", text_file, "_decoded", lambda data, whole: TextFile(data.decode("latin-1")),
        ("a card in another encoding",),
    ),
    Mutant(
        "other documents are not read", file_evidence, "is_document", lambda name: False,
        ("terms under a name in another language",),
    ),
    Mutant("sub-folders are not looked into", folder, "_deeper", lambda path: (set(), False), ("terms in a folder",)),
    Mutant("any difference is explained", text_match, "_is_explained", lambda *_: True, (_NUMBER,)),
    Mutant("what stands around a license is nothing", text_match, "_is_explained_around", lambda *_: True, (_CLAUSE,)),
    Mutant("every gate is excused", unread, "is_the_publishers_own", lambda *_: True, (_GATE,), "hub"),
    Mutant("a new name is the old license", model_evidence, "names_a_license", lambda *_: False, (_NAME,), "hub"),
    Mutant("fields are not weighed", model_evidence, "assess_fields", lambda *_: [], (_UNREADABLE,)),
    Mutant("a name is not compared", stated_fields, "_agrees", lambda *_: True, (_FIELDS,)),
    Mutant("any exception gives", identify, "_exceptions", _Anything, (_FIELDS,)),
    Mutant("one parent is enough", card, "_several", lambda text: [text.split(",")[0]], (_SHAPES,)),
    Mutant("recipes and headers name no parent", lineage, "in_files", lambda _: (), (_TEXT,)),
    Mutant("text names no parent", RelationWords, "parents", lambda *_: (), (_TEXT,)),
    Mutant("what is derived needs no parent", implied, "derivation", lambda *_: None, (_DERIVED,)),
    Mutant("data sets come from nowhere", training_data, "_sources", lambda *_: (), (_DATA,)),
    Mutant("text names no data", RelationWords, "data", lambda *_: (), (_DATA,)),
)  # fmt: skip
