"""What modelpick's training loop adds to a bare TRL script: python benchmarks/finetune_overhead.py [--rounds N]

The same tiny Llama, data, settings, number of steps and checkpoints, in turns; prints the median time of each and the
difference, by the clock and in CPU time. The bare script is what TRL's documentation shows: SFTTrainer with an
SFTConfig, nothing else. On a CPU modelpick also leaves out logits that TRL computes and discards; `--all-logits` makes
both compute them, so that what is left is the wrapper alone.
"""

import argparse
import statistics
import tempfile
import threading
import time
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from modelpick.datasets.examples import Example, Turn
from modelpick.loading import tokenize
from modelpick.loading.environment import silence_libraries
from modelpick.planning.recipe import RunSettings
from modelpick.training import finetune, train, trainers

CONFIG = {
    "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 8, "vocab_size": 2048,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def main() -> None:
    """Train in turns and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--all-logits", action="store_true", help="compute all logits, as TRL does")
    options = parser.parse_args()
    if options.all_logits:
        trainers.can_skip_questions = lambda trainer: False
    with silence_libraries(), tempfile.TemporaryDirectory() as folder:
        base = _tiny(Path(folder) / "base")
        settings = RunSettings(
            model=str(base), data="-", output="-", dtype="fp32", batch=8, gradient_accumulation=1, context=128,
            max_steps=options.steps, save_steps=options.steps // 3, log_steps=5,
        )  # fmt: skip
        times: dict[str, list[tuple[float, float]]] = {"bare": [], "modelpick": []}
        for turn in range(options.rounds + 1):  # the first warms up
            for name, build in (("bare", _bare), ("modelpick", _ours)):
                spent = _timed(build(settings, Path(folder) / f"{name}{turn}"))
                if turn:
                    times[name].append(spent)
        for place, kind in enumerate(("clock", "CPU")):
            bare, ours = (statistics.median(one[place] for one in times[name]) for name in ("bare", "modelpick"))
            more = 100 * (ours / bare - 1)
            print(f"{kind}: bare TRL {bare:.2f} s, modelpick {ours:.2f} s for {options.steps} steps: {more:+.1f} %")


def _timed(trainer: Any) -> tuple[float, float]:
    """Seconds of training by the clock, and of CPU; silent, since printing is not what is compared."""
    with redirect_stdout(StringIO()):
        clock, spent = time.perf_counter(), time.process_time()
        trainer.train()
        return time.perf_counter() - clock, time.process_time() - spent


def _bare(settings: RunSettings, folder: Path) -> Any:
    import datasets
    import trl

    loaded, encoded = _prepared(settings)
    arguments = trl.SFTConfig(
        output_dir=str(folder), per_device_train_batch_size=8, max_steps=settings.max_steps, learning_rate=2e-4,
        logging_steps=5, save_steps=settings.save_steps, report_to=[], disable_tqdm=True, use_cpu=True, max_length=128,
        dataset_kwargs={"skip_prepare_dataset": True}, bf16=False, gradient_checkpointing=False,
    )  # fmt: skip
    rows = datasets.Dataset.from_list(list(encoded.rows))
    return trl.SFTTrainer(loaded.model, arguments, train_dataset=rows, processing_class=loaded.tokenizer)


def _ours(settings: RunSettings, folder: Path) -> Any:
    loaded, encoded = _prepared(settings)
    hooks = trainers.RunHooks(lambda event: None, None, threading.Event())
    return train.build_trainer(settings, trainers.Prepared(loaded, encoded), folder, hooks)


def _prepared(settings: RunSettings) -> Any:
    loaded = finetune.load_for_training(settings)
    examples = [Example(n, "chat", (Turn("user", f"count to {n} " * 8),), f"up to {n} " * 8) for n in range(240)]
    return loaded, tokenize.encode(examples, loaded.tokenizer, loaded.kind, settings.context)


def _tiny(folder: Path) -> Path:
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**CONFIG)).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
