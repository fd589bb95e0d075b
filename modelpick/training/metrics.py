"""A run's folder for people and programs: metrics.jsonl, a loss curve as SVG and as text. No dependencies."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Point = tuple[float, float]
_BLOCKS = "▁▂▃▄▅▆▇█"


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line of metrics; values that JSON has no word for become null."""
    clean = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(clean, allow_nan=False) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All metrics, of the last attempt at each step; a half-written last line is passed over."""
    records: dict[tuple[Any, bool], dict[str, Any]] = {}
    if not path.exists():
        return []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        records[(record.get("step"), "eval_loss" in record)] = record
    return sorted(records.values(), key=lambda record: record.get("step") or 0)


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


def svg(train: Sequence[Point], held_out: Sequence[Point] = (), title: str = "loss") -> str:
    """The loss curve as a stand-alone SVG of 640 x 360: training as a line, held-out as marked points.

    The two are told apart by shape, not by colour alone.
    """
    every = [*train, *held_out]
    if not every:
        every = [(0.0, 0.0)]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = min(0.0, min(y for _, y in every)), max(y for _, y in every)
    wide, tall = (right - left) or 1.0, (high - low) or 1.0

    def place(point: Point) -> str:
        return f"{60 + 560 * (point[0] - left) / wide:.1f},{310 - 260 * (point[1] - low) / tall:.1f}"

    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" viewBox="0 0 640 360" role="img">',
        f"<title>{_escaped(title)}</title>",
        '<rect width="640" height="360" fill="white"/>',
        '<g font-family="sans-serif" font-size="12" fill="#333">',
        f'<text x="60" y="30" font-size="14">{_escaped(title)}</text>',
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


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
