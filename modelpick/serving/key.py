"""The API key: made for one server, in a file only its owner can read; never in a command line, log or answer."""

import os
import secrets
import stat
from pathlib import Path

from modelpick.errors import UsageError

_SHORTEST = 16  # characters; what is made here has 43 of base64: 256 bits


def new_key() -> str:
    """A key nobody can guess: 256 random bits, marked as ours so that secret scanners can know it."""
    return f"mp-{secrets.token_urlsafe(32)}"


def key_in(path: Path) -> str:
    """The key in `path`, made there first if there is none. Raises UsageError for a file others can read."""
    if not path.exists():
        keep_key(path, new_key())
    return read_key(path)


def keep_key(path: Path, key: str) -> None:
    """Put `key` into a file that only its owner can read, at every instant, whatever was there before.

    Raises UsageError when it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{key}\n")
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", fix="name another file with --key-file", code="no_key"
        ) from None


def read_key(path: Path) -> str:
    """The key in an existing file.

    Raises UsageError: `key_file_open` when group or others may read it, `bad_key` when it holds no usable key.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", fix="name a file that holds the key", code="no_key"
        ) from None
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise UsageError(f"others can read {path}", fix=f"chmod 600 {path}", code="key_file_open")
    # `*` and braces mean something to the proxy's matcher; spaces would split a header.
    if len(text) < _SHORTEST or not all(sign.isascii() and (sign.isalnum() or sign in "-_.~+/=") for sign in text):
        raise UsageError(
            f"{path} holds no usable key",
            fix=f"at least {_SHORTEST} letters, digits and -_.~+/=, or remove the file and a key is made",
            code="bad_key",
        )
    return text
