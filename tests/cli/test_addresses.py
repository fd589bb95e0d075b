"""A password in an address is printed nowhere: over every command, with secrets in every address it is given."""

import io
import sys
from pathlib import Path

import pytest

from modelpick import errors, settings
from modelpick.cli.main import main
from tests.cli.every_command import Files, commands

SECRET = "hunter2secret"
ADDRESSES = (f"http://user:{SECRET}@127.0.0.1:9/?token={SECRET}", f"http://u:{SECRET}@[bad")


@pytest.fixture(params=ADDRESSES, ids=["closed", "broken"])
def address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address with secrets in it, which everything that reads one from the environment is given."""
    url = str(request.param)
    for name in ("HF_ENDPOINT", "AWS_ENDPOINT_URL", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return url


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        patched.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue() + err.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_ENDPOINT_URL", "http://h:99999", ["status"]),
        ("AWS_ENDPOINT_URL", "http://h:abc", ["status"]),
        ("HTTPS_PROXY", "ftp://h", ["license", "some/unknown"]),
        ("HTTPS_PROXY", " http://h", ["license", "some/unknown"]),
        ("ALL_PROXY", "socks9://h:1", ["license", "some/unknown"]),
    ],
)
def test_an_address_that_nothing_can_use_is_one_sentence(
    name: str, value: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv(name, value)
    close_session = pytest.importorskip("huggingface_hub").close_session
    close_session()  # the client is made once a process, from the proxies of that instant
    code, printed = run(words, monkeypatch)
    assert (code, printed.count("\n")) == (2, 2), printed
    assert printed.startswith("error: the address "), printed


@pytest.mark.parametrize("more", [(), ("--json",)], ids=["screen", "json"])
def test_no_secret_of_an_address_is_printed_or_kept(
    address: str, more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    files = Files(tmp_path)
    monkeypatch.chdir(files.out)
    more_lines = [["offers", "--live"], ["chat", "--endpoint", address.replace("/?", "/v1?"), "--message", "hello"]]
    for words in [*commands(files, address.rstrip("/")), *more_lines]:
        code, printed = run([*words, *more], monkeypatch)
        assert code in (0, 1, 2, 3, 4, 5), words[:2]
        assert SECRET not in printed, f"{words[:2]}: {printed[:600]}"
        assert "modelpick itself failed" not in printed, f"{words[:2]}: {printed}"
    for file in (file for file in Path.home().parent.rglob("*") if file.is_file()):
        assert SECRET not in file.read_text(encoding="utf-8", errors="replace"), file
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert SECRET not in file.read_text(encoding="utf-8", errors="replace"), file


@pytest.mark.parametrize("address", ADDRESSES[:1], indirect=True)
def test_the_rule_can_fail(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the one function that prints addresses, `doctor` shows the secret."""
    assert SECRET not in run(["doctor"], monkeypatch)[1]
    monkeypatch.setattr(errors, "_passwords_set", list)  # which hides it in whatever a library quotes
    monkeypatch.setattr(settings, "address", lambda url: url)
    assert SECRET in run(["doctor"], monkeypatch)[1]
    assert SECRET not in errors.address(address)
