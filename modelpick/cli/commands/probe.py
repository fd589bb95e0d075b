"""`modelpick probe`: does a model draw conclusions that the premises do not allow?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from modelpick.cli.endpoint_options import KeyFile
from modelpick.cli.options import whole_number
from modelpick.cli.output import Console, Output
from modelpick.errors import UsageError, nearest
from modelpick.evaluation.probe import article, run
from modelpick.evaluation.probe.ask import ENDPOINT_TOKENS
from modelpick.evaluation.probe.suite import Case
from modelpick.evaluation.score import Interval
from modelpick.files import write_atomically


def probe(
    out: Output,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A Hub id, a local folder, or a served model's name.")],
    adapter: Annotated[str | None, typer.Option("--adapter", metavar="DIR", help="Tuned adapter on MODEL.")] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="URL of an OpenAI-compatible server to ask.")
    ] = None,
    key_file: KeyFile = None,
    completions: Annotated[
        bool, typer.Option("--completions", help="Ask the server's legacy /completions, without a chat template.")
    ] = False,
    max_tokens: Annotated[
        str, typer.Option("--max-tokens", metavar="N", help="Most tokens in a server's answer, thoughts included.")
    ] = str(ENDPOINT_TOKENS),
    suite: Annotated[
        str, typer.Option("--suite", metavar="logic|article", help="Questions, or the founding article's prompt.")
    ] = "logic",
    cases: Annotated[
        str, typer.Option("--cases", metavar="N", help="Number of questions; half of the arguments are valid.")
    ] = "200",
    shots: Annotated[str, typer.Option("--shots", metavar="N", help="Number of solved questions to show first.")] = "0",
    ask: Annotated[
        str, typer.Option("--ask", metavar="judge|complete", help="Ask for yes or no, or for the end of a sentence.")
    ] = "judge",
    wording: Annotated[
        str, typer.Option("--wording", metavar="plain|other", help="Set of words and sentences to use.")
    ] = "other",
    depth: Annotated[str, typer.Option("--depth", metavar="1|2|3", help="Longest chain of premises.")] = "3",
    seed: Annotated[str, typer.Option("--seed", metavar="N", help="Random seed for the questions.")] = "0",
    write: Annotated[
        str | None,
        typer.Option(
            "--write",
            metavar="FILE",
            help="Write the questions instead: .jsonl to train on, .yaml for lm-eval.",
        ),
    ] = None,
) -> None:
    """Score a model on 200 logic questions with known answers.

    Each is an argument that holds or does not, and the two look alike. The share of right answers is printed with the
    best share that a guess from the looks of the questions reaches.
    """
    logic = run.Suite(
        cases=whole_number("--cases", cases, largest=100_000) or 1,
        shots=whole_number("--shots", shots, smallest=0, largest=100) or 0,
        asking=_one_of("--ask", ask, ("judge", "complete")),
        wording=_one_of("--wording", wording, ("plain", "other")),
        depth=whole_number("--depth", depth, largest=3) or 1,
        seed=whole_number("--seed", seed, smallest=0) or 0,
    )
    which = _one_of("--suite", suite, ("logic", "article"))
    if write:
        if which == "article":
            raise UsageError(
                "--write writes the logic questions", fix="leave out --suite article", code="contradiction"
            )
        _write_cases(out, Path(write), logic.made())
        return
    for flag, given in (("--key-file", key_file is not None), ("--completions", completions)):
        if given and endpoint is None:
            raise UsageError(f"{flag} needs --endpoint", fix="give --endpoint too", code="contradiction")
    subject = run.ProbedModel(
        model, adapter, endpoint, Path(key_file) if key_file else None, completions,
        whole_number("--max-tokens", max_tokens, largest=10_000_000) or 1,
    )  # fmt: skip
    if which == "article":
        _ask_article(out, subject)
        return
    probed = run.probe(subject, logic)
    payload = {
        "model": model,
        "adapter": adapter,
        "suite": logic.as_json(),
        **probed.as_json(),
        "assumptions": _ASSUMPTIONS,
        "sources": [],
    }
    out.answer(payload, lambda console: _draw(console, model, probed))


def _ask_article(out: Output, subject: run.ProbedModel) -> None:
    answered = run.ask_article(subject)
    payload = {
        "model": subject.model,
        "adapter": subject.adapter,
        "suite": {"name": "article"},
        **answered.as_json(),
        "assumptions": [],
        "sources": [article.source()],
    }
    out.answer(payload, lambda console: _draw_article(console, subject.model, answered))


def _draw_article(console: Console, model: str, answered: article.ArticleAnswers) -> None:
    console.print(f"{answered.answers.cases[0].prompt} ...", markup=False)
    for row in article.reported():
        share = f" ({row.share:.3f})" if row.share is not None else ""
        console.print(f"\n{row.model} {row.how}", markup=False)
        console.print(f"  the article saw    {row.said}{share}", markup=False)
        if row.manner != answered.manner:
            continue
        said = " ".join(answered.answers.texts[0].split())[:60]
        shares = ", ".join(f"{word.word} {word.share:.3f}" for word in (answered.answers.candidates or ((),))[0])
        console.print(f"  {model} says    {said!r}: {_VERDICTS[answered.conclusion]}", markup=False)
        if shares:
            console.print(f"  likeliest words    {shares}", markup=False)


_VERDICTS = {
    True: "concluded what the premises do not allow",
    False: "did not conclude it, which is right",
    None: "gave no conclusion",
}
_ASSUMPTIONS = [
    "an answer that says neither yes nor no counts as wrong",
    "intervals: Wilson, 95 %",
    "best_guess: the most that any rule over one visible feature of these questions gets right",
]


def _draw(console: Console, model: str, probed: run.Probed) -> None:
    answers = probed.answers
    accuracy, guess = _percent(answers.accuracy()), answers.best_guess()
    console.print(f"{model}: {accuracy} right of {len(answers.cases)} cases", markup=False, soft_wrap=True)
    console.print(f"  best guess by looks {100 * guess.share:3.0f} % ({guess.feature})", markup=False)
    console.print(f"  what follows        {_percent(answers.valid().share)}")
    console.print(f"  what does not       {_percent(answers.invalid().share)}")
    for name, of_shape in answers.by_shape().items():
        console.print(f"  {name:18}  {_percent(of_shape.share)}", markup=False)
    if answers.unanswered:
        console.print(f"  {answers.unanswered} answers were neither yes nor no")
    text, conclusion = probed.founding.texts[0], probed.founding.concluded[0]
    console.print("\nAlso asked, but not counted:", markup=False)
    console.print(f"  {probed.founding.cases[0].prompt}", markup=False)
    console.print(f"  said: {' '.join(text.split())[:200]!r}\n  {_VERDICTS[conclusion]}", markup=False)


def _percent(share: Interval | None) -> str:
    if share is None:
        return "no cases"
    shown = share.rounded()
    return f"{100 * shown.value:3.0f} % ({100 * shown.low:.0f} to {100 * shown.high:.0f})"


def _write_cases(out: Output, file: Path, cases: Sequence[Case]) -> None:
    texts = run.as_files(file, cases)
    for path in texts:
        if path.exists():
            raise UsageError(f"{path} exists", fix="name another file with --write", code="output_exists")
    for path, text in texts.items():
        write_atomically(path, text, fix="name another file with --write")
    names = [str(path) for path in texts]
    payload = {"output": str(file), "files": names, "cases": len(cases), "assumptions": [], "sources": []}
    out.answer(
        payload, lambda console: console.print(f"{', '.join(names)}: {len(cases)} cases", markup=False, soft_wrap=True)
    )


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise UsageError(
            f"{flag} is {value!r}", fix=nearest(value, choices) or f"use {' or '.join(choices)}", code="unknown_option"
        )
    return value
