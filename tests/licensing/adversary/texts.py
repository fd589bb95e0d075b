"""Texts that the kinds share."""

import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

MIT = """MIT License

Copyright (c) 2024 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
APACHE = (Path(__file__).resolve().parents[3] / "LICENSE").read_text(encoding="utf-8")
NON_COMMERCIAL = """Terms of the model

You may use the model and its outputs for non-commercial research only. Any commercial use is prohibited.
"""
RESEARCH_ONLY = "The model may be used for research only.\n"


def pdf(text: str) -> bytes:
    """A PDF of one page that shows `text`, a line of it a line."""
    lines = "".join(f"({line.translate({40: 91, 41: 93, 92: 47})}) Tj T*\n" for line in text.splitlines())
    page = f"BT /F1 11 Tf 14 TL 50 780 Td\n{lines}ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
    ]
    made, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    end = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(made))
    return made + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end


def docx(text: str) -> bytes:
    """A Word file whose paragraphs are the lines of `text`."""
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    lines = "".join(f"<w:p><w:r><w:t>{escape(line)}</w:t></w:r></w:p>" for line in text.splitlines())
    return _zipped("word/document.xml", f'<w:document xmlns:w="{space}"><w:body>{lines}</w:body></w:document>')


def odt(text: str) -> bytes:
    """An OpenDocument text whose paragraphs are the lines of `text`."""
    space = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
    lines = "".join(f"<t:p>{escape(line)}</t:p>" for line in text.splitlines())
    return _zipped("content.xml", f'<body xmlns:t="{space}">{lines}</body>')


def _zipped(name: str, text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(name, text)
    return made.getvalue()
