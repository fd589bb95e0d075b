"""Finds what a card's text says a model, or a data set, was made from: a relation word, and a link to the Hub or an id.

The words are data (policies/relations.toml). A link is what a card's writer takes for the name, so a link counts after
any relation word, and a bare id only where the words end at it. Pure.
"""

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from modelpick.catalog import card
from modelpick.schema import IsoDate

LONGEST_BODY = 200_000  # characters of a card that are read
LONGEST_SENTENCE = 2_000  # characters
MOST_LINKS = 200  # links or ids of one card that are looked at
# Around an id that a sentence links to, and the words shown for it: signs of private use, cut out of cards beforehand.
_START, _MIDDLE, _END = "\ue000", "\ue002", "\ue001"
_NO_MARKS = dict.fromkeys(map(ord, (_START, _MIDDLE, _END)))
_MARKED = re.compile("\ue000([^\ue000-\ue002]*)\ue002([^\ue000-\ue002]*)\ue001")
_JOINT = re.compile(r"\W*(?:and|und|et|y|e|en|i|и|dan|và|ve|och|with|plus|as well as|和|と|、)?\W*", re.IGNORECASE)
_NO_REPOSITORY = frozenset(
    {"docs", "blog", "papers", "spaces", "collections", "tasks", "learn", "organizations", "join", "pricing",
     "settings", "api", "posts", "chat", "new", "login", "search", "models", "support", "enterprise", "inference",
     "resources", "front", "course", "terms-of-service", "privacy", "languages", "metrics"}
)  # fmt: skip
_HUB = r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/(?P<{0}>(?:datasets/)?[\w.-]+/[\w.-]+)[^)\s\"'>\]|]*"
_LINK = re.compile(
    rf"\[(?P<text>[^\[\]]{{0,300}})\]\(\s*<?{_HUB.format('markdown')}>?[^)]{{0,100}}\)"
    rf"|<a\s[^>]{{0,200}}?href\s*=\s*[\"']?{_HUB.format('html')}[\"']?[^>]{{0,100}}>(?P<inner>[^<]{{0,300}})</a>"
    rf"|<?{_HUB.format('plain')}>?",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"\ue000[^\ue001]*\ue001|(?<![\w./@:\ue000-])[A-Za-z][\w.-]{0,60}/(?=[\w.-]*\d)[A-Za-z0-9][\w.-]{1,95}(?![\w/])"
)
_CODE = re.compile(r"`([A-Za-z][\w.-]{0,60}/[A-Za-z0-9][\w.-]{0,95})`")
_FILE = re.compile(
    r".*\.(?:py|sh|jsonl?|ya?ml|md|txt|ipynb|toml|cfg|ini|bin|pth?|gguf|safetensors|onnx|csv|parquet)", re.I
)
_UNIT = re.compile(r"\n[ \t]*(?:\n|(?=[#|>*+-]|\d+[.)]|```))")
_HEADING = re.compile(r"^[ \t]*(#{1,6}[ \t].*)$", re.MULTILINE)
_STOP = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_EMPHASIS = re.compile(r"\*\*|__|`|(?<!\w)[*_]|[*_](?!\w)|</?(?:b|strong|em|i|p|code|br|li|ul|span)\b[^>]{0,80}>")
_FENCE = re.compile(r"^[ \t]*```.*?^[ \t]*```", re.MULTILINE | re.DOTALL)


How = Literal["link", "id", "perhaps"]


@dataclass(frozen=True, slots=True)
class NamedInText:
    """What a sentence names as a parent, and how.

    `how`: by a link, by a bare id, or by an id that may be a data set's ("fine-tuned on org/name").
    """

    id: str
    sentence: str
    how: How


@dataclass(frozen=True, slots=True)
class RelationWords:
    """Regular expressions by language: words before a link to a parent, words after it, of training, of none.

    `check` is to be called before they are searched.
    """

    source: str = ""
    date: IsoDate | None = None
    points_elsewhere: str = "(?!)"
    about_a_part: str = "(?!)"
    before_bare_data: str = "(?!)"
    before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    before_data: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trained_on: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    from_scratch: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def check(self) -> None:
        """Raises re.error for the first pattern that is not a regular expression by itself."""
        for pattern in (self.points_elsewhere, self.about_a_part, self.before_bare_data, *self._patterns()):
            re.compile(pattern, re.I)

    def _patterns(self) -> tuple[str, ...]:
        return _all(self.before, self.before_data, self.after, self.trained_on, self.from_scratch, self.outputs)

    def parents(self, text: str) -> tuple[NamedInText, ...]:
        """What the card says it was made from: models, and data sets as `datasets/org/name`."""
        found: dict[str, NamedInText] = {}
        for sentence in _linking(text):
            for id, how in self._related(sentence):
                found.setdefault(id, NamedInText(id, _plain(sentence), how))
        return tuple(found.values())

    def data(self, text: str) -> tuple[tuple[str, str], ...]:
        """Ids of data sets the card says the model was trained on, each with the sentence.

        A bare id after words of training may be anything; asked for as a data set, it is then not found.
        """
        trained = _one(_all(self.trained_on))
        models = {named.id for named in self.parents(text) if named.how != "perhaps"}
        models -= {id for id in models if id.startswith("datasets/")}
        found: dict[str, str] = {}
        for sentence in _linking(text):
            for link in _MARKED.finditer(sentence):
                if link[1].removeprefix("?") in models:
                    continue
                if link[1].startswith(("datasets/", "?")) and trained.search(sentence, 0, link.start()):
                    found.setdefault(link[1].removeprefix("datasets/").removeprefix("?"), _plain(sentence))
        return tuple(found.items())

    def holds_outputs(self, text: str) -> str | None:
        """The sentence in which a data set's card says that it holds outputs of a closed model."""
        outputs = _one(_all(self.outputs))
        return next((_plain(sentence) for sentence in _sentences(text) if outputs.search(sentence)), None)

    def is_from_scratch(self, text: str) -> bool:
        """Whether a card says that its model was trained from nothing."""
        return any(_one(_all(self.from_scratch)).search(sentence) for sentence in _sentences(text))

    def _related(self, sentence: str) -> Iterator[tuple[str, How]]:
        """The ids of one sentence that a relation word belongs to; those joined to one by a comma or "and" too."""
        previous, joins = 0, False
        for link in _MARKED.finditer(sentence):
            lead = sentence[max(previous, link.start() - 200) : link.start()]
            bare = link[1].startswith("?")
            words = (self.before, self.before_data) if link[1].startswith("datasets/") else (self.before,)
            leads = self._leads_to(lead, _one(_all(*words)), 12 if bare else 60)
            perhaps = bare and _one((self.before_bare_data,)).search(lead) is not None
            joins = (joins and _JOINT.fullmatch(lead) is not None) or leads
            if joins or self._follows(sentence[link.end() : link.end() + 200]):
                yield link[1].removeprefix("?"), "perhaps" if perhaps else "id" if bare else "link"
            previous = link.end()

    def _leads_to(self, lead: str, words: re.Pattern[str], longest_gap: int) -> bool:
        last = next(iter(deque(words.finditer(lead), maxlen=1)), None)
        if last is None or len(lead) - last.end() > longest_gap:
            return False
        if _one((self.about_a_part,)).search(lead, max(0, last.start() - 25)):
            return False
        return _one((self.points_elsewhere,)).search(lead, last.start()) is None

    def _follows(self, rest: str) -> bool:
        return bool(self.after) and _one(_all(self.after)).match(rest) is not None


def _all(*by_language: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(pattern for each in by_language for patterns in each.values() for pattern in patterns)


@lru_cache(maxsize=16)
def _one(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or "(?!)", re.I)


def _linking(text: str) -> Iterator[str]:
    """The sentences that hold a link to a repository of the Hub, or an id; each such place is marked."""
    left = MOST_LINKS
    for sentence in _sentences(text):
        if _START in sentence:
            left -= sentence.count(_START)
            yield sentence
        if left <= 0:
            return


@lru_cache(maxsize=8)
def _sentences(text: str) -> tuple[str, ...]:
    """The sentences of a card's body, code left out, each on one line, its links and ids marked."""
    body = _FENCE.sub("\n\n", card.body_of(text)[:LONGEST_BODY].replace("\r\n", "\n"))
    body = _LINK.sub(_marked, body.translate(_NO_MARKS))
    body = _CODE.sub(lambda code: _id_marked(code[1]) or code[0], body)
    body = _HEADING.sub(r"\n\n\1\n\n", body)
    found: list[str] = []
    lead, of_a_list = "", False
    for unit in _UNIT.split(body):
        line = " ".join(unit.split())
        if not line:
            continue
        if line.startswith("#"):
            lead, of_a_list = line.lstrip("# ")[-200:], False
            found.append(_EMPHASIS.sub("", line))
            continue
        is_item = line.startswith(("* ", "- ", "+ ")) or line[:1].isdigit()
        # A heading is said of what follows it, and "The following models were merged:" of each item of its list.
        said = f"{lead.rstrip(': *')}: - {line.partition(' ')[2]}" if is_item else f"{lead.rstrip(': *')}: {line}"
        said = _EMPHASIS.sub("", said if lead and (is_item or not of_a_list) else line)
        found += [_BARE.sub(_marked_bare, part)[:LONGEST_SENTENCE] for part in _STOP.split(said) if part.strip()]
        if not is_item:
            lead, of_a_list = (line[-200:], True) if line.endswith((":", ":**")) else ("", False)
    return tuple(found)


def _marked(link: re.Match[str]) -> str:
    id = (link["markdown"] or link["html"] or link["plain"]).rstrip(".,;:")
    shown = (link["text"] or link["inner"] or "").replace("`", "")
    if id.split("/")[0].lower() in _NO_REPOSITORY or id.count("/") + 1 < (3 if id.startswith("datasets/") else 2):
        return shown
    return f"{_START}{id}{_MIDDLE}{shown}{_END}"


def _marked_bare(id: re.Match[str]) -> str:
    if id[0].startswith(_START):
        return id[0]  # it stands within a link
    return _id_marked(id[0].rstrip(".-")) or id[0]


def _id_marked(id: str) -> str | None:
    """A bare id with its marks; None for the path of a file."""
    return None if _FILE.fullmatch(id) else f"{_START}?{id}{_MIDDLE}{_END}"


def _plain(sentence: str) -> str:
    """A sentence as it is quoted: without marks, at most 160 characters."""
    plain = _MARKED.sub(lambda link: link[2] or link[1].removeprefix("?"), sentence)
    return plain[:157] + "..." if len(plain) > 160 else plain
