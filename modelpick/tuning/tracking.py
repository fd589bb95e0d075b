"""Where a run is recorded besides its own folder: MLflow or DagsHub, through the integrations transformers has."""

import os
from typing import TYPE_CHECKING, Any

from modelpick.errors import UsageError
from modelpick.tuning.extra import require

if TYPE_CHECKING:
    from transformers import TrainerCallback

EXPERIMENT = "modelpick"


def check(track: str | None) -> None:
    """Refuse a tracking option that cannot work, before anything heavy starts."""
    if track is None:
        return
    kind, _, where = track.partition(":")
    if kind not in ("mlflow", "dagshub"):
        raise UsageError(
            f"unknown tracking {track!r}",
            fix="use mlflow, mlflow:URI or dagshub:OWNER/REPOSITORY",
            code="unknown_tracking",
        )
    require("track", "mlflow", *(["dagshub"] if kind == "dagshub" else []))
    if kind == "dagshub" and len([part for part in where.split("/") if part]) != 2:
        raise UsageError(f"{track!r} names no repository", fix="use dagshub:OWNER/REPOSITORY", code="bad_tracking")


def environment(track: str) -> dict[str, str]:
    """The variables that transformers' callbacks read. Tokens are not among them: they stay where the user keeps them.

    DagsHub's MLflow endpoint is `https://dagshub.com/OWNER/REPOSITORY.mlflow` (DagsHub's documentation); its
    callback uploads the run folder to the repository too.
    """
    kind, _, where = track.partition(":")
    names = {"MLFLOW_EXPERIMENT_NAME": EXPERIMENT}
    if kind == "dagshub":
        names["MLFLOW_TRACKING_URI"] = f"https://dagshub.com/{where}.mlflow"
        names["HF_DAGSHUB_LOG_ARTIFACTS"] = "TRUE"
    elif where:
        names["MLFLOW_TRACKING_URI"] = where
    else:
        names["MLFLOW_TRACKING_URI"] = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    return names


def callbacks(track: str | None) -> "list[TrainerCallback]":
    """The tracking callback of one option, none without it. Its variables are set for this process."""
    if track is None:
        return []
    check(track)
    from transformers.integrations import DagsHubCallback, MLflowCallback

    for name, value in environment(track).items():
        os.environ[name] = value if name == "MLFLOW_TRACKING_URI" else os.environ.get(name, value)
    return [DagsHubCallback() if track.startswith("dagshub") else MLflowCallback()]


def log_results(track: str | None, results: dict[str, float], files: list[str]) -> None:
    """Add the before/after figures and the small files to the run that the callback opened, and has ended by now."""
    if track is None:
        return
    import mlflow

    run: Any = mlflow.last_active_run()
    if run is None:
        return
    client = mlflow.MlflowClient()
    for name, value in results.items():
        client.log_metric(run.info.run_id, name, value)
    for file in files:
        client.log_artifact(run.info.run_id, file)
