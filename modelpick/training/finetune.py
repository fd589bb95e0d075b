"""`modelpick finetune`, from the first check to the model card: each step named, in the order it happens."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick.catalog import index, lookup
from modelpick.datasets.split import Data, read_data, refuse_changed
from modelpick.errors import EXIT_INTERRUPTED, CannotTellError, ModelpickError, UsageError
from modelpick.evaluation import before_after
from modelpick.evaluation.before_after import Before
from modelpick.evaluation.score import Comparison
from modelpick.extras import require_train
from modelpick.files import write_atomically
from modelpick.licensing import license_check
from modelpick.loading import adapters, environment, load, tokenize
from modelpick.loading.environment import silence_libraries
from modelpick.loading.load import Loaded, LoadOptions, check_folder
from modelpick.memory.estimate import estimate_model
from modelpick.planning.choose import Choice, choose
from modelpick.planning.recipe import SCHEMA_VERSION, RunSettings, as_trained, run_from_json, settings_from
from modelpick.schema import current_names
from modelpick.training import checkpoints, model_card, run_folder, tracking
from modelpick.training.progress import (
    Event,
    OutOfMemory,
    Progress,
    Screen,
    loss_svg,
    losses,
    read_metrics,
    sparkline,
)
from modelpick.training.stop_signals import stopping_on_signals
from modelpick.workload import Workload

if TYPE_CHECKING:
    from modelpick.training.train import Trained


# Routers and convolutions are below it, any layer of fused experts is above.
_TOLD_FROM = 0.01
_BARE = (
    "{share:.0%} of the weights get no adapter and learn nothing: they are no linear layers (fused experts), or peft "
    "takes them for such"
)


class StoppedEarlyError(ModelpickError):
    """A signal asked to stop while there was no step to finish."""

    exit_code = EXIT_INTERRUPTED


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for: settings by name (None: choose), and how to treat the license and an earlier run.

    `repeats` is the run.json that is done again; `watched`: somebody reads progress.json, also after a failed start;
    `planned`: what a plan settled for each size of GPU (choose.choose).
    """

    given: Mapping[str, Any]
    policy: str | None = None
    reviewed_by: str | None = None
    resume: bool = False
    offline: bool = False
    repeats: Mapping[str, Any] | None = None
    watched: bool = False
    planned: Sequence[Mapping[str, Any]] = ()
    open_store: Callable[[str], checkpoints.Store] = checkpoints.open_folder  # what `checkpoint_to` names


def finetune(request: Request, screen: Screen, stop: threading.Event | None = None) -> dict[str, Any]:
    """Fine-tune as asked; returns what result.json holds. Torch is imported once everything cheap has been checked.

    Raises UsageError for bad input, LicenseDeniedError/CannotTellError from the gate, DoesNotFitError, and
    TrainingStoppedError with the last good state kept. A stop asked for by signal is no error: status "interrupted".
    """
    require_train()
    said = {name: value for name, value in request.given.items() if value is not None}
    given = run_folder.with_absolute_paths(current_names(RunSettings, said))
    output = Path(_required(given, "output"))
    run_folder.refuse_existing(output, resume=request.resume)
    if request.resume and (finished := run_folder.finished(output)) is not None:
        return finished
    record = run_folder.read_run(output) if request.resume else request.repeats
    earlier = run_from_json(record) if request.resume else None
    if earlier is not None:
        given = run_folder.continued(earlier, given)
        earlier = settings_from(given)
    for name in ("model", "data"):
        _required(given, name)
    tracking.check(given.get("track"))
    run_folder.refuse_contradictions(given)
    if Path(given["model"]).is_dir():
        check_folder(Path(given["model"]), allow_pickles=bool(given.get("allow_pickles")))
    data = read_data(given, labelled_by=earlier)
    if record is not None:
        refuse_changed(record, given, data, continues=earlier is not None)
    permission = license_check.permission_for(
        given["model"], request.policy, reviewed_by=request.reviewed_by, offline=request.offline
    )
    if not Path(given["model"]).is_dir():  # what was judged is what is trained
        given["model"] = permission.model
        if permission.revision:
            given["revision"] = permission.revision
    data_notes = license_check.refuse_restricted_data(data.sources, request.policy, request.reviewed_by)
    made = run_folder.make(output)
    stop = stop or threading.Event()
    with (
        run_folder.held(output),
        _tidied(request, earlier, output, made),
        stopping_on_signals(stop),
        Progress(output, screen, given.get("usd_per_hour")) as progress,
        tracking.ended(given.get("track")) as end,
        checkpoints.disk_full_as_error(output / "checkpoints"),
    ):
        for text in run_folder.differences(record):
            progress.note(text)
        result = _run(request, given, earlier, record, data, permission, data_notes, output, progress, stop)
        end(result["status"])
        return result


@contextmanager
def _tidied(request: Request, earlier: RunSettings | None, output: Path, made: bool) -> Iterator[None]:
    """A run that fails before it learned anything leaves nothing in the way of the same command."""
    try:
        yield
    except ModelpickError as error:
        if earlier is None and not isinstance(error, StoppedEarlyError):
            run_folder.remove_unbegun(output, made, keep_progress=request.watched)
        raise


def _run(
    request: Request, given: dict[str, Any], earlier: RunSettings | None, record: Mapping[str, Any] | None, data: Data,
    permission: license_check.Permission, data_notes: Sequence[str], output: Path, progress: Progress,
    stop: threading.Event,
) -> dict[str, Any]:  # fmt: skip
    from modelpick.training import train

    with silence_libraries():
        choice = Choice(earlier, 0.0, ("resumed",)) if earlier else _choose(given, data, request)
        if data.leaks:
            text = f"{data.leaks} held-out examples ask what training asks, and are left out"
            progress.note(text)
        for reason in choice.reasons:
            progress.note(reason)
        for obligation in permission.obligations:
            progress.note(f"license {permission.verdict}: {obligation.text}")
        settings = choice.settings
        halvings = run_folder.halvings_to_follow(record, settings)
        if earlier is None:
            run_folder.write_run(output, choice, permission, data, data_notes, halvings)
        store = _store(settings, request.open_store)
        run_folder.check_disk(output, settings)
        progress.state("before")
        _go_on_unless(stop)
        before = _before(settings, data, output)
        _go_on_unless(stop)

        def report(event: Event) -> None:
            if isinstance(event, OutOfMemory):  # before the first smaller step: a life after this one must know
                run_folder.record_halvings(output, event.halvings)
            progress.report(event)

        hooks = train.RunHooks(report, store, stop)
        progress.state("training")
        trained = train.train(
            settings, lambda: _prepare(settings, data, progress), output / "checkpoints", hooks,
            resume=request.resume, halvings=halvings,
        )  # fmt: skip
        if not trained.finished:
            progress.state("interrupted")
            return _result(output, "interrupted", trained, {}, (), permission)
        progress.state("after")
        comparisons, shown = _after(trained, data, before)
        progress.state("saving")
        name = license_check.output_name(output, permission)
        _save(trained, output / name, name, permission, data, comparisons)
        result = _result(output, "done", trained, shown, comparisons, permission, name)
        tracking.log_results(
            settings.track, _flat(comparisons), output, Path(settings.data),
            progress.note,
        )  # fmt: skip
        progress.state("done")
        return result


def _choose(given: dict[str, Any], data: Data, request: Request) -> Choice:

    options = _options_from(given, data.labels, offline=request.offline)
    config = load.load_config(given["model"], options)
    kind = load.kind_of(config)
    tokenizer, _ = load.load_tokenizer(given["model"], options, kind)
    limit = load.longest_known(config, kind)
    longest = tokenize.encode(data.train, tokenizer, kind, 1 << 30, data.labels).longest
    asked = f"{given['model']}@{given['revision']}" if given.get("revision") else given["model"]
    model = lookup.look_up([asked], catalog=index.load(), offline=request.offline).results[0]
    if isinstance(model, ModelpickError):
        raise model

    here = environment.current()

    def high(workload: Workload) -> float:
        try:
            return estimate_model(model, as_trained(workload, kind, gpu=here.kind == "cuda")).high
        except CannotTellError:
            if {"method", "batch"} <= given.keys():  # all that memory would decide has been decided
                return 0.0
            raise

    return choose(
        given,
        here,
        high,
        longest=longest,
        examples=len(data.train),
        parameters=model.parameters,
        limit=limit,
        planned=request.planned,
    )


def _prepare(settings: RunSettings, data: Data, progress: Progress) -> Any:
    """Load the base, add what is trained, encode the examples: the same state every time, by the run's seed."""

    loaded = load_for_training(settings, data.labels)
    encoded = tokenize.encode(data.train, loaded.tokenizer, loaded.kind, settings.context, data.labels)
    for note in loaded.notes:
        progress.note(note)
    if settings.probe and loaded.kind == "encoder":
        text = "not probed: a classifier fills no masks; its held-out examples judge it, modelpick probe BASE its base"
        progress.note(text)
    if encoded.cut or encoded.left_out:
        text = (
            f"{encoded.cut} examples are cut at {settings.context} tokens, {encoded.left_out} left out for want of room"
        )
        progress.note(text)
    return loaded, encoded


def load_for_training(settings: RunSettings, labels: tuple[str, ...] = ()) -> Loaded:
    """The base with fresh adapters (or all weights trainable), from the run's seed."""
    import transformers

    transformers.set_seed(settings.seed)
    loaded = load.load(settings.model, _options(settings, labels))
    if not settings.is_lora:
        return loaded
    model = adapters.add_lora(
        loaded,
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        targets=settings.lora_targets,
        checkpointing=settings.gradient_checkpointing,
    )
    bare = adapters.share_without_adapter(model) if settings.lora_targets == adapters.ALL_LINEAR else 0.0
    notes = (*loaded.notes, *([_BARE.format(share=bare)] if bare >= _TOLD_FROM else []))
    return replace(loaded, model=model, notes=notes)


def _go_on_unless(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedEarlyError("asked to stop before training began", fix="go on with --resume", code="interrupted")


def _before(settings: RunSettings, data: Data, output: Path) -> Before:

    kept = output / "before.json"
    if kept.is_file():
        return before_after.read_before(kept)
    loaded = load_for_training(settings, data.labels)
    before = before_after.measure(loaded, settings, data)
    before_after.write_before(kept, before)
    return before


def _after(trained: "Trained", data: Data, before: Before) -> tuple[tuple[Comparison, ...], dict[str, Any]]:

    return before_after.comparisons(before, before_after.measure(trained.loaded, trained.settings, data))


def _save(
    trained: "Trained",
    target: Path,
    name: str,
    permission: license_check.Permission,
    data: Data,
    comparisons: Sequence[Comparison],
) -> None:
    """Write the model to a folder beside, then rename: the result is whole or absent."""
    import shutil

    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    settings = trained.settings
    model: Any = trained.loaded.model
    model.save_pretrained(partial)
    trained.loaded.tokenizer.save_pretrained(partial)
    if data.labels and settings.is_lora:
        (partial / adapters.LABELS).write_text(json.dumps(data.labels), encoding="utf-8")
    options = _options(settings, data.labels)
    base = load.folder_of(settings.model, options)
    results = [one.as_json() for one in comparisons]
    merged = partial / "merged"
    if settings.merge and settings.is_lora:
        adapters.merge(settings.model, partial, merged, options)
        license_check.write_notices(permission, base, merged, name)
        text = model_card.card(name, settings, permission, data.as_json(), results, merged=True)
        (merged / "README.md").write_text(text, encoding="utf-8")
    license_check.write_notices(permission, base, partial, name)
    text = model_card.card(name, settings, permission, data.as_json(), results)
    (partial / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _result(
    output: Path, status: str, trained: "Trained", shown: Mapping[str, Any], comparisons: Sequence[Comparison],
    permission: license_check.Permission, name: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    records = read_metrics(output / "metrics.jsonl")
    title = f"{permission.model}: training loss"
    write_atomically(output / "loss.svg", loss_svg(losses(records), title=title))
    settings, layers = trained.settings, trained.loaded.layers
    result = {
        "schema_version": SCHEMA_VERSION,
        "status": status,
        "model": str(output / name) if name else None,
        "base": permission.model,
        "step": trained.step,
        "batch": settings.batch,
        "gradient_accumulation": settings.gradient_accumulation,
        "accumulation": settings.gradient_accumulation,  # its name before 2026-12, which readers of result.json know
        "quantized_layers": layers.as_json() if layers else None,
        "comparisons": [one.as_json() for one in comparisons],
        "loss_curve": sparkline(losses(records)),
        "license": permission.as_json(),
        "notes": list(trained.loaded.notes),
        **shown,
    }
    write_atomically(output / "result.json", json.dumps(result, indent=1) + "\n")
    return result


def _options(settings: RunSettings, labels: tuple[str, ...]) -> LoadOptions:
    return _options_from(settings.as_json(), labels)


def _options_from(values: Mapping[str, Any], labels: tuple[str, ...], *, offline: bool = True) -> LoadOptions:
    """A Hub id is fetched once, when the run begins (`offline` as asked): a Hub that dies later hurts nothing."""

    names = ("method", "dtype", "attention", "revision", "trust_remote_code", "allow_pickles")
    return LoadOptions(
        labels=labels, offline=offline, **{name: values[name] for name in names if values.get(name) is not None}
    )


def _store(settings: RunSettings, open_store: Callable[[str], checkpoints.Store]) -> checkpoints.Store | None:
    if settings.checkpoint_to is None:
        return None
    store = open_store(settings.checkpoint_to)
    store.names()  # one that does not answer is told before the first checkpoint has been paid for
    return store


def _flat(comparisons: Sequence[Comparison]) -> dict[str, float]:
    return {f"{when}_{one.name}": getattr(one, when).mean for one in comparisons for when in ("before", "after")}


def _required(given: Mapping[str, Any], name: str) -> str:
    if not given.get(name):
        raise UsageError(f"no {name} is given", fix=f"name the {name}", code="missing_setting")
    return str(given[name])
