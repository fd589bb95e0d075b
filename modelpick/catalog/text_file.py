"""The bytes of a card or a file of terms -> its text, and why it was not wholly read where it was not. Pure.

A text counts as read when a person who opens the file sees the same words: UTF-8, UTF-16 and UTF-32 by their marks, a
Western 8-bit encoding, and what a PDF or a word processor's file holds. Of anything else what can be made out is
returned with the reason: the license check asks about what was not wholly read, and is strict with what it can see.
"""

import codecs
import re
from dataclasses import dataclass
from importlib.util import find_spec

_MARKS = (  # the longer first: UTF-32's mark begins as UTF-16's does
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_CONTROLS = re.compile(r"[\x01-\x08\x0e-\x1f]")
_MOST_CONTROLS = 0.01  # of the characters: a stray one shows nothing, a hundredth of them is no text
# Letters of Western languages stand alone or in pairs; three in a row are another alphabet in another encoding.
_ANOTHER_ALPHABET = re.compile(rb"[\x80-\xff]{3}")
_UNMARKED = 0.3  # of the bytes at odd or at even places are zero: UTF-16 without its mark
_OFFICE = (".docx", ".odt")
_UNREADABLE = (".doc", ".rtf", ".pages", ".wpd", ".ps", ".djvu", ".epub")


@dataclass(frozen=True, slots=True)
class TextFile:
    """What was read: `text` (None: nothing at all), `unread` why not everything, `note` what a reader should know."""

    text: str | None
    unread: str | None = None
    note: str | None = None


def read(name: str, data: bytes, *, whole: bool = True) -> TextFile:
    """The text in the bytes of the file called `name`; `whole` is False where there are more bytes than these."""
    lower = name.lower()
    if not data:
        return TextFile("", "it is empty")
    if data.startswith(b"%PDF-") or lower.endswith(".pdf"):
        found = _pdf(data) if whole else TextFile(None, "it is a PDF that is too long to be read")
    elif lower.endswith(_OFFICE):
        found = _office(data) if whole else TextFile(None, "it is a document that is too long to be read")
    elif lower.endswith(_UNREADABLE) or data.startswith(b"{\\rtf"):
        found = TextFile(None, f"it is a {lower.rpartition('.')[2]} file, not plain text")
    else:
        found = _decoded(data, whole)
    if found.text is not None and not found.unread:
        if not whole:
            return TextFile(found.text, f"only its first {len(data):,} bytes were read", found.note)
        if not found.text.strip("\ufeff \t\r\n\v\f\0"):
            return TextFile(found.text, "it is empty", found.note)
    return found


def _decoded(data: bytes, whole: bool) -> TextFile:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _in(encoding, data, f"the text is {encoding.upper()}, not UTF-8")
    if b"\0" in data:
        for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            half = data[start::2]
            if half.count(0) >= _UNMARKED * len(half) and len(data) % 2 == 0:
                return _in(encoding, data, f"the text is {encoding.upper()} without a byte-order mark")
        visible = data.replace(b"\0", b"").decode("utf-8", "replace")
        shown = None if _is_no_text(visible) else visible
        return TextFile(shown, "it is not text" if shown is None else "some of its bytes are not text")
    try:
        text, note = data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        if not whole and error.reason == "unexpected end of data" and error.end == len(data):  # cut within a character
            text, note = data[: error.start].decode("utf-8"), None
        elif _ANOTHER_ALPHABET.search(data):
            return TextFile(data.decode("latin-1"), "its encoding is not UTF-8, and not known")
        else:
            text, note = data.decode("cp1252", "replace"), "the text is not UTF-8: read as Windows-1252"
    if _is_no_text(text):
        return TextFile(None, "it is not text", note)
    return TextFile(text, None, note)


def _is_no_text(text: str) -> bool:
    return len(_CONTROLS.findall(text)) > _MOST_CONTROLS * len(text)


def _in(encoding: str, data: bytes, note: str) -> TextFile:
    try:
        text = data.decode(encoding)
        return TextFile(None, "it is not text") if _is_no_text(text) else TextFile(text, None, note)
    except UnicodeDecodeError:
        return TextFile(data.decode(encoding, "replace"), "its encoding is damaged", note)


def _pdf(data: bytes) -> TextFile:
    if find_spec("pypdf") is None:
        return TextFile(None, "it is a PDF (pip install 'modelpick[terms]' to have it read)")
    from modelpick.catalog import documents

    return TextFile(*documents.pdf(data))


def _office(data: bytes) -> TextFile:
    from modelpick.catalog import documents

    return TextFile(*documents.office(data))
