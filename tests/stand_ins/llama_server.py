"""`llama-server` without compiling it: llama.cpp's own server code, out of the wheel xllamacpp, with its flags.

Run as a program. It takes the flags that `modelpick serve` writes, in llama-server's spelling, and refuses any other.
xllamacpp brings the server as a library and leaves out only the command line.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    import xllamacpp

    given = options(sys.argv[1:])
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    params = xllamacpp.CommonParams()
    params.model.path = given.model
    params.model_alias = {given.alias}
    params.hostnames = [given.host]
    params.port = given.port
    params.n_ctx = given.ctx_size
    params.n_parallel = given.parallel
    params.kv_unified = given.kv_unified
    params.n_gpu_layers = given.n_gpu_layers
    params.api_keys = Path(given.api_key_file).read_text().split() if given.api_key_file else []
    params.endpoint_metrics = given.metrics
    params.use_jinja = given.jinja
    if given.chat_template_file:
        params.chat_template = Path(given.chat_template_file).read_text()
    params.embedding = given.embeddings or given.reranking
    if given.reranking:
        params.pooling_type = xllamacpp.llama_pooling_type(4)
    if given.ubatch_size:
        params.n_batch, params.n_ubatch = given.batch_size, given.ubatch_size
    # As LLAMA_ARG_REPACK=0 of llama-server: no weights rearranged for the processor, whose kernels crash on some.
    params.no_extra_bufts = os.environ.get("LLAMA_ARG_REPACK") == "0"
    # Threads of a busy machine wait for each other at every layer: LLAMA_ARG_THREADS, also llama-server's, sets fewer.
    params.cpuparams.n_threads = int(os.environ.get("LLAMA_ARG_THREADS", params.cpuparams.n_threads))
    params.ui = False
    server = xllamacpp.Server(params)
    print(f"listening on {server.listening_address}", flush=True)
    stop.wait()
    del server


def options(words: list[str]) -> argparse.Namespace:
    """llama-server's flags (tools/server/README.md), as far as `serve` uses them."""
    parser = argparse.ArgumentParser(prog="llama-server", allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx-size", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--n-gpu-layers", type=int, default=-1)
    parser.add_argument("--api-key-file")
    parser.add_argument("--metrics", action="store_true")
    parser.add_argument("--jinja", action="store_true")
    parser.add_argument("--chat-template-file")
    parser.add_argument("--embeddings", action="store_true")
    parser.add_argument("--reranking", action="store_true")
    parser.add_argument("--kv-unified", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--ubatch-size", type=int)
    parser.add_argument("--reasoning-format", choices=("auto", "none", "deepseek", "deepseek-legacy"), default="auto")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
