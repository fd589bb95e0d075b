"""Facts from a wheel of aiconfigurator-core (Apache-2.0): facts/measured_speed_2026.csv and facts/operator_speed.csv.

    python scripts/summarise_aiconfigurator.py FOLDER    (FOLDER: the unpacked wheel; needs pyarrow; a minute)

Not part of `make facts`: the wheel is 200 MB, and its figures change with its version, which VERSION names. Of the
published runs it takes those of one group of tensor-parallel GPUs (no data or pipeline parallelism, no split prefill)
on GPUs that AWS rents, at most MOST of each model, GPU and weight format, spread over the lengths and loads.
Of the measured operators: the line "time = start + bytes / (bandwidth x share)" through the products of few rows, the
FLOP/s of large products, and the all-reduces of 16 KiB in CUDA graphs.
"""

import csv
import hashlib
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

VERSION = "0.12.0"
SOURCE, LICENSE = f"pypi aiconfigurator-core {VERSION}", "Apache-2.0"
FACTS = Path(__file__).resolve().parent.parent / "facts"
MOST = {"vllm": 16, "sglang": 8, "trtllm": 8}
GPUS = {
    "a100_sxm": "A100-80GB", "h100_sxm": "H100-80GB", "h200_sxm": "H200", "b200_sxm": "B200", "b300_sxm": "B300",
    "l40s": "L40S", "rtx_pro_6000_server": "RTX PRO 6000",
}  # fmt: skip
SERVED_ON = ("H100-80GB", "H200", "B200")
BANDWIDTH = {  # GB/s, facts/gpus.toml
    "A100-80GB": 2039, "H100-80GB": 3350, "H200": 4800, "B200": 7700, "B300": 8000, "L40S": 864, "RTX PRO 6000": 1597,
}  # fmt: skip
BYTES = {
    "bf16": 2.0, "fp8": 1.0, "fp8-block": 1.0, "nvfp4": 0.5625, "int4": 0.53, "mxfp4": 0.53125,
}  # fmt: skip
NAMES = {
    "bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8-block", "nvfp4": "nvfp4", "int4_wo": "int4",
    "w4a16_mxfp4": "mxfp4", "": "bf16",
}  # fmt: skip
# The same shape under another name.
MODELS = {
    "deepseek-ai/DeepSeek-R1": "deepseek-ai/DeepSeek-V3", "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-V3",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-ai/DeepSeek-V3", "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Llama-3.1-8B", "zhipuai/GLM-5": "zai-org/GLM-5",
}  # fmt: skip
# NVIDIA's own figures of this model on vLLM exceed what the hardware allows: prefix caching is suspected.
LEFT_OUT = (("vllm", "nvidia/Llama-3.1-8B-Instruct-FP8"),)
# Models with layers that draft the next tokens, and how much faster a campaign must be than another to be doubted.
DRAFTING, FASTER = ("deepseek-ai/DeepSeek-V3",), 1.4
# A run whose wait contradicts another's: what 95 % of the configurations that were run twice stay within is 2.2.
SLOWER = 2.2
# The public sweep that most runs are of (github.com/SemiAnalysisAI/InferenceX, its scripts at the day of each run).
# From this day on its load generator sends requests before those it measures (benchmark_lib.sh, --num-warmups; 480):
# waits before hold what compiling and loading kernels took.
WARMED_FROM = "2026-01-22"
# Of the engine, model, format ("": any) and GPU, the first day on which its scripts keep an 8-bit cache.
CACHE_8BIT = {
    ("vllm", "meta-llama/Llama-3.1-70B", "", ""): "",
    ("trtllm", "meta-llama/Llama-3.1-70B", "", ""): "",
    ("trtllm", "deepseek-ai/DeepSeek-V3", "", ""): "",
    ("sglang", "deepseek-ai/DeepSeek-V3", "", "B200"): "",
    ("vllm", "openai/gpt-oss-120b", "", "B200"): "2025-12-05",
    ("trtllm", "openai/gpt-oss-120b", "", "B200"): "",
    ("vllm", "MiniMaxAI/MiniMax-M2.5", "nvfp4", "B200"): "",
    ("vllm", "moonshotai/Kimi-K2.5", "bf16+nvfp4", "B200"): "2026-04-20",
    ("vllm", "MiniMaxAI/MiniMax-M2.5", "fp8-block", "B200"): "2026-04-03",
    ("sglang", "zai-org/GLM-5", "fp8-block", "B200"): "",
    ("sglang", "zai-org/GLM-5", "nvfp4", "B200"): "2026-04-09",
    ("sglang", "Qwen/Qwen3.5-397B-A17B", "fp8-block", ""): "",
    ("sglang", "Qwen/Qwen3.5-397B-A17B", "nvfp4", ""): "",
}
# SGLang's --scheduler-recv-interval in them: steps from one look for new requests to the next; more from 16 requests
# on.
POLLED = (("deepseek-ai/DeepSeek-V3", "B200"), ("Qwen/Qwen3.5-397B-A17B", "B200"))
POLLED_EVERY = {True: 30, False: 10}
# The sweep sends a tenth of its requests at once, of lengths that vary by a fifth. NVIDIA's own runs are of equal
# lengths (aiconfigurator 0.12.0 generator/sflow.py: both deviations are 0): on SGLang, which stops generating while it
# reads prompts, answers that begin together then end together, and all requests come at once; engines that read prompts
# among the steps of others space them out.
EQUAL_LENGTHS, IN_LOCKSTEP = "aic-auto-gap-analysis", ("sglang",)
AT_ONCE = {True: "1", False: "0.1"}
RUN_FIELDS = (
    "id", "source", "license", "stack", "version", "model", "method", "gpu", "gpus", "concurrency", "in_len", "out_len",
    "first_token_ms", "per_token_ms", "doubt", "wait_doubt", "cache", "at_once", "polled_every",
)  # fmt: skip
OPERATOR_FIELDS = (
    "kind", "gpu", "engine", "weights", "gpus", "start_us", "share", "large_tflops", "link_gbs", "source", "license",
)  # fmt: skip


def main() -> int:
    """Writes both files."""
    systems = Path(sys.argv[1]) / "aiconfigurator_core" / "systems"
    with (systems / "silicon_sample.csv").open(encoding="utf-8", newline="") as file:
        _write("measured_speed_2026.csv", RUN_FIELDS, _thinned(_runs(list(csv.DictReader(file)))))
    _write("operator_speed.csv", OPERATOR_FIELDS, [*_products(systems), *_experts(systems), *_allreduces(systems)])
    return 0


def _write(name: str, fields: tuple[str, ...], rows: Iterable[dict[str, object]]) -> None:
    with (FACTS / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _runs(rows: list[dict[str, str]]) -> Iterator[dict[str, object]]:
    drafting = _faster_than_themselves(rows)
    runs = [_run(row, drafting) for row in rows if _plain(row) and (row["backend"], row["model_path"]) not in LEFT_OUT]
    contradicted = _contradicted(run for run in runs if not run["doubt"])
    for run in runs:
        if not run["wait_doubt"] and run["id"] in contradicted:
            run["wait_doubt"] = contradicted[run["id"]]
        yield run


def _run(row: dict[str, str], drafting: set[tuple[str, ...]]) -> dict[str, Any]:
    model, stack, gpu = MODELS.get(row["model_path"], row["model_path"]), row["backend"], GPUS[row["system"]]
    method, concurrency, day = _method(row["model_path"], row), _concurrency(row), _day(row)
    doubt = wait_doubt = ""
    if concurrency != int(row["batch_size"]):
        doubt = f"load ambiguous: concurrency {concurrency}, batch_size {row['batch_size']}"
    elif _campaign(row) in drafting:
        doubt = "speculative decoding suspected: another run of the same engine took 1.4 times as long per token"
    equal = EQUAL_LENGTHS in row["silicon_data_source"]
    if not equal and day < WARMED_FROM:
        wait_doubt = f"no requests to warm up: measured on {day or 'an unknown day'}"
    return {
        "id": row["id"], "source": f"{SOURCE} systems/silicon_sample.csv", "license": LICENSE,
        "stack": stack, "version": row["backend_version"], "model": model, "method": method, "gpu": gpu,
        "gpus": _gpus(row), "concurrency": concurrency, "in_len": int(row["isl"]), "out_len": int(row["osl"]),
        "first_token_ms": round(float(row["silicon_ttft_ms"]), 2),
        "per_token_ms": round(float(row["silicon_tpot_ms"]), 4), "doubt": doubt, "wait_doubt": wait_doubt,
        "cache": "" if equal else _cache(stack, model, method, gpu, day),
        "at_once": AT_ONCE[equal and stack in IN_LOCKSTEP],
        "polled_every": "" if equal or stack != "sglang" else _polled(model, gpu, concurrency),
    }  # fmt: skip


def _cache(stack: str, model: str, method: str, gpu: str, day: str) -> str:
    """fp8 where the sweep's script of that day keeps an 8-bit cache, else bf16."""
    run = (stack, model, method, gpu)
    for key, first in CACHE_8BIT.items():
        if day >= first and all(part in ("", known) for part, known in zip(key, run, strict=True)):
            return "fp8"
    return "bf16"


def _polled(model: str, gpu: str, concurrency: int) -> int:
    return POLLED_EVERY[concurrency >= 16] if (model, gpu) in POLLED else 1


def _contradicted(runs: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Runs that waited SLOWER times as long as a heavier one: the same engine, model, format and number of GPUs, as
    many requests or more, prompts as long or longer, answers as long or shorter, and as many tokens in the cache or
    more (so that the lighter one had no queue that the heavier one lacks). A wait can grow by what has nothing to do
    with the load; it cannot shrink. By id, with the reason."""
    groups = defaultdict(list)
    for run in runs:
        groups[tuple(run[name] for name in ("stack", "model", "method", "gpu", "gpus"))].append(run)
    found = {}
    for same in groups.values():
        for run in same:
            heavier = [
                other["first_token_ms"]
                for other in same
                if other["concurrency"] >= run["concurrency"]
                and other["in_len"] >= run["in_len"]
                and other["out_len"] <= run["out_len"]
                and _tokens(other) >= _tokens(run)
            ]
            least = min(heavier)
            if run["first_token_ms"] > SLOWER * least:
                found[run["id"]] = f"contradicted: a heavier run of the same engine waited {least:.0f} ms"
    return found


def _tokens(run: dict[str, Any]) -> int:
    tokens: int = run["concurrency"] * (run["in_len"] + run["out_len"])
    return tokens


def _plain(row: dict[str, str]) -> bool:
    """Whether it is of one group of tensor-parallel GPUs that AWS rents."""
    tensor, experts = int(row["tp_size"] or 0), int(row["moe_tp_size"] or 1) * int(row["moe_ep_size"] or 1)
    one = row["mode"] == "agg" and row["pp_size"] in ("", "1") and row["attention_dp_size"] in ("", "1")
    return one and GPUS.get(row["system"]) in SERVED_ON and experts in (1, tensor)


def _gpus(row: dict[str, str]) -> int:
    """The GPUs of a run. Experts split N ways on N tensor-parallel GPUs are listed as tp_size N x N, though their ids
    say tpN_epN: 72 such runs stand in the table a second time, with the same figures, as tp_size N."""
    tensor, experts = int(row["tp_size"]), int(row["moe_ep_size"] or 1)
    squared = experts > 1 and int(row["moe_tp_size"]) == experts and tensor == experts**2
    return experts if squared and f"_tp{tensor}_" not in row["id"] else tensor


def _concurrency(row: dict[str, str]) -> int:
    found = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
    return int(found[1]) if found else int(row["batch_size"])


def _campaign(row: dict[str, str]) -> tuple[str, ...]:
    """What was run with one set of options: engine, version and day, of one model in one format on one GPU."""
    return (*_served(row), row["backend_version"], _day(row))


def _day(row: dict[str, str]) -> str:
    found = re.search(r"measured=([\d-]+)", row["silicon_data_source"])
    return found[1] if found else ""


def _served(row: dict[str, str]) -> tuple[str, ...]:
    model = MODELS.get(row["model_path"], row["model_path"])
    return (row["backend"], model, *(row[name] for name in ("system", "gemm_quant_mode", "moe_quant_mode")))


def _faster_than_themselves(rows: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Campaigns of models that can draft (MTP layers) of which another one, on as many GPUs and at the same loads, took
    FASTER times as long per token, by the middle of the loads both have: drafted tokens cost no step of their own, and
    the table does not say which campaigns drafted."""
    loads: dict[tuple[object, ...], dict[tuple[str, ...], float]] = defaultdict(dict)
    for row in rows:
        if _plain(row) and _served(row)[1] in DRAFTING:
            layout = (_gpus(row), int(row["moe_ep_size"]) > 1)
            load = (*_served(row), *layout, _concurrency(row), row["isl"], row["osl"])
            loads[load][_campaign(row)] = float(row["silicon_tpot_ms"])
    ratios = defaultdict(list)
    for same in loads.values():
        for campaign, each in same.items():
            for other, slower in same.items():
                if other != campaign:
                    ratios[campaign, other].append(slower / each)
    return {campaign for (campaign, _), found in ratios.items() if statistics.median(found) > FASTER}


def _method(model: str, row: dict[str, str]) -> str:
    """The weight format, "dense+experts" where they differ. gpt-oss is MXFP4 in its experts alone, Kimi-K2.5 4-bit in
    its experts alone (their config.json); the FP8 checkpoints with experts are quantized by blocks."""
    dense, experts = NAMES[row["gemm_quant_mode"]], NAMES[row["moe_quant_mode"]]
    if "gpt-oss" in model:
        return "mxfp4"
    if "Kimi" in model:
        return f"bf16+{experts}"
    has_experts = any(part in model for part in ("MiniMax", "DeepSeek", "A22B", "A17B", "GLM"))
    if has_experts and "fp8" in dense:
        return "fp8-block"
    return dense


def _thinned(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """One row of each configuration and load, MOST[engine] of each group, chosen by a hash of their names."""
    once: dict[tuple[object, ...], dict[str, object]] = {}
    for row in rows:
        once.setdefault(tuple(row[name] for name in RUN_FIELDS[3:12]), row)
    groups = defaultdict(list)
    for row in once.values():
        groups[tuple(row[name] for name in ("stack", "model", "method", "gpu"))].append(row)
    return [row for key in sorted(groups, key=str) for row in sorted(groups[key], key=_lot)[: MOST[str(key[0])]]]


def _lot(row: dict[str, object]) -> str:
    return hashlib.sha256(str(row["id"]).encode()).hexdigest()


def _tables(systems: Path, operator: str, file: str) -> Iterator[tuple[str, str, Any]]:
    """Of each GPU the table of the newest engine, with the engine's version."""
    import pyarrow.parquet

    for system, gpu in GPUS.items():
        found = sorted((systems / "data" / system / operator / "vllm").glob(f"*/{file}"), key=_version)
        if found:
            yield gpu, f"vllm {found[-1].parent.name}", pyarrow.parquet.read_table(found[-1]).to_pylist()


def _version(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", path.parent.name))


def _products(systems: Path) -> Iterator[dict[str, object]]:
    """Dense products: few rows (a step of decoding), and large ones."""
    for gpu, engine, rows in _tables(systems, "gemm", "gemm_perf.parquet"):
        column = next(name for name in rows[0] if "dtype" in name)
        for dtype in sorted({row[column] for row in rows} & NAMES.keys()):
            weights = NAMES[dtype]
            some = [row for row in rows if row[column] == dtype]
            few = [
                (row["n"] * row["k"] * BYTES[weights] / BANDWIDTH[gpu] / 1e3, row["latency"] * 1e3)
                for row in some
                if row["m"] <= 16 and row["n"] * row["k"] > 2e6
            ]
            large = [
                2 * row["m"] * row["n"] * row["k"] / row["latency"] / 1e9
                for row in some
                if min(row["m"], row["n"], row["k"]) >= 4096
            ]
            if few and large:
                yield _operator("gemm", gpu, engine, weights, *_line(few), large=statistics.median(large))


def _experts(systems: Path) -> Iterator[dict[str, object]]:
    """Routed experts of one layer, at up to 64 tokens."""
    for gpu, engine, rows in _tables(systems, "moe", "moe_perf.parquet"):
        for dtype in sorted({row["moe_dtype"] for row in rows} & NAMES.keys()):
            weights = NAMES[dtype]
            kernels = defaultdict(list)
            for row in rows:
                if row["moe_dtype"] == dtype and row["num_tokens"] <= 64:
                    experts = row["num_experts"] / row["moe_ep_size"]
                    touched = experts * (1 - (1 - row["topk"] / row["num_experts"]) ** row["num_tokens"])
                    size = 3 * row["hidden_size"] * row["inter_size"] / row["moe_tp_size"] * BYTES[weights]
                    kernels[row["kernel_source"]].append((touched * size / BANDWIDTH[gpu] / 1e3, row["latency"] * 1e3))
            most = max(kernels.values(), key=len)
            yield _operator("experts", gpu, engine, weights, *_line(most))


def _allreduces(systems: Path) -> Iterator[dict[str, object]]:
    """Of 16 KiB the time; of 128 MiB the bytes each GPU sends and receives (2 (n - 1) / n of it) a second."""
    for gpu, engine, rows in _tables(systems, "comm", "custom_allreduce_perf.parquet"):
        seconds = {
            (row["num_gpus"], row["message_size"]): row["latency"] / 1e3 for row in rows if "graph" in row["backend"]
        }
        for gpus in sorted({count for count, _ in seconds}):
            link = 2 * (gpus - 1) / gpus * 2**27 / seconds[gpus, 2**27] / 1e9
            small = seconds[gpus, 2**14] * 1e6
            yield _operator("allreduce", gpu, engine, "bf16", small, None, gpus=gpus, link=link)


def _operator(
    kind: str, gpu: str, engine: str, weights: str, start: float, share: float | None, *, large: float | None = None,
    gpus: int = 1, link: float | None = None,
) -> dict[str, object]:  # fmt: skip
    return {
        "kind": kind, "gpu": gpu, "engine": engine, "weights": weights, "gpus": gpus, "start_us": round(start, 1),
        "share": "" if share is None else round(share, 3), "large_tflops": "" if large is None else round(large, 1),
        "link_gbs": "" if link is None else round(link, 1),
        "source": f"{SOURCE} systems/data", "license": LICENSE,
    }  # fmt: skip


def _line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """(start in us, share of the bandwidth) of the line that has the least squared relative error."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    y_mean = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    slope = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, points, strict=True)) / sum(
        w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True)
    )
    start = max(y_mean - slope * x_mean, 0.0)
    return start, 1 / slope


if __name__ == "__main__":
    sys.exit(main())
