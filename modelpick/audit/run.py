"""Finds the models of a code base and judges each once. I/O: reads the files, and the Hub unless offline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from modelpick import settings
from modelpick.audit.names import ModelName
from modelpick.audit.scan import Location, Scan, scan
from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.licensing.judge_models import facts_in_force, judge_models, policy_in_force
from modelpick.licensing.outcome import Reason, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement


@dataclass(frozen=True, slots=True)
class Use:
    """A model that the code names, its verdict (or why there is none), and where it is named."""

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

    def as_json(self) -> dict[str, object]:
        """One element of `results`: as of `license --json`, with the locations."""
        asked = self.asked.id if self.asked.revision is None else f"{self.asked.id}@{self.asked.revision}"
        body: dict[str, object]
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
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # file -> what it set of policy and company

    def as_json(self) -> dict[str, object]:
        """The answer of `audit --json`, without the schema version."""
        return {
            "policy": self.policy.as_json(),
            "settings": {file: list(keys) for file, keys in self.settings.items()},
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
    policy: str | Policy | None = None,
    offline: bool = True,
    exclude: Sequence[str] = (),
    docs: bool = False,
) -> Audit:
    """Scan `paths` and judge each distinct model once, in the order in which the files name them.

    Raises UsageError for a bad policy or a path that cannot be looked at; an error about one model is that model's
    answer.
    """
    chosen = policy_in_force(policy)
    catalog, particular = index.load(), facts_in_force().curations

    def known(id: str) -> str | None:
        return catalog.canonical(id) or (particular.canonical(id) if particular.about(id) else None)

    found = scan(paths, known, exclude=exclude, docs=docs)
    asked = list(found.models)
    answers = _judged(asked, chosen, offline) if asked else {}
    uses = [Use(name, answers[name], tuple(found.models[name])) for name in asked]
    return Audit(chosen, _joined(uses), found, _settings_used(None if isinstance(policy, Policy) else policy))


def _settings_used(policy: str | None) -> dict[str, tuple[str, ...]]:
    """Which settings files decided on the policy and the company's facts, and what each of them set.

    Reported, because a pull request may bring a modelpick.toml of its own that loosens the audit of itself.
    """
    used: dict[str, tuple[str, ...]] = {}
    for key, origin in settings.load({"policy": policy}).origins.items():
        of_policy = key == "policy" or key.startswith("company.")
        if of_policy and origin != "default" and not origin.startswith(("--", "MODELPICK_")):
            used[origin] = (*used.get(origin, ()), key)
    return used


def _judged(asked: Sequence[ModelName], policy: Policy, offline: bool) -> dict[ModelName, Judgement | ModelpickError]:
    """An answer for each; where a pinned revision could not be read, what the catalog's facts say, as a review."""

    found = judge_models([_written(name) for name in asked], policy=policy, offline=offline)
    answers = dict(zip(asked, found, strict=True))
    unseen = [name for name, answer in answers.items() if _code(answer) == "revision_unknown"]
    # A Hub that answers for the model itself was reachable, so it has no such revision: that error stays.
    unpinned = judge_models([name.id for name in unseen], policy=policy, offline=offline) if unseen else []
    for name, answer in zip(unseen, unpinned, strict=True):
        if isinstance(answer, Judgement) and answer.revision is None:
            answers[name] = _of_another_revision(name, answer)
    return answers


def _of_another_revision(name: ModelName, answer: Judgement) -> Judgement:
    catalog_says = f"the catalog's facts, of no particular revision, say {answer.verdict.value}"
    text = f"revision {name.revision} was not looked at; {catalog_says}"
    unseen = Reason("revision_not_seen", text, f"revision={name.revision}", Verdict.REVIEW)
    reasons = (*answer.reasons, unseen) if answer.verdict is Verdict.DENY else (unseen, *answer.reasons)
    return replace(answer, verdict=max(answer.verdict, Verdict.REVIEW), reasons=reasons)


def _joined(uses: Sequence[Use]) -> tuple[Use, ...]:
    """One use a model: names that the Hub knows for one repository at one revision are one model."""
    by_model: dict[object, Use] = {}
    for use in uses:
        key = use.asked if isinstance(use.answer, ModelpickError) else (use.answer.model, use.asked.revision)
        first = by_model.get(key)
        by_model[key] = use if first is None else replace(first, locations=first.locations + use.locations)
    return tuple(by_model.values())


def _code(answer: Judgement | ModelpickError) -> str | None:
    return answer.code if isinstance(answer, ModelpickError) else None


def _written(name: ModelName) -> str:
    return name.id if name.revision is None else f"{name.id}@{name.revision}"
