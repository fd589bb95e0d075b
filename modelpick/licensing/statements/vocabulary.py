"""The words in which cards state terms, found in a text: policies/words.toml as an index. Pure.

All languages are looked up at once: which of them a sentence is written in is decided by the words found in it. A text
is cut into tokens: words, and single characters where a script has no spaces to go by.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from modelpick.licensing.plain_text import folded, read_as_a_person
from modelpick.schema import IsoDate

Concept = Literal[
    "weights", "code", "data", "demo", "paper", "base", "others", "compare", "relative", "non_commercial", "commercial",
    "company", "research", "only", "not", "may", "ban", "limit", "ask", "consent", "need", "fee", "license", "use",
    "access", "no_derivatives", "free", "unneeded", "past", "change", "inherit", "neutral", "but", "filler", "family",
    "derived", "trained", "and", "lifted", "support", "ours",
    "paid_license",
]  # fmt: skip
SPEAKS: frozenset[Concept] = frozenset({  # without one of these, or both of ASKS, a sentence states nothing
    "non_commercial", "commercial", "company", "research", "consent", "fee", "paid_license", "no_derivatives",
})  # fmt: skip
ASKS: tuple[Concept, ...] = ("ask", "license")
EVERY_LANGUAGE = "any"  # the table whose words count in all languages
_LETTERLESS = (  # scripts without spaces, and Korean, whose spaces are optional
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff"
)
_TOKEN = re.compile(
    rf"[{_LETTERLESS}]|v?\d+(?:[.,][\dx]+)*(?![a-z])|[0-9a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u0588\u0591-\u05bd\u05bf-\u0605"
    rf"\u0610-\u0669\u066e-\u06d3\u06d5-\u0963\u0966-\u0dff\u10a0-\u167f\u1e00-\u1fff]+"
    "|[,;:()\\[\\]|.!?\u3001\u3002\u0964\u0965\u06d4\u00b7\u2026/=❌✗✘🚫⛔✅✓✔☑]| - "
)
_SPACE_OF_THAI = re.compile(r"(?<=[\u0e00-\u0e7f]) (?=[\u0e00-\u0e7f])")
_NOT_SHORT = re.compile(r"n't\b")
_PLAIN = re.compile(r"(?:[a-z]+\*? )*[a-z]+\*?")  # a phrase that is its tokens as it stands
_MOST_REMEMBERED = 20_000  # tokens


class Token(NamedTuple):
    """A word, a character of an unspaced script, or a mark; `start` and `end` are its place in the folded text."""

    text: str
    start: int
    end: int


class FoundWord(NamedTuple):
    """Words of the vocabulary found in a text: what they stand for, and the tokens they cover."""

    concept: Concept
    first: int
    last: int  # the last token, included


@dataclass(frozen=True, slots=True)
class Language:
    """The words of one language.

    `order`: where its negation stands, before what it denies or after (`last`). `head`: where the demo stands in "the
    demo of the model".
    """

    words: Mapping[Concept, tuple[str, ...]]
    order: Literal["first", "last"] = "first"
    head: Literal["first", "last"] = "first"


class _Node:
    """Where the words so far lead: on with an exact word, on with a word that begins so, or to the end of phrases."""

    __slots__ = ("concepts", "ends", "exact", "stems")

    def __init__(self) -> None:
        self.exact: dict[str, _Node] = {}
        self.stems: dict[str, _Node] = {}
        self.ends: dict[str, list[Concept]] = {}  # by language
        self.concepts: set[Concept] = set()  # of all phrases through here

    def add(self, tokens: Sequence[tuple[str, bool]], language: str, concept: Concept) -> None:
        """Add a phrase of a language below this node."""
        node = self
        for word, goes_on in tokens:
            node = (node.stems if goes_on else node.exact).setdefault(word, _Node())
            node.concepts.add(concept)
        node.ends.setdefault(language, []).append(concept)

    def after(self, text: str) -> list["_Node"]:
        """The nodes a word leads to; what fits it closest comes last."""
        found = [self.stems[text[:size]] for size in range(1, len(text) + 1) if text[:size] in self.stems]
        return [*found, self.exact[text]] if text in self.exact else found


def tokens_of(text: str) -> list[Token]:
    """The tokens of a text that `plain_text.folded` returned."""
    text = _SPACE_OF_THAI.sub(",", text)
    if "n't" in text:
        text = _NOT_SHORT.sub(" nt", text)
    return [Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(text)]


class Vocabulary:
    """The words of all languages, loaded when a card is first read."""

    def __init__(self, load: Callable[[], Mapping[str, Language]]) -> None:
        self._load = load
        self._remembered: dict[str, list[_Node]] = {}

    @cached_property
    def languages(self) -> Mapping[str, Language]:
        """Every language by its code, and `any`."""
        return self._load()

    @cached_property
    def _root(self) -> _Node:
        root = _Node()
        for code, language in self.languages.items():
            for concept, phrases in language.words.items():
                for phrase in phrases:
                    root.add(_phrase_tokens(phrase), code, concept)
        return root

    def is_latin(self, code: str) -> bool:
        """Whether a language is written in Latin letters."""
        fillers = self.languages[code].words.get("filler", ()) if code in self.languages else ()
        return all(folded(word).isascii() for word in fillers[:5])

    def may_state(self, tokens: Iterable[Token]) -> bool:
        """Whether words of the text may make it a statement: a first look, before the words are put together."""
        asks: set[Concept] = set()
        for token in tokens:
            for node in self._beginning_with(token.text):
                if not node.concepts.isdisjoint(SPEAKS):
                    return True
                asks |= node.concepts.intersection(ASKS)
        return len(asks) == len(ASKS)

    def find(self, tokens: Sequence[Token]) -> dict[str, list[FoundWord]]:
        """The words found, by language. Of the phrases of a language that begin at one token the longest counts."""
        found: dict[str, list[FoundWord]] = {}
        free_from: dict[str, int] = {}
        texts = [token.text for token in tokens]
        for place, text in enumerate(texts):
            nodes, size = self._beginning_with(text), 0
            longest: dict[str, tuple[int, list[Concept]]] = {}
            while nodes:
                size += 1
                for node in nodes:
                    for language, concepts in node.ends.items():
                        longest[language] = (size, concepts)
                following = texts[place + size] if place + size < len(texts) else ""
                nodes = [after for node in nodes if node.exact or node.stems for after in node.after(following)]
            for language, (length, concepts) in longest.items():
                if free_from.get(language, 0) <= place:
                    free_from[language] = place + length
                    words = found.setdefault(language, [])
                    words.extend([FoundWord(concept, place, place + length - 1) for concept in concepts])
        return found

    def _beginning_with(self, text: str) -> list[_Node]:
        """The nodes that a phrase's first token leads to."""
        known = self._remembered.get(text)
        if known is None:
            known = [node for form in reversed(_forms(text)) for node in self._root.after(form)]
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = known
        return known


_PREFIXES = re.compile(
    "^(?:\u0648|\u0641)?(?:[\u0628\u0644\u0643])?(?=.{3})|^[\u05d5\u05e9]?[\u05d4\u05d1\u05dc\u05de\u05db]?(?=.{3})"
)
_TO_THE = "\u0644\u0644"  # Arabic li-l-: "to the"


def _forms(text: str) -> tuple[str, ...]:
    """A token, and what it is without the "and", "to", "in" that Arabic and Hebrew write as one with it."""
    if not "\u0590" < text[0] < "\u0700":
        return (text,)
    bare = [text[match.end() :] for match in (_PREFIXES.match(text), re.match("[\u0648\u0641\u05d5]", text)) if match]
    bare += ["\u0627\u0644" + form[2:] for form in (text, *bare) if form.startswith(_TO_THE)]
    return tuple(dict.fromkeys([text, *(form for form in bare if len(form) > 2)]))


def _phrase_tokens(phrase: str) -> tuple[tuple[str, bool], ...]:
    """A phrase of the data as tokens; a word with `*` behind it may go on."""
    if _PLAIN.fullmatch(phrase):
        return tuple((part.rstrip("*"), part.endswith("*")) for part in phrase.split())
    tokens: list[tuple[str, bool]] = []
    for part in phrase.split():
        words = [token.text for token in tokens_of(folded(read_as_a_person(part.rstrip("*")))) if token.text not in "-"]
        tokens += [(word, False) for word in words[:-1]]
        tokens += [(word, part.endswith("*")) for word in words[-1:]]
    return tuple(tokens)


@dataclass(frozen=True, slots=True)
class WordsFile:
    """policies/words.toml. A language's table holds lists of phrases by concept, and `order`."""

    source: str = ""
    date: IsoDate | None = None
    languages: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def languages_of(file: WordsFile) -> Mapping[str, Language]:
    """The languages of a file. Raises ValueError for a concept, an order or a phrase that is none."""
    return {code: _language(code, table) for code, table in file.languages.items()}


def _language(code: str, table: Mapping[str, object]) -> Language:
    words: dict[Concept, tuple[str, ...]] = {}
    places: dict[str, Literal["first", "last"]] = {}
    for name, value in table.items():
        if name in ("order", "head"):
            if value not in ("first", "last"):
                raise ValueError(f"{code}.{name} is {value!r}, not first or last")
            places[name] = "last" if value == "last" else "first"
        elif name not in get_args(Concept):
            raise ValueError(f"{code}.{name} is none of {', '.join(get_args(Concept))}")
        else:
            words[_concept(name)] = _phrases(f"{code}.{name}", value)
    return Language(words, places.get("order", "first"), places.get("head", "first"))


def _concept(name: str) -> Concept:
    return next(concept for concept in get_args(Concept) if concept == name)


def _phrases(where: str, value: object) -> tuple[str, ...]:
    phrases = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else ()
    for phrase in phrases:
        if not isinstance(phrase, str) or not _phrase_tokens(phrase) or "*" in phrase.replace("* ", " ").rstrip("*"):
            raise ValueError(f"{where} holds {phrase!r}: a phrase is words, each with or without * behind it")
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} is not a list of phrases")
    return phrases
