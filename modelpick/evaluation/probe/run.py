"""Run the probe: make the cases, ask a model, or write them as files."""

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from modelpick.errors import UsageError, nearest
from modelpick.evaluation.probe import ask
from modelpick.evaluation.probe.article import ArticleAnswers, Manner
from modelpick.evaluation.probe.suite import Answers, Asking, Case, Wording, article_case, make_cases
from modelpick.extras import require_train
from modelpick.loading import adapters, environment, load
from modelpick.loading.environment import silence_libraries

Ask = Callable[[Sequence[Case], Sequence[Case]], Answers]


@dataclass(frozen=True, slots=True)
class Suite:
    """What determines the cases: the same values make the same cases again."""

    cases: int = 200
    shots: int = 0
    asking: Asking = "judge"
    wording: Wording = "other"
    depth: int = 3
    seed: int = 0

    def made(self) -> tuple[Case, ...]:
        """The cases that are asked."""
        return make_cases(self.cases, seed=self.seed, wording=self.wording, asking=self.asking, depth=self.depth)

    def solved(self) -> tuple[Case, ...]:
        """The solved cases shown first, from another draw of the same wording."""
        return make_cases(
            self.shots, seed=self.seed + 1_000_003, wording=self.wording, asking=self.asking, depth=self.depth
        )

    def as_json(self) -> dict[str, object]:
        """For `probe --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Probed:
    """Answers to a suite, and to the founding article's own prompt, which is counted nowhere else."""

    answers: Answers
    founding: Answers

    def as_json(self) -> dict[str, object]:
        """For `probe --json`: the suite's figures, and the answer to the founding prompt."""
        case, concluded = self.founding.cases[0], self.founding.concluded[0]
        founding = {
            "prompt": case.prompt,
            "said": self.founding.texts[0],
            "concluded": concluded,
            "right": concluded is case.follows,
        }
        return {**self.answers.as_json(), "founding_prompt": founding}


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """What is probed: a local model (with an adapter), or a served one by `endpoint`.

    `plain`: the endpoint's legacy /completions; `tokens`: the longest answer of an endpoint.
    """

    model: str
    adapter: str | None = None
    endpoint: str | None = None
    key_file: Path | None = None
    plain: bool = False
    tokens: int = ask.ENDPOINT_TOKENS


def probe(subject: ProbedModel, suite: Suite) -> Probed:
    """Ask the cases of a suite: a local model, an adapter on it, or an endpoint.

    A mask-filling encoder fills gaps; everything else writes. Raises UsageError, RemoteError.
    """
    with _quiet(subject):
        put, _ = _asker(subject)
        return Probed(put(suite.made(), suite.solved()), put((article_case(),), ()))


def ask_article(subject: ProbedModel) -> ArticleAnswers:
    """Ask the founding article's prompt, and nothing else. Raises UsageError, RemoteError."""
    with _quiet(subject):
        put, manner = _asker(subject)
        return ArticleAnswers(manner, put((article_case(),), ()))


def _quiet(subject: ProbedModel) -> AbstractContextManager[None]:
    if subject.endpoint is not None:
        return nullcontext()
    require_train()

    return silence_libraries()


def _asker(subject: ProbedModel) -> tuple[Ask, Manner]:
    """What puts cases to the model, loaded once, and how it answers an open sentence."""
    model, adapter, endpoint = subject.model, subject.adapter, subject.endpoint
    if endpoint is not None:
        if adapter is not None:
            raise UsageError(
                "--adapter cannot be used with --endpoint",
                fix="serve the adapter, and name it as MODEL",
                code="contradiction",
            )

        def put(cases: Sequence[Case], shots: Sequence[Case]) -> Answers:
            return ask.ask_endpoint(
                endpoint, model, cases, shots, subject.key_file, plain=subject.plain, tokens=subject.tokens
            )

        return put, "completes" if subject.plain else "writes"
    options = load.LoadOptions()
    if load.kind_of(load.load_config(model, options)) == "encoder":
        if adapter is not None:
            raise UsageError(
                "an adapter on an encoder classifies; it does not fill masks",
                fix="leave out --adapter; finetune measures it on held-out examples",
                code="contradiction",
            )
        return (lambda cases, shots: ask.ask_mask_filler(model, cases, shots)), "fills"
    loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else load.load(model, options)
    environment.place(loaded.model)
    return (lambda cases, shots: ask.ask_loaded(loaded, cases, shots)), "writes"


# A local data set, so that nothing is fetched. The first yes or no decides: lm-eval has filters, not reading.py.
# An empty list of stop strings is an error in `transformers serve` 5.23, so there is one.
# Source: lm-evaluation-harness 0.4, docs/task_guide.md.
_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n\\n"]
  do_sample: false
  max_gen_toks: 64
filter_list:
  - name: first-yes-or-no
    filter:
      - function: regex
        regex_pattern: '(?i)\\b(yes|no)\\b'
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
metadata:
  version: 1
"""


def as_files(file: Path, cases: Sequence[Case]) -> dict[Path, str]:
    """The files to write, by the ending of `file`: .jsonl to train on, .yaml a task with its data next to it.

    Raises UsageError for another ending, and for a task of open sentences, whose answers need more than a comparison.
    """
    if file.suffix == ".jsonl":
        return {file: as_training_lines(cases)}
    if file.suffix != ".yaml":
        raise UsageError(
            f"{file} is neither .jsonl nor .yaml",
            fix=nearest(file.suffix, (".jsonl", ".yaml")) or "end it in .jsonl to train, .yaml for lm-eval",
            code="unknown_ending",
        )
    if any(case.asking != "judge" for case in cases):
        raise UsageError("an lm-eval task asks yes-or-no questions", fix="use --ask judge", code="contradiction")
    data = file.with_suffix(".lm-eval.jsonl")
    lines = "".join(json.dumps({"prompt": case.prompt, "answer": case.answer}) + "\n" for case in cases)
    task = _TASK.format(name=file.stem, data=json.dumps(str(data.absolute())))
    return {data: lines, file: task}  # the task last: it names its data


def as_training_lines(cases: Sequence[Case]) -> str:
    """JSONL in the instruction form, answers worked out."""
    return "".join(json.dumps({"instruction": case.prompt, "output": case.worked_answer}) + "\n" for case in cases)
