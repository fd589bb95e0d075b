"""Other memory estimators on the same measurements, each run as its users run it, from an environment of its own.

    python -m venv PEERS/hf-mem && PEERS/hf-mem/bin/pip install hf-mem
    python -m venv PEERS/accelerate && PEERS/accelerate/bin/pip install accelerate transformers torch
    (likewise hf-vram-calc, modelinfo-cli and "ftuneai[cli]")
    python benchmarks/memory_accuracy.py --peers PEERS

A peer is asked the rows of one GPU that its command line can express; that it leaves parts out of its answer is its
error. They ask the Hub for every model: a stand-in answers (peer_hub.py), with config.json as our catalog has it and
safetensors headers made from the architecture, in the layout of the row's quantization. It serves no code: models whose
configuration is code of their own (Qwen 1) have no answer from tools that run transformers.
"""

import json
import os
import re
import statistics
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memory_accuracy import Compared, percentile
from peer_hub import PeerHub, Tensor

from modelpick.catalog import index
from modelpick.catalog.architecture import Architecture, LayerGroup
from modelpick.memory.estimate import GIB, architecture_of

PATIENCE = 900  # seconds a peer has for all rows
DRIVER = Path(__file__).resolve().parent / "peer_driver.py"
STORED = ("bf16", "gptq", "awq", "fp8")  # what a repository on the Hub holds
KINDS = ("inference", "lora", "qlora", "lora-int8", "full")


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: its console script, which rows it can express, its arguments for one, and its answer in GiB."""

    name: str
    script: str
    answers: Callable[[Compared], bool]
    arguments: Callable[[Compared], list[str]]
    gib: Callable[[Compared, str], float]


def _bits(row: Compared) -> int:
    quantization = str(row.case["quantization"])
    return 16 if quantization == "none" else 8 if "int8" in quantization or quantization == "fp8" else 4


def _repository(row: Compared) -> str:
    """The repository that holds what the row ran: the model's own, or its quantized sibling."""
    method = str(row.found.workload.method)
    stored = method in STORED and method != "bf16"
    return f"{row.case['model']}-{method}-{_bits(row)}bit" if stored else str(row.case["model"])


def _serves(row: Compared) -> bool:
    return row.category == "inference" and row.found.workload.gpus == 1


def _serves_stored(row: Compared) -> bool:
    return _serves(row) and row.found.workload.method in STORED


def _tunes(row: Compared) -> bool:
    return row.category in ("lora", "qlora", "lora-int8", "full")


def _hf_mem(row: Compared) -> list[str]:
    workload = row.found.workload
    asked = ["--model-id", _repository(row), "--experimental", "--json-output"]
    return [*asked, "--max-model-len", str(workload.context + workload.generate), "--batch-size", str(workload.batch)]


def _modelinfo(row: Compared) -> list[str]:
    workload = row.found.workload
    tokens = workload.context + workload.generate
    return [_repository(row), "--context", str(tokens), "--batch-size", str(workload.batch)]


def _modelinfo_gib(_: Compared, printed: str) -> float:
    found = re.search(r"~\s*([\d.,]+)\s*(MB|GB)", printed)
    if found is None:
        raise ValueError("it does not print VRAM")
    return float(found[1].replace(",", "")) / (1024 if found[2] == "MB" else 1)


def _accelerate(row: Compared) -> list[str]:
    return ["estimate-memory", str(row.case["model"]), "--library_name", "transformers"]


def _accelerate_gib(row: Compared, printed: str) -> float:
    """Its table's total size, or what training with Adam takes, in the row's type."""
    type_ = {16: "float16", 8: "int8", 4: "int4"}[_bits(row)]
    type_ = "float32" if row.found.workload.dtype == "fp32" else type_
    cells = next(line for line in printed.splitlines() if type_ in line)
    sizes = re.findall(r"([\d.]+)\s*(KB|MB|GB)", cells)
    value, unit = sizes[2 if row.category == "full" else 1]
    return float(value) / {"KB": 1024**2, "MB": 1024, "GB": 1}[unit]


def _hf_vram_calc(row: Compared) -> list[str]:
    workload = row.found.workload
    type_ = {16: "bf16", 8: "fp8" if workload.method == "fp8" else "int8", 4: "int4"}[_bits(row)]
    type_ = "fp32" if workload.dtype == "fp32" else type_
    tokens = workload.context + (workload.generate if workload.task == "serve" else 0)
    asked = ["--model", str(row.case["model"]), "--dtype", type_, "--max_seq_len", str(tokens)]
    rank = ["--lora_rank", str(workload.lora_rank)] if workload.task == "finetune" else []
    return [*asked, "--max_batch_size", str(workload.batch), *rank]


def _hf_vram_calc_gib(row: Compared, printed: str) -> float:
    """The cell of its table: inference, training with Adam, or LoRA."""
    cells = [cell.strip() for cell in next(_table_rows(printed)).strip("│ \n").split("│")]
    return float(cells[{"inference": 4, "full": 5}.get(row.category, 6)].replace(",", ""))


def _table_rows(printed: str) -> Iterator[str]:
    return (line for line in printed.splitlines() if re.match(r"\s*│\s*(BF16|FP32|FP8|INT8|INT4)\s*│", line))


def _ftune(row: Compared) -> list[str]:
    workload = row.found.workload
    words = workload.lora_targets.replace(" ", "").split(",")
    wide = {"all-linear", "mlp", "w1", "gate_proj", "down_proj"} & set(words)
    targets = "all_linear" if wide else "attention_all" if len(words) > 2 else "attention"
    held = {"qlora": "4bit", "lora-int8": "8bit"}.get(str(workload.method), "none")
    method = "lora" if workload.method == "lora-int8" else str(workload.method)
    return [
        "estimate", "-m", str(row.case["model"]), "--method", method, "-q", held, "-b", str(workload.batch),
        "-s", str(workload.context), "-r", str(workload.lora_rank), "--lora-target", targets,
        "--grad-ckpt" if workload.gradient_checkpointing else "--no-grad-ckpt", "-o", "json",
    ]  # fmt: skip


PEERS = (
    Peer("hf-mem", "hf-mem", _serves_stored, _hf_mem, lambda _, out: float(json.loads(out)["total_memory"]) / GIB),
    Peer("accelerate", "accelerate", lambda row: _serves(row) or row.category == "full", _accelerate, _accelerate_gib),
    Peer("hf-vram-calc", "hf-vram-calc", lambda row: _serves(row) or _tunes(row), _hf_vram_calc, _hf_vram_calc_gib),
    Peer("modelinfo-cli", "modelinfo", _serves_stored, _modelinfo, _modelinfo_gib),
    Peer("ftuneai", "ftune", _tunes, _ftune, lambda _, out: float(json.loads(out)["memory"]["total_gb"])),
)


def compare_peers(folder: Path, rows: list[Compared]) -> list[str]:
    """A line for each peer and kind: rows answered, errors, ours on the same rows; then why the others are missing."""
    lines = [
        "",
        "| peer | kind | rows answered | median error | 90th percentile | modelpick on the same rows |",
        "|---|---|---:|---:|---:|---:|",
    ]
    notes = []
    with PeerHub() as hub:
        _publish(hub, rows)
        for peer in PEERS:
            python = folder / peer.name / "bin" / "python"
            if not python.exists():
                lines.append(f"| {peer.name} | | not installed in {folder.name}/{peer.name} | | | |")
                continue
            asked = [row for row in rows if peer.answers(row)]
            found, failures = _run(peer, python, asked, hub.environment)
            lines += _table(peer, found, asked)
            notes += [f"{peer.name}: {count} of {model}: {why}" for (model, why), count in failures.items()]
    return [*lines, "", "rows without an answer:", *(f"  {note}" for note in notes)]


def _run(
    peer: Peer, python: Path, rows: list[Compared], environment: dict[str, str]
) -> tuple[list[tuple[Compared, float]], dict[tuple[str, str], int]]:
    """Each row with the peer's answer in GiB, and how many rows had none, by model and reason."""
    commands = list(dict.fromkeys(tuple(peer.arguments(row)) for row in rows))
    given = "".join(json.dumps(command) + "\n" for command in commands)
    try:
        printed = subprocess.run(
            [str(python), str(DRIVER), peer.script], input=given, capture_output=True, text=True, timeout=PATIENCE,
            env=environment | {"TMPDIR": os.environ.get("TMPDIR", "/tmp")},
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired as late:
        printed = (late.stdout or b"").decode() if isinstance(late.stdout, bytes) else (late.stdout or "")
    answers = dict(zip(commands, (json.loads(line) for line in printed.splitlines()), strict=False))
    found, failures = [], dict[tuple[str, str], int]()
    for row in rows:
        answer = answers.get(tuple(peer.arguments(row)), {"printed": "", "failure": f"none within {PATIENCE} s"})
        try:
            found.append((row, peer.gib(row, answer["printed"])))
        except (ValueError, KeyError, StopIteration, IndexError):
            key = str(row.case["model"]), _why(answer)
            failures[key] = failures.get(key, 0) + 1
    return found, failures


def _why(answer: dict[str, Any]) -> str:
    """The first telling line of what the tool said instead of an answer."""
    said = [*str(answer["failure"] or "").splitlines(), *str(answer["printed"]).splitlines()]
    telling = [line.strip() for line in said if re.search(r"error|fail|not recogn|missing|within", line, re.IGNORECASE)]
    return (telling or said or ["no answer"])[0][:150]


def _table(peer: Peer, found: list[tuple[Compared, float]], asked: list[Compared]) -> list[str]:
    lines = []
    for kind in KINDS:
        total = sum(row.category == kind for row in asked)
        theirs = [abs(gib / row.measured - 1) for row, gib in found if row.category == kind]
        ours = [abs(row.error) for row, _ in found if row.category == kind]
        if theirs:
            lines.append(
                f"| {peer.name} | {kind} | {len(theirs)} of {total} | {statistics.median(theirs):.1%} "
                f"| {percentile(theirs, 0.9):.1%} | {statistics.median(ours):.1%} / {percentile(ours, 0.9):.1%} |"
            )
        elif total:
            lines.append(f"| {peer.name} | {kind} | 0 of {total} | | | |")
    return lines


def _publish(hub: PeerHub, rows: list[Compared]) -> None:
    """Every repository that a row names, and its quantized siblings."""
    catalog = index.load()
    for row in rows:
        model = catalog.find(row.case["model"])
        if model is None or model.config is None:
            continue
        shape = architecture_of(model)
        kind = "ForConditionalGeneration" if shape.kind == "encoder-decoder" else "ForCausalLM"
        named = shape.model_type.title().replace("_", "") + kind
        stated = {"architectures": [named], "torch_dtype": "bfloat16", "max_position_embeddings": 32768}
        config = {**stated, **model.config}  # tools stumble over what a config does not state
        method = str(row.found.workload.method) if _repository(row) != row.case["model"] else "none"
        hub.add(_repository(row), config, _tensors(shape, method, _bits(row)))


def _tensors(shape: Architecture, method: str, bits: int) -> Iterator[Tensor]:
    """The tensors of a repository of this shape; linear layers as GPTQ, AWQ or FP8 checkpoints hold them."""
    yield "model.embed_tokens.weight", "BF16", _matrix(shape.embedding_parameters, shape.hidden)
    if shape.head_parameters and not shape.tied:
        yield "lm_head.weight", "BF16", _matrix(shape.head_parameters, shape.hidden)
    if shape.other_parameters:
        yield "model.norm.weight", "BF16", (shape.other_parameters,)
    for side, runs in (("model", shape.layers), ("encoder", shape.encoder)):
        number = 0
        for run in runs:
            for _ in range(run.count):
                yield from _layer(f"{side}.layers.{number}", run, method, bits)
                number += 1


def _layer(prefix: str, run: LayerGroup, method: str, bits: int) -> Iterator[Tensor]:
    if run.other_parameters:
        yield f"{prefix}.input_layernorm.weight", "BF16", (run.other_parameters,)
    matrices = [(p.name, p.inputs, p.outputs) for p in run.projections]
    if run.experts and run.experts.weights:
        experts = run.experts
        per_expert = experts.weights // (experts.count * experts.width)
        matrices += [(f"experts.{n}.gate_up_down", per_expert, experts.width) for n in range(experts.count)]
    for name, inputs, outputs in matrices:
        path = f"{prefix}.mlp.{name}" if "expert" in name else f"{prefix}.{name}"
        if method == "none":
            yield f"{path}.weight", "BF16", (outputs, inputs)
        elif method == "fp8":
            yield f"{path}.weight", "F8_E4M3", (outputs, inputs)
            yield f"{path}.weight_scale_inv", "F32", (-(-outputs // 128), -(-inputs // 128))
        else:
            yield f"{path}.qweight", "I32", (inputs * bits // 32, outputs)
            yield f"{path}.scales", "F16", (-(-inputs // 128), outputs)
            yield f"{path}.qzeros", "I32", (-(-inputs // 128), outputs * bits // 32)


def _matrix(elements: int, width: int) -> tuple[int, ...]:
    return (elements // width, width) if elements % width == 0 else (elements,)
