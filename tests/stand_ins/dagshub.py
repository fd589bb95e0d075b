"""A DagsHub on loopback: the REST calls that dagshub's own client makes, and a real MLflow server behind `.mlflow`.

Source: dagshub 0.7.3, common/api/{user,repo}.py and upload/wrapper.py. A wrong or absent token is a 401, as there.
"""

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

USER = {"id": 1, "login": "me", "username": "me", "full_name": "Me"}
REPOSITORY = {
    "id": 1, "owner": USER, "name": "mine", "full_name": "me/mine", "description": "", "private": True, "fork": False,
    "empty": False, "mirror": False, "size": 1, "html_url": "", "clone_url": "", "stars_count": 0, "forks_count": 0,
    "watchers_count": 0, "open_issues_count": 0, "default_branch": "main", "created_at": "", "updated_at": "",
}  # fmt: skip


class DagsHub:
    """What one repository holds, and who may write to it."""

    def __init__(self, token: str, mlflow: str) -> None:
        self.token, self.mlflow, self.url = token, mlflow, ""
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    def allows(self, header: str) -> bool:
        basic = base64.b64encode(f"me:{self.token}".encode()).decode()
        return header in (f"Bearer {self.token}", f"Basic {basic}")


@contextmanager
def running(token: str, mlflow: str) -> Iterator[DagsHub]:
    """Serve `me/mine` on a free port of loopback until the block ends."""
    hub = DagsHub(token, mlflow)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: DagsHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            hub.asked.append(f"{self.command} {self.path}")
            repository = "/api/v1/repos/me/mine"
            if not hub.allows(self.headers.get("Authorization", "")):
                self._answer(401, b"{}")
            elif self.path.startswith("/me/mine.mlflow/"):
                self._pass_on(self.path.removeprefix("/me/mine.mlflow"), body)
            elif self.path == "/api/v1/user":
                self._answer(200, json.dumps(USER).encode())
            elif self.path == repository:
                self._answer(200, json.dumps(REPOSITORY).encode())
            elif self.path == f"{repository}/branches/main":
                commit = {"id": str(len(hub.files)), "message": "", "url": "", "timestamp": ""}
                self._answer(200, json.dumps({"name": "main", "commit": commit}).encode())
            elif self.command == "PUT" and self.path.startswith(f"{repository}/content/main/"):
                folder = unquote(self.path.removeprefix(f"{repository}/content/main/"))
                hub.files |= {f"{folder}/{name}".strip("/"): data for name, data in self._uploaded(body)}
                self._answer(200, b"{}")
            else:
                self._answer(404, b"{}")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _uploaded(self, body: bytes) -> Iterator[tuple[str, bytes]]:
            header = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            for part in message_from_bytes(header + body, policy=HTTP).iter_parts():
                if part.get_filename():
                    yield str(part.get_filename()), part.get_payload(decode=True)

        def _pass_on(self, path: str, body: bytes) -> None:
            request = urllib.request.Request(hub.mlflow + path, body or None, method=self.command)
            request.add_header("Content-Type", self.headers.get("Content-Type", "application/json"))
            try:
                with urllib.request.urlopen(request) as response:
                    self._answer(response.status, response.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, error.read())
            except OSError:
                self._answer(502, b"{}")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler
