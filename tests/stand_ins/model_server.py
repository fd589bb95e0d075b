"""A stand-in for a model server: it answers like one, counts like one, and dies like one, as its arguments say.

Run as a program, so that processes, signals and ports are real. Standard library only.
"""

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    options: argparse.Namespace
    at_work = 0
    most_at_work = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": "stand-in"}]})
        elif self.path == "/most-at-work":
            self._answer(200, {"most": self.server.most_at_work})
        else:
            self._answer(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body.get("prompt") == "die" or self.path == "/die":
            print("CUDA out of memory. Tried to allocate 20.00 MiB", flush=True)
            os._exit(1)
        self.server.at_work += 1
        self.server.most_at_work = max(self.server.most_at_work, self.server.at_work)
        try:
            if body.get("stream") and self.path.endswith("chat/completions"):
                self._stream(body)
            else:
                time.sleep(self.server.options.seconds)
                self._answer(
                    200, {"choices": [{"text": "yes", "message": {"content": "yes"}}], "model": body.get("model")}
                )
        finally:
            self.server.at_work -= 1

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        count = min(int(body["max_tokens"]), 10)
        for number in range(count):
            time.sleep(self.server.options.seconds)
            self._event({"choices": [{"delta": {"content": f"word{number} "}}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": count}})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, content: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())
        self.wfile.flush()

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.0, help="of an answer, or of each piece of it")
    parser.add_argument("--dies", default="", help="say this and end before listening")
    options = parser.parse_args()
    if options.dies:
        print(options.dies, file=sys.stderr, flush=True)
        sys.exit(3)
    server = _Server(("127.0.0.1", options.port), _Handler)
    server.options = options
    server.serve_forever()


if __name__ == "__main__":
    main()
