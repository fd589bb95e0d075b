"""Markdown and HTML as a reader sees them: passages of plain text, each with its line and the heading above it. Pure.

What no reader takes for the author's own words is left out: comments, code (but not a plain block under a heading
"License"), struck-out text, and quotations that say whose words they are. A license named by a badge is a passage of
its own. Every pattern is bounded: anyone can write a card.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

LONGEST_CELL = 120  # characters of a header or a row's name that are repeated with each of its cells
LONGEST_INTRODUCTION = 300  # characters of the line before a list that are read with each of its items

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\n.*?\n---[ \t]*(\n|\Z)", re.S)
_UNSEEN = (("<!--", "-->"), ("<script", "</script>"), ("<style", "</style>"))
_AUTOLINK = re.compile(r"<(https?://[^\s<>]{1,1000})>")
_PRE = re.compile(r"</?pre\b[^<>]{0,500}>", re.I)
_CELL = re.compile(r"</t[dh]\s*>\s*<t[dh]\b[^<>]{0,500}>", re.I)
_ROW = re.compile(r"</?tr\b[^<>]{0,500}>", re.I)
_BREAK = re.compile(r"</?(?:p|div|br|li|ul|ol|h[1-6]|table|section|details|summary|blockquote|hr)\b[^<>]{0,500}>", re.I)
_ANCHOR = re.compile(r"<a\b[^<>]{0,500}?href=[\"']?([^\"'\s<>]{1,1000})[^<>]{0,500}>", re.I)
_IMAGE_TAG = re.compile(r"<img\b[^<>]{0,2000}>", re.I)
_ATTRIBUTE = re.compile(r"\b(alt|src)=(?:\"([^\"<>]{0,1000})\"|'([^'<>]{0,1000})'|([^\s<>]{1,1000}))", re.I)
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")
_IMAGE = re.compile(r"!\[([^\[\]]{0,300})\](?:\(([^\s()]{0,1000})[^()]{0,200}\)|\[[^\[\]]{0,100}\])?")
_LINK = re.compile(r"\[([^\[\]]{0,500})\]\(([^\s()]{0,1000})[^()]{0,200}\)")
_REFERENCE = re.compile(r"^\s{0,3}\[[^\[\]]{1,100}\]:\s*(\S{1,1000})")
_BADGE = re.compile(r"https?://[^\s()<>\"']{0,60}/(?:badge|static/v1)/?[^\s()<>\"']{1,300}")
_STRUCK = re.compile(r"~~[^~\n]{1,300}~~|<(?:s|del|strike)>[^<>]{0,300}</(?:s|del|strike)>", re.I)
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_{1,3}(?=\w)|(?<=\w)_{1,3}(?!\w)|\\(?=[^\w\s])")
_FENCE = re.compile(r"^\s{0,3}(?:```|~~~)")
_NO_LANGUAGE = re.compile(r"(?:```|~~~)\s*(?:te?xt|plain|plaintext|md|markdown)?\s*(?:\x1e.*)?$", re.I)
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s*(.*?)\s*#*\s*$")
_BOLD_LINE = re.compile(r"^\s{0,3}(?:\*\*|__)([^*_]{1,80})(?:\*\*|__)\s*:?\s*$")
_UNDERLINE = re.compile(r"^\s{0,3}(?:=+|-{2,})\s*$")
_DELIMITER = re.compile(r"^[\s|:+-]*-[\s|:+-]*$")
_ITEM = re.compile(r"^(\s*)(?:[-*+•·‣▪◦]|\d{1,3}[.)])\s+(.*)$")
_QUOTE = re.compile(r"^\s{0,3}>\s?")
_LABEL = re.compile(r"^\W{0,6}[^\W\d_][^:|.!?,]{0,40}:(?:\s|\*|$)")
_ALERT = re.compile(r"\[!(?:note|tip|important|warning|caution)\]", re.I)
_IN_QUOTE_MARKS = re.compile(r"^\W*[\"“”«»„「『].{10,}", re.S)
_ATTRIBUTED = re.compile(r"(?:^|\s)(?:--|-|~)\s?[A-Z][^.]{2,60}$")
_SPEAKER = re.compile(r"^\W{0,3}(?:user|assistant|human|system|prompt|bot|input|output|<\|?\w+\|?>)\s?:", re.I)
_TERMS = re.compile(  # a heading under which even a block of code holds terms
    "licen[cs]|lizenz|lisen[sc]|licencj|лиценз|ліценз|许可|許可|授权|授權|协议|協議|ライセンス|라이[선센]스|رخصة|ترخيص|مجوز|"
    "लाइसेंस|লাইসেন্স|อนุญาต|giấy phép|terms|άδεια|רישיון",
    re.I,
)
_DIVIDED = re.compile(r"[^\W\d_]{4}-$")  # a word divided at the end of a line
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of text that belongs together.

    `line`: its first line in the card, from 1. `heading`: the heading it stands under. `introduction`: the line before
    its list, or the names of its row and column. `kind`: paragraph, heading, item, cell, badge or quotation.
    """

    text: str
    line: int
    heading: str = ""
    kind: str = "paragraph"
    introduction: str = ""
    row: str = ""  # of a cell: what its row is about
    column: str = ""  # of a cell: what the rows of its table are ("Dataset")
    row_of_others: bool = False  # another row of its table is marked as this model


def passages(text: str) -> Iterator[Passage]:
    """The passages of a card's body. `text` is one that `plain_text.read_as_a_person` returned."""
    front = _FRONT_MATTER.match(text)
    first = 1 + (text.count("\n", 0, front.end()) if front else 0)
    body = _without_markup(text[front.end() :] if front else text)
    yield from _MarkupReader(body.split("\n"), first).passages()


def _without_markup(text: str) -> str:
    """HTML as Markdown, one line for one line: a tag that begins a line of its own becomes a line end kept apart."""
    if "<" not in text:
        return text
    for start, end in _UNSEEN:
        text = _without(text, start, end)
    text = _STRUCK.sub(" ", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _IMAGE_TAG.sub(_image, text)
    text = _ANCHOR.sub(r"[](\1)", text)
    text = _CELL.sub(" | ", text)
    text = _PRE.sub(f"{_SPLIT}```{_SPLIT}", text)
    text = _BREAK.sub(_SPLIT, _ROW.sub(f"{_SPLIT}| ", text))
    return _TAG.sub("", text)


_SPLIT = "\x1e"  # where a tag breaks the line; lines stay countable


def _without(text: str, start: str, end: str) -> str:
    """The text outside of start ... end, with the line ends kept; what is never closed stays, and is read."""
    lowered, kept, at = text.lower(), [], 0
    while (begin := lowered.find(start, at)) >= 0 and (close := lowered.find(end, begin)) >= 0:
        kept += [text[at:begin], "\n" * text.count("\n", begin, close)]
        at = close + len(end)
    return "".join([*kept, text[at:]])


def _image(tag: re.Match[str]) -> str:
    found = {name.lower(): one or two or bare for name, one, two, bare in _ATTRIBUTE.findall(tag[0])}
    alt = re.sub(r"[\[\]]", " ", found.get("alt", ""))
    return f"![{alt}]({found.get('src', '')})"


def badge_text(address: str) -> str:
    """What a badge of shields.io (and those made like it) shows: label, message.

    https://shields.io/badges/static-badge: `_` is a space, `__` an underscore, `--` a dash.
    """
    path, _, query = address.partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&")[:20])
    label, message = options.get("label", ""), options.get("message", "")
    content = unquote(path.partition("/badge/")[2]).rpartition(".svg")[0] or unquote(path.partition("/badge/")[2])
    if content and "/" not in content:
        parts = content.replace("--", "\x00").split("-")
        parts = parts[:-1] if len(parts) > 1 else parts
        shown = [
            part.replace("\x00", "-").replace("__", "\x01").replace("_", " ").replace("\x01", "_") for part in parts
        ]
        message = " ".join(shown[1:]) if len(shown) > 1 else shown[0]
        label = label or (shown[0] if len(shown) > 1 else "")
    text = ": ".join(unquote(part).replace("+", " ") for part in (label, message) if part)
    return text[:LONGEST_CELL]


@dataclass(slots=True)
class _MarkupReader:
    """Goes through the lines once. Its state is where it stands: heading, list introduction, open paragraph."""

    lines: Sequence[str]
    first: int
    heading: str = ""
    introduction: str = ""
    open: list[str] = field(default_factory=list)
    opened: int = 0
    kind: str = "paragraph"
    indented: bool = False

    def passages(self) -> Iterator[Passage]:
        code = _code_lines(self.lines)
        table: list[tuple[int, list[str]]] = []
        for number, whole in enumerate(self.lines):
            for line in whole.split(_SPLIT) if _SPLIT in whole else (whole,):
                if code[number] and (code[number] == _CODE or _FENCE.match(line) or not _TERMS.search(self.heading)):
                    continue
                if "|" in line and (cells := self._cells(line, number)) is not None:
                    yield from self._close()
                    table.append((number, cells))
                    continue
                if table and not line.strip() and _SPLIT in whole:
                    continue
                yield from self._rows(table)
                table = []
                yield from self._line(line, number)
        yield from self._rows(table)
        yield from self._close()

    def _cells(self, line: str, number: int) -> list[str] | None:
        """The cells of a line that belongs to a table, None of any other."""
        stripped = line.strip()
        beside = [self.lines[n] for n in (number - 1, number + 1) if 0 <= n < len(self.lines)]
        ruled = stripped.startswith("|") or any("|" in near and _DELIMITER.match(near) for near in beside)
        if not ruled and (stripped.count("|") < 2 or not any(near.count("|") >= 2 for near in beside)):
            return None
        return [cell.strip() for cell in stripped.strip("|").split("|")]

    def _rows(self, rows: list[tuple[int, list[str]]]) -> Iterator[Passage]:
        """The cells of a table, each with the names of its row and column."""
        if not rows:
            return
        header: list[str] = []
        if len(rows) > 1 and all(not cell or _DELIMITER.match(cell) for cell in rows[1][1]):
            header, rows = [_plain(cell)[:LONGEST_CELL] for cell in rows[0][1]], rows[2:]
        elif len(rows) > 2 and len(rows[0][1]) > 2:
            header, rows = [_plain(cell)[:LONGEST_CELL] for cell in rows[0][1]], rows[1:]
        rows = [(number, cells) for number, cells in rows if not all(_DELIMITER.match(cell) for cell in cells if cell)]
        ours = any(_OURS.search(cells[0]) for _, cells in rows if cells)
        for number, cells in rows:
            name = _plain(cells[0])[:LONGEST_CELL]
            others = ours and not _OURS.search(cells[0])
            for place, cell in enumerate(cells):
                yield from self._badges(cell, number)
                column = header[place] if place < len(header) else ""
                names = [part for part in ((name, column) if place else (column,)) if part]
                plain = _plain(cell)
                if plain:
                    intro, of = ": ".join(names), header[0] if header else ""
                    yield Passage(plain, self.first + number, self.heading, "cell", intro, name, of, others)

    def _line(self, line: str, number: int) -> Iterator[Passage]:
        quoted = _QUOTE.match(line)
        if quoted:
            if self.kind != "quotation":
                yield from self._close()
                self.kind = "quotation"
            line = _QUOTE.sub("", line)
        elif self.kind == "quotation" and (not line.strip() or _starts_anew(line)):
            yield from self._close()
        if not line.strip():
            yield from self._close()
            return
        if _UNDERLINE.match(line) and len(self.open) == 1 and self.kind == "paragraph":
            line, self.open = f"# {self.open[0]}", []
        title = _HEADING.match(line) or _BOLD_LINE.match(line)
        if title and self.kind != "quotation":
            yield from self._close()
            self.heading, self.introduction = _plain(title[1]), ""
            yield from self._badges(line, number)
            yield Passage(self.heading, self.first + number, "", "heading")
            return
        yield from self._badges(line, number)
        if (item := _ITEM.match(line)) is not None:
            yield from self._item(item, number)
            return
        if self.open and _LABEL.match(line) and self.kind != "quotation":
            yield from self._close(keep_introduction=self.kind == "item")
        if not self.open:
            self.opened = number
        self.open.append(line.strip())

    def _item(self, item: re.Match[str], number: int) -> Iterator[Passage]:
        quotation = self.kind == "quotation"
        if self.open and self.kind == "paragraph":
            before = self.open[-1] if len(self.open) == 1 else _joined(self.open)
            yield from self._close()
            self.introduction = _introduction(before)
        elif not quotation:
            yield from self._close(keep_introduction=True)
        self.kind, self.opened = "quotation" if quotation else "item", number if not self.open else self.opened
        self.open.append(item[2].strip())

    def _badges(self, line: str, number: int) -> Iterator[Passage]:
        """What the pictures of a line say, in their text and in their address."""
        shown = [alt for alt, _ in _IMAGE.findall(line)] if "![" in line else []
        shown += [badge_text(address) for address in _BADGE.findall(line)] if "://" in line else []
        for text in dict.fromkeys(_plain(text) for text in shown):
            if text:
                yield Passage(text, self.first + number, self.heading, "badge")

    def _close(self, keep_introduction: bool = False) -> Iterator[Passage]:
        """The paragraph that was open, if one was."""
        if self.open:
            raw = _joined(self.open)
            text = _plain(raw)
            passage = Passage(text, self.first + self.opened, self.heading, self.kind, self.introduction)
            if self.kind == "quotation":
                if not _is_quoted(raw, self.introduction):
                    yield replace(passage, introduction="")
            elif text and not _SPEAKER.match(text):
                yield passage if self.kind == "item" else replace(passage, introduction="")
            ends = raw.rstrip("*_ ").endswith(":") and self.kind != "item"
            if not keep_introduction:
                self.introduction = _introduction(raw) if ends else ("" if self.kind != "item" else self.introduction)
        self.open, self.kind = [], "paragraph"


_OURS = re.compile(
    r"\b(?:ours?|this (?:model|work|repo)|proposed)\b|本模型|我们的|我們的|本研究|提案|우리|본 모델", re.I
)


def _starts_anew(line: str) -> bool:
    return bool(_ITEM.match(line) or _HEADING.match(line))


def _introduction(line: str) -> str:
    return _plain(line)[-LONGEST_INTRODUCTION:] if line.rstrip("*_ ").endswith(":") else ""


def _is_quoted(text: str, before: str) -> bool:
    """Whether a block quotation tells that its words are somebody else's: marks, an attribution, a line before it."""
    if _ALERT.search(text):
        return False
    return bool(before or _IN_QUOTE_MARKS.match(text) or _ATTRIBUTED.search(text) or _SPEAKER.match(text))


def _joined(lines: Sequence[str]) -> str:
    """Lines as one text: no space where the script has none."""
    parts: list[str] = []
    for line in lines:
        if parts and _DIVIDED.search(parts[-1]) and line[:1].islower():
            parts[-1] = parts[-1][:-1]
        elif parts and not (line and _UNSPACED.match(line[0]) and _UNSPACED.match(parts[-1][-1])):
            parts.append(" ")
        parts.append(line)
    return "".join(parts)


def _plain(text: str) -> str:
    """A line without Markdown; an address stays behind the words that lead to it."""
    text = _STRUCK.sub(" ", text)
    if "[" in text:
        reference = _REFERENCE.match(text)
        if reference:
            return reference[1]
        text = _LINK.sub(r"\1 \2 ", _IMAGE.sub(" ", text))
        text = _ALERT.sub(" ", text)
    return " ".join(_EMPHASIS.sub("", text).split())


_CODE, _PLAIN_BLOCK = 2, 1  # a block of a named programming language, and one of none


def _code_lines(lines: Sequence[str]) -> Sequence[int]:
    """Which lines are code: between two fences, or indented after an empty line and outside of a list.

    0 where a line is not; else _CODE or _PLAIN_BLOCK. A fence that is never closed hides nothing.
    """
    fences = [number for number, line in enumerate(lines) if "```" in line or "~~~" in line]
    fences = [number for number in fences if any(_FENCE.match(part) for part in lines[number].split(_SPLIT))]
    code = bytearray(len(lines))
    pairs = zip(fences[::2], fences[1::2], strict=False)
    for start, end in pairs:
        kind = _PLAIN_BLOCK if _NO_LANGUAGE.search(lines[start]) else _CODE
        code[start : end + 1] = bytes([kind]) * (end - start + 1)
    in_list, indented, after_blank = False, False, True
    for number, line in enumerate(lines):
        if code[number] or not line.strip():
            after_blank = True
            continue
        deep = line.startswith(("    ", "\t"))
        in_list = (bool(_ITEM.match(line)) and not (deep and indented)) or (in_list and deep)
        indented = deep and not in_list and (after_blank or indented)
        code[number] = _PLAIN_BLOCK if indented else 0
        after_blank = False
    return code
