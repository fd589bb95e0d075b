"""A model server behind a gateway that keeps what it was sent, and answers as kindly or unkindly as the prompt says.

`slow 2` waits, `die` breaks off before answering, `cut` in the middle of a stream, `garbage` is no JSON, `flood` has no
end, `fail` is a bare 500 as FastAPI's, `long` is vLLM's error of a prompt that is too long, `physical` is
llama.cpp's of a text to embed, `greedy` is vLLM's that names its parameter in the text only. It listens in a thread.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FLOOD = b"x" * 4096


class Upstream(ThreadingHTTPServer):
    """`records`: path, headers and body of every request with a body. `hung_up`: how many clients went away."""

    daemon_threads = True
    request_queue_size = 2048

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records: list[tuple[str, dict[str, str], bytes]] = []
        self.hung_up = self.flooded = self.at_work = self.most_at_work = 0
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def last(self) -> Any:
        """The last body, parsed."""
        return json.loads(self.records[-1][2])

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.hung_up += 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Upstream

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200, b"up 1\n")

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.records.append((self.path, dict(self.headers), raw))
            self.server.at_work += 1
            self.server.most_at_work = max(self.server.most_at_work, self.server.at_work)
        try:
            self._behave(json.loads(raw))
        finally:
            with self.server.lock:
                self.server.at_work -= 1

    def _behave(self, body: dict[str, Any]) -> None:
        told = [body[name] for name in ("prompt", "query", "input", "text_1") if name in body]
        said = told[0] if told else body["messages"][-1]["content"]
        word = said.partition(" ")[0] if isinstance(said, str) else ""
        if word == "slow":
            time.sleep(float(said.partition(" ")[2] or 0.6))
        if word == "die":
            self.close_connection = True
        elif word == "fail":
            self._answer(500, b"Internal Server Error at /home/somebody/model.py", "text/plain")
        elif word == "detail":
            self._answer(422, b'{"detail": "Unexpected fields"}')
        elif word == "long":
            error = {"message": "This model's maximum context length is 9 tokens", "code": 400, "param": "input_tokens"}
            self._answer(400, json.dumps({"error": error}).encode())
        elif word == "greedy":
            error = {"message": "n must be 1 when using greedy sampling, got 2.", "param": None, "code": 400}
            self._answer(400, json.dumps({"error": error}).encode())
        elif word == "physical":
            error = {"message": "input (3000 tokens) is too large to process. increase the physical batch size"}
            self._answer(500, json.dumps({"error": error}).encode())
        elif word == "garbage":
            self._answer(200, b"<html>")
        elif body.get("stream"):
            self._stream(body, word)
        else:
            message = {"role": "assistant", "content": "yes STOP and no"}
            choice = {"index": 0, "message": message, "text": message["content"], "finish_reason": "stop"}
            choice.pop("text" if "messages" in body else "message")
            self._answer(200, json.dumps({"id": "1", "model": body["model"], "choices": [choice]}).encode())

    def _stream(self, body: dict[str, Any], word: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        while word == "flood":
            self._event(body, FLOOD.decode())
            self.server.flooded += len(FLOOD)
        for piece in ("yes ST", "OP and", " no ", "S"):
            self._event(body, piece)
            if word == "cut":
                return
            if word == "garbage-later":
                self.wfile.write(b"data: {not JSON\n\n")
                return
        self._event(body, None)

    def _event(self, body: dict[str, Any], text: str | None) -> None:
        part = {"delta": {"content": text} if text else {}} if "messages" in body else {"text": text or ""}
        choice = {"index": 0, **part, "finish_reason": None if text else "stop"}
        content = {"id": "1", "model": body["model"] + "@main", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())

    def _answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve() -> Iterator[Upstream]:
    """One, until the block ends."""
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
