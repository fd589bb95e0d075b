"""The output folder of a run: created, locked, continued, removed; and the checks that it is still the same run."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelpick import files
from modelpick.datasets.records import sha256_of
from modelpick.datasets.split import Data, DataRecord
from modelpick.errors import UsageError
from modelpick.files import make_folder, write_atomically
from modelpick.licensing.license_check import Permission
from modelpick.loading.load import LoadOptions
from modelpick.planning.choose import TuningChoice
from modelpick.planning.recipe import BatchHalving, RunSettings, settings_from
from modelpick.training import checkpoints
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.records import RunRecord, license_record


def versions() -> dict[str, str]:
    """Versions of the packages that affect a run's exact result."""
    return {name: version(name) for name in ("modelpick", "torch", "transformers", "peft", "trl", "bitsandbytes")}


def differences(record: RunRecord | None) -> list[str]:
    """Version differences that may change the exact result of a continued or repeated run."""
    now = versions()
    was = record.versions if record else {}
    changed = [f"{name} {was[name]} -> {now[name]}" for name in now if name in was and was[name] != now[name]]
    return [f"versions differ from that run's, so the last bits may too: {', '.join(changed)}"] if changed else []


def load_options(options: Mapping[str, Any], labels: tuple[str, ...], *, offline: bool = True) -> LoadOptions:
    """How a run brings its base into memory.

    A Hub id is fetched once, when the run begins (`offline` as asked): a later Hub failure does not matter.
    """
    names = ("method", "dtype", "attention", "revision", "trust_remote_code", "allow_pickles")
    values = {name: options[name] for name in names if options.get(name) is not None}
    return LoadOptions(labels=labels, offline=offline, **values)


_PLACES = ("model", "data", "eval_data", "mix")  # settings that name a file or a folder


def with_absolute_paths(options: Mapping[str, Any]) -> dict[str, object]:
    """Files and folders by their absolute path: a run is continued, repeated and served from anywhere."""
    paths = {name: os.path.abspath(options[name]) for name in _PLACES if options.get(name)}
    return {**options, **{name: path for name, path in paths.items() if os.path.exists(path)}}


def refuse_existing(output: Path, *, resume: bool) -> None:
    """Refuse an output folder that already holds something, unless this is the continuation of its run.

    Raises UsageError(code="output_exists"), or code="nothing_to_resume" when there is no run to continue.
    """
    run = output / "run.json"
    if resume and not run.is_file():
        raise UsageError(f"{output} contains no run to resume", fix="leave out --resume", code="nothing_to_resume")
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


# Settings that mean nothing without another one.
_NEEDS = {"probe_shots": "probe", "patience": "eval_steps", "mix_share": "mix"}


def checked(options: Mapping[str, object]) -> RunSettings:
    """The settings that `options` name, every other one at its default.

    Raises UsageError for a bad setting, and for one that does not apply together with another.
    """
    settings = settings_from(options)
    default = RunSettings(model="", data="", output="")
    names = [] if settings.is_lora else ["lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "merge"]
    names += [] if settings.method == "prompt-tuning" else ["virtual_tokens"]
    for name in names:
        if options.get(name) is not None and options[name] != getattr(default, name):
            fix = f"leave out {name}, or use {'prompt-tuning' if name == 'virtual_tokens' else 'lora'}"
            raise UsageError(f"{name} does not apply to method {settings.method}", fix=fix, code="contradiction")
    if options.get("beta") is not None and settings.objective == "sft" and settings.beta != default.beta:
        raise UsageError("beta does not apply to objective sft", fix="leave out beta", code="contradiction")
    if settings.objective == "kto" and options.get("batch") == 1:
        raise UsageError(
            "objective kto needs a micro-batch of 2 or more: it compares with the answers of its neighbours",
            fix="use --batch 2 or more, or leave it out",
            code="contradiction",
        )
    for name, needed in _NEEDS.items():
        if options.get(name) is not None and options[name] != getattr(default, name) and not getattr(settings, needed):
            flag, other = (f"--{word.replace('_', '-')}" for word in (name, needed))
            raise UsageError(f"{flag} needs {other}", fix=f"give {other} too", code="contradiction")
    return settings


def make_output(output: Path) -> bool:
    """Make the output folder; whether it is new. Raises UsageError(code="cannot_write")."""
    new = not output.exists()
    fix = "name a folder you may write to with --output"
    make_folder(output, fix=fix)
    trial = output / ".trial.partial"  # not progress.json: whoever reads it finds a state there
    write_atomically(trial, "\n", fix=fix)
    trial.unlink(missing_ok=True)
    return new


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """One process at a time in a run folder. Raises UsageError("already_running")."""
    with files.locked(output, code="already_running", fix="wait for it, or name another --output"):
        for partial in output.glob(".*.partial"):  # half-written files of a process that was killed
            if partial.is_file():
                partial.unlink(missing_ok=True)
        yield


def remove_unbegun(output: Path, made: bool, *, keep_progress: bool) -> None:
    """Remove the files of a run that ended before its first step, so that the re-run command starts afresh."""
    if (output / "metrics.jsonl").exists() or checkpoints.newest(output / "checkpoints") is not None:
        return
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    for name in ("run.json", "before.json", *(() if keep_progress else ("progress.json",))):
        (output / name).unlink(missing_ok=True)
    if made and not any(output.iterdir()):
        output.rmdir()


def continued(earlier: RunSettings, options: Mapping[str, Any]) -> dict[str, object]:
    """A resumed run keeps its settings; options that contradict them are refused rather than mixed in.

    Files and folders may have moved, as on the next machine: their content must be the same (`refuse_changed`).
    """
    before = earlier.as_json()
    moved = {name: options[name] for name in _PLACES if name in options and _may_have_moved(name, before, options)}
    for name, value in options.items():
        if name != "output" and name not in moved and before.get(name) != value:
            raise UsageError(
                f"{name} was {before.get(name)!r} when this run began, and is {value!r} now",
                fix="leave it out with --resume, or start another run with another --output",
                code="settings_changed",
            )
    return {**before, **moved, "output": options["output"]}


def _may_have_moved(name: str, before: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    if before.get(name) is None or not os.path.exists(options[name]):
        return False
    return name != "model" or os.path.isabs(before[name])  # a Hub id is not a place


def halvings_to_follow(record: RunRecord | None, settings: RunSettings) -> tuple[BatchHalving, ...]:
    """The halvings of the continued or repeated run, unless its micro-batch has changed."""
    if record is None:
        return ()
    was = record.settings
    same = (was.batch, was.gradient_accumulation) == (settings.batch, settings.gradient_accumulation)
    return record.batch_halvings if same else ()


def new_record(
    choice: TuningChoice, permission: Permission, data: DataRecord, halvings: tuple[BatchHalving, ...]
) -> RunRecord:
    """The record of a run that begins."""
    return RunRecord(
        settings=choice.settings,
        chosen_because=choice.reasons,
        estimated_high_gib=round(choice.high_bytes / 2**30, 3),
        license=license_record(permission),
        data=data,
        base_sha256=base_sha256(choice.settings.model),
        versions=versions(),
        batch_halvings=halvings,
    )


def base_sha256(model: str) -> str | None:
    """One hash over the weight files of a local folder; None for a Hub id, which its revision pins."""
    folder = Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(path for suffix in ("safetensors", "bin") for path in folder.glob(f"*.{suffix}")):
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def refuse_changed(record: RunRecord, settings: RunSettings, data: Data, *, continues: bool) -> None:
    """Refuse to continue or repeat a run on other data or another base than those it began with.

    A repeated run may name another file or base on purpose, which is not compared. One that is continued may not:
    another name must be another location of the same file. Raises UsageError: data_changed, base_changed.
    """
    was = record.settings
    for before, now, sha256, sha256_now in (
        (was.data, settings.data, record.data.sha256, data.sha256),
        (was.eval_data, settings.eval_data, record.data.eval_sha256, data.eval_sha256),
        (was.mix, settings.mix, record.data.mix_sha256, data.mix_sha256),
    ):
        if (continues or now == before) and sha256 not in (None, sha256_now):
            raise UsageError(
                f"{now} is not the file that this run began with: its SHA-256 was {str(sha256)[:12]}...",
                fix="restore that file, or start another run with another --output",
                code="data_changed",
            )
    split = (record.data.examples, record.data.held_out)
    if continues and split not in ((0, 0), (len(data.train), len(data.held_out))):
        raise UsageError(
            f"this run began with {split[0]:,} examples and {split[1]:,} held out, and this "
            f"modelpick splits the same file into {len(data.train):,} and {len(data.held_out):,}",
            fix="continue it with the version in run.json, or start another run with another --output",
            code="data_changed",
        )
    if continues or settings.model == was.model:
        refuse_changed_base(record, settings.model, fix="restore them, or start another run with another --output")


def refuse_changed_base(record: RunRecord, folder: str, *, fix: str) -> None:
    """Refuse weights other than those that a run recorded. Raises UsageError(code="base_changed").

    A run of a Hub id recorded a revision instead of a hash: nothing is compared.
    """
    if record.base_sha256 and record.base_sha256 != base_sha256(folder):
        raise UsageError(
            f"the weights in {folder} are not those that this run began with", fix=fix, code="base_changed"
        )


def check_disk(output: Path, settings: RunSettings) -> None:
    """Refuse to start when two checkpoints and the result will not fit in the free space."""
    folder = Path(settings.model)
    base = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder.is_dir() else 0
    # Full: weights and two Adam states in each checkpoint, and the result. LoRA: a few per cent of the base each time.
    checkpoints_kept = 3 if settings.eval_steps else 2
    if settings.has_adapter:
        need = base * 0.1 * checkpoints_kept + (base if settings.merge else 0)
    else:
        need = base * (3 * 2 * checkpoints_kept + 1)
    free = shutil.disk_usage(output).free
    if free < need:
        raise TrainingStoppedError(
            f"{output} has {free / 2**30:.1f} GiB free, and the run writes up to {need / 2**30:.1f}",
            fix="make room, or name another --output",
            code="disk_full",
        )
