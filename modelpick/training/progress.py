"""What a run reports: typed events, progress.json and metrics.jsonl for programs, a loss curve for people.

docs/job-contract.md describes the files.
"""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from xml.sax.saxutils import escape

from modelpick import files
from modelpick.errors import EXIT_INTERRUPTED, ModelpickError, UsageError, printable
from modelpick.files import write_atomically
from modelpick.planning.recipe import BatchHalving

HEARTBEAT_SECONDS = 10.0
State = Literal["preparing", "before", "training", "after", "saving", "done", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The run moved on to another state."""

    state: State


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class TrainingStarted:
    """Training begins after `step` of `steps`; `tokens` were already trained on."""

    step: int
    steps: int
    tokens: int


@dataclass(frozen=True, slots=True)
class StepLogged:
    """The figures of a step as the Trainer logs them (loss in nats per token, learning_rate, grad_norm), and the pace.

    Progress adds the speed: tokens per second since training started here, seconds left, dollars so far.
    """

    step: int
    steps: int
    epoch: float | None
    tokens: int
    figures: Mapping[str, float]
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    usd_so_far: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointSaved:
    """The checkpoint of `step` is whole."""

    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """Memory ran out. `halvings` are all that are in force from now on."""

    text: str
    halvings: tuple[BatchHalving, ...]


Event = StateChanged | Note | TrainingStarted | StepLogged | CheckpointSaved | OutOfMemory
Screen = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class ProgressRecord:
    """progress.json. Times are UTC in ISO form; dollars are those of this process."""

    schema_version: int = 1
    state: State = "preparing"
    step: int = 0
    steps: int | None = None
    checkpoint_step: int | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
    loss: float | None = None
    usd_so_far: float | None = None
    heartbeat_at: str | None = None
    progressed_at: str | None = None
    error: Mapping[str, str] | None = None

    def as_json(self) -> dict[str, object]:
        """The file's object: unknown fields are left out, except `steps`."""
        return {name: value for name, value in asdict(self).items() if value is not None or name == "steps"}


class Progress:
    """Keeps progress.json fresh: on every event, and by a heartbeat between events.

    `heartbeat_at` proves that the process lives, `progressed_at` that the work advances.
    """

    def __init__(self, folder: Path, screen: Screen, usd_per_hour: float | None = None) -> None:
        self._folder = folder
        self._screen = screen
        self._usd_per_hour = usd_per_hour
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._started = time.monotonic()
        self._training_from = (self._started, 0, 0)  # (when, step, tokens)
        self._now = ProgressRecord()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Progress":
        self.report(StateChanged("preparing"))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            return
        if isinstance(error, ModelpickError):
            shown, interrupted = error.as_json(), error.exit_code == EXIT_INTERRUPTED
        else:
            shown, interrupted = {"code": "defect", "message": str(error)[:300]}, False
        self._now = replace(self._now, error=shown)
        self.report(StateChanged("interrupted" if interrupted else "failed"))

    @property
    def now(self) -> State:
        """The state that the run is in."""
        return self._now.state

    def state(self, state: State) -> None:
        """Move on to a state."""
        self.report(StateChanged(state))

    def note(self, text: str) -> None:
        """Report a sentence."""
        self.report(Note(text))

    def report(self, event: Event) -> None:
        """Take an event: note it down, write the files, show it."""
        with self._lock:
            match event:
                case StateChanged(state):
                    self._now = replace(self._now, state=state)
                case TrainingStarted(step, steps, tokens):
                    self._training_from = (time.monotonic(), step, tokens)
                    self._now = replace(self._now, state="training", step=step, steps=steps)
                case CheckpointSaved(step):
                    self._now = replace(self._now, checkpoint_step=step)
                case StepLogged():
                    event = self._take(event)
            self._now = replace(self._now, progressed_at=_utc_now())
            self._write()
        self._screen(event)

    def _take(self, event: StepLogged) -> StepLogged:
        now, (when, first_step, first_tokens) = time.monotonic(), self._training_from
        spent, done = now - when, event.step - first_step
        self._now = replace(self._now, step=event.step, steps=event.steps, tokens=event.tokens)
        if done > 0 and spent > 0:
            pace = round((event.tokens - first_tokens) / spent, 1)
            left = round(spent / done * (event.steps - event.step), 1)
            self._now = replace(self._now, tokens_per_second=pace, eta_seconds=left)
        if "loss" in event.figures:
            self._now = replace(self._now, loss=_finite(event.figures["loss"]))
        if event.figures.keys() & {"loss", "eval_loss"}:
            place = {"step": event.step, "steps": event.steps, "epoch": event.epoch, "tokens": event.tokens}
            append_metrics(self._folder / "metrics.jsonl", {"at": _utc_now(), **place, **event.figures})
        return replace(
            event,
            tokens_per_second=self._now.tokens_per_second,
            eta_seconds=self._now.eta_seconds,
            usd_so_far=self._dollars(),
        )

    def _dollars(self) -> float | None:
        if self._usd_per_hour is None:
            return None
        return round((time.monotonic() - self._started) / 3600 * self._usd_per_hour, 4)

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_SECONDS):
            with self._lock:
                self._write()

    def _write(self) -> None:
        self._now = replace(self._now, heartbeat_at=_utc_now(), usd_so_far=self._dollars())
        with suppress(UsageError):  # a full disk must not end the run before training itself reports it
            write_atomically(self._folder / "progress.json", json.dumps(self._now.as_json(), indent=1) + "\n")


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Point = tuple[float, float]
_BLOCKS = "▁▂▃▄▅▆▇█"


def append_metrics(path: Path, record: Mapping[str, object]) -> None:
    """Add one line to metrics.jsonl; NaN and infinity, which JSON does not know, become null."""
    clean = {key: _finite(value) for key, value in record.items()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(clean, allow_nan=False) + "\n")


def read_metrics(path: Path) -> list[dict[str, object]]:
    """The lines of metrics.jsonl by step, of each step the last attempt; a half-written line is passed over."""
    records: dict[tuple[Any, bool], dict[str, object]] = {}
    if not path.exists():
        return []
    for line in files.read_text(path, code="bad_metrics").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records[(record.get("step"), "eval_loss" in record)] = record
    return [records[key] for key in sorted(records, key=lambda key: key[0] or 0)]


def losses(records: Sequence[Mapping[str, Any]], key: str = "loss") -> list[Point]:
    """(step, loss) pairs of the records that have them."""
    return [(float(r["step"]), float(r[key])) for r in records if r.get(key) is not None and r.get("step") is not None]


def sparkline(points: Sequence[Point], width: int = 60) -> str:
    """The curve as one line of text, its highest value first and its last at the end."""
    if not points:
        return ""
    values = [y for _, y in points]
    if len(values) > width:
        values = [values[i * len(values) // width] for i in range(width)]
    low, high = min(values), max(values)
    scale = (len(_BLOCKS) - 1) / (high - low) if high > low else 0
    return f"{values[0]:.3f} {''.join(_BLOCKS[round((v - low) * scale)] for v in values)} {points[-1][1]:.3f}"


def loss_svg(train: Sequence[Point], held_out: Sequence[Point] = (), title: str = "loss") -> str:
    """The loss curve as a stand-alone SVG of 640 x 360: training as a line, held-out as marked points.

    The two differ in shape, not by colour alone.
    """
    every = [*train, *held_out]
    if not every:
        every = [(0.0, 0.0)]
    title = escape(printable(title))
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = min(0.0, min(y for _, y in every)), max(y for _, y in every)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def place(point: Point) -> str:
        return f"{60 + 560 * (point[0] - left) / wide:.1f},{310 - 260 * (point[1] - low) / tall:.1f}"

    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" viewBox="0 0 640 360" role="img">',
        f"<title>{title}</title>",
        '<rect width="640" height="360" fill="white"/>',
        '<g font-family="sans-serif" font-size="12" fill="#333">',
        f'<text x="60" y="30" font-size="14">{title}</text>',
    ]
    for part in range(5):
        y, value = 310 - 65 * part, low + tall * part / 4
        lines.append(
            f'<path d="M60 {y}H620" stroke="#ddd"/><text x="52" y="{y + 4}" text-anchor="end">{value:.2f}</text>'
        )
    for part in range(3):
        x, value = 60 + 280 * part, left + wide * part / 2
        lines.append(f'<text x="{x}" y="330" text-anchor="middle">{value:.0f}</text>')
    lines.append('<text x="340" y="350" text-anchor="middle">step</text></g>')
    lines.append(f'<polyline fill="none" stroke="#1f5fa8" stroke-width="2" points="{" ".join(map(place, train))}"/>')
    for point in held_out:
        across, down = place(point).split(",")
        lines.append(f'<circle cx="{across}" cy="{down}" r="4" fill="none" stroke="#b04a00" stroke-width="2"/>')
    lines.append('<g font-family="sans-serif" font-size="12"><text x="500" y="30" fill="#1f5fa8">line: training</text>')
    if held_out:
        lines.append('<text x="500" y="46" fill="#b04a00">rings: held-out</text>')
    lines.append("</g></svg>")
    return "\n".join(lines) + "\n"
