"""The job contract (docs/job-contract.md): a job file in, progress.json and result.json out, one exit code.

The machine that runs the job relies only on this contract: start `modelpick finetune --job FILE`, watch progress.json,
send SIGTERM when the machine must go, and read result.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelpick import schema
from modelpick.errors import UsageError
from modelpick.files import read_json
from modelpick.planning.recipe import RunSettings
from modelpick.schema import current_names, read_options
from modelpick.training.finetune import Request
from modelpick.training.records import read_run

SCHEMA_VERSION = 1
_PLANNED = frozenset({"method", "batch", "gradient_accumulation", "gradient_checkpointing"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job file. `settings` are RunSettings by name, not all of them: what is missing is chosen for the device."""

    schema_version: int
    kind: Literal["finetune"]
    settings: Mapping[str, object]
    policy: str | None = None
    reviewed_by: str | None = None
    offline: bool = False


def read_job(file: Path) -> Job:
    """A job file as docs/job-contract.md has it.

    Raises UsageError: "no_file", "broken_json", "unknown_schema" for another version, the code of the setting for a
    value out of its bounds, "bad_job" for anything else.
    """
    table = _read(file)
    if isinstance(table, Mapping) and table.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"the job file has schema_version {table.get('schema_version')!r}, and this modelpick reads "
            f"{SCHEMA_VERSION}",
            fix="write it with the same modelpick that runs it",
            code="unknown_schema",
        )
    job = schema.read(Job, table, str(file), code="bad_job")
    for name in ("model", "data", "output"):
        if not isinstance(job.settings.get(name), str):
            raise UsageError(f"the job's settings lack {name}", fix="see docs/job-contract.md", code="bad_job")
    return replace(job, settings=read_options(RunSettings, job.settings, unknown="unknown_setting"))


def request_from_files(request: Request, *, run_file: str | None = None, job_file: str | None = None) -> Request:
    """Fill a request from a run file or a job file; the request's own settings win.

    A job whose output already holds its run continues it: re-running the command finishes the work. Raises UsageError
    as `read_run` and `read_job` do.
    """
    if run_file is not None:
        record = read_run(Path(run_file))
        options = {**record.settings.as_json(), "output": None}
        return replace(request, settings=_merged(options, request.settings), repeats=record)
    if job_file is None:
        return replace(request, settings=_merged({"output": "run"}, request.settings))
    job = read_job(Path(job_file))
    options = _merged(job.settings, request.settings)
    started = bool(options.get("output")) and (Path(str(options["output"])) / "run.json").is_file()
    return replace(
        request,
        settings={"output": options["output"]} if started else options,
        policy=request.policy or job.policy,
        reviewed_by=request.reviewed_by or job.reviewed_by,
        offline=request.offline or job.offline,
        resume=request.resume or started,
        watched=True,
    )


def planned_from(file: str) -> tuple[Mapping[str, object], ...]:
    """What a plan chose for each size of GPU, as aws.from_plan writes it: settings by name, and `usable_gib`.

    Raises UsageError for a file that is missing, broken, or of another schema_version.
    """
    content = _read(Path(file))
    try:
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError("another schema_version")
        gpus = tuple(current_names(RunSettings, gpu) for gpu in content["gpus"])
        for gpu in gpus:
            chosen = {name: value for name, value in gpu.items() if name != "usable_gib"}
            if not chosen.keys() <= _PLANNED:
                raise ValueError("another setting")
            read_options(RunSettings, chosen, unknown="bad_planned")
            if not gpu["usable_gib"] > 0:
                raise ValueError("usable_gib")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(
            f"{file} does not contain planned settings",
            fix="leave out --planned to have them chosen here",
            code="bad_planned",
        ) from None
    return gpus


def _merged(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    return {**below, **{name: value for name, value in above.items() if value is not None}}


def _read(file: Path) -> Any:
    if not file.exists():
        raise UsageError(f"there is no file {file}", fix="name a file that exists", code="no_file")
    return read_json(file, code="broken_json")
