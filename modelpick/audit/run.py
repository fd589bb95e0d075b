"""Finds the models of a code base and judges each once. I/O: reads the files, and the Hub unless offline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache

from modelpick import settings
from modelpick.audit import rules
from modelpick.audit.baseline import named_before
from modelpick.audit.names import KnownNames, ModelName, family_words
from modelpick.audit.scan import Location, Scan, scan
from modelpick.audit.walk import UNREAD
from modelpick.catalog import index
from modelpick.errors import ModelpickError
from modelpick.licensing import license_check
from modelpick.licensing.judge_models import facts_in_force, judge_models, policy_in_force
from modelpick.licensing.outcome import Reason, Verdict
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement

_A_FAMILY = 3  # as many models of the catalog begin with the word of a family; fewer may be a name of anything


@dataclass(frozen=True, slots=True)
class Use:
    """A model that the code names, its verdict (or why there is none), and where it is named."""

    asked: ModelName
    answer: Judgement | ModelpickError
    locations: tuple[Location, ...]
    before: bool = False  # it was named at the baseline, with no better verdict

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
            "named_before": self.before,
            "locations": [location.as_json() for location in self.locations],
        }


@dataclass(frozen=True, slots=True)
class DataUse:
    """A data set that the code names, what the policy says of it and why, and where it is named."""

    id: str
    verdict: Verdict
    reasons: tuple[str, ...]
    locations: tuple[Location, ...]

    @property
    def restricted(self) -> bool:
        """Whether something is known against it; where nothing is, its terms may not have been read."""
        return self.verdict is not Verdict.ALLOW

    def as_json(self) -> dict[str, object]:
        """One element of `datasets`."""
        return {
            "dataset": self.id,
            "verdict": self.verdict.value if self.restricted else None,
            "reasons": list(self.reasons),
            "locations": [location.as_json() for location in self.locations],
        }


@dataclass(frozen=True, slots=True)
class LeftAside:
    """Models that were not judged because somebody said so: `own` ones, and those to `ignore`."""

    own: Mapping[ModelName, tuple[Location, ...]] = field(default_factory=dict)
    ignored: Mapping[ModelName, tuple[Location, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Audit:
    """What a code base uses, under a policy."""

    policy: Policy
    uses: tuple[Use, ...]
    scan: Scan
    data: tuple[DataUse, ...] = ()
    aside: LeftAside = LeftAside()
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # file -> what it set of this audit

    @property
    def unread(self) -> Mapping[str, int]:
        """How many files are in languages that no reader knows, by ending."""
        reasons = (one.reason for one in self.scan.skipped if one.reason.startswith(UNREAD))
        return Counter(reason.removeprefix(UNREAD).partition(" ")[0] for reason in reasons)

    def as_json(self) -> dict[str, object]:
        """The answer of `audit --json`, without the schema version."""
        return {
            "policy": self.policy.as_json(),
            "settings": {file: list(keys) for file, keys in self.settings.items()},
            "results": [use.as_json() for use in self.uses],
            "datasets": [use.as_json() for use in self.data],
            "own": _named_places(self.aside.own),
            "ignored": [*_named_places(self.aside.ignored), *({"locations": [x.as_json()]} for x in self.scan.ignored)],
            "unread": dict(self.unread),
            "files": self.scan.files,
            "unresolved": [place.as_json() for place in self.scan.unresolved],
            "skipped": [{"path": one.path, "reason": one.reason} for one in self.scan.skipped],
            "assumptions": [
                "a string is a model id where a model id stands, when the catalog knows it, or when it reads as one; "
                "comments are not read",
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
    ignore: Sequence[str] = (),
    own: Sequence[str] = (),
    since: str | None = None,
) -> Audit:
    """Scan `paths` and judge each distinct model once, in the order in which the files name them.

    `own` and `ignore` are globs over ids that are not judged, besides those of the settings: the company's own models,
    and what is named but not used. `since` is a baseline (baseline.named_before).
    Raises UsageError for a bad policy or baseline, or a path that cannot be looked at; an error about one model is that
    model's answer.
    """
    chosen, known = policy_in_force(policy), known_names()
    before = named_before(since, paths, known) if since is not None else {}
    found = scan(paths, known, exclude=exclude, docs=docs)
    set_up = settings.load()
    aside = LeftAside(
        own=_matching(found.models, (*own, *set_up.audit_own)),
        ignored=_matching(found.models, (*ignore, *set_up.audit_ignore)),
    )
    asked = [name for name in found.models if name not in aside.own and name not in aside.ignored]
    answers = _judged(asked, chosen, offline) if asked else {}
    uses = _joined([Use(name, answers[name], tuple(found.models[name])) for name in asked])
    return Audit(
        chosen,
        tuple(replace(use, before=_was_there(use, before)) for use in uses),
        found,
        tuple(_data_use(id, places, chosen) for id, places in found.data_sets.items()),
        aside,
        _settings_used(None if isinstance(policy, Policy) else policy),
    )


def _matching(found: Mapping[ModelName, list[Location]], globs: Sequence[str]) -> dict[ModelName, tuple[Location, ...]]:
    low = [glob.lower() for glob in globs]
    return {
        name: tuple(places) for name, places in found.items() if any(fnmatchcase(name.id.lower(), glob) for glob in low)
    }


def _was_there(use: Use, before: Mapping[str, Verdict | None]) -> bool:
    """Whether a model was named at the baseline and its verdict has not become worse since."""
    if _written(use.asked) not in before:
        return False
    then = before[_written(use.asked)]
    return then is None or isinstance(use.answer, ModelpickError) or use.answer.verdict <= then


def _data_use(id: str, places: Sequence[Location], policy: Policy) -> DataUse:
    verdict, reasons = license_check.judge_sources([id], policy)
    return DataUse(id, verdict, reasons, tuple(places))


def _named_places(named: Mapping[ModelName, tuple[Location, ...]]) -> list[dict[str, object]]:
    return [
        {"asked": _written(name), "locations": [place.as_json() for place in places]} for name, places in named.items()
    ]


@cache
def known_names() -> KnownNames:
    """What the catalog and the license facts know of names."""
    catalog, facts = index.load(), facts_in_force()
    particular, words = facts.curations, rules.load().words

    def known(id: str) -> str | None:
        return catalog.canonical(id) or (particular.canonical(id) if particular.about(id) else None)

    organisations = {id.partition("/")[0] for id in catalog.models if "/" in id}
    first_words = Counter(
        word for id in catalog.models for word in family_words(id.rpartition("/")[2].partition("-")[0])
    )
    return KnownNames(
        model=known,
        publishers=words["publishers"] | organisations,
        families=words["families"] | {word for word, count in first_words.items() if count >= _A_FAMILY},
        data_sets=frozenset(row.id.lower() for row in facts.datasets if "*" not in row.id),
    )


def _settings_used(policy: str | None) -> dict[str, tuple[str, ...]]:
    """Which settings files decided on the policy and the company's facts, and what each of them set.

    Reported, because a pull request may bring a modelpick.toml of its own that loosens the audit of itself.
    """
    used: dict[str, tuple[str, ...]] = {}
    for key, origin in settings.load({"policy": policy}).origins.items():
        of_policy = key in ("policy", "audit_own", "audit_ignore") or key.startswith("company.")
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
