"""Finds the models of a code base and judges each once. I/O: reads the files, and the Hub unless offline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelpick.audit.names import ModelName
from modelpick.audit.scan import Location, Scan, scan
from modelpick.errors import ModelpickError, RemoteError
from modelpick.licensing.outcome import Reason, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Use:
    """A model that the code names, what was judged of it (or why it could not be), and where it stands."""

    asked: ModelName
    answer: Judgement | ModelpickError
    locations: tuple[Location, ...]

    @property
    def word(self) -> str:
        """The verdict, or `error`."""
        return "error" if isinstance(self.answer, ModelpickError) else self.answer.verdict.value

    @property
    def why(self) -> str:
        """The reason that decided, in a sentence."""
        if isinstance(self.answer, ModelpickError):
            return f"{self.answer.message}; {self.answer.fix}"
        deciding = [reason for reason in self.answer.reasons if reason.verdict == self.answer.verdict]
        return "; ".join(f"{reason.text} [{reason.code}]" for reason in deciding[:2]) or "no reason was given"

    def as_json(self) -> dict[str, Any]:
        """One element of `results`: as of `license --json`, with the locations."""
        asked = self.asked.id if self.asked.revision is None else f"{self.asked.id}@{self.asked.revision}"
        body: dict[str, Any]
        if isinstance(self.answer, ModelpickError):
            body = {"model": None, "error": self.answer.as_json()}
        else:
            body = self.answer.as_json()
        return {
            **body,
            "asked": asked,
            "revision_asked": self.asked.revision,
            "locations": [location.as_json() for location in self.locations],
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """What a code base uses, under a policy."""

    policy: Policy
    uses: tuple[Use, ...]
    scan: Scan

    def as_json(self) -> dict[str, Any]:
        """The answer of `audit --json`, without the schema version."""
        return {
            "policy": self.policy.as_json(),
            "results": [use.as_json() for use in self.uses],
            "files": self.scan.files,
            "unresolved": [place.as_json() for place in self.scan.unresolved],
            "skipped": [{"path": one.path, "reason": one.reason} for one in self.scan.skipped],
            "assumptions": [
                "a string is a model id where a model id stands, or when the catalog knows it; comments are not read",
                "names are followed within one file; a model chosen at run time is listed as unresolved, not judged",
                "not legal advice: the evidence is listed so that counsel can check it",
            ],
            "sources": [],
        }


def audit(
    paths: Sequence[str],
    *,
    policy: str | None = None,
    offline: bool = True,
    exclude: Sequence[str] = (),
    docs: bool = False,
) -> Audit:
    """Scan `paths` and judge each distinct model once, in the order in which the files name them.

    Raises UsageError for a bad policy or a path that cannot be looked at; what goes wrong with one model is its answer.
    """
    from modelpick import api
    from modelpick.catalog import index

    chosen = api.policy(policy)
    catalog = index.load()
    found = scan(paths, catalog.canonical, exclude=exclude, docs=docs)
    asked = list(found.models)
    answers = api.judge_many([_written(name) for name in asked], policy=policy, offline=offline) if asked else []
    uses = [
        Use(name, _of_any_revision(name, answer, policy, offline), tuple(found.models[name]))
        for name, answer in zip(asked, answers, strict=True)
    ]
    return Audit(chosen, tuple(uses), found)


def _written(name: ModelName) -> str:
    return name.id if name.revision is None else f"{name.id}@{name.revision}"


def _of_any_revision(
    name: ModelName, answer: Judgement | ModelpickError, policy: str | None, offline: bool
) -> Judgement | ModelpickError:
    """For a pinned revision that nobody could look at: what the catalog's facts say, and never better than review."""
    from modelpick import api

    if name.revision is None or not isinstance(answer, RemoteError):
        return answer
    unpinned = api.judge_many([name.id], policy=policy, offline=True)[0]
    if isinstance(unpinned, ModelpickError) or (answer.code != "revision_unknown" and not offline):
        return answer
    said = f"the catalog's facts, of no particular revision, say {unpinned.verdict.value}"
    text = f"revision {name.revision} was not looked at; {said}"
    unseen = Reason("revision_not_seen", text, f"revision={name.revision}", Verdict.REVIEW)
    verdict = max(unpinned.verdict, Verdict.REVIEW)
    reasons = (*unpinned.reasons, unseen) if unpinned.verdict is Verdict.DENY else (unseen, *unpinned.reasons)
    return replace(unpinned, verdict=verdict, reasons=reasons)
