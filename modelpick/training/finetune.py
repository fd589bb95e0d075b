"""`modelpick finetune`, from the first check to the model card: each step named, in the order it happens."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelpick.catalog import index, lookup
from modelpick.catalog.architecture import Kind
from modelpick.datasets import hub_data
from modelpick.datasets.forms import parse_columns
from modelpick.datasets.replay import with_replay
from modelpick.datasets.split import Data, DataRecord, read_data, with_validation
from modelpick.errors import CannotTellError, ModelpickError, RemoteError, UsageError
from modelpick.evaluation import before_after
from modelpick.evaluation.answers import ANSWERS, as_lines
from modelpick.evaluation.before_after import Before
from modelpick.evaluation.score import ScoreComparison
from modelpick.extras import require_train
from modelpick.files import write_atomically
from modelpick.licensing import license_check
from modelpick.licensing.license_check import Permission
from modelpick.licensing.policy import Policy
from modelpick.loading import adapters, environment, load, preferences, tokenize
from modelpick.loading.environment import silence_libraries
from modelpick.loading.load import Loaded, check_folder
from modelpick.loading.tokenize import Encoded
from modelpick.memory.estimate import estimate_model
from modelpick.memory.measured import NO_RUNS, taught
from modelpick.offers import embedded
from modelpick.offers.compatibility import findings, refusal
from modelpick.planning.choose import TuningChoice, choose
from modelpick.planning.recipe import RunSettings, as_trained, settings_from
from modelpick.schema import current_names
from modelpick.speed import calibration_file
from modelpick.training import checkpoints, measured, model_card, run_folder, tracking
from modelpick.training.progress import Event, OutOfMemory, Progress, Screen, loss_svg, losses, read_metrics, sparkline
from modelpick.training.records import (
    FinetuneResult,
    QuantizedRecord,
    RunRecord,
    finished,
    license_record,
    read_run,
    record_halvings,
    write_result,
    write_run,
)
from modelpick.training.stop_signals import StoppedEarlyError, StopSignals, stopped_as_error
from modelpick.workload import VIRTUAL_TOKENS, Workload

if TYPE_CHECKING:
    from modelpick.training.train import Trained  # which loads torch
    from modelpick.training.trainers import Prepared


# Share of the weights without an adapter from which a note says so: routers and convolutions are below it, any layer of
# fused experts is above.
_NOTED_FROM = 0.01
_BARE = (
    "{share:.0%} of the weights get no adapter and learn nothing: they are not linear layers (fused experts), or peft "
    "handles them as if they were not"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What a user requested.

    - `settings`: settings by name, as RunSettings has them; those that are missing or None are chosen for the device.
    - `policy`, `reviewed_by`: the policy to judge by (None: that of the settings file), and who decided a review.
    - `resume`: continue the run in `output`. `repeats`: do the run of this run.json again.
    - `watched`: another program reads progress.json, so it stays even after a failed start.
    - `planned`: what a plan chose for each size of GPU (planning.choose).
    - `open_store`: opens the second place for checkpoints that the setting `checkpoint_to` names. By itself that may be
      a folder; pass `modelpick.aws.checkpoint_store.open_store` for s3://bucket/prefix, as the command line does:
      training does not depend on any cloud.
    """

    settings: Mapping[str, object]
    policy: str | Policy | None = None
    reviewed_by: str | None = None
    resume: bool = False
    offline: bool = False
    repeats: RunRecord | None = None
    watched: bool = False
    planned: Sequence[Mapping[str, object]] = ()
    open_store: Callable[[str], checkpoints.Store] = checkpoints.open_folder


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that passed every check before torch is loaded: model, data, folder, and the license permission.

    `options` are the requested settings, `record` is the run.json that is continued or repeated.
    """

    request: Request
    options: Mapping[str, Any]
    output: Path
    data: Data
    data_notes: tuple[str, ...]
    permission: Permission
    record: RunRecord | None
    earlier: RunSettings | None  # of the run that is continued

    @property
    def data_record(self) -> DataRecord:
        """The record of the data for run.json and the model card."""
        return self.data.record(self.data_notes)


def finetune(request: Request, screen: Screen, stop: threading.Event | None = None) -> FinetuneResult:
    """Run a fine-tuning request; returns the content of result.json. Torch is imported once everything cheap has been
    checked.

    `screen` is called with every event (progress.Event). SIGTERM, Ctrl-C and setting `stop` end the run: a step in hand
    is finished first, and the status is "interrupted"; in any other state StoppedEarlyError is raised.

    Raises UsageError for bad input, LicenseDeniedError or LicenseReviewError from the license check, DoesNotFitError,
    and TrainingStoppedError with the last good state kept.
    """
    signals = StopSignals(stop or threading.Event())
    with signals.heard(), stopped_as_error(lambda: "reading", lambda: "re-run the command"):
        return _finetune(request, screen, signals)


def _finetune(request: Request, screen: Screen, signals: StopSignals) -> FinetuneResult:
    require_train()
    asked = {name: value for name, value in request.settings.items() if value is not None}
    for name in ("data", "eval_data"):
        if asked.get(name):
            asked[name] = str(hub_data.local(str(asked[name]), offline=request.offline))
    options = run_folder.with_absolute_paths(current_names(RunSettings, asked))
    output = Path(_required(options, "output"))
    run_folder.refuse_existing(output, resume=request.resume)
    if request.resume and (result := finished(output / "result.json")) is not None:
        return result
    run = _checked(request, options, output)
    created = run_folder.make_output(output)
    track = run.options.get("track")
    with (
        run_folder.locked(output),
        _tidied(run, created),
        Progress(output, screen, run.options.get("usd_per_hour")) as progress,
        tracking.ended(track) as end,
        checkpoints.disk_full_as_error(output / "checkpoints"),
        stopped_as_error(lambda: progress.now, lambda: _how_to_go_on(output)),
    ):
        for text in run_folder.differences(run.record):
            progress.note(text)
        with silence_libraries():
            result = _train(run, progress, signals)
        end(result.status)
        return result


def _how_to_go_on(output: Path) -> str:
    """What continues a run that was stopped."""
    if not (output / "run.json").exists():
        return "re-run the command"
    good = checkpoints.newest(output / "checkpoints")
    kept = f"the checkpoint of step {checkpoints.step_of(good)} is kept; " if good else ""
    return f"{kept}continue with --resume"


def _checked(request: Request, options: Mapping[str, Any], output: Path) -> _Run:
    """Everything that can be refused before torch is loaded and anything is written."""
    record = read_run(output / "run.json") if request.resume else request.repeats
    earlier = None
    if request.resume and record is not None:
        options = run_folder.continued(record.settings, options)
        earlier = settings_from(options)
    for name in ("model", "data"):
        _required(options, name)
    tracking.check(options.get("track"))
    settings = run_folder.checked(options)
    if Path(settings.model).is_dir():
        check_folder(Path(settings.model), allow_pickles=settings.allow_pickles)
    eval_file = Path(settings.eval_data) if settings.eval_data else None
    data = read_data(
        Path(settings.data),
        eval_file=eval_file,
        held_out=settings.held_out,
        seed=settings.seed,
        columns=parse_columns(settings.columns),
        objective=settings.objective,
    )
    if settings.eval_steps is not None:
        data = with_validation(data, settings.held_out, settings.seed)
    if settings.mix is not None:
        _refuse_mix_of_comparisons(settings.objective)
        data = with_replay(data, settings.mix, settings.mix_share, settings.seed)
    if record is not None:
        run_folder.refuse_changed(record, settings, data, continues=earlier is not None)
    permission = license_check.permission_for(
        settings.model, request.policy, reviewed_by=request.reviewed_by, offline=request.offline
    )
    if not Path(settings.model).is_dir():  # what was judged is what is trained
        revision = {"revision": permission.revision} if permission.revision else {}
        options = {**options, "model": permission.model, **revision}
    of_hub = hub_data.source_of(Path(settings.data))
    data_notes = license_check.refuse_restricted_data(
        data.sources, request.policy, request.reviewed_by, offline=request.offline or not of_hub
    )
    return _Run(request, options, output, data, data_notes, permission, record, earlier)


def _refuse_mix_of_comparisons(objective: str) -> None:
    if objective != "sft":
        raise UsageError(
            f"--mix replays answers to learn, and objective {objective} learns from comparisons",
            fix="leave out --mix: dpo and kto hold to the base by --beta",
            code="contradiction",
        )


@contextmanager
def _tidied(run: _Run, created: bool) -> Iterator[None]:
    """Removes the files of a run that fails before its first step, so that the command can be re-run."""
    try:
        yield
    except ModelpickError as error:
        if run.earlier is None and not isinstance(error, StoppedEarlyError):
            run_folder.remove_unbegun(run.output, created, keep_progress=run.request.watched)
        raise


def _train(run: _Run, progress: Progress, signals: StopSignals) -> FinetuneResult:
    """Choose, measure, train, measure again, save."""
    from modelpick.training import train, trainers

    choice = TuningChoice(run.earlier, 0.0, ("resumed",)) if run.earlier else _choose(run)
    _say_what_was_chosen(run, choice, progress)
    settings, output, data = choice.settings, run.output, run.data
    halvings = run_folder.halvings_to_follow(run.record, settings)
    if run.earlier is None:
        write_run(output / "run.json", run_folder.new_record(choice, run.permission, run.data_record, halvings))
    store = _store(settings, run.request.open_store)
    run_folder.check_disk(output, settings)
    progress.state("before")
    _stop_if_asked(signals)
    before = _before(settings, data, output)
    _stop_if_asked(signals)

    def report(event: Event) -> None:
        if isinstance(event, OutOfMemory):  # before the first smaller step: a resumed process must know
            record_halvings(output / "run.json", event.halvings)
        progress.report(event)

    progress.state("training")
    hooks = trainers.RunHooks(report, store, signals.stop, signals.finishing_steps)
    trained = train.train(
        settings, lambda: _prepare(settings, data, progress), output / "checkpoints", hooks,
        resume=run.request.resume, halvings=halvings,
    )  # fmt: skip
    if not trained.finished or signals.stop.is_set():
        progress.state("interrupted")
        return _result(run, "interrupted", trained)
    _keep_measured(trained, progress)
    progress.state("after")
    after = before_after.measure(trained.loaded, trained.settings, data)
    comparisons = before_after.comparisons(before, after, trained.settings, data)
    progress.state("saving")
    _write_answers(output, settings, data, before, after)
    name = license_check.output_name(output, run.permission)
    _save(run, trained, name, comparisons)
    result = replace(
        _result(run, "done", trained, name),
        comparisons=tuple(comparison.row() for comparison in comparisons),
        probe=before_after.probe_figures(before.probe, after.probe),
        probe_few_shot=before_after.probe_figures(before.few_shot, after.few_shot),
    )
    write_result(output / "result.json", result)
    tracking.log_results(settings.track, _means(comparisons), output, Path(settings.data), progress.note)
    progress.state("done")
    return result


def _keep_measured(trained: "Trained", progress: Progress) -> None:
    """What the run took of a GPU goes into the user's calibration file; a note says so, or why not."""
    settings, loaded = trained.settings, trained.loaded
    base = load.folder_of(settings.model, run_folder.load_options(settings.as_json(), ()))
    name = environment.current().name
    progress.note(measured.keep(trained.took, settings, loaded.kind, base, name, run_folder.versions()))


def _say_what_was_chosen(run: _Run, choice: TuningChoice, progress: Progress) -> None:
    for sentence in run.data.sentences:
        progress.note(sentence)
    if run.data.leaks:
        progress.note(f"{run.data.leaks} held-out examples repeat questions of the training data and are left out")
    for warning in run.data.warnings:
        progress.note(f"of the data, {warning}")
    for reason in choice.reasons:
        progress.note(reason)
    for obligation in run.permission.obligations:
        progress.note(f"license {run.permission.verdict}: {obligation.text}")


def _choose(run: _Run) -> TuningChoice:
    """Fill in the unset settings by the memory estimate on this device."""
    options, data = run.options, run.data
    load_options = run_folder.load_options(options, data.labels, offline=run.request.offline)
    config = load.load_config(options["model"], load_options)
    kind = load.kind_of(config)
    if options.get("merge"):
        adapters.refuse_quantized(options["model"], config)
    tokenizer, _ = load.load_tokenizer(options["model"], load_options, kind)
    longest = _rows(settings_from(options), data, tokenizer, kind, 1 << 30).longest
    name = f"{options['model']}@{options['revision']}" if options.get("revision") else options["model"]
    model = lookup.look_up([name], catalog=index.load(), offline=run.request.offline).results[0]
    if isinstance(model, RemoteError):  # the files are here, whatever the Hub and the catalog say of this commit
        folder = str(load.folder_of(options["model"], load_options))
        model = lookup.look_up([folder], catalog=index.load(), offline=True).results[0]
    if isinstance(model, ModelpickError):
        raise model
    device = environment.current()
    asked = as_trained(settings_from(options).workload(), kind, gpu=device.kind == "cuda")
    obstacle = refusal(findings(embedded.load_rules(), replace(embedded.subject_of(model, asked), kind=kind)))
    if obstacle is not None:
        raise obstacle

    gpu = embedded.gpu_called(device.name) if device.kind == "cuda" else None
    known = calibration_file.measured_runs() if gpu is not None else NO_RUNS

    def high(workload: Workload) -> float:
        try:
            said = estimate_model(model, as_trained(workload, kind, gpu=device.kind == "cuda"))
            return taught(said, gpu.name, known).high if gpu is not None else said.high
        except CannotTellError:
            if {"method", "batch"} <= options.keys():  # nothing is left for the memory estimate to decide
                return 0.0
            raise

    return choose(
        options,
        device,
        high,
        longest=longest,
        examples=len(data.train),
        parameters=model.parameters,
        limit=load.longest_known(config, kind),
        planned=run.request.planned,
    )


def _prepare(settings: RunSettings, data: Data, progress: Progress) -> "Prepared":
    """Load the base, add what is trained, encode the examples: the same state every time, by the run's seed."""
    from modelpick.training.trainers import Prepared

    loaded = load_for_training(settings, data.labels)
    encoded = _rows(settings, data, loaded.tokenizer, loaded.kind, settings.context)
    for note in (*loaded.notes, *encoded.notes):
        progress.note(note)
    if settings.probe and loaded.kind == "encoder":
        progress.note(
            "not probed: a classifier does not fill masks; the held-out examples measure it, modelpick probe its base"
        )
    if encoded.cut or encoded.left_out:
        progress.note(
            f"with a context of {settings.context} tokens {encoded.cut} examples are cut, and {encoded.left_out} are "
            "left out because the question alone fills the context"
        )

    def loss() -> float:
        scores = before_after.score_examples(loaded, settings, data.validation, data.labels)
        return scores.mean if scores.better_is < 0 else 1 - scores.mean

    return Prepared(loaded, encoded, loss if data.validation else None)


def _rows(settings: RunSettings, data: Data, tokenizer: Any, kind: Kind, context: int) -> Encoded:
    """The training examples as the objective takes them, at most `context` tokens each."""
    if settings.objective == "dpo":
        return preferences.encode_pairs(data.train, tokenizer, context)
    if settings.objective == "kto":
        return preferences.encode_thumbs(data.train, tokenizer, context, settings.seed)
    return tokenize.encode(data.train, tokenizer, kind, context, data.labels)


def load_for_training(settings: RunSettings, labels: tuple[str, ...] = ()) -> Loaded:
    """The base with fresh adapters (or all weights trainable), from the run's seed."""
    import transformers

    transformers.set_seed(settings.seed)
    loaded = load.load(settings.model, run_folder.load_options(settings.as_json(), labels))
    if not settings.has_adapter:
        return loaded
    if settings.method == "prompt-tuning":
        return replace(loaded, model=adapters.add_virtual_tokens(loaded, settings.virtual_tokens or VIRTUAL_TOKENS))
    model = adapters.add_lora(
        loaded,
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        targets=settings.lora_targets,
        checkpointing=settings.gradient_checkpointing,
    )
    bare = adapters.share_without_adapter(model) if settings.lora_targets == adapters.ALL_LINEAR else 0.0
    notes = (*loaded.notes, *([_BARE.format(share=bare)] if bare >= _NOTED_FROM else []))
    return replace(loaded, model=model, notes=notes)


def _stop_if_asked(signals: StopSignals) -> None:
    if signals.stop.is_set():
        raise KeyboardInterrupt


def _before(settings: RunSettings, data: Data, output: Path) -> Before:
    """What the untuned model scores: measured once a run, then read from before.json."""
    file = output / "before.json"
    before = before_after.read_before(file, settings)
    if before is None:
        before = before_after.measure(load_for_training(settings, data.labels), settings, data)
        before_after.write_before(file, before)
    return before


def _write_answers(output: Path, settings: RunSettings, data: Data, before: Before, after: Before) -> None:
    """answers.jsonl: what the model said before and after, next to what was expected."""
    if before.answers and after.answers:
        lines = as_lines(before_after.answered(settings, data), before.answers, after.answers)
        write_atomically(output / "answers.jsonl", lines)


def _save(run: _Run, trained: "Trained", name: str, comparisons: Sequence[ScoreComparison]) -> None:
    """Write the model to a hidden folder, then rename it: the result is whole or absent."""
    target = run.output / name
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_model(run, trained, name, comparisons, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except KeyboardInterrupt:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _write_model(
    run: _Run, trained: "Trained", name: str, comparisons: Sequence[ScoreComparison], partial: Path
) -> None:
    settings, labels = trained.settings, run.data.labels
    model: Any = trained.loaded.model
    model.save_pretrained(partial)
    trained.loaded.tokenizer.save_pretrained(partial)
    if labels and settings.has_adapter:
        write_atomically(partial / adapters.LABELS, json.dumps(labels))
    load_options = run_folder.load_options(settings.as_json(), labels)
    base = load.folder_of(settings.model, load_options)
    rows = [comparison.row() for comparison in comparisons]
    folders = [partial]
    if settings.merge and settings.is_lora:
        folders.append(partial / "merged")
        adapters.merge(settings.model, partial, partial / "merged", load_options)
    for folder in folders:
        license_check.write_notices(run.permission, base, folder, name)
        text = model_card.card(name, settings, run.permission, run.data_record, rows, merged=folder is not partial)
        write_atomically(folder / "README.md", text)


def _result(
    run: _Run, status: Literal["done", "interrupted"], trained: "Trained", name: str | None = None
) -> FinetuneResult:
    """What came of the run so far; writes loss.svg, and result.json of a run that was interrupted."""
    records = read_metrics(run.output / "metrics.jsonl")
    title = f"{run.permission.model}: training loss"
    evaluated = losses(records, "eval_loss")
    write_atomically(run.output / "loss.svg", loss_svg(losses(records), evaluated, title=title))
    settings, layers = trained.settings, trained.loaded.layers
    result = FinetuneResult(
        status=status,
        model=str(run.output / name) if name else None,
        base=run.permission.model,
        step=trained.step,
        best_step=trained.best_step,
        batch=settings.batch,
        gradient_accumulation=settings.gradient_accumulation,
        quantized_layers=QuantizedRecord(quantized=layers.quantized, kept_in_full_precision=layers.kept)
        if layers
        else None,
        loss_curve=sparkline(losses(records)),
        license=license_record(run.permission),
        notes=trained.loaded.notes,
    )
    if status == "interrupted":
        write_result(run.output / "result.json", result)
    return result


def _store(settings: RunSettings, open_store: Callable[[str], checkpoints.Store]) -> checkpoints.Store | None:
    if settings.checkpoint_to is None:
        return None
    store = open_store(settings.checkpoint_to)
    store.names()  # a store that does not answer is an error now, not after the first checkpoint has been paid for
    return store


def _means(comparisons: Sequence[ScoreComparison]) -> dict[str, float]:
    """The figures by names that MLflow takes: no comma, and no two of one name."""
    named = {f"{one.name} {one.measure}" if one.name == ANSWERS else one.name: one for one in comparisons}
    means = {f"before_{name}": one.before.mean for name, one in named.items()}
    means |= {f"after_{name}": one.after.mean for name, one in named.items()}
    return {name.replace(",", ""): value for name, value in means.items()}


def _required(options: Mapping[str, object], name: str) -> str:
    if not options.get(name):
        raise UsageError(f"no {name} is given", fix=f"name the {name}", code="missing_setting")
    return str(options[name])
