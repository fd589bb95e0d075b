"""Any OpenAI-compatible address, as good or bad as they come: streams, whole answers, errors, certificates, proxies."""

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import RemoteError
from modelpick.serving import client
from modelpick.serving.client import Asking, Endpoint
from tests.cli.conftest import Run


def events(*chunks: object, done: bool = True) -> bytes:
    """A stream of server-sent events."""
    said = [f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks]
    return ("".join(said) + ("data: [DONE]\n\n" if done else "")).encode()


def delta(**said: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": said, "finish_reason": None}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}
SSE, JSON, HTML = "text/event-stream; charset=utf-8", "application/json", "text/html"
WHOLE = {"choices": [{"message": {"content": "Paris"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}
# what a server of that name answers: status, content type, body, further headers
ANSWERS: dict[str, tuple[int, str, bytes, dict[str, str]]] = {
    "good": (200, SSE, events(delta(content="Par"), delta(content="is"), END), {}),
    "no-done": (200, SSE, events(delta(content="Paris"), END, done=False), {}),  # as transformers serve ends
    "alive": (200, SSE, b": ping\n\nevent: message\n" + events(delta(content="Paris")), {}),
    "thinks": (200, SSE, events(delta(reasoning_content="hmm"), delta(content="Paris"), END), {}),
    "thinks-new": (200, SSE, events(delta(reasoning="hmm"), delta(content="Paris"), END), {}),
    "only-thinks": (200, SSE, events(delta(reasoning_content="hmm"), END), {}),
    "whole": (200, JSON, json.dumps(WHOLE).encode(), {}),  # streams were asked for, and it has none
    "plain": (200, JSON, b'{"choices": [{"text": "Paris", "finish_reason": "length"}]}', {}),
    "cut": (200, SSE, events(delta(content="Par"), done=False), {}),
    "broken-json": (200, SSE, b'data: {"error": "a "quoted" word"}\n\n', {}),
    "fails-late": (200, SSE, events(delta(content="Par"), {"error": {"message": "CUDA error"}}), {}),
    "html": (200, HTML, b"<html>login</html>", {}),
    "list": (200, JSON, b"[]", {}),
    "nothing": (200, JSON, b'{"choices": []}', {}),
    "strange": (200, SSE, events({"choices": None}, {"choices": [7]}, {"choices": [{"delta": None}]}), {}),
    "key": (401, JSON, b'{"error": {"message": "no valid key"}}', {}),
    "model": (404, JSON, b'{"error": {"message": "no model of that name"}}', {}),
    "long": (400, JSON, b'{"error": {"message": "maximum context length is 8 tokens"}}', {}),
    "template": (400, JSON, b'{"message": "", "detail": "no chat template is defined"}', {}),
    "busy": (429, JSON, b'{"error": "slow down"}', {"Retry-After": "7"}),
    "loading": (503, HTML, b"<h1>503</h1>", {}),
    "moved": (307, HTML, b"", {"Location": "http://elsewhere.example/v1"}),
    "moved-post": (302, HTML, b"", {"Location": "http://elsewhere.example/v1"}),
    "steers": (400, JSON, b'{"error": {"message": "\\u001b[31mred\\u0007"}}', {}),
}


class Handler(BaseHTTPRequestHandler):
    asked: list[tuple[str, str | None, Any]] = []  # noqa: RUF012
    later = 0  # how often "busy" and "loading" still say so

    def do_GET(self) -> None:
        self._answer(200, JSON, b'{"data": [{"id": "m"}]}', {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Handler.asked.append((self.path, self.headers.get("Authorization"), body))
        kind = self.path.split("/")[1] if self.path.startswith("/") else "good"
        if kind == "dies":
            self.close_connection = True
            return
        if kind in ("busy", "loading") and Handler.later == 0:
            kind = "good"
        Handler.later = max(Handler.later - 1, 0)
        self._answer(*ANSWERS[kind])

    def _answer(self, status: int, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: Any) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Handler.asked.clear()
    Handler.later = 1


def pieces(address: str, kind: str, **how: Any) -> list[client.Piece]:
    asking = Asking([{"role": "user", "content": "capital?"}], 4, **how)
    return list(client.answer(Endpoint(f"{address}/{kind}/v1", "sk-secret0123456789"), "m", asking))


@pytest.mark.parametrize("kind", ["good", "no-done", "alive", "thinks", "thinks-new", "whole"])
def test_every_form_of_an_answer_is_read(address: str, kind: str) -> None:
    said = pieces(address, kind)
    assert "".join(piece.text for piece in said) == "Paris"
    assert "".join(piece.thought for piece in said) == ("hmm" if kind.startswith("thinks") else "")
    assert Handler.asked[0][1] == "Bearer sk-secret0123456789"
    assert Handler.asked[0][2]["stream"] is True


def test_whole_answers_and_plain_completions_are_asked_for(address: str) -> None:
    (said,) = pieces(address, "whole", stream=False)
    assert (said.text, said.usage) == ("Paris", {"completion_tokens": 1})
    assert "stream" not in Handler.asked[0][2]
    assert pieces(address, "plain", plain=True)[0].text == "Paris"
    path, _, body = Handler.asked[1]
    assert path == "/plain/v1/completions"
    assert (body["prompt"], "messages" in body) == ("capital?", False)


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [
        ("cut", "endpoint_broke_off", "end of the answer is missing"),
        ("broken-json", "not_openai", "does not speak"),
        ("fails-late", "endpoint_failed", "CUDA error"),
        ("html", "not_openai", "<html>login"),
        ("list", "not_openai", "/v1"),
        ("key", "endpoint_refused", "--key-file"),
        ("model", "endpoint_refused", "--model"),
        ("long", "endpoint_refused", "context length"),
        ("template", "endpoint_refused", "--completions"),
        ("busy", "endpoint_busy", "again in 7 s"),
        ("loading", "endpoint_loading", "again in 2 s"),
        ("moved", "endpoint_moved", "elsewhere.example"),
        ("moved-post", "endpoint_moved", "elsewhere.example"),
        ("dies", "endpoint_silent", "server runs"),
        ("steers", "endpoint_refused", "red"),
    ],
)
def test_what_goes_wrong_is_told_in_a_sentence(address: str, kind: str, code: str, told: str) -> None:
    with pytest.raises(RemoteError) as failed:
        pieces(address, kind)
    assert failed.value.code == code
    text = f"{failed.value.message}; {failed.value.fix}"
    assert told in text
    assert "secret" not in text
    assert text.isprintable()
    assert len(Handler.asked) == 1


@pytest.mark.parametrize("kind", ["nothing", "strange"])
def test_an_answer_without_words_is_none(modelpick: Run, address: str, kind: str) -> None:
    answer = modelpick("chat", "--endpoint", f"{address}/{kind}/v1", "-m", "x", "--json")
    assert (answer.code, answer.error["code"]) == (4, "empty_answer")


def test_the_patient_wait_as_long_as_they_are_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waited.append)
    Handler.later = 2
    assert pieces(address, "busy", patience=20)[0].text == "Par"
    assert waited == [7.0, 7.0]
    Handler.later = 9
    with pytest.raises(RemoteError):
        pieces(address, "busy", patience=20)
    assert waited == [7.0] * 4


def test_chat_shows_thoughts_only_when_asked(modelpick: Run, address: str) -> None:
    words = ["chat", "--endpoint", f"{address}/thinks/v1", "-m", "x"]
    quiet, loud = modelpick(*words), modelpick(*words, "--think")
    assert (quiet.out, quiet.err) == ("Paris\n", "")
    assert (loud.out, loud.err) == ("Paris\n", "hmm")
    assert modelpick(*words, "--json").json["reasoning"] == "hmm"
    out_of_tokens = modelpick("chat", "--endpoint", f"{address}/only-thinks/v1", "-m", "x", "--json")
    assert "its thoughts used up all tokens" in out_of_tokens.error["message"]


def test_a_conversation_survives_an_error(address: str, modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter(["first", "second", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answer = modelpick("chat", "--endpoint", f"{address}/busy/v1")
    assert (answer.code, answer.out) == (0, "Paris\n")
    assert "429" in answer.err
    assert [turn["content"] for turn in Handler.asked[1][2]["messages"]] == ["second"]


@pytest.mark.parametrize(
    "url", ["http://", "http://h:99999/v1", "http://[::1/v1", "//h/v1", "http://h/v1?key=x", "http://h:0/v1"]
)
def test_no_address(modelpick: Run, url: str) -> None:
    answer = modelpick("chat", "--endpoint", url, "-m", "x", "--json")
    assert (answer.code, answer.error["code"]) == (2, "bad_endpoint")


def test_a_key_over_an_open_network_is_warned_of() -> None:
    assert Endpoint("http://model.example/v1", "k").exposed
    assert not Endpoint("https://model.example/v1", "k").exposed
    assert not Endpoint("http://127.0.0.1:8000/v1", "k").exposed
    assert not Endpoint("http://model.example/v1", None).exposed


def test_proxies_of_the_environment_are_used_but_not_for_loopback(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", address)
    asking = Asking([{"role": "user", "content": "x"}], 4)
    said = client.answer(Endpoint("http://model.example/v1", None), "m", asking)
    assert "".join(piece.text for piece in said) == "Paris"
    assert Handler.asked[0][0] == "http://model.example/v1/chat/completions"
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert pieces(address, "good")


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The same server behind a certificate of a company's own authority: its address, and the authority's file."""
    authority, certificate = own_authority(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", authority
        server.shutdown()


def test_an_authority_of_ones_own(over_tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    address, authority = over_tls
    with pytest.raises(RemoteError) as refused:
        pieces(address, "good")
    assert "SSL_CERT_FILE" in refused.value.fix
    assert Handler.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert pieces(address, "good")[0].text == "Par"


def own_authority(folder: Path) -> tuple[Path, Path]:
    """(the authority's certificate, certificate and key for 127.0.0.1 signed by it)."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is absent")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: str, signing: Any, public: Any, *extensions: Any) -> Any:
        def named(word: str) -> Any:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, word)])

        made = x509.CertificateBuilder(named(issuer), named(name), public.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(signing, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    own = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    ca = (x509.BasicConstraints(True, None), x509.SubjectKeyIdentifier.from_public_key(root.public_key()))
    (folder / "ca.pem").write_bytes(certificate("A company", "A company", root, root, *ca))
    key = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(key + certificate("server", "A company", root, leaf, names, own))
    return folder / "ca.pem", folder / "server.pem"


def test_probe_asks_by_the_same_client(modelpick: Run, address: str, tmp_path: Path, start: Callable[..., str]) -> None:
    file = tmp_path / "key"
    file.write_text("mp-0123456789abcdefghij")
    file.chmod(0o600)
    words = ["probe", "m", "--endpoint", f"{address}/moved/v1", "--key-file", str(file), "--cases", "2", "--json"]
    assert modelpick(*words).error["code"] == "endpoint_moved"
    assert Handler.asked[0][1] == "Bearer mp-0123456789abcdefghij"
