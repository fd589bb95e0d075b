"""A Hub on loopback for tools that ask huggingface.co: configs and safetensors headers of our own catalog, no weights.

    with PeerHub() as hub:
        hub.add("org/name", config, tensors)
        subprocess.run(..., env={**os.environ, **hub.environment})

Some tools have the Hub's address built in, so the stand-in is a proxy: it answers CONNECT for huggingface.co itself,
with a certificate made for the occasion (by the `openssl` program) that only processes in `environment` trust. It
answers what is asked of a model there: /api/models/ID, its tree, and GET or HEAD of config.json and model.safetensors.
"""

import hashlib
import json
import os
import re
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HOST = "huggingface.co"
# bits per element: the dtype names of the safetensors format
BITS = {"BF16": 16, "F16": 16, "F32": 32, "I32": 32, "I8": 8, "F8_E4M3": 8}
Tensor = tuple[str, str, tuple[int, ...]]  # name, dtype, shape


def header(tensors: Iterable[Tensor]) -> tuple[bytes, int, dict[str, int]]:
    """A safetensors file's header, the size of the file it would head, and its elements by dtype."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset, counts = 0, dict[str, int]()
    for name, dtype, shape in tensors:
        size = prod(shape) * BITS[dtype] // 8
        described[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
        counts[dtype] = counts.get(dtype, 0) + prod(shape)
    text = json.dumps(described).encode()
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + offset, counts


class PeerHub:
    """The proxy and its repositories. Use as a context manager; `environment` makes a process ask it."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], tuple[bytes, int]] = {}
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        certificate, key = folder / "certificate.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
             "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        handler = type("Handler", (_Handler,), {"hub": self, "context": context})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        trusted = {name: str(certificate) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        self.environment = {
            **trusted, "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "", "no_proxy": "",
            "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_ENDPOINT": f"https://{HOST}", "HF_TOKEN": "none", "COLUMNS": "200", "NO_COLOR": "1",
            "PATH": os.environ.get("PATH", ""), "HOME": str(folder),
        }  # fmt: skip

    def __enter__(self) -> "PeerHub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def add(self, id: str, config: Mapping[str, Any], tensors: Iterable[Tensor]) -> None:
        """A repository with this config.json and a model.safetensors of these tensors."""
        head, size, counts = header(tensors)
        self.files[id, "model.safetensors"] = head, size
        told = json.dumps(dict(config)).encode()
        self.files[id, "config.json"] = told, len(told)
        self.records[id] = {
            "_id": id, "id": id, "modelId": id, "sha": hashlib.sha1(id.encode()).hexdigest(), "private": False,
            "gated": False, "disabled": False, "downloads": 0, "likes": 0, "library_name": "transformers",
            "pipeline_tag": "text-generation", "tags": ["transformers", "safetensors"],
            "createdAt": "2024-01-02T03:04:05.000Z", "lastModified": "2024-01-02T03:04:05.000Z",
            "config": {"architectures": config.get("architectures"), "model_type": config.get("model_type")},
            "safetensors": {"parameters": counts, "total": sum(counts.values())},
            "siblings": [{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}],
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    hub: PeerHub
    context: ssl.SSLContext
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_CONNECT(self) -> None:
        """Becomes the host that is asked for; no other host is to be had."""
        if self.path.partition(":")[0] != HOST:
            self.send_error(502)
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        try:
            self.connection = self.context.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False
        while not self.close_connection:
            self.handle_one_request()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(/tree/.+|/revision/.+)?", path):
            record = self.hub.records.get(found[1])
            if record and found[2] and found[2].startswith("/tree"):
                names = [name for id, name in self.hub.files if id == found[1]]
                listed = [{"type": "file", "path": n, "size": self.hub.files[found[1], n][1], "oid": n} for n in names]
                self._send(200, json.dumps(listed).encode())
            elif record:
                self._send(200, json.dumps(record).encode())
            else:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif (found := re.fullmatch(r"/([^/]+/[^/]+)/(?:resolve|raw)/[^/]+/(.+)", path)) and found[
            1
        ] in self.hub.records:
            self._file(found[1], found[2])
        else:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _file(self, id: str, name: str) -> None:
        sha = self.hub.records[id]["sha"]
        if (id, name) not in self.hub.files:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": sha})
            return
        data, size = self.hub.files[id, name]
        headers = {"X-Repo-Commit": sha, "ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if wanted and self.command == "GET":
            first, last = int(wanted[1]), min(int(wanted[2]), size - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            part = data[first : last + 1]  # what would be weights is left out: nobody asks for it alone
            self._send(206, part, headers)
        else:
            self._send(200, data, headers, size if self.command == "HEAD" else None)

    def _send(
        self, status: int, data: bytes, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        stated = {"Content-Type": "application/json", "Content-Length": str(len(data) if length is None else length)}
        for name, value in {**stated, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
