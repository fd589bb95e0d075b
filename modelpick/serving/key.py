"""The API key: made for one server, in a file only its owner can read; never in a command line, log or answer."""

import os
import secrets
import stat
from pathlib import Path

from modelpick.errors import UsageError

_SHORTEST = 16  # characters; what is made here has 43 of base64: 256 bits


def key_in(path: Path) -> str:
    """The key in `path`, made there first if there is none. Raises UsageError for a file others can read."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"mp-{secrets.token_urlsafe(32)}\n")
    return read_key(path)


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
