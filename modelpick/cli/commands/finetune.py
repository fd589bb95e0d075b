"""`modelpick finetune`: make a better model from a company's own examples, and measure that it got better."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.aws import checkpoint_store
from modelpick.cli.options import Flags, Offline, PolicyName
from modelpick.cli.output import Console, Output, progress_console
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.errors import EXIT_INTERRUPTED, UsageError, printable
from modelpick.files import read_text
from modelpick.planning.recipe import RunSettings
from modelpick.schema import read_options
from modelpick.training.finetune import Request
from modelpick.training.finetune import finetune as run
from modelpick.training.job_file import planned_from, request_from_files
from modelpick.training.progress import Event, Note, OutOfMemory, Screen, StateChanged, StepLogged
from modelpick.training.records import FinetuneResult


def finetune(
    out: Output,
    *,
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Base model: a Hub id or a local folder.")
    ] = None,
    settings: Annotated[Mapping[str, object], Flags(RunSettings, without=("model",))],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Setting by its name in run.json; repeatable."),
    ] = None,
    run_file: Annotated[
        str | None, typer.Option("--run", metavar="FILE", help="Repeat the run of this run.json.")
    ] = None,
    planned: Annotated[
        str | None, typer.Option("--planned", metavar="FILE", help="Settings that a plan chose for each GPU size.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="FILE", help="Job file (docs/job-contract.md).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --output.")] = False,
    policy: PolicyName = None,
    product: ProductName = None,
    reviewed_by: Annotated[
        str | None, typer.Option("--reviewed-by", metavar="NAME", help="Person who decided on a license to review.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Fine-tune a model on your examples; resumable and measured.

    Exit: 0 done; 1 stopped (out of memory, disk, loss); 130 interrupted, go on with --resume.
    """
    options = {"model": model, **settings}
    named = dict(map(_setting, set_ or ()))
    for name, value in read_options(RunSettings, named, unknown="unknown_setting").items():
        if options.get(name) is not None:
            raise UsageError(f"{name} is given twice", fix="give it once", code="contradiction")
        options[name] = value
    if run_file and job:
        raise UsageError("--run and --job contradict each other", fix="give one of them", code="contradiction")
    settled = planned_from(planned) if planned else ()
    request = Request(
        options, judged_for(policy, product), reviewed_by, resume=resume, offline=offline, planned=settled,
        open_store=checkpoint_store.open_store,
    )  # fmt: skip
    request = request_from_files(request, run_file=run_file, job_file=job)
    with _screen(out) as screen:
        result = run(request, screen)
    out.answer(result.as_json(), lambda console: _draw(console, result))
    if result.status == "interrupted":
        out.note(f"stopped after step {result.step}; continue with --resume")
        raise typer.Exit(EXIT_INTERRUPTED)


def _setting(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value read as JSON where it is JSON, else as text; RunSettings says what it may be."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text!r} has no value", fix="give --set NAME=VALUE", code="bad_setting")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


class _screen:
    """Progress on stderr: a bar on a terminal, a line an event elsewhere, nothing under -q."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._terminal = sys.stderr.isatty() and not out.quiet and not out.as_json
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Screen:
        if self._terminal:
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),  # the figures next to it take 45 of 80 columns
                TextColumn("{task.fields[figures]}", markup=False),
                console=progress_console(),
            )
            self._task = self._bar.add_task("preparing", total=None, figures="")
            self._bar.start()
        return self._show

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self, event: Event) -> None:
        match event:
            case Note(text) | OutOfMemory(text):
                self._out.note(text)
            case StateChanged(state) if self._bar is not None:
                self._bar.update(self._task, description=state)
            case StepLogged(step) if "eval_loss" in event.figures:
                self._out.note(f"step {step}  evaluated: loss {event.figures['eval_loss']:.3f}")
            case StepLogged(step, steps) if "loss" in event.figures:
                where = f"step {step}/{steps}"
                if self._bar is None:
                    self._out.note(f"{where}  {_figures(event)}")
                else:
                    self._bar.update(
                        self._task, description=where, total=steps, completed=step, figures=_figures(event)
                    )


def _figures(event: StepLogged) -> str:
    parts = [f"loss {event.figures['loss']:.3f}"]
    if event.tokens_per_second:
        parts.append(f"{event.tokens_per_second:,.0f} tokens/s")
    if event.eta_seconds is not None:
        minutes, seconds = divmod(round(event.eta_seconds), 60)
        parts.append(f"{minutes}:{seconds:02} left")
    if event.usd_so_far is not None:
        parts.append(f"${event.usd_so_far:.2f}")
    return "  ".join(parts)


def _draw(console: Console, result: FinetuneResult) -> None:
    if result.status != "done":
        console.print(f"interrupted after step {result.step}", markup=False)
        return
    console.print(result.model, markup=False, soft_wrap=True)
    console.print(f"loss {result.loss_curve}", markup=False)
    for row in result.comparisons:
        console.print(row.sentence, markup=False)
    _draw_answers(console, Path(str(result.model)).parent / "answers.jsonl")


_SHOWN = 3  # answers side by side; the file has them all
_WIDEST = 300  # characters of a text that are shown


def _draw_answers(console: Console, file: Path) -> None:
    """The first held-out questions with the expected answer, and the model's before and after."""
    if not file.exists():
        return
    lines = read_text(file, code="bad_answers").splitlines()
    for line in lines[:_SHOWN]:
        row = json.loads(line)
        console.print("", markup=False)
        for name in ("question", "expected", "before", "after"):
            text = " ".join(str(row[name]).split())
            text = text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
            console.print(f"  {name:<9} {printable(text)}", markup=False)
    if len(lines) > _SHOWN:
        console.print(f"\n{len(lines)} answers in {file}", markup=False, soft_wrap=True)
