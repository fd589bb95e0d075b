"""The text of a PDF (pypdf, of the extra `terms`) or of a word processor's file (.docx, .odt). Pure.

Both answer with the text and the reason why it is not all: a page of pictures, a password, damage, or more than a file
of terms has. Of a word processor's file every part is read, headers, footnotes, tables and hidden text too: whoever
hides a clause means it.
"""

import io
import logging
import re
import zipfile
from xml.etree import ElementTree

MOST_PAGES = 200  # of a PDF; the longest license of a model seen has 20
LARGEST_PART = 20_000_000  # bytes of one part of a word processor's file once unpacked
# WordprocessingML and OpenDocument name the parts that hold words so (ISO/IEC 29500-1 part 11; ODF 1.3 part 3).
_PARTS = re.compile(
    r"word/(document|header\d*|footer\d*|footnotes|endnotes|comments)\.xml|(content|styles)\.xml", re.IGNORECASE
)
_PARAGRAPHS = ("}p", "}h")
_GAPS = ("}br", "}tab", "}cr", "}line-break", "}s")

Found = tuple[str | None, str | None]


def pdf(data: bytes) -> Found:
    """The text of all pages of a PDF."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it reports each irregularity of a file
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return None, "it is a PDF with a password"
        pages = [page.extract_text() or "" for page in reader.pages[:MOST_PAGES]]
        more, pictures = len(reader.pages) > MOST_PAGES, _pictures(reader, pages)
    except Exception as error:  # pypdf's own errors, and whatever its parsing of a damaged file raises
        return None, f"it is a PDF that cannot be read ({type(error).__name__})"
    text = "\n".join(pages)
    if more:
        return text, f"only its first {MOST_PAGES} pages were read"
    if not text.strip() or pictures:
        return text, "it is a PDF with pages that are pictures"
    return text, None


def office(data: bytes) -> Found:
    """The text of a .docx or .odt file, a line a paragraph."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [info for info in archive.infolist() if _PARTS.fullmatch(info.filename)]
            if any(info.file_size > LARGEST_PART for info in parts):
                return None, "it is a document that is too long to be read"
            text = "\n".join(_words(archive.read(info)) for info in parts)
    except (
        zipfile.BadZipFile,
        ElementTree.ParseError,
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        EOFError,
        NotImplementedError,
        RecursionError,
    ) as error:
        return None, f"it is a document that cannot be read ({type(error).__name__})"
    return text, None if text.strip() else "it is a document without text"


def _pictures(reader: object, pages: list[str]) -> bool:
    """Whether a page has an image and next to no words: a scan."""
    pairs = zip(reader.pages, pages, strict=False)  # type: ignore[attr-defined]
    return any(len(text.split()) < 10 and len(page.images) > 0 for page, text in pairs)


def _words(part: bytes) -> str:
    """The paragraphs of an XML part. Entities of its own are refused: such a file expands without end."""
    if b"<!DOCTYPE" in part or b"<!ENTITY" in part:
        raise ValueError("a document type")
    root = ElementTree.fromstring(part)
    for element in root.iter():
        if element.tag.endswith(_GAPS):
            element.text = " "
    return "\n".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith(_PARAGRAPHS))
