"""What can go wrong, as types: one sentence, a fix, and the contracted exit code. And how foreign text is printed.

Exit codes (docs/contracts.md): 0 yes, 1 the answer is no, 2 usage, 3 cannot tell, 4 Hub/AWS/credentials/quota,
5 something may still be billing, 130 interrupted.

Text from a model card, a file name, a server or an address can hold characters that steer a terminal, and addresses can
hold passwords. `printable` and `address` are the only rules for both; every error applies them to its own sentences.
"""

import os
import re
from collections.abc import Iterable
from difflib import get_close_matches

EXIT_YES = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_CANNOT_TELL = 3
EXIT_REMOTE = 4
EXIT_MAY_BE_BILLING = 5
EXIT_INTERRUPTED = 130


class ModelpickError(Exception):
    """Anything a user should read as one sentence and a fix.

    `code` is a stable snake_case word for programs, `message` says what is wrong, `fix` says what to do about it.
    Both are kept on one line, without control characters, and without the passwords of the addresses in them.
    """

    exit_code = EXIT_NO

    def __init__(self, message: str, *, fix: str, code: str) -> None:
        self.message = one_line(message)
        self.fix = one_line(fix)
        self.code = code
        super().__init__(self.message)

    def as_json(self) -> dict[str, str]:
        """The `error` object of the JSON contract."""
        return {"code": self.code, "message": self.message, "fix": self.fix}


class UsageError(ModelpickError):
    """The command, an option, or a file of the user is wrong."""

    exit_code = EXIT_USAGE


class CannotTellError(ModelpickError):
    """modelpick does not know enough to answer, and says so instead of guessing."""

    exit_code = EXIT_CANNOT_TELL


class RemoteError(ModelpickError):
    """The Hub, AWS, credentials or a quota stand in the way."""

    exit_code = EXIT_REMOTE


class MayBeBillingError(ModelpickError):
    """Something may still be running and costing money."""

    exit_code = EXIT_MAY_BE_BILLING


# What no terminal, page or log may receive raw: the C0 and C1 controls; marks that are not visible or reorder what is
# (UAX #9, "Trojan Source" CVE-2021-42574); line separators; Unicode tags; and lone surrogates, which no UTF-8 file can
# hold. ZWJ and ZWNJ (U+200C, U+200D) stay: Persian, Hindi and emoji are misspelt without them.
_UNPRINTABLE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f"
)
_CONTROL = re.compile(f"[{_UNPRINTABLE}]")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://\S+")
_SCHEME = re.compile(r"\A\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?[/\\]+")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_ADDRESS_VARIABLES = ("HF_ENDPOINT", "AWS_ENDPOINT_URL", *_PROXIES, *(name.lower() for name in _PROXIES))
_HOST_AND_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")


def printable(text: str, keep: str = "") -> str:
    """`text` with every control, invisible or reordering character written out (ESC becomes the four signs \\x1b).

    `keep` names characters that stay as they are, such as "\\n\\t" for text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def printable_json(text: str, *, toml: bool = False) -> str:
    """JSON text with what `printable` writes out as JSON's own escapes: the same content, and nothing raw in the file.

    Line breaks and tabs stay: inside a string JSON has escaped them already. `toml`: TOML's escapes, which differ
    beyond U+FFFF.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return _CONTROL.sub(lambda match: match[0] if match[0] in "\n\r\t" else _json_escaped(match[0], toml), text)


def _json_escaped(character: str, toml: bool) -> str:
    number = ord(character)
    if number < 0x10000:
        return f"\\u{number:04x}"
    if toml:
        return f"\\U{number:08x}"
    high, low = divmod(number - 0x10000, 0x400)  # a surrogate pair: RFC 8259, section 7
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x80 else character.encode("ascii", "backslashreplace").decode()


def address(url: str) -> str:
    """An address as it may be printed: without user, password, query and fragment. Never raises, whatever `url` is."""
    text = printable(str(url)).strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    return scheme + separator + re.split("[?#]", _without_user(rest), maxsplit=1)[0]


def _without_user(rest: str) -> str:
    """What follows the scheme, without `user:password@`.

    A password that should have been percent-encoded may hold / ? # or @. What stands before the first of those is then
    not a host and a port, and everything up to the last @ is taken for the password.
    """
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = rest[authority.rindex("@") + 1 :]
        authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if "@" in rest and not _HOST_AND_PORT.fullmatch(authority):
        return rest[rest.rindex("@") + 1 :]
    return rest


def without_passwords(text: str) -> str:
    """`text` with every address in it (`scheme://...`) printed as `address` prints it.

    The passwords of the addresses that the environment sets are hidden wherever they stand: a library that fails on a
    malformed address quotes parts of it.
    """
    text = _ADDRESS.sub(_address_in_text, text) if "://" in text else text
    for password in _passwords_set():
        text = text.replace(password, "***")
    return text


def _passwords_set() -> list[str]:
    """The passwords in the addresses that the environment sets, and the pieces a parser may cut them into."""
    found: set[str] = set()
    for name in _ADDRESS_VARIABLES:
        value = os.environ.get(name, "")
        if "@" not in value:
            continue
        user = _SCHEME.sub("", value.rpartition("@")[0])
        password = user.partition(":")[2]
        found |= {user, password, *re.split(r"[/?#@\s]", password)} if password else set()
    return sorted((piece for piece in found if len(piece) > 3), key=len, reverse=True)


def _address_in_text(match: re.Match[str]) -> str:
    url = match[0].rstrip(".,;:!?)]}>\"'`")
    return address(url) + match[0][len(url) :]


def one_line(text: str) -> str:
    """Foreign or composed text as one printable line: line breaks become spaces, addresses lose their passwords."""
    return printable(without_passwords(" ".join(str(text).split("\n")) if "\n" in text else str(text)))


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of a library's error message, printable, or the error's type where it says nothing."""
    return one_line((str(error).strip().splitlines() or [type(error).__name__])[0])[:longest]


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """The clause `did you mean a, b?` for a mistyped word, or an empty string when nothing is near.

    The beginning of a name is near to it, however short it is.
    """
    by_lower, lower = {name.lower(): name for name in known}, word.lower()
    begun = sorted(name for name in by_lower if name.startswith(lower)) if len(lower) > 1 else []
    close = get_close_matches(lower, by_lower, n=count, cutoff=0.6)
    matches = list(dict.fromkeys((*begun, *close)))[:count]
    return f"did you mean {' or '.join(by_lower[name] for name in matches)}?" if matches else ""
