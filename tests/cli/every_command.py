"""Each command of the program once, with files, repositories and servers whose every string is foreign text.

The rules that hold for all commands (foreign text, addresses, widths) are tested over this list; a command that is
missing from it fails tests/cli/test_foreign_text.py.
"""

import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.hub.dump import row, write
from tests.stand_ins.hub import Hub

# What a terminal would obey: a colour that modelpick itself never uses, a bell, a mark that reverses the line, a lone
# surrogate; and what rich would obey.
FOREIGN = "\x1b[31;5m\x07\u202e\udc80[red]MARK[/red]"
ON_DISK = FOREIGN.replace("\udc80", "")  # a UTF-8 file holds no lone surrogate
PATH_SAFE = ON_DISK.replace("/", "")
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 512, "intermediate_size": 128, "max_position_embeddings": 4096,
    "architectures": ["LlamaForCausalLM"], "_name_or_path": FOREIGN, "torch_dtype": "bfloat16",
}  # fmt: skip


def quoted(text: str) -> str:
    """A double-quoted YAML scalar, which JSON's escapes are, too."""
    return json.dumps(text)


def card(text: str = FOREIGN) -> str:
    """The front matter of a card whose every value is `text`."""
    names = ("license", "license_name", "license_link", "library_name", "pipeline_tag", "model_name")
    lists = ("base_model", "datasets", "language", "tags", "metrics")
    return "\n".join([*(f"{name}: {quoted(text)}" for name in names), *(f"{name}: [{quoted(text)}]" for name in lists)])


class Files:
    """Everything that the commands are given, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PATH_SAFE
        self.folder.mkdir()
        self.model = self._model("model", card(ON_DISK))
        self.servable = self._model("servable", "license: apache-2.0", license=None)
        self.data = self._write("data.jsonl", self._examples(ON_DISK))
        self.bad_data = self._write("bad.jsonl", self._examples(FOREIGN))
        self.cases = self._write("cases.jsonl", json.dumps({"model": FOREIGN, FOREIGN: FOREIGN}))
        words = f"name = {quoted(ON_DISK)}\ntitle = {quoted(ON_DISK)}\n"
        self.policy = self._write("policy.toml", words)
        self.bad_policy = self._write("bad.toml", f"{words}[company]\n{quoted(ON_DISK)} = 1\n")
        self.code = self.folder / "code"
        self.code.mkdir()
        (self.code / f"{PATH_SAFE}.py").write_text(
            "from transformers import AutoModel\n"
            "AutoModel.from_pretrained('tiiuae/falcon-7b')\n"
            f"AutoModel.from_pretrained({ON_DISK!r})\nAutoModel.from_pretrained(name)  # {ON_DISK}\n"
        )
        (self.code / "broken.yaml").write_text(f"model: {quoted(ON_DISK)}\nmodel_id: {quoted('acme/' + ON_DISK)}\n")
        self.lock = self._write("lock.json", json.dumps({"schema_version": 1, "models": {FOREIGN: FOREIGN}}))
        self.ids = self._write("ids.txt", f"acme/foreign\n{ON_DISK}\n")
        self.hub = str(write(self.folder.parent / "hub.parquet", [row("acme/foreign", ON_DISK, ON_DISK, "gone/away")]))
        self.plan = self._write("plan.json", json.dumps({"schema_version": 1, "id": FOREIGN, FOREIGN: FOREIGN}))
        self.result = self._write("result.json", json.dumps({"ttfts": [FOREIGN], "model_id": FOREIGN}))
        self.absent = str(self.folder / "absent")
        self.out = self.folder / "out"
        self.out.mkdir()

    def _model(self, name: str, front: str, license: str | None = ON_DISK) -> str:
        folder = self.folder / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "README.md").write_text(f"---\n{front}\n---\n{ON_DISK}\n", encoding="utf-8")
        if license is not None:
            (folder / "LICENSE").write_text(license, encoding="utf-8")
        header = json.dumps({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [1, 1], "data_offsets": [0, 2]}})
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0\0")
        return str(folder)

    def _examples(self, text: str) -> str:
        rows = ({"instruction": f"{text} {number}", "output": text, "source": text} for number in (*range(9), 3))
        return "\n".join(map(json.dumps, rows))

    def _write(self, name: str, text: str) -> str:
        file = self.folder / name
        file.write_text(text, encoding="utf-8")
        return str(file)


def fill(hub: Hub) -> None:
    """Repositories whose card, files and API record are foreign text."""
    hub.add("acme/foreign", readme=f"---\n{card(ON_DISK)}\n---\n{ON_DISK}", files={"LICENSE": ON_DISK}, config=CONFIG)
    hub.add("acme/record", card="license: mit", config=CONFIG, author=FOREIGN, tags=[FOREIGN])
    hub.add("acme/gated", card="license: mit", gated=FOREIGN)
    hub.add("meta-llama/Llama-3.1-8B", card=f"license: llama3.1\nmodel_name: {quoted(ON_DISK)}", author=FOREIGN)


def commands(files: Files, server: str) -> list[list[str]]:
    """The command lines; `server` is an address that answers as `foreign_server` does."""
    page, notice, bom = (str(files.out / name) for name in ("page.html", "notice", "bom.json"))
    endpoint = ["--endpoint", f"{server}/v1"]
    deployment = "mp-demo"
    return [
        ["recommend", "--policy", files.policy],
        ["recommend", "--limit", "2", "--html", page, "--policy", files.policy],
        ["recommend", "--why-not", FOREIGN],
        ["recommend", "--region", FOREIGN],
        ["license", "acme/foreign", "acme/record", FOREIGN, files.model],
        ["license", "acme/foreign"],
        ["license", "acme/gated"],
        ["license", "meta-llama/Llama-3.1-8B", "--notice", notice, "--bom", bom],
        ["license", files.model, "--bom", str(files.out / "bom.spdx.json"), "--evidence", str(files.out / "evidence")],
        ["license", files.model, "--policy", files.policy],
        ["estimate", "acme/foreign"],
        ["estimate", files.model, "--explain"],
        ["estimate", "--cases", files.cases],
        ["audit", str(files.code), "--docs", "-v", "--sarif", str(files.out / "audit.sarif")],
        ["audit", str(files.code), "--format", "sarif"],
        ["offers", "--gpu", FOREIGN],
        ["cost", files.model],
        ["cost", "acme/record", "--task", "serve"],
        ["plan", "acme/record", "--data", files.data, "--output", str(files.out / "made.json")],
        ["plan", files.servable, "--serve", "--output", str(files.out / "served.json")],
        ["lock", "meta-llama/Llama-3.1-8B", "acme/record", "--output", str(files.out / "lock.json")],
        ["lock", FOREIGN],
        ["verify", files.lock],
        ["verify", str(files.out / "lock.json")],
        ["up", files.plan, "--yes"],
        ["up", str(files.out / "served.json"), "--cloudformation", str(files.out / "stack.json")],
        ["up", str(files.out / "served.json"), "--yes"],
        ["status"],
        ["logs", deployment],
        ["logs", FOREIGN],
        ["connect", deployment],
        ["extend", deployment, "--hours", "1"],
        ["down", deployment, "--yes"],
        ["sweep", "--yes"],
        ["catalog", "show", FOREIGN],
        ["catalog", "info"],
        [
            "catalog",
            "audit",
            files.hub,
            "--mine",
            files.ids,
            "--policy",
            files.policy,
            "--index",
            str(files.folder / "index"),
        ],
        ["catalog", "audit", files.bad_policy, "--out", FOREIGN],
        ["catalog", "diff", "embedded", FOREIGN],
        ["update", "--check"],
        ["update", "--use", FOREIGN],
        ["update", FOREIGN],
        ["policy", "list"],
        ["policy", "show", files.policy],
        ["policy", "check", files.policy],
        ["policy", "check", files.bad_policy],
        ["policy", "approve", f"acme/{FOREIGN}", "--by", FOREIGN, "--because", FOREIGN, "--until", FOREIGN],
        ["policy", "reject", f"acme/{FOREIGN}", "--by", FOREIGN, "--because", FOREIGN, "--until", FOREIGN],
        ["finetune", files.absent, "--data", files.data, "--output", str(files.out / "run")],
        ["merge", FOREIGN],
        ["merge", files.servable, "--output", str(files.out / "merged")],
        ["export", FOREIGN, "--converter", files.absent],
        ["export", files.servable, "--to", FOREIGN],
        ["export", files.servable, "--type", FOREIGN],
        ["probe", FOREIGN, *endpoint, "--cases", "2"],
        ["data", "check", files.data],
        ["data", "check", files.bad_data],
        ["data", "show", files.bad_data, "--model", files.absent],
        ["data", "curate", files.data, "--output", str(files.out / "curated.jsonl")],
        ["data", "next", files.data, "--model", files.absent, "--output", str(files.out / "next.jsonl")],
        ["serve", files.servable, "--dry-run", "--state", str(files.out / "state"), "--context", "64"],
        ["serve", FOREIGN, "--dry-run"],
        ["chat", *endpoint, "--message", FOREIGN],
        ["chat", *endpoint, "--message", FOREIGN, "--model", "failing"],
        ["bench", *endpoint, "--concurrency", "1", "--requests", "1"],
        ["bench", "--import", files.result, "--plan", files.plan],
        ["doctor"],
        ["doctor", "--aws"],
        [FOREIGN],
        ["license", f"--{FOREIGN}"],
    ]


@contextmanager
def foreign_server() -> Iterator[str]:
    """An address that answers OpenAI's clients, and everybody else with an error, in foreign text only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Foreign(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._answer(200, {"data": [{"id": FOREIGN}]})
        else:
            self._fail()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/v1/") or b'"failing"' in body:
            self._fail()
            return
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        message = {"content": FOREIGN, "reasoning_content": FOREIGN}
        self._answer(200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})

    def _fail(self) -> None:
        self._answer(400, {"__type": FOREIGN, "message": FOREIGN, "error": {"message": FOREIGN, "code": FOREIGN}})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
