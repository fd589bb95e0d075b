"""What is printed of foreign text and of addresses, and that every error obeys it."""

import json
import string
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.errors import ModelpickError, UsageError, address, first_line, nearest, printable, printable_json

STEERING = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
MISLEADING = [chr(code) for code in (0x61C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))]


@pytest.mark.parametrize("character", [*STEERING, *MISLEADING, "\ud800"])
def test_a_character_that_steers_or_misleads_is_written_out(character: str) -> None:
    shown = printable(f"a{character}b")
    assert character not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert shown.isascii()


def test_what_the_caller_keeps_stays() -> None:
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


@pytest.mark.parametrize("text", ["Qwen/Qwen3-4B", "naïve", "日本語", "👩‍🔬", "می‌خواهم", "1 × 2 ≥ 3 …"])
def test_text_of_any_language_stays(text: str) -> None:
    assert printable(text) == text


@given(st.text(st.characters()))
def test_whatever_is_printed_can_be_encoded_and_stays_one_line(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://huggingface.co/org/name@abc", "https://huggingface.co/org/name@abc"),
        ("http://user:secret@proxy:8080/path?token=secret#secret", "http://proxy:8080/path"),
        ("http://secret@host", "http://host"),
        ("user:secret@proxy:3128", "proxy:3128"),
        ("http://u:secret@[bad", "http://[bad"),
        ("http://[::1]:8080/v1?key=secret", "http://[::1]:8080/v1"),
        ("http://u:secr@et@host/", "http://host/"),
        ("http://u:secret/secret@host/", "http://host/"),
        ("http://u:secret#secret@host/", "http://host/"),
        ("http://u:secret?secret@host/", "http://host/"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("http://host\x1b[2J/", "http://host\\x1b[2J/"),
        ("", ""),
        ("://", "://"),
        ("?secret", ""),
    ],
)
def test_an_address_is_printed_without_its_secrets(url: str, shown: str) -> None:
    assert address(url) == shown


@given(st.text(), st.text(string.ascii_letters + string.digits + "!$%:/?#@", min_size=8).map(lambda s: f"Zx{s}xZ"))
def test_no_address_raises_or_prints_a_password(rest: str, password: str) -> None:
    address(rest)
    assert password not in address(f"https://user:{password}@host/{rest}")


@given(st.text(string.ascii_letters + string.digits + "!$%'(),;:/?#", min_size=4).map(lambda s: f"Zx{s}xZ"))
def test_no_error_holds_a_password(password: str) -> None:
    url = f"http://user:{password}@proxy:8080/simple?token={password}"
    error = UsageError(f"no answer from ({url}).", fix=f"check '{url}', or HTTPS_PROXY", code="x")
    assert password not in str(error) + error.message + error.fix + str(error.as_json()) + first_line(OSError(url))
    assert "http://proxy:8080/simple" in error.message


def test_an_error_keeps_what_is_harmless() -> None:
    message = "org/name@abc is not on https://huggingface.co, see https://a.b/c. Or is it?"
    assert ModelpickError(message, fix="fix", code="x").message == message


def test_every_error_is_one_printable_line() -> None:
    error = ModelpickError("one\ntwo \x1b[31m\u202e", fix="a\x07\nb", code="x")
    assert (error.message, error.fix) == ("one two \\x1b[31m\\u202e", "a\\x07 b")
    assert str(error) == error.message


def test_a_long_or_empty_library_error_is_quoted_by_its_first_line() -> None:
    assert first_line(ValueError("a\x1bb\nmore")) == "a\\x1bb"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(ValueError("x" * 999))) == 200


def test_the_nearest_word_keeps_its_case() -> None:
    assert nearest("QLORA", ["lora", "qlora"]).startswith("did you mean qlora")
    assert nearest("zzz", ["lora"]) == ""


@pytest.mark.parametrize("toml", [False, True])
def test_escaped_for_json_the_content_is_the_same(toml: bool) -> None:
    text = "".join(map(chr, range(0x250))) + "\u200b\u202e\u2066\ufeff\U000e0001\U0001f600"
    written = printable_json(json.dumps([text], ensure_ascii=False), toml=toml)
    assert written == printable(written)
    assert (tomllib.loads(f"x = {written}")["x"] if toml else json.loads(written)) == [text]


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "AWS_ENDPOINT_URL", "HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("socks5://user:s3cr3tPW@host:9", 'proxy URL: "http://socks5://user:s3cr3tPW@host:9"'),
        ("//user:s3cr3tPW@host", 'endpoint URL: "//user:s3cr3tPW@host/"'),
        ("http:/user:s3cr3tPW@host", "http:/user:s3cr3tPW@host"),
        ("http://user:s3cr3tPW/x@host", "Port could not be cast to integer value as 's3cr3tPW'"),
        ("http://user:s3cr3tPW x@host", 'endpoint URL: "http://user:s3cr3tPW x@host/"'),
    ],
)
def test_a_password_of_the_environment_is_hidden_wherever_a_library_quotes_it(
    name: str, value: str, quoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert "s3cr3tPW" not in str(UsageError(f"it failed: {quoted}", fix=quoted, code="x"))
    assert "s3cr3tPW" not in first_line(ValueError(quoted))
