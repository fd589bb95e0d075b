"""`modelpick update`: newer facts from a release or from their sources, verified, as a snapshot that takes over.

Nothing here decides what a fact means. Each kind is read by its own module into the texts of the data files; what they
come to is verified against the facts in force (hub.verification) and put in their place (hub.store).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from modelpick.catalog import snapshot
from modelpick.catalog.ages import OLD_AFTER_DAYS, age_in_days
from modelpick.catalog.hub_client import Client
from modelpick.catalog.snapshot import Facts, Kind
from modelpick.errors import ModelpickError, RemoteError, UsageError, address
from modelpick.hub import models, prices, release, rows, scores, store
from modelpick.hub.diff import FactChange, compare
from modelpick.hub.journal import Journal
from modelpick.hub.store import Content, Step
from modelpick.hub.verification import MOST_GONE, verify
from modelpick.settings import DataSettings

Show = Callable[[str, int, int | None], None]
Texts = dict[str, str]


@dataclass(slots=True)
class Update:
    """What an update did. `kinds` says of each what was asked and found, `errors` what could not be had."""

    before: Facts
    facts: Facts
    kinds: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, ModelpickError] = field(default_factory=dict)
    changes: tuple[FactChange, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether another snapshot is in force than before."""
        return self.facts.name != self.before.name


@dataclass(frozen=True, slots=True)
class KindAge:
    """How old one kind of facts is."""

    kind: Kind
    as_of: str
    days: int

    @property
    def stale(self) -> bool:
        """Whether an update is due: what an answer warns of (catalog.ages)."""
        return self.days > OLD_AFTER_DAYS


def ages(kinds: Sequence[Kind], today: date) -> tuple[KindAge, ...]:
    """The age of each kind of the facts in force. Reads what is on the disk, and writes nothing."""
    as_of = snapshot.in_force().as_of
    return tuple(KindAge(kind, as_of[kind], age_in_days(as_of[kind], today)) for kind in kinds)


def update(
    kinds: Sequence[Kind],
    sources: DataSettings,
    today: date,
    show: Show,
    *,
    client: Client | None = None,
    step: Step = lambda name: None,
) -> Update:
    """Brings newer facts of `kinds` into a snapshot; a release, where `sources` names one, brings all of them.

    Where one kind cannot be had, the others are taken, and `Update.errors` says why. Raises UsageError: `bad_clock`,
    `update_running`, `cannot_update` (a full disk), `no_home`; RemoteError: `bad_facts`, `bad_release`, and the reason
    itself where nothing could be had.
    """
    with store.changing() as root:
        old = _whole()
        _require_clock(old, today)
        done = Update(old, old)
        if sources.release is not None:
            show("reading the release", 0, None)
            texts, about = _from_release(sources.release, sources.release_sha256, done)
        else:
            texts, about = _from_sources(root, kinds, sources, today, show, client or models.client(), done)
            if done.errors and len(done.errors) == len(kinds):
                raise next(iter(done.errors.values()))
        if {file: texts.get(file) for file in texts} != _texts(old):
            content = Content(texts, today.isoformat(), about)
            done.facts = store.put(root, content, verify=lambda new: verify(new, old, today), step=step)
            done.changes = compare(old, done.facts)
        if "models" not in done.errors:
            (root / store.JOURNAL).unlink(missing_ok=True)
        return done


def _from_release(where: str, pinned: str | None, done: Update) -> tuple[Texts, dict[str, Any]]:
    """The files of a release; those in force, unread, where they are of the very same one."""
    sha256 = release.expected_hash(where, pinned)
    about = dict(done.before.manifest.sources) if done.before.manifest else {}
    done.kinds = {kind: {"source": address(where), "sha256": sha256} for kind in snapshot.KINDS}
    if about.get("sha256") == sha256:
        return _texts(done.before), about
    return release.fetch(where, sha256)


def _from_sources(
    root: Path, kinds: Sequence[Kind], sources: DataSettings, today: date, show: Show, client: Client, done: Update
) -> tuple[Texts, dict[str, Any]]:
    texts = _texts(done.before)
    about: dict[str, Any] = dict(done.before.manifest.sources) if done.before.manifest else {}
    for key in ("release", "sha256"):  # what is in force then is no longer the release
        about.pop(key, None)
    readers: Mapping[str, Callable[[Texts], Texts]] = {
        "models": lambda texts: _models(root, texts, today, show, client, done),
        "prices": lambda texts: _prices(texts, sources.prices, about, show, done),
        "scores": lambda texts: _scores(texts, sources.scores, done),
    }
    for kind in kinds:
        try:
            texts = readers[kind](texts)
        except ModelpickError as error:
            if error.code == store.CODE:  # the disk, not the source
                raise
            done.errors[kind] = error
    return texts, about


def _models(root: Path, texts: Texts, today: date, show: Show, client: Client, done: Update) -> Texts:
    day = today.isoformat()
    ids, known = rows.ids_of(texts), rows.Repositories.of(texts).commits
    with Journal(root / store.JOURNAL, day, address(client.endpoint)) as journal:
        read = models.read(client, ids, known, journal, show)
    calls = read.calls
    done.kinds["models"] = {
        "source": address(client.endpoint), "asked": len(ids), "listed": calls.listed, "singly": calls.singly,
        "configs": calls.configs, "from_journal": calls.kept,
        "gone": sorted(id for id, reading in read.readings.items() if reading.record is None),
    }  # fmt: skip
    gone = len(done.kinds["models"]["gone"])
    if gone > max(2, len(ids) * MOST_GONE):
        raise RemoteError(
            f"{address(client.endpoint)} lacks {gone:,} of {len(ids):,} models: it is not believed",
            fix="check HF_ENDPOINT and the proxy",
            code="bad_facts",
        )
    return rows.with_models(texts, read.readings, day)


def _prices(texts: Texts, where: str | None, about: dict[str, Any], show: Show, done: Update) -> Texts:
    show("reading prices", 0, None)
    source = address(where or prices.SKYPILOT)
    before = about.get("prices", {})
    etag = before.get("etag") if before.get("source") == source else None
    found = prices.updated(texts, where, etag)
    about["prices"] = {"source": source, "etag": found.etag}
    checked = found.found
    done.kinds["prices"] = {
        "source": source, "unchanged": found.texts is None, "prices": len(checked.rows) if checked else 0,
        "held": [held.text for held in checked.held] if checked else [],
        "missing": len(checked.missing) if checked else 0, "dropped": found.dropped,
    }  # fmt: skip
    return dict(found.texts) if found.texts is not None else texts


def _scores(texts: Texts, where: str | None, done: Update) -> Texts:
    if where is None:
        raise RemoteError(
            "no source of scores is set: the boards publish no table of this form",
            fix="set `release` or `scores` in the table [data] of modelpick.toml",
            code="no_source",
        )
    found = scores.updated(texts, where)
    done.kinds["scores"] = {"source": found.source, "scores": found.scores, "unknown_models": found.unknown}
    return dict(found.texts)


def _whole() -> Facts:
    """The facts in force; the embedded ones where the snapshot in force is damaged: an update replaces it."""
    try:
        facts = snapshot.in_force()
        _texts(facts)
    except UsageError as error:
        if error.code != "bad_snapshot":
            raise
        return snapshot.embedded_facts(error.message)
    return facts


def _texts(facts: Facts) -> Texts:
    listed = snapshot.FILES if facts.manifest is None else facts.manifest.files
    return {file: facts.text(file) for file in listed}


def _require_clock(old: Facts, today: date) -> None:
    ahead = [kind for kind in snapshot.KINDS if age_in_days(old.as_of[kind], today) < -1]
    if ahead:
        raise UsageError(
            f"the clock says {today}, and the {ahead[0]} in force are of {old.as_of[ahead[0]]}",
            fix="set the clock of this machine",
            code="bad_clock",
        )
