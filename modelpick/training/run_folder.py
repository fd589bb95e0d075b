"""The output folder of a run: made, continued, taken away again, and what would make it another run."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelpick.datasets.split import Data, base_sha256
from modelpick.errors import UsageError
from modelpick.files import write_atomically
from modelpick.licensing.license_check import Permission
from modelpick.planning.choose import Choice
from modelpick.planning.recipe import SCHEMA_VERSION, Halving, RunSettings, halvings_of, settings_from
from modelpick.training import checkpoints
from modelpick.training.checkpoints import TrainingStoppedError


def versions() -> dict[str, str]:
    """Of everything that decides the bits of a run."""
    return {name: version(name) for name in ("modelpick", "torch", "transformers", "peft", "trl", "bitsandbytes")}


def differences(record: Mapping[str, Any] | None) -> list[str]:
    """What keeps a run that is continued or repeated from the same bits, as far as versions tell."""
    now = versions()
    was = (record or {}).get("versions", {})
    changed = [f"{name} {was[name]} -> {now[name]}" for name in now if name in was and was[name] != now[name]]
    return [f"versions differ from that run's, so may the last bits: {', '.join(changed)}"] if changed else []


_PLACES = ("model", "data", "eval_data")  # settings that name a file or a folder


def with_absolute_paths(given: dict[str, Any]) -> dict[str, Any]:
    """Files and folders by their whole path: a run is continued, repeated and served from anywhere."""
    here = {name: os.path.abspath(given[name]) for name in _PLACES if given.get(name)}
    return {**given, **{name: path for name, path in here.items() if os.path.exists(path)}}


def refuse_existing(output: Path, *, resume: bool) -> None:
    """Refuse an output folder that already holds something, unless this is the continuation of its run.

    Raises UsageError(code="output_exists"), or code="nothing_to_resume" when there is no run to continue.
    """
    run = output / "run.json"
    if resume and not run.is_file():
        raise UsageError(f"{output} holds no run to resume", fix="leave out --resume", code="nothing_to_resume")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file", fix="name another folder with --output", code="output_exists")
    if not resume and output.is_dir() and any(_blocks_a_run(path.name) for path in output.iterdir()):
        fix = (
            "continue it with --resume, or name another with --output"
            if run.is_file()
            else "name another with --output"
        )
        raise UsageError(f"{output} exists and is not empty", fix=fix, code="output_exists")


def _blocks_a_run(name: str) -> bool:
    """Whether a file belongs to a run or a result: the heartbeat and half-written files of a killed start do not."""
    return name != "progress.json" and not name.endswith(".partial")


def refuse_contradictions(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a bad setting, and for one that another leaves without meaning."""
    settings = settings_from(given)
    names = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "merge")
    default = RunSettings(model="", data="", output="")
    for name in names if not settings.is_lora else ():
        if given.get(name) is not None and given[name] != getattr(default, name):
            raise UsageError(
                f"{name} has no meaning for method full", fix=f"leave out {name}, or use lora", code="contradiction"
            )
    if settings.probe_shots and not settings.probe:
        raise UsageError(
            "--probe-shots says how to ask, and nothing is asked", fix="give --probe N too", code="contradiction"
        )


def make(output: Path) -> bool:
    """Make the output folder; whether it is new. Raises UsageError(code="cannot_write")."""
    new = not output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        trial = output / ".trial.partial"  # not progress.json: whoever reads it finds a state there
        trial.write_text("\n", encoding="utf-8")
        trial.unlink()
    except OSError as error:
        raise UsageError(
            f"{output} cannot be written: {error.strerror or error}",
            fix="name a folder you may write with --output",
            code="cannot_write",
        ) from None
    return new


@contextmanager
def held(output: Path) -> Iterator[None]:
    """One process at a time in a run folder; the system lets go when it dies. Raises UsageError("already_running").

    The folder itself is locked, so nothing is left behind; where that cannot be done (Windows, NFS) it is not.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(output, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process is at work in {output}",
                    fix="wait for it, or name another --output",
                    code="already_running",
                ) from None
        for partial in output.glob(".*.partial"):  # half-written files of a process that was killed
            if partial.is_file():
                partial.unlink(missing_ok=True)
        yield
    finally:
        os.close(opened)


def remove_unbegun(output: Path, made: bool, *, keep_progress: bool) -> None:
    """Take away what a run wrote that ended before it learned anything: the same command is to start afresh."""
    if (output / "metrics.jsonl").exists() or checkpoints.newest(output / "checkpoints") is not None:
        return
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    for name in ("run.json", "before.json", *(() if keep_progress else ("progress.json",))):
        (output / name).unlink(missing_ok=True)
    if made and not any(output.iterdir()):
        output.rmdir()


def continued(earlier: RunSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    """A resumed run keeps its settings; one that contradicts them is refused rather than mixed in.

    Files and folders may have moved, as on the next machine: what is in them must be the same (inputs.refuse_changed).
    """
    before = earlier.as_json()
    moved = {name: given[name] for name in _PLACES if name in given and _may_have_moved(name, before, given)}
    for name, value in given.items():
        if name != "output" and name not in moved and before.get(name) != value:
            raise UsageError(
                f"{name} was {before.get(name)!r} when this run began, and is {value!r} now",
                fix="leave it out with --resume, or start another run with another --output",
                code="settings_changed",
            )
    return {**before, **moved, "output": given["output"]}


def _may_have_moved(name: str, before: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    if before.get(name) is None or not os.path.exists(given[name]):
        return False
    return name != "model" or os.path.isabs(before[name])  # a Hub id is no place


def halvings_to_follow(record: Mapping[str, Any] | None, settings: RunSettings) -> tuple[Halving, ...]:
    """Of the run that is continued or repeated, unless its micro-batch is another one now."""
    if record is None:
        return ()
    was = settings_from(record["settings"])
    same = (was.batch, was.gradient_accumulation) == (settings.batch, settings.gradient_accumulation)
    return halvings_of(record) if same else ()


def read_run(output: Path) -> Any:
    """The record of a run that is continued. Raises UsageError(code="bad_run_file")."""
    file = output / "run.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}",
            fix="put back the one that the run wrote, or start another run with another --output",
            code="bad_run_file",
        ) from None


def write_run(
    output: Path, choice: Choice, permission: Permission, data: Data, data_notes: Sequence[str],
    halvings: Sequence[Halving],
) -> None:  # fmt: skip
    """Write run.json: enough to do the run again (`modelpick finetune --run run.json --output OTHER`)."""
    record = {
        "schema_version": SCHEMA_VERSION,
        "settings": choice.settings.as_json(),
        "chosen_because": list(choice.reasons),
        "estimated_high_gib": round(choice.high_bytes / 2**30, 3),
        "license": permission.as_json(),
        "data": {**data.as_json(), "notes": list(data_notes)},
        "base_sha256": base_sha256(choice.settings.model),
        "versions": versions(),
        "halvings": [asdict(one) for one in halvings],
    }
    write_atomically(output / "run.json", json.dumps(record, indent=1) + "\n")


def record_halvings(output: Path, halvings: Sequence[Halving]) -> None:
    """Add them to run.json: without them neither --resume nor --run would take the same steps."""
    file = output / "run.json"
    record = json.loads(file.read_text(encoding="utf-8")) | {"halvings": [asdict(one) for one in halvings]}
    write_atomically(file, json.dumps(record, indent=1) + "\n")


def finished(output: Path) -> dict[str, Any] | None:
    """The result of a run that is over, so that the same command again ends at once."""
    try:
        result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("status") == "done" else None


def check_disk(output: Path, settings: RunSettings) -> None:
    """Refuse to start when two checkpoints and the result will not fit beside what is there."""
    folder = Path(settings.model)
    base = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    # Full: weights and two Adam states, twice, and the result. LoRA: a few per cent of the base each time.
    need = base * (3 * 2 * 2 + 1) if not settings.is_lora else base * 0.2 + (base if settings.merge else 0)
    free = shutil.disk_usage(output).free
    if free < need:
        raise TrainingStoppedError(
            f"{output} has {free / 2**30:.1f} GiB free, and the run writes up to {need / 2**30:.1f}",
            fix="make room, or name another --output",
            code="disk_full",
        )
