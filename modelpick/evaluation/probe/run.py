"""One probing: the cases asked for, put to whatever can answer."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError
from modelpick.evaluation.probe import ask
from modelpick.evaluation.probe.suite import Answers, Asking, Case, Wording, article_case
from modelpick.evaluation.probe.suite import cases as make_cases
from modelpick.extras import require_train

Ask = Callable[[Sequence[Case], Sequence[Case]], Answers]


@dataclass(frozen=True, slots=True)
class Suite:
    """Which cases: enough to make the same ones again."""

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

    def as_json(self) -> dict[str, Any]:
        """For `probe --json`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Probed:
    """Answers to a suite, and to the founding article's own prompt, which is counted nowhere else."""

    answers: Answers
    founding: Answers

    def as_json(self) -> dict[str, Any]:
        """For `probe --json`: the suite's figures, and what was said to the one prompt."""
        case, said = self.founding.cases[0], self.founding.concluded[0]
        told = {"prompt": case.prompt, "said": self.founding.texts[0], "concluded": said, "right": said is case.follows}
        return {**self.answers.as_json(), "founding_prompt": told}


def probe(
    model: str,
    suite: Suite,
    *,
    adapter: str | None = None,
    endpoint: str | None = None,
    key_file: Path | None = None,
) -> Probed:
    """Put a suite to a model here, to an adapter on it, or to an endpoint that serves it.

    A mask-filling encoder fills gaps; everything else writes. Raises UsageError, RemoteError.
    """
    with _quiet(endpoint):
        put = _asker(model, adapter, endpoint, key_file)
        return Probed(put(suite.made(), suite.solved()), put((article_case(),), ()))


def _quiet(endpoint: str | None) -> AbstractContextManager[None]:
    if endpoint is not None:
        return nullcontext()
    require_train()
    from modelpick.loading.quiet import quietly

    return quietly()


def _asker(model: str, adapter: str | None, endpoint: str | None, key_file: Path | None) -> Ask:
    """What puts cases to the model, loaded once."""
    if endpoint is not None:
        if adapter is not None:
            raise UsageError(
                "--adapter has no meaning with --endpoint", fix="serve the adapter under a name", code="contradiction"
            )
        return lambda cases, shots: ask.ask_endpoint(endpoint, model, cases, shots, key_file)
    from modelpick.loading import adapters, environment, load

    options = load.LoadOptions()
    if load.kind_of(load.load_config(model, options)) == "encoder":
        if adapter is not None:
            raise UsageError(
                "an adapter on an encoder classifies, and fills no masks",
                fix="leave out --adapter; finetune's held-out examples judge it",
                code="contradiction",
            )
        return lambda cases, shots: ask.ask_mask_filler(model, cases, shots)
    loaded = adapters.load_adapter(model, Path(adapter), options) if adapter else load.load(model, options)
    environment.place(loaded.model)
    return lambda cases, shots: ask.ask_loaded(loaded, cases, shots)
