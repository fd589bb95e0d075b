"""NVIDIA's aiconfigurator beside modelpick on the same published runs: the tool that predicts the same figures.

    python benchmarks/aiconfigurator_peer.py [--env DIR] [--stacks vllm-0.11 ...] [--most N]

Makes an environment of its own in DIR (else in a temporary folder, which goes afterwards) and installs aiconfigurator
0.12.0 there: 850 MB, which modelpick does not depend on. Asked are the rows of data/speeds.jsonl that were measured on
vLLM, SGLang and TensorRT-LLM of 2025 and 2026, each with the parallelism its publisher names, and those of 2023 and
2024 that it can be asked about. It answers for the engine versions it has tables of, which are newer than most rows.

Read it with care: the rows of 2025 and 2026 are out of the sample of measured runs that its package carries
(systems/silicon_sample.csv), so that its makers knew them, while modelpick's figures are of rows whose whole source was
left out of the fit (of today's engines each model is a source). An error of 50 % is a factor of 1.5, too much or too
little. An answer takes it 1.3 seconds of CPU, some ten minutes for all: --stacks asks about some classes of engines
alone, --most about at most N runs of each engine, model, format and GPU, chosen by a hash of their names. Exit code 3:
the package cannot be had, or does not run here. Needs Linux on x86-64 with Python 3.11 to 3.13.
"""

import argparse
import csv
import hashlib
import json
import math
import subprocess
import sys
import tempfile
import venv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import speed_fit
from speed_accuracy import FEWEST, GROUPS, Scored, leave_one_out, quantile
from speed_fit import Row

from modelpick.catalog import index

PACKAGE = "aiconfigurator==0.12.0"
DRIVER = Path(__file__).resolve().parent / "aiconfigurator_driver.py"
PATIENCE = 1800  # seconds for the installation, and for all answers
CANNOT_TELL = 3
SYSTEMS = {
    "A100-80GB": "a100_sxm", "A100-80GB-PCIe": "a100_pcie", "H100-80GB": "h100_sxm", "H200": "h200_sxm",
    "B200": "b200_sxm", "L40S": "l40s", "L4": "l4", "RTX-PRO-6000": "rtx_pro_6000_server",
}  # fmt: skip
ENGINES = {
    "vllm-0.11": "vllm", "sglang-0.5": "sglang", "trtllm-1.0": "trtllm",
    "vllm": "vllm", "vllm-v0": "vllm", "sglang": "sglang", "trtllm": "trtllm",
}  # fmt: skip
# The checkpoint that holds a model in a format, of those whose configuration the package carries.
CHECKPOINTS = {
    ("deepseek-ai/DeepSeek-V3", "nvfp4"): "nvidia/DeepSeek-V3.1-NVFP4",
    ("MiniMaxAI/MiniMax-M2.5", "nvfp4"): "nvidia/MiniMax-M2.5-NVFP4",
    ("moonshotai/Kimi-K2.5", "bf16+nvfp4"): "nvidia/Kimi-K2.5-NVFP4",
    ("zai-org/GLM-5", "nvfp4"): "nvidia/GLM-5-NVFP4",
    ("zai-org/GLM-5", "fp8-block"): "zai-org/GLM-5-FP8",
    ("Qwen/Qwen3.5-397B-A17B", "nvfp4"): "nvidia/Qwen3.5-397B-A17B-NVFP4",
    ("meta-llama/Llama-3.1-70B", "fp8"): "nvidia/Llama-3.1-70B-Instruct-FP8",
} | {
    (name, method): name
    for name, method in (
        ("deepseek-ai/DeepSeek-V3", "fp8-block"), ("MiniMaxAI/MiniMax-M2.5", "fp8-block"),
        ("moonshotai/Kimi-K2.5", "bf16+int4"), ("Qwen/Qwen3-235B-A22B-FP8", "fp8-block"),
        ("openai/gpt-oss-120b", "mxfp4"),
    )
}  # fmt: skip
SAME_SHAPE = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B": "meta-llama/Meta-Llama-3.1-8B",
}
# Its names of weight formats, where no checkpoint says them.
FORMATS = {
    "bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8", "fp8-block": "fp8_block", "nvfp4": "nvfp4", "awq": "int4_wo",
    "gptq": "int4_wo", "gptq-int8": "int8_wo", "w8a8": "sq",
}  # fmt: skip
# Shapes that it reads under the architecture of another name.
ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "mistral": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM", "mixtral": "MixtralForCausalLM", "qwen2_moe": "Qwen2MoeForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pair:
    """A row with the logarithms of predicted over measured: theirs (None: no answer, and why), and ours."""

    row: Row
    theirs: float | None
    why: str
    queues: bool
    ours: Scored


def main() -> int:
    """Installs, asks, prints; 0, or 3 where the package cannot be had or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, help="folder of its environment, kept; used as it is where it stands")
    parser.add_argument("--stacks", nargs="+", choices=tuple(ENGINES), default=tuple(ENGINES))
    parser.add_argument("--most", type=int, default=10**6, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.env or Path(temporary) / "aiconfigurator"
        try:
            python = _environment(folder)
            rows = speed_fit.load()
            wanted = _thinned([row for row in rows if row.stack in options.stacks and _can_be_asked(row)], options.most)
            pairs = _compare(rows, wanted, python, folder, Path(temporary))
        except (subprocess.SubprocessError, OSError) as error:
            print(f"{PACKAGE} cannot be had or run here: {error}", file=sys.stderr)
            return CANNOT_TELL
    print("\n".join(table(pairs)))
    return 0 if any(pair.theirs is not None for pair in pairs) else CANNOT_TELL


def _environment(folder: Path) -> Path:
    """The Python of an environment that holds the package, made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    imports = [str(python), "-c", "import aiconfigurator.cli.api"]
    if subprocess.run(imports, capture_output=True, check=False).returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", PACKAGE], check=True, timeout=PATIENCE)
        subprocess.run(imports, check=True)
    return python


def _compare(rows: Sequence[Row], wanted: Sequence[Row], python: Path, folder: Path, temporary: Path) -> list[Pair]:
    path = speed_fit.DATA / "speeds.jsonl"
    raws = {raw["id"]: raw for raw in map(json.loads, path.read_text(encoding="utf-8").splitlines())}
    (package,) = folder.glob("lib/python*/site-packages/aiconfigurator_core")
    with (package / "systems" / "silicon_sample.csv").open(encoding="utf-8", newline="") as file:
        sample = {row["id"]: row for row in csv.DictReader(file)}
    known = {path.name.removesuffix("_config.json").replace("--", "/") for path in package.glob("model_configs/*")}
    asked = [_asked(raws[row.id], sample, known, temporary) for row in wanted]
    answers = _answers(python, asked)
    ours = {one.row.id: one for one in _left_out(rows, wanted)}
    return [_pair(row, raws[row.id], answer, ours[row.id]) for row, answer in zip(wanted, answers, strict=True)]


def _left_out(rows: Sequence[Row], wanted: Sequence[Row]) -> Iterator[Scored]:
    """Our figures of the sources of these rows. Today's engines and those before are fitted from starts of their own,
    and neither on training runs."""
    for today in (True, False):
        sources = {row.source for row in wanted if row.today == today}
        if sources:
            alike = [row for row in rows if not row.training and row.today == today]
            yield from leave_one_out(alike, GROUPS["source"], sources)


def _thinned(rows: Sequence[Row], most: int) -> list[Row]:
    """At most so many runs of each engine, model, format and GPU, with both figures of a run."""
    groups = defaultdict(set)
    for row in rows:
        groups[row.stack, row.model, row.features["method"], row.gpu].add(_run(row))
    chosen = {run for runs in groups.values() for run in sorted(runs, key=_lot)[:most]}
    return [row for row in rows if _run(row) in chosen]


def _run(row: Row) -> str:
    return row.id.removesuffix(":first")


def _lot(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()


def _can_be_asked(row: Row) -> bool:
    """Runs of these engines, but not the older file's single lines out of the same sample."""
    serving = row.task in ("serve-throughput", "serve-decode", "serve-first-token") and row.stack in ENGINES
    return serving and (row.today or "ai-dynamo/aiconfigurator" not in row.source)


def _asked(
    raw: Mapping[str, Any], sample: Mapping[str, Mapping[str, str]], known: set[str], temporary: Path
) -> list[dict[str, Any]]:
    """What it is asked about a row, in the order of trying; nothing for a GPU or a format it has no name of."""
    system = SYSTEMS.get(raw["gpu"])
    if system is None or raw["batch"] == "saturated":
        return []
    one = sample.get(raw["id"].removeprefix("aic:").removesuffix(":first"), {})
    common = {
        "system_name": system, "backend_name": ENGINES[raw["stack"]], "batch_size": int(raw["batch"]),
        "isl": int(raw.get("prompt", 1)), "osl": int(raw.get("generated", 1)), "tp_size": raw["gpus"],
        "moe_tp_size": int(one.get("moe_tp_size") or 0) or raw["gpus"],
        "moe_ep_size": int(one.get("moe_ep_size") or 0) or 1,
    }  # fmt: skip
    model, method = raw["model"], raw["method"]
    checkpoint = CHECKPOINTS.get((model, method))
    tried = [{"model_path": checkpoint}] if checkpoint in known else []
    dense = one.get("gemm_quant_mode") or FORMATS.get(method)
    if dense:
        plain = SAME_SHAPE.get(model, model)
        path = plain if plain in known else _stated(model, temporary)
        experts = one.get("moe_quant_mode") or dense
        tried += [{"model_path": path, "gemm_quant_mode": dense, "moe_quant_mode": experts}] if path else []
    return [common | each for each in tried]


def _stated(model: str, temporary: Path) -> str | None:
    """A folder with the config.json of a model that the package does not carry; None for what it cannot read."""
    configs: dict[str, Any] = json.loads((speed_fit.DATA / "speed_models.json").read_text(encoding="utf-8"))
    found = index.load().find(model)
    config: dict[str, Any] = configs.get(model) or (dict(found.config or {}) if found else {})
    architecture = ARCHITECTURES.get(str(config.get("model_type")))
    if architecture is None:
        return None
    folder = temporary / model.replace("/", "--")
    folder.mkdir(exist_ok=True)
    heads = {"num_key_value_heads": config["num_attention_heads"], "max_position_embeddings": 32768}
    text = json.dumps({**heads, **config, "architectures": [architecture]})
    (folder / "config.json").write_text(text, encoding="utf-8")
    return str(folder)


def _answers(python: Path, asked: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Its answer to each; the same question is asked once."""
    lines = [json.dumps(one) for one in asked]
    once = list(dict.fromkeys(lines))
    ran = subprocess.run(
        [str(python), str(DRIVER)], input="".join(f"{line}\n" for line in once), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    found = dict(zip(once, map(json.loads, ran.stdout.splitlines()), strict=True))
    return (found[line] for line in lines)


def _pair(row: Row, raw: Mapping[str, Any], answer: Mapping[str, Any], ours: Scored) -> Pair:
    if "failure" in answer:
        return Pair(row, None, answer["failure"], False, ours)
    first, each, generated = answer["first"] / 1e3, answer["each"] / 1e3, raw.get("generated", 1.0)
    if row.task == "serve-first-token":
        predicted = 1 / first
    else:
        predicted = raw["batch"] * generated / (first + each * (generated - 1))
    return Pair(row, math.log(predicted / row.measured), "", answer["queues"], ours)


def table(pairs: Sequence[Pair]) -> list[str]:
    """Errors by engine on the rows that both predict, and why it does not answer the others."""
    lines = [
        "| engine | rows | it predicts | aiconfigurator 0.12.0: median / 90th | modelpick on the same: median / 90th |",
        "|---|---:|---:|---:|---:|",
    ]
    groups = defaultdict(list)
    for pair in pairs:
        groups[_group(pair.row)].append(pair)
    for name, of in sorted(groups.items(), key=lambda item: (not item[1][0].row.today, item[0])):
        both = [pair for pair in of if pair.theirs is not None]
        theirs = [math.expm1(abs(pair.theirs)) for pair in both if pair.theirs is not None]
        ours = [math.expm1(abs(pair.ours.error)) for pair in both]
        few = " (few rows: no claim)" if len(both) < FEWEST else ""
        lines.append(f"| {name}{few} | {len(of)} | {len(both)} | {_errors(theirs)} | {_errors(ours)} |")
    silent = Counter((_group(pair.row), pair.why.splitlines()[0][:150]) for pair in pairs if pair.theirs is None)
    queued = sum(pair.queues for pair in pairs)
    sampled = sum(pair.row.today for pair in pairs)
    return [
        *lines, "",
        f"not predicted by it: {sum(silent.values())} of {len(pairs)} rows; of its answers {queued} warn of a queue",
        f"known to its makers, out of its own sample: {sampled} of {len(pairs)} rows",
        *(f"  {count:4} {name}: {why}" for (name, why), count in silent.most_common()),
    ]  # fmt: skip


def _errors(errors: Sequence[float]) -> str:
    return f"{quantile(errors, 0.5):.0%} / {quantile(errors, 0.9):.0%}" if errors else ""


def _group(row: Row) -> str:
    what = (
        "first token" if row.task == "serve-first-token" else "loaded" if row.features["batch"] > 1 else "one request"
    )
    return f"{what}, {row.stack}" + ("" if row.today else " (2023 and 2024)")


if __name__ == "__main__":
    sys.exit(main())
