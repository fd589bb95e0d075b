"""`modelpick merge`: an adapter and its base become one ordinary model, with the papers that a run's output carries."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from modelpick import files
from modelpick.catalog.lookup import is_folder
from modelpick.errors import UsageError
from modelpick.extras import require_train
from modelpick.files import write_atomically
from modelpick.licensing import license_check
from modelpick.licensing.license_check import Permission
from modelpick.licensing.policy import Policy
from modelpick.loading import adapters, load
from modelpick.loading.environment import silence_libraries
from modelpick.loading.load import LoadOptions
from modelpick.training import checkpoints, model_card, run_folder
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.records import FinetuneResult, LicenseRecord, RunRecord, finished, license_record, read_run
from modelpick.training.stop_signals import StopSignals, stopped_as_error

_WORKS_IN = {"bfloat16": "bf16", "float16": "fp16"}  # torch's name of a config's dtype: ours; any other is fp32
_OVER = {"lora-int8": "8-bit", "qlora": "4-bit"}
_OTHER_BASE = "name the base as it was with --base, or fine-tune again from this one"


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What a user requested.

    `asked` is a run, or an adapter's folder. `output`: None for `merged` in the adapter's folder, where `finetune
    --merge` writes it and `serve` looks for it. `base`: where the base lies now, if it was moved.
    """

    asked: str
    output: str | None = None
    base: str | None = None
    policy: str | Policy | None = None
    reviewed_by: str | None = None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written. `revision`: the base's commit, None for a local folder; `dtype`: of the merged weights."""

    output: str
    model: str
    base: str
    revision: str | None
    adapter: str
    dtype: str
    license: LicenseRecord
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _MergeParts:
    """An adapter and all that is known of it; `record` and `result` are None for one that no run here made."""

    adapter: Path
    record: RunRecord | None
    result: FinetuneResult | None
    base: str
    options: LoadOptions


@dataclass(frozen=True, slots=True)
class _MergePermission:
    """What passed the license check: the base, an adapter that no run here made, and what is noted of the data."""

    base: Permission
    adapter: Permission | None
    notes: tuple[str, ...] = ()


def merge(request: MergeRequest, tell: Callable[[str], None]) -> Merged:
    """Write base + adapter as one model, whole or not at all. Torch is imported once everything cheap has been checked.

    `tell` is called with what is being done. A merge that was killed is simply asked again.

    Raises UsageError: `unfinished_run`, `no_adapter`, `not_mergeable`, `no_base`, `base_changed`, `quantized_base`,
    `other_base`, `output_exists`, `already_running`; LicenseDeniedError or LicenseReviewError from the license check;
    TrainingStoppedError(code="disk_full"), StoppedEarlyError for a signal, RemoteError where the Hub keeps the base.
    """
    require_train()
    parts = _parts(request)
    output = Path(request.output or parts.adapter / "merged")
    refuse_existing(output)
    signals = StopSignals(threading.Event())
    with signals.heard(), stopped_as_error(lambda: "merging", lambda: "re-run the command"), silence_libraries():
        allowed = _allowed(request, parts)
        options = replace(parts.options, revision=parts.options.revision or allowed.base.revision)
        folder = load.folder_of(parts.base, options)
        notes = (*_compared(parts, folder, options.revision), *allowed.notes)
        config = load.load_config(str(folder), options)
        adapters.refuse_quantized(parts.base, config)
        if parts.record is None:
            options = replace(options, dtype=_WORKS_IN.get(str(config.dtype).removeprefix("torch."), "fp32"))
        tell(f"merging {parts.adapter} into {parts.base} in {options.dtype}")
        name = license_check.output_name(parts.adapter, allowed.base)
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        with becoming(output, size) as partial:
            adapters.merge(parts.base, parts.adapter, partial, replace(options, offline=True))
            _write_papers(name, parts, allowed, folder, partial)
    base = allowed.base
    return Merged(
        str(output), name, base.model, base.revision or options.revision, str(parts.adapter), options.dtype,
        license_record(base), notes,
    )  # fmt: skip


def refuse_existing(output: Path) -> None:
    """Raise UsageError(code="output_exists") for an output that exists, except for an empty folder."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists", fix="name another with --output, or remove it", code="output_exists")


def _parts(request: MergeRequest) -> _MergeParts:
    """The adapter that was named, its base, and how that is loaded."""
    asked = Path(request.asked).expanduser()
    if not asked.is_dir():
        raise UsageError(f"{asked} does not exist", fix="name a run or an adapter's folder", code="no_adapter")
    run = next((folder for folder in (asked, asked.resolve().parent) if (folder / "run.json").is_file()), None)
    result = finished(run / "result.json") if run is not None else None
    if run is not None and (run == asked or (result and Path(str(result.model)).name == asked.resolve().name)):
        return _of_run(request, run, result)
    if not (asked / "adapter_config.json").is_file():
        raise UsageError(
            f"{asked} holds neither a run nor an adapter",
            fix="give a folder with run.json or adapter_config.json",
            code="no_adapter",
        )
    config = files.read_json(asked / "adapter_config.json", code="bad_adapter", allow_nan=True)
    named = config if isinstance(config, dict) else {}
    base = request.base or named.get("base_model_name_or_path")
    if not base:
        raise UsageError(f"the adapter in {asked} does not say which base it was made for", fix="name it with --base",
                         code="no_base")  # fmt: skip
    revision = named.get("revision") if request.base is None else None
    options = LoadOptions(offline=request.offline, revision=str(revision) if revision else None)
    return _MergeParts(asked, None, None, *_pinned(str(base), options))


def _of_run(request: MergeRequest, run: Path, result: FinetuneResult | None) -> _MergeParts:
    if result is None or not result.model:
        raise UsageError(
            f"the run in {run} is not finished",
            fix=f"modelpick finetune --output {run} --resume",
            code="unfinished_run",
        )
    record = read_run(run / "run.json")
    settings, adapter = record.settings, run / Path(result.model).name
    if not settings.is_lora:
        why = "made a whole model" if settings.method == "full" else f"used {settings.method}, which changes no weights"
        fix = f"use {adapter} as it is" + ("" if settings.method == "full" else ", together with its base")
        raise UsageError(f"the run in {run} {why}: there is nothing to merge", fix=fix, code="not_mergeable")
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} contains no adapter", fix="restore it, or run again", code="no_adapter")
    options = run_folder.load_options(settings.as_json(), (), offline=request.offline)
    if request.base is not None and not is_folder(request.base):
        options = replace(options, revision=None)  # what --base names is compared with the record below
    return _MergeParts(adapter, record, result, *_pinned(request.base or settings.model, options))


def _pinned(base: str, options: LoadOptions) -> tuple[str, LoadOptions]:
    """The base without its revision, which goes into the options. Raises UsageError(code="no_base")."""
    if is_folder(base):
        if not Path(base).expanduser().is_dir():
            raise UsageError(f"the base {base} is not there", fix="name where it lies with --base", code="no_base")
        return str(Path(base).expanduser()), options
    name, _, revision = base.partition("@")
    return name, replace(options, revision=revision or options.revision)


def _allowed(request: MergeRequest, parts: _MergeParts) -> _MergePermission:
    """Base, data and a foreign adapter under the policy of today: what a run recorded is not believed."""

    def judged(named: str) -> Permission:
        return license_check.permission_for(
            named, request.policy, reviewed_by=request.reviewed_by, offline=request.offline
        )

    revision = parts.options.revision
    base = judged(parts.base if is_folder(parts.base) or not revision else f"{parts.base}@{revision}")
    if parts.record is None:
        return _MergePermission(base, judged(str(parts.adapter)))
    sources = parts.record.data.sources
    return _MergePermission(
        base, None, license_check.refuse_restricted_data(sources, request.policy, request.reviewed_by)
    )


def _compared(parts: _MergeParts, folder: Path, revision: str | None) -> tuple[str, ...]:
    """Refuse a base other than the one that a run recorded; what cannot be compared, or is not exact, is said."""
    record = parts.record
    if record is None:
        return ("the adapter records no hash of its base: only its shapes show that it was made for this one",)
    notes: tuple[str, ...] = ()
    if record.settings.method in _OVER:
        notes = (
            f"the adapter was trained over {_OVER[record.settings.method]} weights and is merged into those they were "
            "made from, so answers may differ a little from those measured",
        )
    was, now = record.settings.revision, _commit(folder) or revision
    if record.base_sha256:
        run_folder.refuse_changed_base(record, str(folder), fix=_OTHER_BASE)
    elif was is None:
        notes = (*notes, "the run recorded neither a commit nor a hash of its base: only shapes were compared")
    elif was != now:
        at = f"at {now[:12]}" if now else "at no known commit"
        raise UsageError(
            f"the run began with {record.settings.model} at {was[:12]}, and {parts.base} is {at}",
            fix=_OTHER_BASE,
            code="base_changed",
        )
    return notes


def _commit(folder: Path) -> str | None:
    """The commit of a folder in huggingface_hub's cache; None for any other."""
    real = folder.resolve()
    return real.name if real.parent.name == "snapshots" else None


def _write_papers(name: str, parts: _MergeParts, allowed: _MergePermission, base: Path, target: Path) -> None:
    """License texts, NOTICE and model card: for a run the same as `finetune --merge` writes."""
    license_check.write_notices(allowed.base, base, target, name)
    if parts.record is not None and parts.result is not None:
        record, rows = parts.record, parts.result.comparisons
        text = model_card.card(name, record.settings, allowed.base, record.data, rows, merged=True)
    else:
        assert allowed.adapter is not None
        files.make_folder(target / "adapter")
        license_check.write_notices(allowed.adapter, parts.adapter, target / "adapter", name)
        text = model_card.merged_card(name, allowed.base, allowed.adapter)
    write_atomically(target / "README.md", text)


@contextmanager
def becoming(output: Path, size: int) -> Iterator[Path]:
    """A hidden folder that becomes `output` at the end; what a killed process left of it is removed first.

    `size`: the bytes that will be written, about.

    Raises UsageError("already_running"), "cannot_write"; TrainingStoppedError(code="disk_full").
    """
    fix = "name a folder you may write to with --output"
    partial = output.with_name(f".{output.name}.partial")
    files.make_folder(partial, fix=fix)
    with files.locked(partial, code="already_running", fix="wait for it, or name another --output"):
        refuse_existing(output)  # by whoever held the lock until now
        for left in partial.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            if shutil.disk_usage(partial).free < size:
                raise _disk_full(output)
            yield partial
            if output.is_dir():
                output.rmdir()  # empty: Windows does not rename onto a folder
            partial.rename(output)
        except Exception as error:
            if checkpoints.is_disk_full(error):
                raise _disk_full(output) from None
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _disk_full(output: Path) -> TrainingStoppedError:
    return TrainingStoppedError(
        f"the disk of {output.parent} has no room for the model",
        fix="make room, or name another place with --output, and re-run the command",
        code="disk_full",
    )
