"""A Hub with every model of the catalog, and a data folder of the test's own."""

import copy
import datetime
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelpick.catalog import snapshot
from modelpick.hub import update
from modelpick.settings import DataSettings
from tests.stand_ins.hub import Hub

FALCON = "tiiuae/falcon-7b"
FIRST_DAY = datetime.date(2027, 1, 10)


def catalog_rows() -> list[dict[str, Any]]:
    """The rows of the embedded catalog."""
    return [json.loads(line) for line in snapshot.embedded_facts().text("catalog/models.jsonl").splitlines()[1:]]


def fill(hub: Hub, rows: list[dict[str, Any]]) -> None:
    """Every repository as the catalog knows it: its license in the card, its config, its downloads."""
    for row in rows:
        data = {key: row[key] for key in ("license", "license_name", "license_link") if row.get(key) is not None}
        hub.add(
            row["id"], json.dumps(data), config=row.get("config"), downloads=row.get("downloads") or 0,
            gated=row.get("gated") or False,
        )  # fmt: skip


@pytest.fixture(scope="session")
def _catalog_on_the_hub() -> Iterator[Hub]:
    with Hub() as running:
        fill(running, catalog_rows())
        yield running


@pytest.fixture
def whole_hub(_catalog_on_the_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with all of the catalog; what a test changes in it is undone."""
    hub = _catalog_on_the_hub
    before, renames = copy.deepcopy(hub.repositories), dict(hub.renames)
    hub.requests.reset()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    hub.heal()
    hub.repositories, hub.renames = before, renames


@pytest.fixture(scope="session")
def _updated(_catalog_on_the_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after a first update of the whole catalog, made once: it reads 1,210 configs."""
    home = tmp_path_factory.mktemp("updated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", _catalog_on_the_hub.url)
        patch.setenv("XDG_DATA_HOME", str(home))
        patch.setenv("MODELPICK_DATA", "newest")
        update.update(("models",), DataSettings(), FIRST_DAY, lambda what, count, total: None)
    return home


@pytest.fixture
def updated_folder(folder: Path, _updated: Path) -> Path:
    """This test's own copy of a data folder after a first update: what is known is not read again."""
    shutil.copytree(_updated / "modelpick", folder.parent)
    snapshot.forget()
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's snapshots lie."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("MODELPICK_DATA", "newest")
    snapshot.forget()
    return tmp_path / "modelpick" / "snapshots"


class _Files(SimpleHTTPRequestHandler):
    """Files with Last-Modified and an ETag, and 304 for whoever has that one."""

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def end_headers(self) -> None:
        if not self.path.endswith(".sha256"):
            self.send_header("ETag", '"one"')
        super().end_headers()

    def do_GET(self) -> None:
        if self.headers.get("If-None-Match") == '"one"':
            self.send_response(304)
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def serve_folder() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder on loopback and returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(folder)))
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
