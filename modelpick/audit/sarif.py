"""An audit as SARIF 2.1.0 (OASIS standard), as code hosts and editors read it. Pure."""

from hashlib import sha256
from pathlib import PurePath
from urllib.parse import quote

from modelpick import __version__
from modelpick.audit.run import Audit, Use
from modelpick.audit.scan import Location

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_RULES = (
    # word of a use, rule id, SARIF level, title, what to do
    ("deny", "license-deny", "error", "The policy denies this model", "Replace the model, or change the policy."),
    ("review", "license-review", "warning", "A human must decide about this model",
     "Read the evidence; record the decision with `modelpick policy approve`."),
    ("error", "license-not-known", "warning", "This model could not be looked up",
     "Look it up with a reachable Hub, or correct the id."),
    ("conditions", "license-conditions", "note", "This model comes with obligations",
     "Do what `modelpick license` lists for it."),
)  # fmt: skip


def as_sarif(audit: Audit, here: PurePath | None = None) -> dict[str, object]:
    """One run; a result for each place of each model that is not simply allowed. Paths below `here` become relative."""
    indexes = {word: index for index, (word, *_) in enumerate(_RULES)}
    results = [
        _result(use, location, indexes[use.word], here)
        for use in audit.uses
        if use.word in indexes
        for location in use.locations
    ]
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "modelpick", "version": __version__, "rules": [_rule(*row) for row in _RULES]}
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
                "properties": {"policy": audit.policy.name, "policySha256": audit.policy.sha256},
            }
        ],
    }


def _rule(word: str, id: str, level: str, title: str, todo: str) -> dict[str, object]:
    return {
        "id": id,
        "name": "".join(part.capitalize() for part in id.split("-")),
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}: the verdict is {word}."},
        "help": {"text": todo},
        "defaultConfiguration": {"level": level},
    }


def _result(use: Use, location: Location, index: int, here: PurePath | None) -> dict[str, object]:
    _, id, level, _, _ = _RULES[index]
    name = use.asked.id if use.asked.revision is None else f"{use.asked.id}@{use.asked.revision}"
    return {
        "ruleId": id,
        "ruleIndex": index,
        "level": level,
        "message": {"text": f"{name}: {use.word}. {use.why}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(PurePath(location.path), here),
                    "region": {
                        "startLine": location.line,
                        "startColumn": location.column,
                        "endColumn": location.column + len(location.written),
                    },
                }
            }
        ],
        # Stable while lines move: the same model in the same file is the same finding.
        "partialFingerprints": {"modelAndPath/v1": sha256(f"{name} {location.path} {id}".encode()).hexdigest()},
        "properties": {"model": name, "verdict": use.word, "how": location.how},
    }


def _artifact(path: PurePath, here: PurePath | None) -> dict[str, str]:
    if here is not None and path.is_relative_to(here):
        path = path.relative_to(here)
    return {"uri": path.as_uri() if path.is_absolute() else quote(path.as_posix())}
