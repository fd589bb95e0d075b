"""What the Hub says today about the models of the catalog: list pages, then single records, then changed configs.

A page of 1,000 models costs one call, a repository that no page has costs one, a repository whose commit is not the one
known costs one config.json. The Hub's limits are in docs/updating.md; where it says wait, this waits, and the journal
keeps what was read.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from modelpick.catalog import hub
from modelpick.catalog.card import without_surrogates
from modelpick.catalog.hub_client import (
    LONGEST_PAUSE,
    PATIENCE,
    Client,
    GatedError,
    HubDownError,
    NotOnHubError,
    Patience,
)
from modelpick.errors import RemoteError
from modelpick.hub.journal import Journal
from modelpick.hub.overlay import HubReading

EXPAND = (*hub.OF_THE_RECORD, "lastModified")
LARGEST_CONFIG = 4_000_000  # bytes; the largest of the catalog has some 40 KB
_GONE = ("RepoNotFound", "Disabled")

Show = Callable[[str, int, int | None], None]
"""Called with what is done, how much of it, and how much there is: a progress bar."""


@dataclass(slots=True)
class Calls:
    """What was asked of the Hub."""

    listed: int = 0  # ids that a list page brought
    singly: int = 0  # ids that took a call each
    configs: int = 0  # config.json files read
    kept: int = 0  # answers that the journal of an interrupted update had


@dataclass(frozen=True, slots=True)
class ModelsRead:
    """A HubReading for each id asked, and what it took."""

    readings: Mapping[str, HubReading]
    calls: Calls = field(default_factory=Calls)


def client(*, pause: float = LONGEST_PAUSE, patience: float = PATIENCE) -> Client:
    """A client for bulk work: it waits as the Hub asks, at most `pause` seconds, if an answer follows each wait."""
    return Client(Patience(bulk=True, longest_pause=pause, seconds=patience))


def read(asked: Client, ids: Sequence[str], known: Mapping[str, str], journal: Journal, show: Show) -> ModelsRead:
    """Readings of all `ids`; `known` maps an id to the commit whose config the catalog has.

    Raises RemoteError: `hub_down` where an answer is missing in the end (what was read is in the journal),
    `bad_token`.
    """
    calls = Calls()
    try:
        show("listing models", 0, len(ids))
        pages = hub.listed(asked, ids, EXPAND)
        records: dict[str, Mapping[str, Any] | None] = {id: pages[id.lower()] for id in ids if id.lower() in pages}
        calls.listed = len(records)
        rest = [id for id in ids if id not in records]
        records |= dict(_each(lambda id: _record(asked, id, journal, calls), rest, "asking singly", show))
        readings = {id: HubReading(_there(record)) for id, record in records.items()}
        changed = [id for id, reading in readings.items() if reading.sha is not None and known.get(id) != reading.sha]
        for id, config in _each(
            lambda id: _config(asked, readings[id], journal, calls), changed, "reading configs", show
        ):
            readings[id] = HubReading(readings[id].record, config)
    except HubDownError as error:
        raise RemoteError(
            f"the Hub did not answer to the end: {error}; the facts in force stay as they are",
            fix="run `modelpick update` again: it goes on from there",
            code="hub_down",
        ) from error
    return ModelsRead({id: readings[id] for id in ids}, calls)


def _each(
    work: Callable[[str], Any], ids: Sequence[str], what: str, show: Show
) -> Iterable[tuple[str, Mapping[str, Any] | None]]:
    """The result for each id, several at once; the first error ends it."""
    pool = ThreadPoolExecutor(max(1, min(hub.THREADS, len(ids))))
    try:
        for number, (id, result) in enumerate(zip(ids, pool.map(work, ids), strict=True), 1):
            show(what, number, len(ids))
            yield id, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _there(record: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """None for what nobody can load any more: private or disabled by the Hub."""
    return None if record is None or record.get("disabled") is True or record.get("private") is True else record


def _record(asked: Client, id: str, journal: Journal, calls: Calls) -> Mapping[str, Any] | None:
    found, record = journal.record(id)
    if found:
        calls.kept += 1
        return _mapping(record)
    calls.singly += 1
    try:
        record = asked.model(id, None, EXPAND)
    except GatedError:
        record = {"id": id, "gated": "manual"}
    except NotOnHubError as error:
        if error.code == "BadToken":
            raise RemoteError(
                "the Hub rejects the token", fix="renew HF_TOKEN, or unset it", code="bad_token"
            ) from None
        if error.code not in _GONE:
            raise HubDownError(f"it answers {error.status} for {id}") from error
        record = None
    journal.note_record(id, record)
    return _mapping(record)


def _config(asked: Client, reading: HubReading, journal: Journal, calls: Calls) -> Mapping[str, Any] | None:
    id, sha = str(reading.id), str(reading.sha)
    found, config = journal.config(id, sha)
    if found:
        calls.kept += 1
        return _mapping(config)
    calls.configs += 1
    try:
        answer = asked.file(id, sha, "config.json", largest=LARGEST_CONFIG)
        config = None if answer.cut else _parsed(answer.body)
    except (GatedError, NotOnHubError):
        config = None
    journal.note_config(id, sha, config)
    return _mapping(config)


def _parsed(body: bytes) -> dict[str, Any] | None:
    """A config.json as an object; None for anything else. NaN and infinity, which JSON cannot write, become null."""
    try:
        value = without_surrogates(json.loads(body, parse_constant=lambda word: None))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _mapping(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None
