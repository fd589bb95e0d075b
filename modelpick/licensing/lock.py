"""Freezes what was decided (commit, texts, verdict, obligations, policy, company) and finds what has changed since.

`lock_of` and `drift` are pure; `write` and `load` are the file, modelpick.lock.json: sorted, one entry a model, so that
a change is a readable diff.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelpick import files
from modelpick.catalog.model import Model
from modelpick.catalog.terms import kind_of
from modelpick.errors import UsageError, printable_json
from modelpick.licensing.evidence import CARD, GATE, card_of, digest_of, digests_of, texts_of
from modelpick.licensing.outcome import Basis, Obligation, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.schema import IsoDate, read, to_json

SCHEMA_VERSION = 1
FILE = "modelpick.lock.json"
_CODE = "bad_lock_file"
_FIX = "write it again with: modelpick lock MODEL..."


@dataclass(frozen=True, slots=True)
class LockedModel:
    """One model as it was decided.

    `texts`: SHA-256 of each file of terms, of the gate's text and of the card's fields; `ancestors`: one hash each, of
    the same things. `pinned`: the commit was asked for by its name, so that a push to the repository changes nothing.
    """

    model: str
    verdict: Verdict
    licenses: tuple[str, ...]
    texts: Mapping[str, str]
    lineage: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    revision: str | None = None  # None: the embedded catalog's facts, which know no commit
    pinned: bool = False
    obligations: tuple[Obligation, ...] = ()
    ancestors: Mapping[str, str] = field(default_factory=dict)
    basis: Basis | None = None  # what the verdict stood on; None: written before that was told

    @property
    def name(self) -> str:
        """What to ask for when the lock is verified."""
        return f"{self.model}@{self.revision}" if self.pinned else self.model


@dataclass(frozen=True, slots=True)
class Lock:
    """All models that were frozen together, and what they were judged by.

    `content`: the company's facts and the rules. `modelpick`: the version that wrote it; None: an older one, which
    held neither these nor obligations and ancestors, and the hash of the policy's file for that of its content.
    """

    policy: str
    policy_sha256: str
    models: tuple[LockedModel, ...]
    modelpick: str | None = None
    locked_on: IsoDate | None = None
    product: str | None = None
    content: Mapping[str, object] = field(default_factory=dict)
    file_sha256: str = field(default="", metadata={"internal": True}, compare=False)


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that changed: of which model (or the policy), what, from what, to what, and in a sentence."""

    model: str
    what: str
    was: str
    now: str
    text: str

    def as_json(self) -> dict[str, str]:
        """For `verify --json`."""
        return to_json(self)


def locked(model: Model, answer: Judgement, asked: str = "") -> LockedModel:
    """One model's entry. `asked`: what was typed, `org/name@sha` where the commit was chosen."""
    commit = asked.rpartition("@")[2] if "@" in asked else ""
    return LockedModel(
        model=answer.model,
        revision=answer.revision,
        pinned=bool(commit) and answer.revision is not None and answer.revision.startswith(commit),
        verdict=answer.verdict,
        licenses=tuple(sorted(answer.license_ids)),
        texts={**texts_of(model), CARD: digest_of(card_of(model))},
        lineage=tuple(f"{step.model}: {step.license}" for step in answer.lineage),
        reasons=tuple(sorted({reason.code for reason in answer.reasons})),
        obligations=answer.obligations,
        basis=answer.basis,
        ancestors={ancestor.id: digests_of([ancestor], ())[ancestor.id] for ancestor in answer.models[1:]},
    )


def lock_of(
    answers: Iterable[tuple[Model, Judgement]],
    policy: Policy,
    *,
    asked: Iterable[str] = (),
    modelpick: str = "",
    today: str | None = None,
) -> Lock:
    """The lock of several models, sorted by id. `asked`: what was typed for each; `modelpick`: this version."""
    pairs = list(answers)
    names = [*asked] or [""] * len(pairs)
    entries = [locked(model, answer, name) for (model, answer), name in zip(pairs, names, strict=True)]
    return Lock(
        policy.name,
        policy.sha256,
        tuple(sorted(entries, key=lambda entry: entry.model.lower())),
        modelpick=modelpick,
        locked_on=IsoDate(today) if today is not None else None,
        product=policy.product,
        content=policy.content(),
        file_sha256=policy.file_sha256,
    )


def drift(before: Lock, after: Lock) -> tuple[Drift, ...]:
    """What changed between two locks. A changed commit alone is a change: its files may say something else."""
    older = before.modelpick is None
    changes = list(_policy_changes(before, after, older))
    now = {entry.name.lower(): entry for entry in after.models} | {entry.model.lower(): entry for entry in after.models}
    for was in before.models:
        entry = now.get(was.name.lower()) or now.get(was.model.lower())
        if entry is None:
            text = f"{was.name} is not found any more"
            changes.append(Drift(was.model, "model", "there", "not found", text))
        else:
            changes += _changes(was, entry, older)
    return tuple(changes)


def _policy_changes(before: Lock, after: Lock, older: bool) -> Iterator[Drift]:
    subject, sha256 = f"policy {before.policy}", after.file_sha256 if older else after.policy_sha256
    if before.policy_sha256 != sha256:
        was, now = before.policy_sha256[:12], sha256[:12]
        text = f"{subject}: its rules or the company's facts have changed (sha256 {was}, now {now})"
        if before.policy != after.policy:
            text = f"{subject}: the models are judged by the policy {after.policy} now"
        yield Drift(subject, "sha256", was, now, text)
    if older:
        return
    if before.product != after.product:
        was, now = before.product or "every product", after.product or "every product"
        yield Drift(subject, "product", was, now, f"{subject}: it was judged for {was}, and is for {now} now")
    yesterday, today = dict(_leaves(before.content)), dict(_leaves(after.content))
    for key in sorted({*yesterday, *today}):
        was, now = yesterday.get(key, "not given"), today.get(key, "not given")
        if was != now:
            yield Drift(subject, key, was, now, f"{subject}: {key} was {was}, and is {now} now")


def _leaves(table: Mapping[str, object], path: str = "") -> Iterator[tuple[str, str]]:
    """Every value within, under its keys joined by dots, as it is shown; what is not known has none."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        elif value is not None and value != []:
            shown = f"{value:,.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
            yield f"{path}{key}", shown


def _changes(was: LockedModel, now: LockedModel, older: bool) -> Iterator[Drift]:
    name = was.name
    pairs = [
        ("verdict", "verdict", was.verdict.value, now.verdict.value),
        ("revision", "commit", was.revision or "not known", now.revision or "not known"),
        ("licenses", "license", ", ".join(was.licenses) or "none", ", ".join(now.licenses) or "none"),
        ("lineage", "list of ancestors", "; ".join(was.lineage) or "none", "; ".join(now.lineage) or "none"),
    ]
    for what, noun, old, new in pairs:
        if old != new:
            yield Drift(was.model, what, old, new, f"{name}: its {noun} was {old}, and is {new} now")
    for file in sorted({*was.texts, *now.texts}):
        if not older or kind_of(file) in ("license", "use_policy"):
            yield from _text_change(was, name, file, was.texts.get(file), now.texts.get(file))
    if older:
        return
    for id in sorted({*was.ancestors, *now.ancestors}):
        old, new = was.ancestors.get(id, "absent"), now.ancestors.get(id, "absent")
        if old != new and "absent" not in (old, new):  # who the ancestors are is told by the lineage
            text = f"{name}: the card or the license texts of its ancestor {id} have changed"
            yield Drift(was.model, f"ancestor {id}", old[:12], new[:12], text)
    owed = {(one.code, one.text): one.text for one in was.obligations}
    owes = {(one.code, one.text): one.text for one in now.obligations}
    for key in sorted({*owed, *owes}):
        if key not in owes:
            yield Drift(was.model, "obligation", owed[key], "not owed", f"{name}: not owed any more: {owed[key]}")
        elif key not in owed:
            yield Drift(was.model, "obligation", "not owed", owes[key], f"{name}: owed since then: {owes[key]}")


def _text_change(was: LockedModel, name: str, file: str, old: str | None, new: str | None) -> Iterator[Drift]:
    if old == new:
        return
    noun = {CARD: "what its card says of license and ancestors", GATE: "what its gate asks to accept"}.get(file, file)
    change = "is new" if old is None else "is gone" if new is None else "was rewritten"
    if file == CARD:
        change = "has changed"
    yield Drift(was.model, file, (old or "absent")[:12], (new or "absent")[:12], f"{name}: {noun} {change}")


def write(lock: Lock, path: Path) -> None:
    """Write a lock: wholly, or not at all, and then the old one stays. Raises UsageError(code="bad_lock_file")."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **to_json(lock)}, indent=2, ensure_ascii=False)
    files.write_atomically(path, printable_json(text) + "\n", code=_CODE)


def load(path: Path) -> Lock:
    """Read a lock.

    Raises UsageError(code="bad_lock_file") for a file that is not a lock, for one that names no model (it would verify
    whatever happens), and for one of another version, with the command that writes it anew.
    """
    table = files.read_json(path, code=_CODE, fix=_FIX)
    if not isinstance(table, dict):
        raise UsageError(f"{path} is not a lock: it does not contain a JSON object", fix=_FIX, code=_CODE)
    version = table.pop("schema_version", None)
    if type(version) is not int or version != SCHEMA_VERSION:  # True is 1 to Python
        raise _other_version(path, version, table)
    lock = read(Lock, table, str(path), _CODE)
    if not lock.models:
        raise UsageError(f"{path} names no model, so there is nothing to verify", fix=_FIX, code=_CODE)
    return lock


def _other_version(path: Path, version: object, table: Mapping[str, object]) -> UsageError:
    """Why the file is not read, and the command that writes the same lock in this version, as far as it is known."""
    newer = type(version) is int and version > SCHEMA_VERSION
    if newer:
        text = f"{path} was written by a newer modelpick (schema_version {version}; this one reads {SCHEMA_VERSION})"
        return UsageError(text, fix="update modelpick", code=_CODE)
    entries = table.get("models")
    models = [entry.get("model") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    names = [shlex.quote(name) for name in models if isinstance(name, str) and name]
    text = f"{path} has schema_version {version!r}, this modelpick reads {SCHEMA_VERSION}"
    command = f"modelpick lock {' '.join(names)} --output {shlex.quote(str(path))}"
    return UsageError(text, fix=f"write it again with: {command}" if names else _FIX, code=_CODE)
