"""`modelpick bench` beside `vllm bench serve` on one server.

    python benchmarks/bench_tools.py --endpoint URL --key-file FILE --tokenizer DIR --vllm PROGRAM

Each tool asks for as many prompts of about as many tokens with as many new ones, one tool after another. Prints
tokens/s and median first-token and inter-token latency, from every request in each tool's own result.
"""

import argparse
from pathlib import Path

from modelpick.serving import bench, client
from modelpick.serving.bench import Level, Load

PROMPT, GENERATE = 128, 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--vllm", required=True)
    parser.add_argument("--concurrency", default="1,4")
    parser.add_argument("--requests", type=int, default=24)
    options = parser.parse_args()
    at = client.endpoint(options.endpoint, options.key_file)
    name = client.pick_model(at, options.model)
    load = Load(prompt_tokens=PROMPT, generate=GENERATE)
    bench.measure(at, name, load, concurrency=1, requests=2)
    print("tool               clients  tokens/s  first ms  next ms  prompt  answer failed")
    for size in [int(word) for word in options.concurrency.split(",")]:
        show("modelpick bench", bench.measure(at, name, load, concurrency=size, requests=options.requests))
        level = bench.vllm_bench(
            options.vllm, at, name, load, options.tokenizer, concurrency=size, requests=options.requests
        )
        show("vllm bench serve", level)


def show(tool: str, level: Level) -> None:
    """One row; medians."""
    first, between = level.first_token_s["p50"] or 0.0, level.inter_token_s["p50"] or 0.0
    print(
        f"{tool:18} {level.concurrency:7} {level.tokens_per_s:9.1f} {first * 1000:9.1f} {between * 1000:8.2f} "
        f"{level.prompt_tokens or 0:7.0f} {level.generated:7.1f} {len(level.errors):6}",
        flush=True,
    )


if __name__ == "__main__":
    main()
