"""An OpenAI-compatible server on loopback whose models are functions of the prompt."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def serve_answers(
    answer: Callable[[str, str], str], bodies: list[dict[str, Any]] | None = None, refused: tuple[str, ...] = ()
) -> Iterator[str]:
    """Its address, up to /v1. `answer` gets the model's name and the last prompt; `bodies` collects what is sent, with
    its `path`. A parameter of `refused` is answered as OpenAI's newer models do: 400, naming it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if bodies is not None:
                bodies.append({**body, "path": self.path})
            for name in refused:
                if name in body:
                    self._send(
                        400, {"error": {"message": f"Unsupported: {name}", "param": name, "code": "unsupported"}}
                    )
                    return
            plain = self.path.endswith("/v1/completions")
            text = answer(body["model"], body["prompt"] if plain else body["messages"][-1]["content"])
            said = {"text": text} if plain else {"message": {"content": text}}
            self._send(200, {"choices": [{**said, "finish_reason": "stop"}]})

        def _send(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: Any) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
