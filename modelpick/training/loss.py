"""What a step minimizes: the mean over all its labels, and for causal models without logits for the questions.

TRL's fused LM head (trl 1.16, trainer/utils.py, add_fused_lm_head) projects the answers' positions only where Triton
runs, and every position elsewhere. On a CPU that is up to a third of a step spent on figures that nobody reads.
"""

from typing import Any

from modelpick.loading.tokenize import IGNORED


def can_skip_questions(trainer: Any) -> bool:
    """Whether `answer_loss` is what this SFTTrainer would compute, and cheaper: plain next-token loss on a CPU."""
    plain = trainer.args.loss_type == "nll" and not trainer.aux_loss_enabled and not trainer.args.label_smoothing_factor
    return plain and trainer.args.device.type == "cpu" and trainer.compute_loss_func is None


def answer_loss(model: Any, inputs: dict[str, Any], answer_tokens: Any = None) -> Any:
    """Cross entropy of the labelled tokens, summed and divided by `answer_tokens` (None: those of this micro-batch).

    `inputs` are `input_ids`, `attention_mask` and `labels`, each (batch, sequence); positions whose next label is
    ignored in every row get no logits, through transformers' own `logits_to_keep`.
    """
    from torch.nn.functional import cross_entropy

    given = {name: value for name, value in inputs.items() if name != "labels"}
    following = inputs["labels"][:, 1:]
    asked = (following != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(**given, use_cache=False, logits_to_keep=asked).logits
    wanted = following[:, asked]
    total = cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / ((wanted != IGNORED).sum() if answer_tokens is None else answer_tokens)


def mean_over_step(outputs: Any, labels: Any, num_items_in_batch: Any) -> Any:
    """The mean over all labels of a step, however many micro-batches it has.

    T5's and the encoders' own loss is the mean of a micro-batch; Trainer 5.23 takes it for one that was divided by the
    step's labels, since their forward takes any keyword, and adds them up: `accumulation` times the loss and gradient.
    """
    from torch.nn.functional import cross_entropy

    # The mean times its share, not the sum: a sum of thousands of labels is beyond fp16, and rough in bf16.
    mean = cross_entropy(outputs.logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
    return mean * ((labels != IGNORED).sum() / num_items_in_batch)
