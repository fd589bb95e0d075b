"""Freezes what was decided (commit, license texts, verdict, policy) and says what has changed since.

`lock_of` and `drift` are pure; `write` and `load` are the file, modelpick.lock.json: sorted, one entry a model, so that
a change is a readable diff.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelpick.catalog.model import Model
from modelpick.errors import UsageError
from modelpick.licensing.file_evidence import is_terms
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement
from modelpick.schema import read

SCHEMA_VERSION = 1
FILE = "modelpick.lock.json"


@dataclass(frozen=True, slots=True)
class Locked:
    """One model as it was decided: commit, SHA-256 of each file of terms, licenses, verdict and ancestors."""

    model: str
    verdict: Verdict
    licenses: tuple[str, ...]
    texts: Mapping[str, str]
    lineage: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    revision: str | None = None  # None: the embedded catalog's facts, which know no commit


@dataclass(frozen=True, slots=True)
class Lock:
    """All models that were frozen together, and the policy they were judged by."""

    policy: str
    policy_sha256: str
    models: tuple[Locked, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that changed: of which model (or the policy), what, from what, to what."""

    model: str
    what: str
    was: str
    now: str

    @property
    def text(self) -> str:
        """The change in one sentence."""
        return f"{self.model}: {self.what} was {self.was}, is {self.now}"

    def as_json(self) -> dict[str, str]:
        """For `verify --json`."""
        return {**asdict(self), "text": self.text}


def locked(model: Model, answer: Judgement) -> Locked:
    """One model's entry. The texts are those of the license files and use policies, not of the card."""
    texts = {name: _digest(text) for name, text in sorted(model.texts.items()) if is_terms(name)}
    return Locked(
        model=answer.model,
        revision=answer.revision,
        verdict=answer.verdict,
        licenses=tuple(sorted(answer.license_ids)),
        texts=texts,
        lineage=tuple(f"{step.model}: {step.license}" for step in answer.lineage),
        reasons=tuple(sorted({reason.code for reason in answer.reasons})),
    )


def lock_of(answers: Iterable[tuple[Model, Judgement]], policy: Policy) -> Lock:
    """The lock of several models, sorted by id."""
    entries = sorted((locked(model, answer) for model, answer in answers), key=lambda one: one.model.lower())
    return Lock(policy.name, policy.sha256, tuple(entries))


def drift(before: Lock, after: Lock) -> tuple[Drift, ...]:
    """What changed between two locks. A changed commit alone is a change: its files may say something else."""
    found = []
    if before.policy_sha256 != after.policy_sha256:
        found.append(
            Drift(f"policy {before.policy}", "sha256", _short(before.policy_sha256), _short(after.policy_sha256))
        )
    now = {one.model.lower(): one for one in after.models}
    for was in before.models:
        found += _changes(was, now[was.model.lower()]) if was.model.lower() in now else [_gone(was)]
    return tuple(found)


def _changes(was: Locked, now: Locked) -> Sequence[Drift]:
    pairs: list[tuple[str, object, object]] = [
        ("verdict", was.verdict.value, now.verdict.value),
        ("revision", was.revision or "not known", now.revision or "not known"),
        ("licenses", ", ".join(was.licenses) or "none", ", ".join(now.licenses) or "none"),
        ("lineage", "; ".join(was.lineage) or "none", "; ".join(now.lineage) or "none"),
    ]
    names = sorted({*was.texts, *now.texts})
    pairs += [(name, _short(was.texts.get(name, "absent")), _short(now.texts.get(name, "absent"))) for name in names]
    return [Drift(was.model, what, str(old), str(new)) for what, old, new in pairs if old != new]


def _gone(was: Locked) -> Drift:
    return Drift(was.model, "model", "there", "not found")


def write(lock: Lock, path: Path) -> None:
    """Write a lock. Raises UsageError where it cannot."""
    table = {"schema_version": SCHEMA_VERSION, **asdict(lock)}
    try:
        path.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise _bad(f"{path} cannot be written: {error.strerror}", "name a file you may write") from error


def load(path: Path) -> Lock:
    """Read a lock. Raises UsageError for a file that is none, or of a version this modelpick does not read."""
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(f"{path} cannot be read: {error.strerror}", "write one with: modelpick lock MODEL...") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"{path} is not JSON", "write it again with: modelpick lock MODEL...") from error
    version = table.pop("schema_version", None) if isinstance(table, dict) else None
    if version != SCHEMA_VERSION:
        raise _bad(f"{path} has schema_version {version!r}", "write it again with: modelpick lock MODEL...")
    models = table.get("models")
    if isinstance(models, list):
        table["models"] = [_without_nulls(entry) for entry in models]
    return read(Lock, table, str(path), "bad_lock_file")


def _without_nulls(entry: Any) -> Any:
    """An absent commit is written as null, and read as absent."""
    return {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry


def _digest(text: str) -> str:
    """SHA-256 of a text; line ends do not matter, since a checkout may change them."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")).hexdigest()


def _short(digest: str) -> str:
    return digest[:12]


def _bad(message: str, fix: str) -> UsageError:
    return UsageError(message, fix=fix, code="bad_lock_file")
