"""The job contract (docs/job-contract.md): a job file in, progress.json and result.json out, one exit code.

Whoever runs the machine knows only this: start `modelpick finetune --job FILE`, watch progress.json, send SIGTERM when
the machine must go, and read result.json.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError, nearest
from modelpick.planning.recipe import RunSettings, run_from_json
from modelpick.schema import current_names, read_options
from modelpick.training.finetune import Request

SCHEMA_VERSION = 1
_PLANNED = frozenset({"method", "batch", "gradient_accumulation", "gradient_checkpointing"})
_KEYS = ("schema_version", "kind", "settings", "policy", "reviewed_by", "offline")


def request_from_files(request: Request, *, run_file: str | None = None, job_file: str | None = None) -> Request:
    """Fill a request from a run file or a job file; what was said on the command line wins.

    A job whose output already holds its run continues it: the same command again finishes the work. Raises UsageError
    for a file that is missing, broken, or of another schema_version.
    """
    if run_file is not None:
        record = _read(Path(run_file))
        earlier = run_from_json(record).as_json()
        return replace(request, given=_merged({**earlier, "output": None}, request.given), repeats=record)
    if job_file is None:
        return replace(request, given=_merged({"output": "run"}, request.given))
    job = _read(Path(job_file))
    check(job)
    given = _merged(read_options(RunSettings, job["settings"], unknown="unknown_setting"), request.given)
    started = bool(given.get("output")) and (Path(given["output"]) / "run.json").is_file()
    return replace(
        request,
        given={"output": given["output"]} if started else given,
        policy=request.policy or job.get("policy"),
        reviewed_by=request.reviewed_by or job.get("reviewed_by"),
        offline=request.offline or bool(job.get("offline")),
        resume=request.resume or started,
        watched=True,
    )


def planned_from(file: str) -> tuple[Mapping[str, Any], ...]:
    """What a plan settled for each size of GPU, as from_plan writes it: settings by name, and `usable_gib`.

    Raises UsageError for a file that is missing, broken, or of another schema_version.
    """
    content = _read(Path(file))
    try:
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError("another schema_version")
        gpus = tuple(current_names(RunSettings, one) for one in content["gpus"])
        for one in gpus:
            settled = {name: value for name, value in one.items() if name != "usable_gib"}
            if not settled.keys() <= _PLANNED:
                raise ValueError("another setting")
            read_options(RunSettings, settled, unknown="bad_planned")
            if not one["usable_gib"] > 0:
                raise ValueError("usable_gib")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(
            f"{file} is not what a plan settled", fix="leave out --planned: it is chosen here", code="bad_planned"
        ) from None
    return gpus


def check(job: Any) -> None:
    """Refuse a job that is not as docs/job-contract.md says. Raises UsageError."""
    if not isinstance(job, Mapping):
        raise UsageError("the job file is no JSON object", fix="see docs/job-contract.md", code="bad_job")
    if job.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"the job file has schema_version {job.get('schema_version')!r}, and this modelpick reads {SCHEMA_VERSION}",
            fix="write it with the same modelpick that runs it",
            code="unknown_schema",
        )
    for key in job:
        if key not in _KEYS:
            raise UsageError(
                f"unknown key {key!r} in the job file",
                fix=nearest(key, _KEYS) or "see docs/job-contract.md",
                code="bad_job",
            )
    if job.get("kind") != "finetune" or not isinstance(job.get("settings"), Mapping):
        raise UsageError(
            'a job needs "kind": "finetune" and "settings"', fix="see docs/job-contract.md", code="bad_job"
        )
    for name in ("model", "data", "output"):
        if not isinstance(job["settings"].get(name), str):
            raise UsageError(f"the job's settings name no {name}", fix="see docs/job-contract.md", code="bad_job")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {**below, **{name: value for name, value in above.items() if value is not None}}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UsageError(f"{path} cannot be read", fix="name a file that exists", code="no_file") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}", fix="write it again", code="broken_json") from None
