"""Where a run is recorded in addition to its own folder: MLflow or DagsHub, through the integrations transformers has.

The run's own folder is always written, so a tracking server may be refused before a run, but never ends one.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelpick.errors import RemoteError, UsageError, first_line
from modelpick.extras import require
from modelpick.files import read_json, write_atomically

if TYPE_CHECKING:
    from transformers import TrainerCallback

EXPERIMENT = "modelpick"
RECORD = "tracking.json"  # in the run folder: which MLflow run it is
_STATUS = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_SMALL_FILES = ("run.json", "result.json", "loss.svg", "metrics.jsonl", "answers.jsonl")
# No telemetry, nothing on stdout but the answer, and a dead server costs seconds, not MLflow's minutes.
_MANNERS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DAGSHUB_DISABLE_ANALYTICS": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "DAGSHUB_QUIET": "1",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def check(track: str | None) -> None:
    """Refuse a tracking option that cannot work, before anything heavy starts; sets its variables.

    Raises UsageError for an unknown option or a missing token, RemoteError for a server that does not answer.
    """
    if track is None:
        return
    kind, _, where = track.partition(":")
    if kind not in ("mlflow", "dagshub"):
        raise UsageError(
            f"unknown tracking {track.partition(':')[0]!r}",
            fix="use mlflow, mlflow:URI or dagshub:OWNER/REPOSITORY",
            code="unknown_tracking",
        )
    if kind == "mlflow" and "@" in urlsplit(where).netloc:
        raise UsageError(
            "the tracking address holds a password, which run.json would keep",
            fix="put it into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            code="secret_in_option",
        )
    if kind == "dagshub" and len([part for part in where.split("/") if part]) != 2:
        raise UsageError(
            f"{track!r} does not name a repository", fix="use dagshub:OWNER/REPOSITORY", code="bad_tracking"
        )
    require("track", "mlflow", *(["dagshub"] if kind == "dagshub" else []))
    if kind == "dagshub" and not os.environ.get("DAGSHUB_USER_TOKEN"):
        raise UsageError("DagsHub needs a token", fix="set DAGSHUB_USER_TOKEN, never an option", code="no_token")
    _set(environment(track))
    _reach(track)


def environment(track: str) -> dict[str, str]:
    """The variables that transformers' callbacks read. Tokens are not among them: they stay where the user keeps them.

    DagsHub's MLflow endpoint is its repository's address with `.mlflow` (DagsHub's documentation); its host is
    DAGSHUB_CLIENT_HOST, as its own client reads it.
    """
    kind, _, where = track.partition(":")
    names = {"MLFLOW_EXPERIMENT_NAME": EXPERIMENT, **_MANNERS}
    if kind == "dagshub":
        host = os.environ.get("DAGSHUB_CLIENT_HOST", "https://dagshub.com").rstrip("/")
        names["MLFLOW_TRACKING_URI"] = f"{host}/{where.strip('/')}.mlflow"
    elif where:
        names["MLFLOW_TRACKING_URI"] = where
    else:
        names["MLFLOW_TRACKING_URI"] = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    return names


def callbacks(track: str | None, output: Path, note: Callable[[str], None]) -> "list[TrainerCallback]":
    """The tracking callback of one option, none without it. Its variables are set for this process.

    The MLflow run is named in the run folder, and continued by whatever continues the run there. `note` is called once
    when the server stops taking what it is sent; training goes on.
    """
    if track is None:
        return []
    from transformers.integrations import DagsHubCallback, MLflowCallback

    _set(environment(track))
    base = DagsHubCallback if track.startswith("dagshub") else MLflowCallback
    return [_forgiving(base, output / RECORD, note)()]


@contextmanager
def ended(track: str | None) -> Iterator[Callable[[str], None]]:
    """Records in the MLflow run how the run ended. Call what is yielded with the status of result.json."""
    statuses = ["failed"]
    try:
        yield statuses.append
    finally:
        if track is not None:
            _end(_STATUS[statuses[-1]])


def log_results(
    track: str | None, results: Mapping[str, float], output: Path, data: Path, note: Callable[[str], None]
) -> None:
    """Add the before/after figures and the run's small files; on DagsHub also the data and the result itself.

    transformers' own upload would send DagsHub every checkpoint with its optimizer, and none of these.
    """
    if track is None:
        return
    import mlflow

    try:
        run = _run_of(output / RECORD)
        if run is not None:
            client = mlflow.MlflowClient()
            for name, value in results.items():
                client.log_metric(run, name, value)
            for file in _SMALL_FILES:
                if (output / file).is_file():
                    client.log_artifact(run, str(output / file))
        if track.startswith("dagshub"):
            _upload(track.partition(":")[2], output, data)
    except Exception as error:  # whatever the server or its client does, the result is already on disk
        note(f"tracking: not all of the result was recorded ({first_line(error)})")


def _upload(repository: str, output: Path, data: Path) -> None:
    from dagshub.upload import Repo

    owner, name = repository.strip("/").split("/")
    repo: Any = Repo(owner, name, branch=os.environ.get("BRANCH", "main"))
    message = f"modelpick: {output.name}"
    repo.upload(str(data), remote_path=f"data/{data.name}", commit_message=message, versioning="dvc")
    repo.directory(f"runs/{output.name}").add_dir(
        str(output), glob_exclude="*/checkpoints/*", commit_message=message, versioning="dvc"
    )


def _forgiving(base: type, file: Path, note: Callable[[str], None]) -> type:
    """`base`, which continues the run named in `file`. The first event that fails is reported, and is the last."""

    def careful(name: str, does: Callable[..., None]) -> Callable[..., None]:
        def event(self: Any, args: Any, state: Any, control: Any, **names: Any) -> None:
            if self.lost:
                return
            try:
                does(self, args, state, control, **names)
            except Exception as error:
                self.lost = True
                note(f"tracking: connection lost at {name} ({first_line(error)}); the run folder has everything")

        return event

    def setup(self: Any, *args: Any, **names: Any) -> None:
        import mlflow

        known = _run_to_continue(file, note)
        # MLflow refuses other values of a parameter it has: those of the first life stand.
        with _while_set({"MLFLOW_RUN_ID": known, "MLFLOW_MAX_LOG_PARAMS": "0"} if known else {}):
            base.setup(self, *args, **names)  # type: ignore[attr-defined]
        run: Any = mlflow.active_run()
        write_atomically(file, json.dumps({"schema_version": 1, "mlflow_run_id": run.info.run_id}) + "\n")

    def on_save(self: Any, *args: Any, **names: Any) -> None:
        import mlflow

        base.on_save(self, *args, **names)  # type: ignore[attr-defined]
        mlflow.flush_async_logging()  # what a checkpoint holds is not logged a second time: it must have arrived

    events = {name: careful(name, getattr(base, name)) for name in ("on_train_begin", "on_log")}
    events["on_save"] = careful("on_save", on_save)
    # The run is ended by `ended`, once its before and after are known; transformers' __del__ would end whichever run
    # is active when it is collected.
    silent = dict.fromkeys(("on_train_end", "__del__"), lambda *args, **names: None)
    return type(f"Forgiving{base.__name__}", (base,), {"lost": False, "setup": setup, **events, **silent})


def _run_to_continue(file: Path, note: Callable[[str], None]) -> str | None:
    """The MLflow run of this run folder, unless it is no longer on the server; one still open here is ended first."""
    import mlflow
    from mlflow.exceptions import MlflowException

    known = _run_of(file)
    if known is None:
        return None
    try:
        stage = mlflow.MlflowClient().get_run(known).info.lifecycle_stage
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        stage = "deleted"
    if stage != "active":
        note(f"tracking: run {known} is no longer there; the rest is recorded in a new one")
        return None
    active = mlflow.active_run()
    if active is not None and active.info.run_id == known:
        mlflow.end_run("RUNNING")  # this process begins again with a smaller micro-batch
    return known


def _run_of(file: Path) -> str | None:
    try:
        return str(read_json(file, code="bad_tracking_record")["mlflow_run_id"])
    except (UsageError, KeyError, TypeError):
        return None


def _end(status: str) -> None:
    import mlflow

    with suppress(Exception):  # a lost server has already been reported
        if mlflow.active_run() is not None:
            mlflow.end_run(status)


@contextmanager
def _while_set(names: Mapping[str, str]) -> Iterator[None]:
    """Variables that transformers' callback reads once, put back afterwards."""
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _reach(track: str) -> None:
    """Ask the server one small thing, and DagsHub whose token it is: MLflow there takes that name and the token."""
    import mlflow

    try:
        if track.startswith("dagshub"):
            from dagshub.common.api import UserAPI

            token = os.environ["DAGSHUB_USER_TOKEN"]
            host = os.environ.get("DAGSHUB_CLIENT_HOST", "https://dagshub.com")
            os.environ["MLFLOW_TRACKING_USERNAME"] = UserAPI.get_user_from_token(token, host=host).username
            os.environ["MLFLOW_TRACKING_PASSWORD"] = token
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:  # httpx, requests, sqlalchemy and MLflow each have their own
        raise RemoteError(
            f"tracking at {os.environ['MLFLOW_TRACKING_URI']} does not answer: {first_line(error)}",
            fix="check that the server runs and the token is right, or leave out --track",
            code="tracking_silent",
        ) from None


def _set(names: Mapping[str, str]) -> None:
    """Set variables for this process; all but the address give way to what the user has set."""
    for name, value in names.items():
        os.environ[name] = value if name == "MLFLOW_TRACKING_URI" else os.environ.get(name, value)
