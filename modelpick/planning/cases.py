"""Estimates by the line: one JSON object each, with `model` and the names of a workload. Pure; streams."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from modelpick.catalog.architecture import Architecture
from modelpick.catalog.model import Model
from modelpick.errors import EXIT_YES, CannotTellError, ModelpickError, UsageError
from modelpick.memory.estimate import GIB, architecture_of, estimate
from modelpick.workload import workload_from

FindModel = Callable[[str], Model | None]
_OWN_NAMES = ("model", "id")  # `id`, when given, comes back in the result


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One line's answer: `body` for `--json` (an `error` object in place of what failed), `line` for a screen."""

    body: dict[str, Any]
    line: str
    exit_code: int


def estimate_cases(lines: Iterable[str], find_model: FindModel) -> Iterator[CaseResult]:
    """An answer for every line that is not blank, in order, as the lines come.

    `find_model` gives the facts of a model id, None when it is not known, or raises a ModelpickError, which becomes the
    line's error. Never raises for a bad line.
    """
    shapes: dict[str, tuple[Model, Architecture]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        asked: str | None = None
        try:
            names = _names(line, number)
            asked = names["model"]
            yield _answer(names, shapes, find_model)
        except ModelpickError as error:
            body = {"model": None, "asked": asked, "line": number, "error": error.as_json()}
            yield CaseResult(body, f"line {number}: {error.message}; {error.fix}", error.exit_code)


def models_named(lines: Iterable[str]) -> list[str]:
    """The models that the lines name, each once, so that they can be looked up together; bad lines name none."""
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        try:
            found[_names(line, number)["model"]] = None
        except UsageError:
            continue
    return list(found)


def _names(line: str, number: int) -> dict[str, Any]:
    try:
        names = json.loads(line)
    except (ValueError, RecursionError) as broken:
        raise UsageError(f"line {number} is not JSON", fix="write one object a line", code="bad_case") from broken
    if not isinstance(names, dict):
        raise UsageError(f"line {number} is not an object", fix='write {"model": ...}', code="bad_case")
    if not isinstance(names.get("model"), str) or not names["model"].strip():
        raise UsageError(f"line {number} names no model", fix='add "model": "org/name"', code="bad_case")
    return names


def _answer(names: dict[str, Any], shapes: dict[str, tuple[Model, Architecture]], find_model: FindModel) -> CaseResult:
    asked = names["model"]
    known = shapes.get(asked)
    if known is None:
        model = find_model(asked)
        if model is None:
            raise CannotTellError(
                f"{asked} is not a model that is known here", fix="check the id", code="unknown_model"
            )
        known = shapes[asked] = (model, architecture_of(model))
    model, architecture = known
    workload = workload_from({key: value for key, value in names.items() if key not in _OWN_NAMES})
    found = estimate(architecture, workload, model.parameters)
    device = found
    if workload.measure != "device":
        device = estimate(architecture, replace(workload, measure="device"), model.parameters)
    body = {"model": model.id, "asked": asked, **found.as_json(), "device_high_gib": device.high / GIB}
    if "id" in names:
        body["id"] = names["id"]
    line = f"{model.id}  {found.total / GIB:.2f} GiB  ({found.low / GIB:.2f} to {found.high / GIB:.2f})"
    return CaseResult(body, line, EXIT_YES)
