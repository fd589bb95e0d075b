"""What a run is made from: its examples, parted, and proof that they and the base are still the same ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.datasets.duplicates import normalized
from modelpick.datasets.examples import Example
from modelpick.datasets.read import read_for_training, sha256_of, split
from modelpick.errors import UsageError
from modelpick.planning.recipe import RunSettings


@dataclass(frozen=True, slots=True)
class Data:
    """The examples of a run, parted."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    sha256: str
    sources: tuple[str, ...]
    labels: tuple[str, ...]
    eval_sha256: str | None = None
    leaks: int = 0  # held-out examples left out, since training says the same

    def as_json(self) -> dict[str, Any]:
        """For run.json and the card."""
        return {
            "examples": len(self.train),
            "held_out": len(self.held_out),
            "leaks_left_out": self.leaks,
            "sha256": self.sha256,
            "eval_sha256": self.eval_sha256,
            "sources": list(self.sources),
        }


def read_data(given: Mapping[str, Any], labelled_by: RunSettings | None = None) -> Data:
    """Read and part the examples; a separate held-out file wins over a share.

    A held-out example that asks what training asks, word for word, proves nothing and is left out. Raises UsageError
    for a file that cannot be learned from, and code="leak" when nothing of a held-out file is left.
    """
    defaults = labelled_by or RunSettings(model="", data="", output="")
    whole = read_for_training(Path(given["data"]))
    seed = defaults.seed if given.get("seed") is None else int(given["seed"])
    eval_sha, leaks = None, 0
    if given.get("eval_data"):
        apart = read_for_training(Path(given["eval_data"]))
        train, eval_sha = whole.examples, apart.sha256
        known = {_asked(example) for example in train}
        held_out = tuple(example for example in apart.examples if _asked(example) not in known)
        leaks = len(apart.examples) - len(held_out)
        if not held_out:
            raise UsageError(
                f"every example of {given['eval_data']} stands in {given['data']} too",
                fix="hold out examples that are not trained on, or leave --eval-data out",
                code="leak",
            )
    else:
        share = given.get("held_out")
        train, held_out = split(whole.examples, defaults.held_out if share is None else float(share), seed)
    sources = tuple(sorted({example.source for example in (*train, *held_out) if example.source}))
    labels = labels_of((*train, *held_out))
    if len(labels) == 1:
        raise UsageError(
            f"every example of {given['data']} has the label {labels[0]!r}",
            fix="give examples of at least two labels",
            code="one_label",
        )
    return Data(train, held_out, whole.sha256, sources, labels, eval_sha, leaks)


def _asked(example: Example) -> str:
    return normalized(example.prompt) or normalized(example.text)


def base_sha256(model: str) -> str | None:
    """One hash over the weight files of a local folder; None for a Hub id, which its revision pins."""
    import hashlib

    folder = Path(model)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(path for suffix in ("safetensors", "bin") for path in folder.glob(f"*.{suffix}")):
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def refuse_changed(record: Mapping[str, Any], given: Mapping[str, Any], data: Data, *, continues: bool) -> None:
    """Refuse to continue or repeat a run on other data or another base than those it began with.

    `record` is its run.json. A repeated run may name another file or base on purpose, which is not compared; one that
    is continued may not: another name is another place for the same. Raises UsageError: data_changed, base_changed.
    """
    settings, kept = record["settings"], record.get("data", {})
    now = {"data": data.sha256, "eval_data": data.eval_sha256}
    for name, key in (("data", "sha256"), ("eval_data", "eval_sha256")):
        compared = continues or given.get(name) == settings.get(name)
        if compared and kept.get(key) not in (None, now[name]):
            raise UsageError(
                f"{given[name]} is not the file that this run began with: its SHA-256 was {kept[key][:12]}...",
                fix="put that file back, or start another run with another --output",
                code="data_changed",
            )
    was = record.get("base_sha256")
    compared = continues or given.get("model") == settings.get("model")
    if compared and was and was != base_sha256(str(given["model"])):
        raise UsageError(
            f"the weights in {given['model']} are not those that this run began with",
            fix="put them back, or start another run with another --output",
            code="base_changed",
        )


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The class names of a classification file, sorted (numbers by value)."""
    names = {example.answer for example in examples if example.form == "classification" and example.answer is not None}
    return tuple(sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)))
