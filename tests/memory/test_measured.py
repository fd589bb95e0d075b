"""What runs of this user's own change in an estimate: the very same set-up alone makes anything fit that did not."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from modelpick.memory.estimate import GIB, MemoryEstimate, estimate
from modelpick.memory.measured import MeasuredRun, MeasuredRuns, set_up_of, taught
from modelpick.offers import embedded
from modelpick.planning.fit import fits
from modelpick.workload import workload_from
from tests.memory.shapes import LLAMA_7B

GPU = "A10G"
SAID: dict[str, MemoryEstimate] = {
    name: estimate(LLAMA_7B, workload_from({**words, "measure": "device"}))
    for name, words in {
        "lora": {"method": "lora", "context": 1024, "batch": 4},
        "qlora": {"method": "qlora", "context": 512},
        "vllm": {"task": "serve", "stack": "vllm", "context": 2048},
    }.items()
}
TASKS = {"lora": "finetune", "qlora": "finetune", "vllm": "serve"}


def run(name: str, ratio: float = 1.0, **fields: object) -> MeasuredRun:
    said = SAID[name]
    made = MeasuredRun(
        TASKS[name], said.workload.stack, "1.0", said.workload.method, GPU, 1, set_up_of(said),
        "2026-11-30T10:00:00Z", peak_gib=ratio * said.total / GIB, estimated_gib=said.total / GIB,
    )  # fmt: skip
    return dataclasses.replace(made, **fields)


names = st.sampled_from(sorted(SAID))
ratios = st.floats(0.01, 100)
runs = st.lists(
    st.builds(
        lambda name, ratio, gpu, filled, slack, other: run(
            name, ratio, gpu=gpu, filled=filled, slack_gib=slack, **({"set_up": "of another run"} if other else {})
        ),
        names, ratios, st.sampled_from([GPU, "L4", "no GPU at all"]), st.booleans(), st.floats(0, 2), st.booleans(),
    ),
    max_size=6,
)  # fmt: skip


@given(names, runs)
def test_only_the_very_same_set_up_makes_fit_what_did_not(name: str, listed: list[MeasuredRun]) -> None:
    said = SAID[name]
    found = taught(said, GPU, MeasuredRuns(tuple(listed)))
    same = [one for one in listed if one.gpu == GPU and one.filled and one.set_up == set_up_of(said) and one.believable]
    assert found.low <= found.total <= found.high
    if not same:
        assert (found.high, found.low, found.total) >= (said.high, said.low, said.total)
        assert (
            found.high / found.low == (said.high / said.low)
            or abs(found.high / found.low * said.low / said.high - 1) < 1e-9
        )
        for kind in embedded.instances().values():
            assert fits(said, kind) or not fits(found, kind)
    if found != said:
        assert "of yours" in found.assumptions[0] or "your" in found.assumptions[0]


@given(names, runs, st.randoms())
def test_the_order_of_the_runs_is_of_no_matter(name: str, listed: list[MeasuredRun], draw: object) -> None:
    shuffled = list(listed)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    both = [taught(SAID[name], GPU, MeasuredRuns(tuple(each))) for each in (listed, shuffled)]
    assert [both[0].low, both[0].total, both[0].high] == [both[1].low, both[1].total, both[1].high]


@given(names, st.floats(0.6, 1.9), st.floats(0, 2))
def test_the_same_set_up_gets_what_was_measured(name: str, ratio: float, slack: float) -> None:
    found = taught(SAID[name], GPU, MeasuredRuns((run(name, ratio, slack_gib=slack),), "calibration.json", "abcd" * 16))
    assert abs(found.total - ratio * SAID[name].total) < 1e-6 * found.total
    assert abs((found.high - found.low) / GIB - min(2 * slack, slack + found.total / GIB)) < 1e-6
    assert "this very set-up" in found.assumptions[0]
    assert "calibration.json, sha256 abcdabcdabcd" in found.assumptions[0]


@given(names, ratios)
def test_what_is_of_another_gpu_engine_method_count_or_too_far_off_changes_nothing(name: str, ratio: float) -> None:
    said = SAID[name]
    for other in (
        {"gpu": "L4"}, {"engine": "tgi"}, {"method": "full"}, {"gpus": 2}, {"task": "probe"}, {"peak_gib": None},
        {"estimated_gib": 0.0}, {"peak_gib": 2.01 * said.total / GIB}, {"peak_gib": 0.49 * said.total / GIB},
    ):  # fmt: skip
        assert taught(said, GPU, MeasuredRuns((run(name, ratio, **other),))) is said
    unfilled = run(name, min(ratio, 1.0), filled=False)
    assert taught(said, GPU, MeasuredRuns((unfilled,))) is said


def test_a_version_that_is_named_is_asked_for() -> None:
    said = estimate(LLAMA_7B, workload_from({"task": "serve", "stack": "vllm", "stack_version": "0.11", "context": 2048,
                                             "measure": "device"}))  # fmt: skip
    of = dataclasses.replace(run("vllm", 1.2), set_up=set_up_of(said))
    assert taught(said, GPU, MeasuredRuns((dataclasses.replace(of, version="0.11.2"),))) != said
    assert taught(said, GPU, MeasuredRuns((dataclasses.replace(of, version="0.19.0"),))) is said


def test_a_set_up_is_the_same_however_it_is_looked_at() -> None:
    """Not how it is measured and not vllm's share; but the model, and every other word of the workload."""
    words = {"task": "serve", "stack": "vllm", "context": 2048}
    first = set_up_of(SAID["vllm"])
    for same in ({"measure": "reserved"}, {"gpu_memory_utilization": 0.5}):
        assert set_up_of(estimate(LLAMA_7B, workload_from({**words, **same}))) == first
    for other in ({"context": 2049}, {"batch": 2}, {"dtype": "fp16"}, {"kv_cache_dtype": "fp8"}):
        assert set_up_of(estimate(LLAMA_7B, workload_from({**words, **other}))) != first
