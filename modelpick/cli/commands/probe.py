"""`modelpick probe`: does a model conclude what the premises do not allow?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.endpoint_options import KeyFile
from modelpick.cli.options import command, whole_number
from modelpick.cli.output import Output
from modelpick.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from modelpick.evaluation.probe.run import Probed
    from modelpick.evaluation.probe.suite import Case


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    command(app, "probe")(probe)


def probe(
    out: Output,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hub id, a local folder, or a served model's name.")],
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="A tuned adapter on MODEL.")] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="Ask this OpenAI-compatible server.")
    ] = None,
    key_file: KeyFile = None,
    cases: Annotated[str, typer.Option("--cases", metavar="N", help="How many, half of them valid.")] = "200",
    shots: Annotated[str, typer.Option("--shots", metavar="N", help="Solved cases shown first.")] = "0",
    ask: Annotated[
        str, typer.Option("--ask", metavar="judge|complete", help="A yes or no, or an open sentence.")
    ] = "judge",
    wording: Annotated[
        str, typer.Option("--wording", metavar="plain|other", help="Which words and sentences.")
    ] = "other",
    depth: Annotated[str, typer.Option("--depth", metavar="1|2|3", help="The most premises in a chain.")] = "3",
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="Other cases.")] = "0",
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Only write the cases: .jsonl with answers to train on, .yaml as a task of lm-evaluation-harness.",
        ),
    ] = None,
) -> None:
    """Score a model on 200 logic questions with known answers.

    Each is an argument that holds or does not. The shares of right answers come with their intervals.
    """
    from modelpick.evaluation.probe import run

    asked = run.Suite(
        cases=whole_number("--cases", cases, largest=100_000) or 1,
        shots=whole_number("--shots", shots, smallest=0, largest=100) or 0,
        asking=_one_of("--ask", ask, ("judge", "complete")),
        wording=_one_of("--wording", wording, ("plain", "other")),
        depth=whole_number("--depth", depth, largest=3) or 1,
        seed=whole_number("--seed", seed, smallest=0) or 0,
    )
    if write:
        _write_cases(out, Path(write), asked.made())
        return
    if key_file is not None and endpoint is None:
        raise UsageError("--key-file is for an endpoint", fix="give --endpoint too", code="contradiction")
    held = Path(key_file) if key_file else None
    probed = run.probe(model, asked, adapter=adapter, endpoint=endpoint, key_file=held)
    payload = {
        "model": model,
        "adapter": adapter,
        "suite": asked.as_json(),
        **probed.as_json(),
        "assumptions": _ASSUMPTIONS,
        "sources": [],
    }
    out.answer(payload, lambda console: _draw(console, model, probed))


_VERDICTS = {
    True: "concluded what the premises do not allow",
    False: "did not conclude it, as the premises ask",
    None: "said nothing",
}
_ASSUMPTIONS = ["an answer that says neither yes nor no counts as wrong", "intervals: Wilson, 95 %"]


def _draw(console: "Console", model: str, probed: "Probed") -> None:
    told = probed.as_json()
    console.print(f"{model}: {_percent(told['accuracy'])} right of {told['cases']} cases", markup=False, soft_wrap=True)
    console.print(f"  what follows        {_percent(told['valid'])}")
    console.print(f"  what does not       {_percent(told['invalid'])}")
    for name, figures in told["by_shape"].items():
        console.print(f"  {name:18}  {_percent(figures)}", markup=False)
    if told["unanswered"]:
        console.print(f"  {told['unanswered']} answers said neither yes nor no")
    founding = told["founding_prompt"]
    console.print("\nAsked besides, and counted nowhere:", markup=False)
    console.print(f"  {founding['prompt']}", markup=False)
    console.print(
        f"  said: {' '.join(founding['said'].split())[:200]!r}\n  {_VERDICTS[founding['concluded']]}", markup=False
    )


def _percent(figures: dict[str, Any]) -> str:
    if "value" not in figures:
        return "no cases"
    return f"{100 * figures['value']:3.0f} % ({100 * figures['low']:.0f} to {100 * figures['high']:.0f})"


def _write_cases(out: Output, file: Path, made: "tuple[Case, ...]") -> None:
    from modelpick.evaluation.probe import write

    texts = write.as_files(file, made)
    for path in texts:
        if path.exists():
            raise UsageError(f"{path} exists", fix="name another with --write", code="output_exists")
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    names = [str(path) for path in texts]
    payload = {"output": str(file), "files": names, "cases": len(made), "assumptions": [], "sources": []}
    out.answer(
        payload,
        lambda console: console.print(f"{', '.join(names)}: {len(made)} cases", markup=False, soft_wrap=True),
    )


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> Any:
    from modelpick.errors import nearest

    if value not in choices:
        raise UsageError(
            f"{flag} is {value!r}", fix=nearest(value, choices) or f"use {' or '.join(choices)}", code="unknown_option"
        )
    return value
