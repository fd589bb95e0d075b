"""vLLM's start-up lines, as versions 0.6 to 0.19 write them: samples in our own figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.serving.start_log import StartLog, read_start

V0_6_3 = """
INFO 11-02 09:00:01 llm_engine.py:237] Initializing an LLM engine (v0.6.3.post1) with config: model='acme/tiny'
INFO 11-02 09:00:09 model_runner.py:1067] Loading model weights took 5.0000 GB
INFO 11-02 09:00:10 worker.py:232] Memory profiling results: total_gpu_memory=20.00GiB initial_memory_usage=5.40GiB\
 peak_torch_memory=6.00GiB memory_usage_post_profile=5.50GiB non_torch_memory=0.50GiB kv_cache_size=11.50GiB\
 gpu_memory_utilization=0.90
INFO 11-02 09:00:10 gpu_executor.py:122] # GPU blocks: 1000, # CPU blocks: 500
INFO 11-02 09:00:10 gpu_executor.py:126] Maximum concurrency for 4000 tokens per request: 4.00x
INFO 11-02 09:00:30 model_runner.py:1523] Graph capturing finished in 12 secs.
"""
V0_6_5 = """
INFO 12-15 10:00:00 api_server.py:652] vLLM API server version 0.6.5
INFO 12-15 10:00:08 model_runner.py:1092] Loading model weights took 5.0000 GB
INFO 12-15 10:00:09 worker.py:243] the current vLLM instance can use\t18.00GiB
INFO 12-15 10:00:09 worker.py:243] model weights take\t5.00GiB
INFO 12-15 10:00:09 worker.py:243] available_kv_cache_memory\t11.50GiB
INFO 12-15 10:00:09 gpu_executor.py:76] # GPU blocks: 1000, # CPU blocks: 500
INFO 12-15 10:00:29 model_runner.py:1527] Graph capturing finished in 12 secs, took 0.30 GiB
"""
V0_7 = """
(VllmWorkerProcess pid=7) INFO 02-14 08:00:05 model_runner.py:1115] Loading model weights took 5.1000 GB
INFO 02-14 08:00:05 model_runner.py:1115] Loading model weights took 5.0000 GB
(VllmWorkerProcess pid=7) INFO 02-14 08:00:15 worker.py:266] the current vLLM instance can use total_gpu_memory\
 (20.00GiB) x gpu_memory_utilization (0.90) = 18.00GiB
(VllmWorker pid=7) INFO 02-14 08:00:15 worker.py:266] model weights take 5.10GiB; non_torch_memory takes 0.50GiB;\
 PyTorch activation peak memory takes 1.00GiB; the rest of the memory reserved for KV Cache is 11.40GiB.
INFO 02-14 08:00:15 worker.py:266] model weights take 5.00GiB; non_torch_memory takes 0.50GiB; PyTorch activation peak\
 memory takes 1.00GiB; the rest of the memory reserved for KV Cache is 11.50GiB.
INFO 02-14 08:00:15 executor_base.py:111] # CUDA blocks: 1000, # CPU blocks: 500
INFO 02-14 08:00:15 executor_base.py:116] Maximum concurrency for 4000 tokens per request: 4.00x
INFO 02-14 08:00:40 model_runner.py:1562] Graph capturing finished in 12 secs, took 0.30 GiB
"""
V0_8 = """
INFO 03-20 10:00:00 [api_server.py:981] vLLM API server version 0.8.1
INFO 03-20 10:00:08 [loader.py:429] Loading weights took 6.50 seconds
INFO 03-20 10:00:08 [gpu_model_runner.py:1164] Model loading took 5.0000 GB and 7.250000 seconds
INFO 03-20 10:00:28 [kv_cache_utils.py:537] GPU KV cache size: 16,000 tokens
INFO 03-20 10:00:28 [kv_cache_utils.py:540] Maximum concurrency for 4,000 tokens per request: 4.00x
INFO 03-20 10:00:45 [gpu_model_runner.py:1499] Graph capturing finished in 17 secs, took 0.30 GiB
"""
V0_11 = """
\x1b[1;36m(EngineCore_DP0)\x1b[0;0m INFO [core.py:77] Initializing a V1 LLM engine (v0.11.0) with config: x
\x1b[1;36m(Worker_TP0 pid=10)\x1b[0;0m INFO [gpu_model_runner.py:2653] Model loading took 5.0000 GiB and 7.25 seconds
\x1b[1;36m(Worker_TP1 pid=11)\x1b[0;0m INFO [gpu_model_runner.py:2653] Model loading took 5.1000 GiB and 8.50 seconds
(Worker_TP0 pid=10) INFO 10-06 12:00:17 [gpu_worker.py:298] Available KV cache memory: 11.50 GiB
(Worker_TP1 pid=11) INFO 10-06 12:00:17 [gpu_worker.py:298] Available KV cache memory: 11.40 GiB
(EngineCore_DP0 pid=9) INFO 10-06 12:00:17 [kv_cache_utils.py:1087] GPU KV cache size: 16,000 tokens
(EngineCore_DP0 pid=9) INFO [kv_cache_utils.py:1091] Maximum concurrency for 4,000 tokens per request: 4.00x
(Worker_TP0 pid=10) INFO 10-06 12:00:40 [gpu_model_runner.py:3480] Graph capturing finished in 8 secs, took 0.30 GiB
"""
V0_19 = """
(EngineCore pid=9) INFO 05-26 21:00:00 [core.py:109] Initializing a V1 LLM engine (v0.19.0) with config: x
(EngineCore pid=9) INFO 05-26 21:00:07 [gpu_model_runner.py:4879] Model loading took 5.0 GiB memory and 7.250000 seconds
(EngineCore pid=9) INFO 05-26 21:00:09 [gpu_model_runner.py:5993] Estimated CUDA graph memory: 0.40 GiB total
(EngineCore pid=9) INFO 05-26 21:00:10 [gpu_worker.py:440] Available KV cache memory: 11.5 GiB
(EngineCore pid=9) INFO 05-26 21:00:10 [kv_cache_utils.py:1710] GPU KV cache size: 16,000 tokens
(EngineCore pid=9) INFO 05-26 21:00:10 [kv_cache_utils.py:1711] Maximum concurrency for 4,000 tokens per request: 4.00x
(EngineCore pid=9) INFO 05-26 21:00:14 [gpu_model_runner.py:6243] Graph capturing finished in 2 secs, took 0.30 GiB
"""
# fmt: off
SAMPLES = {
    V0_6_3: StartLog("0.6.3", 5.0, None, 18.0, 11.5, 16000, 4.0, None),
    V0_6_5: StartLog("0.6.5", 5.0, None, 18.0, 11.5, 16000, None, 0.3),
    V0_7: StartLog(None, 5.1, None, 18.0, 11.4, 16000, 4.0, 0.3),
    V0_8: StartLog("0.8.1", 5.0, 7.25, None, None, 16000, 4.0, 0.3),
    V0_11: StartLog("0.11.0", 5.1, 8.5, None, 11.4, 16000, 4.0, 0.3),
    V0_19: StartLog("0.19.0", 5.0, 7.25, None, 11.5, 16000, 4.0, 0.3),
}
# fmt: on


@pytest.mark.parametrize(("log", "figures"), SAMPLES.items(), ids=["0.6.3", "0.6.5", "0.7", "0.8", "0.11", "0.19"])
def test_each_version_says_the_same_of_the_fullest_gpu(log: str, figures: StartLog) -> None:
    assert read_start(log.splitlines()) == figures


def test_what_is_taken_besides_the_cache() -> None:
    assert read_start(V0_7.splitlines()).taken_gib == pytest.approx(18 - 11.4 + 0.3)
    assert read_start(V0_8.splitlines()).taken_gib is None


@given(st.lists(st.sampled_from([*"".join(SAMPLES).splitlines(), "", "took GiB", "GPU KV cache size: , tokens"])))
def test_lines_in_any_order_and_number_are_read(lines: list[str]) -> None:
    """Several starts in one log, lines cut off, other programs' output: a figure is one of those, or None."""
    found = read_start(lines)
    assert found.weights_gib in (None, 5.0, 5.1)
    assert found.cache_gib in (None, 11.4, 11.5)
    assert found.cache_tokens in (None, 16000)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    read_start(text.splitlines())
