"""Measured against estimated, on the GPU at hand: python benchmarks/on_gpu.py [--minutes 8]

Makes models of five families, small and middle, with the published shapes of facts/configs.jsonl and random weights on
the spot; loads, trains and asks them through the project's own code (`finetune.load_for_training`, `train.train`,
`load.load`), with bf16, int8 and nf4 to serve, and full, lora, lora-int8 and qlora to fine-tune, with and without
checkpointing; and prints the peak and the speed beside the estimate of each. Random weights take the memory and the
time of trained ones, but for LLM.int8's outlier columns (random_outliers.py): nothing else depends on their values.

The cases come in the order of their value, each over all models, until the minutes are over; what they do not suffice
for is named. --rows FILE writes each measurement as a line of JSON, in the columns of facts/measured_memory.csv and
with the speed; --speeds FILE the speeds as rows of facts/measured_speed.csv. Without a GPU the models are tiny and
fp32, the speed is compared with nothing, and the memory is what the process grew by: no claim of the estimate is about
a CPU.
"""

import argparse
import csv
import datetime
import gc
import importlib.metadata
import itertools
import json
import math
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from modelpick.catalog import index, lookup
from modelpick.errors import ModelpickError, first_line
from modelpick.loading import environment, load
from modelpick.loading.environment import silence_libraries
from modelpick.loading.tokenize import Encoded
from modelpick.memory.estimate import GIB, MemoryEstimate, architecture_of, estimate_model
from modelpick.offers import embedded
from modelpick.offers.instance import InstanceType
from modelpick.planning.recipe import as_trained, settings_from
from modelpick.speed import calibration
from modelpick.speed.shape import shape_of
from modelpick.speed.speed import Speed, serving_speed, training_speed
from modelpick.training import finetune, train, trainers
from modelpick.training.progress import StepLogged
from modelpick.workload import Workload, workload_from

CONFIGS = Path(__file__).resolve().parents[1] / "facts" / "configs.jsonl"
# Five families, small and middle: the usual two, a window with wide heads, a mixture of experts, the older GPT-NeoX.
MODELS = (
    "meta-llama/Llama-3.2-1B", "Qwen/Qwen3-4B", "google/gemma-3-1b-pt", "Qwen/Qwen3-30B-A3B", "EleutherAI/pythia-2.8b",
)  # fmt: skip
LAYERS = {"Qwen/Qwen3-30B-A3B": 12}  # of 48: 8 of its 31 B parameters, which are made and trained in the minutes
TINY = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16,
    "intermediate_size": 128, "vocab_size": 512, "multi_query": False, "num_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
}  # fmt: skip
WARM_UP, STEPS = 2, 3  # steps before the pace is taken (allocation, autotuning, first kernels), and with it
GENERATED = 48


@dataclass(frozen=True, slots=True)
class Case:
    """A way to run a model: to serve with `method`, or to fine-tune."""

    task: str
    method: str
    batch: int
    context: int
    checkpointing: bool = False

    def __str__(self) -> str:
        kept = " ckpt" if self.checkpointing else ""
        return f"{self.task} {self.method}{kept} {self.batch} x {self.context}"


# The most used first.
_ON_GPU = (
    Case("finetune", "qlora", 4, 1024, checkpointing=True),
    Case("serve", "int8", 8, 1024),
    Case("finetune", "lora", 4, 1024),
    Case("serve", "nf4", 8, 1024),
    Case("finetune", "full", 4, 1024, checkpointing=True),
    Case("finetune", "lora-int8", 4, 1024, checkpointing=True),
    Case("serve", "bf16", 8, 1024),
    Case("finetune", "qlora", 4, 1024),
    Case("finetune", "lora", 4, 1024, checkpointing=True),
    Case("finetune", "full", 4, 1024),
    Case("finetune", "lora-int8", 4, 1024),
    Case("serve", "bf16", 1, 1024),
)
# Without a GPU bitsandbytes is too slow to be of use.
_ON_CPU = (
    Case("serve", "bf16", 1, 64),
    *(Case("finetune", method, 2, 64, kept) for method in ("lora", "full") for kept in (False, True)),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a case took: peaks in bytes (None where nothing measures them), and tokens per second."""

    allocated: int | None
    reserved: int | None
    device: int | None
    tokens_per_s: float
    load_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """A case beside its estimate."""

    model: str
    case: Case
    measured: Measured
    memory: Mapping[str, MemoryEstimate]  # by measure
    speed: Speed | None


def main() -> None:
    """Run the cases until the minutes are over, and print each as it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rows", type=Path, help="also write the measurements to this file, as JSON lines")
    parser.add_argument("--speeds", type=Path, help="also write the speeds to this file, as rows of measured_speed.csv")
    parser.add_argument("--models", default=",".join(MODELS), help="ids of facts/configs.jsonl, joined by commas")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    gpu = torch.cuda.is_available()
    instance = _instance() if gpu else None
    _say_what_runs(instance)
    results, left = [], []
    models = options.models.split(",")
    with silence_libraries(), tempfile.TemporaryDirectory(dir=_roomiest()) as room:
        folders = {model: _make(model, Path(room) / model.replace("/", "--"), tiny=not gpu) for model in models}
        for case in _ON_GPU if gpu else _ON_CPU:  # all models with one case: what the minutes suffice for is balanced
            for model in models:
                if time.monotonic() > end:
                    left.append(f"{model} {case}")
                    continue
                result = _run(model, folders[model], case, instance)
                if result is not None:
                    results.append(result)
                    print(_line(result), flush=True)
    _summary(results, left)
    if options.rows:
        rows = (json.dumps(row(result, number)) + "\n" for number, result in enumerate(results, 1))
        options.rows.write_text("".join(rows), encoding="utf-8")
    if options.speeds and instance is not None:
        with options.speeds.open("w", encoding="utf-8", newline="") as file:
            numbered = enumerate(results, 1)
            csv.writer(file, lineterminator="\n").writerows(
                speed_row(one, number, instance) for number, one in numbered
            )


# One case ------------------------------------------------------------------------------------------------------------


def _run(model: str, folder: Path, case: Case, instance: InstanceType | None) -> Result | None:
    """Measure and estimate one case; None, with a line, where the code refuses it or memory runs out."""
    try:
        workload, measured = (_serve if case.task == "serve" else _train)(folder, case)
    except ModelpickError as error:
        print(f"{model} {case}: refused: {error}")
        return None
    except Exception as error:  # a GPU is not always at hand: the other cases must not be lost
        print(f"{model} {case}: FAILED: {type(error).__name__}: {first_line(error)}")
        return None
    finally:
        gc.collect()
        if instance is not None:
            torch.cuda.empty_cache()
    found = lookup.look_up([str(folder)], catalog=index.load(), offline=True).results[0]
    if isinstance(found, ModelpickError):
        raise found
    memory = {
        measure: estimate_model(found, replace(workload, measure=measure))
        for measure in ("allocated", "reserved", "device")
    }
    shape = shape_of(architecture_of(found))
    speed = None
    if instance is not None and case.task == "serve":
        by_server = calibration.serving(workload.stack, workload.method)
        speed = serving_speed(shape, instance, by_server, workload).generated
    elif instance is not None:
        by_loop = calibration.training("modelpick", workload.method)
        speed = training_speed(shape, instance, by_loop, workload)
    return Result(model, case, measured, memory, speed)


def _train(folder: Path, case: Case) -> tuple[Workload, Measured]:
    """Some steps of our own loop over sequences as long as the context."""
    steps, device = WARM_UP + STEPS, environment.current()
    with tempfile.TemporaryDirectory() as output:
        settings = settings_from({
            "model": str(folder), "data": "-", "output": output, "method": case.method, "batch": case.batch,
            "context": case.context, "gradient_accumulation": 1, "gradient_checkpointing": case.checkpointing,
            "dtype": device.dtype, "max_steps": steps, "log_steps": 1, "save_steps": 10 * steps,
        })  # fmt: skip
        clock, kind = _Clock(), []

        def prepare() -> trainers.Prepared:
            started = time.perf_counter()
            loaded = finetune.load_for_training(settings)
            _wait()
            clock.load_s = time.perf_counter() - started
            kind.append(loaded.kind)
            return trainers.Prepared(loaded, _rows(loaded.model.config, case, steps))

        def report(event: object) -> None:
            if isinstance(event, StepLogged):
                clock.tick()

        before = _Peak()
        hooks = trainers.RunHooks(report, None, threading.Event())
        trained = train.train(settings, prepare, Path(output) / "checkpoints", hooks, resume=False)
        peak = before.taken()
        del trained
    each = clock.median_step(WARM_UP)
    workload = as_trained(settings.workload(), kind[0], gpu=device.kind == "cuda")
    return workload, Measured(*peak, case.batch * case.context / each, clock.load_s)


def _serve(folder: Path, case: Case) -> tuple[Workload, Measured]:
    """One batch of answers by transformers' own generate, with the weights as the project loads them."""
    held = {"bf16": "full", "int8": "lora-int8", "nf4": "qlora"}[case.method]
    device = environment.current()
    before = _Peak()
    started = time.perf_counter()
    model = environment.place(load.load(str(folder), load.LoadOptions(method=held, dtype=device.dtype)).model).eval()
    _wait()
    load_s = time.perf_counter() - started
    generated = GENERATED if device.kind == "cuda" else 16
    prompts = torch.randint(5, model.config.vocab_size, (case.batch, case.context), device=model.device)
    times = []
    # All but the last warm up: kernels are chosen for each length that is met for the first time, and in bf16 that took
    # longer than the answer itself.
    for tokens in (2, generated, generated):
        begun = time.perf_counter()
        model.generate(
            prompts, attention_mask=torch.ones_like(prompts), do_sample=False, min_new_tokens=tokens,
            max_new_tokens=tokens, pad_token_id=0,
        )  # fmt: skip
        _wait()
        times.append(time.perf_counter() - begun)
    peak = before.taken()
    del model
    workload = workload_from({
        "task": "serve", "method": case.method, "stack": "transformers", "context": case.context, "batch": case.batch,
        "generate": generated, "dtype": device.dtype,
    })  # fmt: skip
    return workload, Measured(*peak, case.batch * generated / times[-1], load_s)


def _rows(config: Any, case: Case, steps: int) -> Encoded:
    """Random tokens, all of them learned."""
    made = torch.Generator().manual_seed(0)
    ids = torch.randint(5, config.vocab_size, (steps * case.batch, case.context), generator=made).tolist()
    return Encoded(tuple({"input_ids": row, "labels": row} for row in ids), 0, 0, case.context, len(ids) * case.context)


class _Clock:
    """When each step ended. The loop looks at every loss, so the GPU has finished the step by then."""

    def __init__(self) -> None:
        self.load_s = math.nan
        self._ends: list[float] = []

    def tick(self) -> None:
        self._ends.append(time.perf_counter())

    def median_step(self, warm_up: int) -> float:
        """Seconds of a step, without the first ones."""
        ends = self._ends[warm_up - 1 :]
        return statistics.median(after - before for before, after in itertools.pairwise(ends))


class _Peak:
    """The peaks from here on: torch's two, and what the GPU shows; on a CPU what the process grew by."""

    def __init__(self) -> None:
        gc.collect()
        self._resident = psutil.Process().memory_info().rss
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def taken(self) -> tuple[int | None, int | None, int | None]:
        """Bytes allocated, reserved, and taken from the device."""
        if not torch.cuda.is_available():
            return None, None, psutil.Process().memory_info().rss - self._resident
        free, total = torch.cuda.mem_get_info()
        reserved = torch.cuda.max_memory_reserved()
        # The context and the kernels it has loaded: what the device lacks beyond what torch holds now.
        context = total - free - torch.cuda.memory_reserved()
        return torch.cuda.max_memory_allocated(), reserved, reserved + context


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


# The models ----------------------------------------------------------------------------------------------------------


def _make(model: str, folder: Path, *, tiny: bool) -> Path:
    """A model of the published shape with random weights, and a tokenizer of a few words, in `folder`."""
    from tokenizers import Tokenizer, models
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    written = next(json.loads(line)["config"] for line in CONFIGS.open(encoding="utf-8") if f'"{model}"' in line)
    fields = {name: value for name, value in written.items() if name != "auto_map"}
    if model in LAYERS:
        fields["num_hidden_layers"] = LAYERS[model]
    if tiny:
        fields |= {name: value for name, value in TINY.items() if name in fields}
    if isinstance(fields.get("layer_types"), list):
        fields["layer_types"] = fields["layer_types"][: fields["num_hidden_layers"]]
    config = AutoConfig.for_model(**fields)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32 if tiny else torch.bfloat16)
    made.save_pretrained(folder)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "word": 4}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return folder


def _roomiest() -> str | None:
    """Memory for the weight files where the system has it: the disk is not what is measured."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and psutil.disk_usage(str(shared)).free > 40 * GIB
    return str(shared) if roomy else None


def _instance() -> InstanceType:
    """The instance type with the GPU at hand, for its figures. Exits where the catalog knows none."""
    name = torch.cuda.get_device_name()
    kinds = embedded.instances().values()
    same = [kind for kind in kinds if kind.gpu.name in name and kind.gpu_fraction == 1]
    if not same:
        sys.exit(f"{name} is not among the GPUs of modelpick offers")
    return max(same, key=lambda kind: len(kind.gpu.name))


# What is printed -----------------------------------------------------------------------------------------------------


def _say_what_runs(instance: InstanceType | None) -> None:
    versions = (f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    on = torch.cuda.get_device_name() if instance else "no GPU: tiny fp32 models, compared with nothing"
    print(f"{on}; {', '.join(versions)}")
    print(f"{'':48}{'peak GiB on the device':>36}{'tokens/s':>26}")
    print(
        f"{'model and case':48}{'measured':>9}{'said':>7}{'low-high':>14}{'off':>6}"
        f"{'measured':>11}{'said':>9}{'off':>6}"
    )


_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")


def _line(result: Result) -> str:
    said, measured = result.memory["device"], result.measured
    text = f"{result.model.split('/')[1][:18]:19}{str(result.case)[:28]:29}"
    if measured.allocated is None or measured.device is None:
        return f"{text}{(measured.device or 0) / GIB:9.2f}{'':27}{measured.tokens_per_s:11.0f}"
    gib = measured.device / GIB
    mark = "" if said.low <= gib * GIB <= said.high else " outside"
    span = f"{said.low / GIB:.2f}-{said.high / GIB:.2f}"
    text += f"{gib:9.2f}{said.total / GIB:7.2f}{span:>14}{_off(said.total / GIB, gib):>6}"
    if result.speed is not None:
        text += f"{measured.tokens_per_s:11.0f}{result.speed.tokens_per_s:9.0f}"
        text += f"{_off(result.speed.tokens_per_s, measured.tokens_per_s):>6}"
    return text + mark


def _off(said: float, measured: float) -> str:
    return f"{100 * (said / measured - 1):+.0f}%"


def _summary(results: list[Result], left: list[str]) -> None:
    """Medians, and how many measurements lie inside, by task and method."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.speed is not None and result.measured.device is not None:
            groups.setdefault(f"{result.case.task} {result.case.method}", []).append(result)
    if groups:
        print(f"\n{'':22}{'rows':>5}{'memory off':>12}{'inside':>8}{'false fits':>12}{'speed off':>11}{'inside':>8}")
    for name, group in groups.items():
        print(
            f"{name:22}{len(group):5}{_median(group, _memory_off):12.1%}{_share(group, _memory_inside):8.0%}"
            f"{sum(_above_high(one) for one in group):12}{_median(group, _speed_off):11.1%}"
            f"{_share(group, _speed_inside):8.0%}"
        )
    if left:
        print(f"\nnot run, the minutes were over: {', '.join(left)}")


def _memory_off(result: Result) -> float:
    return abs(result.memory["device"].total / (result.measured.device or math.nan) - 1)


def _memory_inside(result: Result) -> bool:
    said = result.memory["device"]
    return said.low <= (result.measured.device or math.nan) <= said.high


def _above_high(result: Result) -> bool:
    """The kind of error that says "it fits" of what does not."""
    return (result.measured.device or 0) > result.memory["device"].high


def _speed_off(result: Result) -> float:
    return abs((result.speed.tokens_per_s if result.speed else math.nan) / result.measured.tokens_per_s - 1)


def _speed_inside(result: Result) -> bool:
    return result.speed is not None and result.speed.low <= result.measured.tokens_per_s <= result.speed.high


def _median(group: list[Result], figure: Callable[[Result], float]) -> float:
    return statistics.median(figure(one) for one in group)


def _share(group: list[Result], holds: Callable[[Result], bool]) -> float:
    return sum(holds(one) for one in group) / len(group)


def row(result: Result, number: int) -> dict[str, object]:
    """A measurement in the columns of facts/measured_memory.csv, with its speed and how long loading took."""
    case, measured = result.case, result.measured
    quantized = {"int8": "bnb.int8", "lora-int8": "bnb.int8", "nf4": "bnb.nf4-dq", "qlora": "bnb.nf4-dq"}
    peak = measured.device if measured.device is not None else 0
    on_gpu = measured.allocated is not None
    adapted = case.task == "finetune" and case.method != "full"
    return {
        "id": f"g{number:04}", "source": "benchmarks/on_gpu.py", "model": result.model,
        "method": "infer" if case.task == "serve" else case.method, "quant": quantized.get(case.method, "none"),
        "dtype": "bf16" if on_gpu else "fp32",
        "lora_rank": 16 if adapted else "", "lora_targets": "all-linear" if adapted else "",
        "batch": case.batch, "grad_accum": 1, "seq_len": case.context,
        "gen_len": GENERATED if case.task == "serve" else "", "grad_ckpt": str(case.checkpointing),
        "attn": "sdpa", "gpus": 1, "sharding": "", "gpu": torch.cuda.get_device_name() if on_gpu else "CPU",
        "measured_gib": round(peak / GIB, 3), "metric": "all that the process took of the GPU", "quality": "A",
        "stack": " ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES),
        "notes": "random weights of the published shape",
        "allocated_gib": round(measured.allocated / GIB, 3) if measured.allocated else None,
        "reserved_gib": round(measured.reserved / GIB, 3) if measured.reserved else None,
        "tokens_per_s": round(measured.tokens_per_s, 1), "load_s": round(measured.load_s, 2),
    }  # fmt: skip


# The classes that speed's constants are fitted for (speed_fit.FAMILIES).
_CLASSES = {"bf16": "eager", "int8": "eager-int8", "nf4": "eager-bnb"}


def speed_row(result: Result, number: int, instance: InstanceType) -> list[object]:
    """A measurement in the columns of facts/measured_speed.csv. A model with fewer layers than published has no row
    there, since its shape is not the published one: it is graded C."""
    case, model = result.case, result.model
    served = case.task == "serve"
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return [
        f"g{number:04}", f"benchmarks/on_gpu.py, {day}: {model}", model, "serve-throughput" if served else "finetune",
        case.method, instance.gpu.name, 1, "", case.batch, "" if served else 1, case.context,
        GENERATED if served else "", "" if served else case.checkpointing,
        versions if served else f"modelpick {versions}", _CLASSES[case.method] if served else "own-train",
        round(result.measured.tokens_per_s, 1), "C" if model in LAYERS else "A",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
