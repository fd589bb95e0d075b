"""A stand-in Hub on loopback, in the Hub's own shapes: what the real client of huggingface_hub talks to in tests.

    with Hub() as hub:
        hub.add("org/name", card="license: mit", files={"LICENSE": "..."})
        os.environ["HF_ENDPOINT"] = hub.url

It serves the API of one model and of lists (expand, paging by Link), file trees, files with ranges, gates, renames,
revisions and rate limits, and misbehaves on demand (`hub.fail`). `hub.requests` counts what was asked of it.
"""

import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import yaml

Trouble = Literal[
    "500", "403", "404", "429", "html", "truncated", "silence", "drip", "closed", "slow", "denied", "absent",
    "bad request",
]  # fmt: skip
_REFUSALS = {"denied": (403, "Forbidden"), "absent": (404, "EntryNotFound"), "bad request": (400, "BadRequest")}
PAGE = 1000  # models a list page holds at most, as on the Hub


@dataclass
class Requests:
    """What was asked: API calls, file requests, bytes sent, and every path in order."""

    api: int = 0
    files: int = 0
    sent: int = 0
    paths: list[str] = field(default_factory=list)

    def reset(self) -> None:
        """Forgets everything so far."""
        self.api = self.files = self.sent = 0
        self.paths.clear()


@dataclass
class Repository:
    """One model repository: the API's record of it and the files of its commits."""

    id: str
    sha: str
    record: dict[str, Any]
    files: dict[str, bytes]
    gated: str | bool
    revisions: dict[str, "Repository"] = field(default_factory=dict)


@dataclass
class _Fault:
    trouble: Trouble
    path: re.Pattern[str]
    times: float
    wait: float | None


def sha_of(text: str) -> str:
    """The commit sha the stand-in gives to whatever `text` names."""
    return hashlib.sha1(text.encode()).hexdigest()


def safetensors(**tensors: tuple[str, Sequence[int]]) -> bytes:
    """A safetensors file's header, with nothing where the weights would be."""
    header = json.dumps({name: {"dtype": dtype, "shape": list(shape)} for name, (dtype, shape) in tensors.items()})
    return struct.pack("<Q", len(header)) + header.encode()


class Hub:
    """The server and its repositories. Use as a context manager."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.renames: dict[str, str] = {}
        self.requests = Requests()
        self.token = "hf_opens_every_gate"
        self.api_elsewhere: str | None = None  # another host that the API redirects to
        self.commit_of_files: str | None = None  # the commit that files say they are of, instead of their own
        self._faults: list[_Fault] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def add(
        self,
        id: str,
        /,
        card: str | None = None,
        *,
        readme: str | bytes | None = None,
        body: str = "",
        base_model: str | list[str] | None = None,
        relation: str | None = None,
        gated: str | bool = False,
        files: Mapping[str, str | bytes | dict[str, Any]] | None = None,
        config: Mapping[str, Any] | None = None,
        weights: Mapping[str, int] | None = None,
        revision: str | None = None,
        downloads: int = 0,
        **record: Any,
    ) -> str:
        """Adds a repository, or with `revision` an older commit of one (a branch, tag or sha of that name); returns its
        sha. `card` is front matter, `readme` a whole README instead of it, `record` overrides what the API says. An id
        `datasets/org/name` is a data set's.
        """
        if card is not None and base_model is not None:
            card += "\n" + yaml.safe_dump({"base_model": base_model})
        if readme is None and card is not None:
            readme = f"---\n{card}\n---\n{body}"
        contents = {name: _bytes(content) for name, content in (files or {}).items()}
        if readme is not None:
            contents["README.md"] = _bytes(readme)
        if config is not None:
            contents["config.json"] = _bytes(dict(config))
        sha = sha_of(f"{id}@{revision}") if revision and not re.fullmatch(r"[0-9a-f]{40}", revision) else revision
        sha = sha or sha_of(id + repr(sorted(contents.items())))
        data = _card_data(card)
        told = {
            "_id": sha[:24], "id": id, "modelId": id, "sha": sha, "private": False, "disabled": False, "gated": gated,
            "downloads": downloads, "likes": 0, "createdAt": "2024-01-02T03:04:05.000Z", "cardData": data,
            "tags": _tags(data, base_model, relation), "siblings": [{"rfilename": name} for name in sorted(contents)],
            "pipeline_tag": data.get("pipeline_tag"), "library_name": data.get("library_name"),
        }  # fmt: skip
        if base_model is not None:
            parents = [base_model] if isinstance(base_model, str) else base_model
            told["baseModels"] = {"relation": relation or "finetune", "models": [{"id": parent} for parent in parents]}
        if weights is not None:
            told["safetensors"] = {"parameters": dict(weights), "total": sum(weights.values())}
        told = {key: value for key, value in {**told, **record}.items() if value is not None}
        repository = Repository(id, sha, told, contents, gated)
        if revision is None:
            self.repositories[id] = repository
        else:
            self.repositories[id].revisions[revision] = repository
        return sha

    def rename(self, old: str, new: str) -> None:
        """The Hub answers 307 for the old name."""
        self.renames[old] = new

    def fail(self, trouble: Trouble, path: str = "", *, times: float = float("inf"), wait: float | None = None) -> None:
        """From now on requests whose path matches `path` meet `trouble`, `times` times; `wait` is what a 429 states."""
        self._faults.append(_Fault(trouble, re.compile(path), times, wait))

    def heal(self) -> None:
        """No more trouble."""
        self._faults.clear()

    def fault(self, path: str) -> _Fault | None:
        """The trouble this request meets, counted."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.path.search(path):
                    fault.times -= 1
                    return fault
        return None

    def wait_while_silent(self) -> None:
        """Says nothing until the test is over."""
        self.stopped.wait(60)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that went away is no error of the stand-in's."""


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet: else each answer waits 40 ms for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        requests = self.hub.requests
        with self.hub._lock:
            requests.paths.append(path)
            if path.startswith("/api/"):
                requests.api += 1
            else:
                requests.files += 1
        fault = self.hub.fault(path)
        if fault is not None and self._misbehave(fault):
            return
        if path.startswith("/api/") and self.hub.api_elsewhere is not None:
            self._send(307, b"", headers={"Location": self.hub.api_elsewhere + self.path})
        elif path == "/api/models":
            self._list(query)
        elif found := re.fullmatch(r"/api/(?:models/)?(.+?)(?:/(revision|tree)/([^/]+))?", path):
            self._model(found[1], found[2], found[3], query)
        elif found := re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path):
            self._file(found[1], found[2], found[3])
        else:
            self._error(404, "EntryNotFound")

    def _misbehave(self, fault: _Fault) -> bool:
        if fault.trouble == "silence":
            self.hub.wait_while_silent()
            self.close_connection = True
        elif fault.trouble == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self.hub.stopped.wait(0.1):
                self.wfile.write(b".")
                self.wfile.flush()
        elif fault.trouble == "closed":
            self.close_connection = True
        elif fault.trouble == "slow":
            time.sleep(fault.wait or 0.05)
            return False
        elif fault.trouble == "html":
            self._send(200, b"<!doctype html><title>Sign in to the hotel network</title>", kind="text/html")
        elif fault.trouble == "truncated":
            self.send_response(200)
            self.send_header("Content-Length", "5000")
            self.end_headers()
            self.wfile.write(b'{"id": "org/na')
            self.wfile.flush()
            self.close_connection = True
        elif fault.trouble == "429":
            stated = {} if fault.wait is None else {"RateLimit": f'"api";r=0;t={fault.wait:.0f}'}
            self._send(429, b"", headers=stated)
        elif fault.trouble in _REFUSALS:  # in the Hub's own words, unlike the numbers, which a proxy answers with
            self._error(*_REFUSALS[fault.trouble])
        else:
            self._send(int(fault.trouble), b"<html>oops</html>", kind="text/html")
        return True

    def _repository(self, id: str, revision: str | None, rest: str = "") -> Repository | None:
        hub = self.hub
        repository = hub.repositories.get(id)
        moved = hub.renames.get(id) or next((known for known in hub.repositories if known.lower() == id.lower()), None)
        if repository is None and moved is not None:
            target = self.path.replace(quote(id), quote(moved), 1)
            self._send(307, b"", headers={"Location": target})
            return None
        if repository is None:
            self._error(404 if self._has_token() else 401, "RepoNotFound")
            return None
        if revision in (None, "main", repository.sha):
            return repository
        for name, older in repository.revisions.items():
            if revision in (name, older.sha):
                return older
        self._error(404, "RevisionNotFound")
        return None

    def _model(self, id: str, what: str | None, revision: str | None, query: Mapping[str, list[str]]) -> None:
        repository = self._repository(id, revision)
        if repository is None:
            return
        if what == "tree":
            self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in repository.files.items()
                ]
            )
        else:
            self._json(_view(repository.record, query))

    def do_HEAD(self) -> None:
        """As GET, without the body: how the client asks for a file's hash and size before it fetches it."""
        self.do_GET()

    def _list(self, query: Mapping[str, list[str]]) -> None:
        rows = list(self.hub.repositories.values())
        if author := query.get("author", [""])[0]:
            rows = [row for row in rows if row.id.partition("/")[0].lower() == author.lower()]
        if "downloads" in query.get("sort", []):
            rows.sort(key=lambda row: -int(row.record.get("downloads", 0)))
        start, size = int(query.get("cursor", ["0"])[0]), min(int(query.get("limit", [PAGE])[0]), PAGE)
        headers = {}
        if start + size < len(rows):
            following = {**{key: values for key, values in query.items() if key != "cursor"}, "cursor": [start + size]}
            headers["Link"] = f'<{self.hub.url}/api/models?{urlencode(following, doseq=True)}>; rel="next"'
        self._json([_view(row.record, query) for row in rows[start : start + size]], headers)

    def _file(self, id: str, revision: str, name: str) -> None:
        repository = self._repository(id, revision)
        if repository is None:
            return
        data = repository.files.get(name)
        if repository.gated and not self._has_token() and name != "README.md":
            self._error(401, "GatedRepo")
        elif data is None:
            self._error(404, "EntryNotFound")
        else:
            tag = hashlib.sha1(data).hexdigest()
            self._part(
                data,
                {
                    "X-Repo-Commit": self.hub.commit_of_files or repository.sha,
                    "Accept-Ranges": "bytes",
                    "ETag": f'"{tag}"',
                },
            )

    def _part(self, data: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        if wanted is None:
            self._send(200, data, kind="text/plain; charset=utf-8", headers=headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2]), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self._send(206, data[first : last + 1], kind="application/octet-stream", headers=headers)

    def _has_token(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def _json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), headers=headers)

    def _error(self, status: int, code: str) -> None:
        self._send(status, b'{"error": "no"}', headers={"X-Error-Code": code, "X-Error-Message": f"stand-in: {code}"})

    def _send(
        self, status: int, data: bytes, *, kind: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        with self.hub._lock:
            self.hub.requests.sent += len(data)
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _view(record: Mapping[str, Any], query: Mapping[str, list[str]]) -> dict[str, Any]:
    """With `expand` only the properties named, else what the Hub shows by default (no baseModels)."""
    wanted = query.get("expand", [])
    names = {"_id", "id", "modelId", *wanted} if wanted else record.keys() - {"baseModels"}
    return {name: value for name, value in record.items() if name in names}


def _card_data(card: str | None) -> dict[str, Any]:
    try:
        data = yaml.safe_load(card or "")
    except yaml.YAMLError:
        return {}
    return json.loads(json.dumps(data, default=str)) if isinstance(data, dict) else {}


def _tags(data: Mapping[str, Any], base_model: str | list[str] | None, relation: str | None) -> list[str]:
    tags = [f"license:{data['license']}"] if isinstance(data.get("license"), str) else []
    for parent in [base_model] if isinstance(base_model, str) else base_model or []:
        tags += [f"base_model:{parent}", f"base_model:{relation or 'finetune'}:{parent}"]
    return [*tags, "region:us"]


def _bytes(content: str | bytes | dict[str, Any]) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()
