"""Judges the cases of the table: by the real client against the stand-in Hub, and in local folders."""

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from modelpick.catalog import folder, hub, index
from modelpick.catalog.model import Model
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.lineage import Find
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import judge
from tests.licensing.adversary import Case, Kind, Place, Repository
from tests.stand_ins.hub import Hub


@dataclass(frozen=True)
class Answer:
    """What came of one case in one place: a verdict, or the code of the error that was raised instead."""

    kind: str
    case: Case
    place: Place
    verdict: str
    reasons: tuple[str, ...] = ()

    @property
    def is_right(self) -> bool:
        """An error is no permission: right where the repository misleads."""
        refused = self.case.misleads and self.verdict.startswith("error")
        return self.verdict in self.case.expected or refused


def answers(
    kinds: Iterable[Kind],
    policy: Policy,
    facts: LicenseFacts,
    scratch: Path,
    places: tuple[Place, ...] = ("hub", "folder"),
) -> list[Answer]:
    """Every case of `kinds` in every place where it exists; `scratch` is an empty folder."""
    asked = [(kind.name, case) for kind in kinds for case in kind.cases()]
    found: list[Answer] = []
    if "hub" in places:
        for batch in _without_two_of_one_id([pair for pair in asked if "hub" in pair[1].places]):
            found += _on_the_hub(batch, policy, facts, scratch / f"cache{len(found)}")
    if "folder" in places:
        for number, (name, case) in enumerate(asked):
            if "folder" in case.places:
                found.append(_in_a_folder(name, case, policy, facts, scratch / f"folder{number}"))
    return found


def _on_the_hub(batch: list[tuple[str, Case]], policy: Policy, facts: LicenseFacts, cache: Path) -> list[Answer]:
    with Hub() as stand_in, _endpoint(stand_in.url):
        for _, case in batch:
            for repository in case.repositories:
                _add(stand_in, repository)
                for attribute, value in repository.wrong_hub.items():
                    setattr(stand_in, attribute, value)
        ids = [case.repositories[0].id for _, case in batch]
        looked = hub.look_up(ids, offline=False, catalog=index.load(), cache=cache)
        return [
            _judged(name, case, "hub", found, policy, facts, looked.find)
            for (name, case), found in zip(batch, looked.results, strict=True)
        ]


def _in_a_folder(name: str, case: Case, policy: Policy, facts: LicenseFacts, path: Path) -> Answer:
    repository = case.repositories[0]
    with Hub() as stand_in:
        _add(stand_in, repository)
        contents = stand_in.repositories[repository.id].files
    path /= repository.id
    for file, data in {"config.json": b"{}", **contents}.items():
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        (path / file).write_bytes(data)
    for link, target in repository.links.items():
        (path / link).symlink_to(target)
    found: Model | Exception
    try:
        found = folder.read_folder(path)
    except Exception as error:
        found = error
    return _judged(name, case, "folder", found, policy, facts, index.load().find)


def _judged(
    name: str, case: Case, place: Place, found: Model | Exception, policy: Policy, facts: LicenseFacts, find: Find
) -> Answer:
    if isinstance(found, Exception):
        return Answer(name, case, place, f"error {getattr(found, 'code', type(found).__name__)}")
    judgement = judge(found, policy, facts, find, datetime.date(2026, 11, 23))
    return Answer(name, case, place, judgement.verdict.value, tuple(one.code for one in judgement.reasons))


def _add(stand_in: Hub, repository: Repository) -> None:
    stand_in.add(repository.id, repository.card, files=repository.files, **repository.told)
    for trouble, file in repository.faults:
        stand_in.fail(trouble, f"/{repository.id}/resolve/[^/]+/{file}$")


def _without_two_of_one_id(asked: list[tuple[str, Case]]) -> Iterator[list[tuple[str, Case]]]:
    """The cases in batches that one Hub can hold."""
    while asked:
        taken: set[str] = set()
        batch: list[tuple[str, Case]] = []
        left: list[tuple[str, Case]] = []
        for pair in asked:
            ids = {repository.id for repository in pair[1].repositories}
            alone = any(repository.wrong_hub for repository in pair[1].repositories)
            if ids & taken or "" in taken or (alone and batch):
                left.append(pair)
                continue
            batch.append(pair)
            taken |= ids | ({""} if alone else set())
        yield batch
        asked = left


@contextmanager
def _endpoint(url: str) -> Iterator[None]:
    before = os.environ.get("HF_ENDPOINT")
    os.environ["HF_ENDPOINT"] = url
    try:
        yield
    finally:
        os.environ.pop("HF_ENDPOINT") if before is None else os.environ.update(HF_ENDPOINT=before)
