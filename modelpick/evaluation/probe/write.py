"""The cases as files: training data for `modelpick finetune`, or a task of lm-evaluation-harness. Pure."""

import json
from collections.abc import Sequence
from pathlib import Path

from modelpick.errors import UsageError, nearest
from modelpick.evaluation.probe.suite import Case

# A local data set, so that nothing is fetched; the first yes or no decides, as in `concluded`.
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
    """The files to write, by the ending of `file`: .jsonl to train on, .yaml a task with its data beside it.

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
        raise UsageError("a task for lm-eval asks for yes or no", fix="use --ask judge", code="contradiction")
    data = file.with_suffix(".lm-eval.jsonl")
    lines = "".join(json.dumps({"prompt": case.prompt, "answer": case.answer}) + "\n" for case in cases)
    return {file: _TASK.format(name=file.stem, data=json.dumps(str(data.absolute()))), data: lines}


def as_training_lines(cases: Sequence[Case]) -> str:
    """JSONL in the instruction form, answers worked out."""
    return "".join(json.dumps({"instruction": case.prompt, "output": case.worked_answer}) + "\n" for case in cases)
