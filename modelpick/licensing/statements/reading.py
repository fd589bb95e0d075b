"""A card's text in, its statements of terms out: what each is about, what it says, in whose words and where. Pure.

A statement without a subject is about the weights, and what nothing takes back is believed: a reader who is not sure
asks. What a text allows does not count; prose grants nothing.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from modelpick.licensing.license import License, LicenseIndex
from modelpick.licensing.plain_text import folded, read_as_a_person
from modelpick.licensing.statements.claims import CardClause, Claim, ClaimKind
from modelpick.licensing.statements.clauses import Mention, Part, Subject, Subjects, parts, subject
from modelpick.licensing.statements.markup import Passage, passages
from modelpick.licensing.statements.vocabulary import (
    ASKS,
    EVERY_LANGUAGE,
    SPEAKS,
    Concept,
    FoundWord,
    Language,
    Token,
    Vocabulary,
    tokens_of,
)

LONGEST_TEXT = 200_000  # characters that are read; a longer text is not wholly read, which is a question of its own
LONGEST_SENTENCE = 1_500  # characters; a longer one is read piece by piece
LONGEST_QUOTE = 160  # characters

ENOUGH = 100  # claims about the weights; more change no answer, and a text may be made of nothing else
SHORT = 8  # tokens: a text no longer is a value, not a sentence

StatementKind = Literal["named_license"] | ClaimKind
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=\S)|(?<=[。।॥۔])\s*(?=[^\s)\]」』\"'])|(?<=[!?])(?=[\u2e80-\uffef])")
_URL = re.compile(r"https?://[^\s<>\"')\]]{1,1000}")
_MAIL = re.compile(r"[a-z0-9._%+-]{1,64}@[a-z0-9.-]{1,100}")
_VERSION = re.compile(r"v?\d+(?:[.,][\dx]+)*")
_UNSPACED = frozenset({"zh", "ja", "ko", "th"})
_ELSE = frozenset({"code", "data", "demo", "paper", "others"})
_HANDED_ON = frozenset(
    {"commercial", "company", "license", "weights", "support", *_ELSE}
)  # from a heading, or to an answer
_HANDED_TO_ITEMS = frozenset({*_HANDED_ON, "ban", "only", "not", "may"})
_ASKING = frozenset({"permission", "fee", "contact"})  # "prior consent" is nothing of the past
_TELLS = SPEAKS | {"free", "limit"}  # a language that says any of it is the one that is spoken
_NO_LANGUAGE = Language({})


@dataclass(frozen=True, slots=True)
class CardStatement:
    """One statement of terms.

    `about`: what it is about. `says`: what it claims; a `named_license` is in `license`. `quote`: its words, at most
    160 characters. `language`: a code of words.toml. `line`: where it stands in the card, from 1. `heading`: under
    which heading.
    """

    about: Subject
    says: StatementKind
    quote: str
    language: str
    line: int
    heading: str = ""
    license: License | None = None

    @property
    def is_of_the_weights(self) -> bool:
        """Whether it is about the weights, or about the model they were made from."""
        return self.about in ("weights", "base")


def read_statements(
    text: str, vocabulary: Vocabulary, licenses: LicenseIndex, own_names: Collection[str] = ()
) -> tuple[CardStatement, ...]:
    """The statements of a card, a data set's card or a gate, each once, in the order of the text.

    `own_names`: the names of the model and those it is made from, which are not taken for other models. At most
    LONGEST_TEXT characters are read; `read_to_the_end` tells whether that was all.
    """
    found = _StatementReader(vocabulary, licenses, own_names).read(text)
    return tuple(dict.fromkeys(found))


def read_to_the_end(text: str) -> bool:
    """Whether `read_statements` reads all of a text."""
    return len(text) <= LONGEST_TEXT


@dataclass(frozen=True, slots=True)
class _Said:
    """A clause with what it says."""

    part: Part
    clause: CardClause
    claim: Claim | None


class _StatementReader:
    def __init__(self, vocabulary: Vocabulary, licenses: LicenseIndex, own_names: Collection[str]) -> None:
        self._vocabulary, self._licenses = vocabulary, licenses
        own = "\n".join(own_names)
        self._own = frozenset(token.text for token in tokens_of(folded(read_as_a_person(own))))
        self._seen: Counter[str] = Counter()  # words of each language in this text so far
        self._headings: dict[str, bool] = {"": False}
        self._read: dict[tuple[str, ...], tuple[CardStatement, ...]] = {}

    def read(self, text: str) -> Iterator[CardStatement]:
        text = read_as_a_person(text[:LONGEST_TEXT])[:LONGEST_TEXT]
        claims = 0
        for passage in passages(text):
            if passage.row_of_others:
                continue
            for statement in self._passage(passage):
                yield replace(statement, line=passage.line)
                claims += statement.about == "weights" and statement.says != "named_license"
            if claims >= ENOUGH:
                return

    def _passage(self, passage: Passage) -> Iterator[CardStatement]:
        """Sentence by sentence. A question claims nothing, and says what its answer is about."""
        question = passage.row if passage.kind == "cell" and passage.row.endswith("?") else ""
        introduction = "" if question else passage.introduction.rstrip(": ")
        whole = f"{introduction}: {passage.text}" if introduction else passage.text
        for sentence in _sentences(whole):
            if sentence.rstrip(" )*").endswith("?"):
                question = sentence
            else:
                key = (sentence, question, passage.heading, passage.kind, passage.column)
                if key not in self._read:
                    self._read[key] = tuple(self._sentence(sentence, passage, question))
                yield from self._read[key]
                question = ""

    def _sentence(self, sentence: str, passage: Passage, question: str) -> Iterator[CardStatement]:
        text, mentions = self._links(folded(sentence))
        tokens = tokens_of(text)
        mentions += self._mentions(text, tokens)
        handed = bool(question) or self._tells(passage.heading)
        if not mentions and not handed and not self._vocabulary.may_state(tokens):
            return
        code, words = self._words(tokens, mentions)
        if not mentions and not handed and not _may_state(words):
            return
        language = self._vocabulary.languages.get(code, _NO_LANGUAGE)
        above = self._above(passage, question)
        in_license = _is_license_label(tokens, words) or (
            len(tokens) <= SHORT and any(word.concept == "license" for word in above)
        )
        said = []
        for part in parts(tokens, words, mentions, language.head == "last"):
            clause = _clause(part.words, language, code)
            said.append(_Said(part, clause, clause.claim(in_license)))
        subjects = Subjects(tokens, _only_subject(above), language.head == "last")
        for about, claim, mention in _current(
            said, subjects, tokens, lambda more: _clause(more, language, code), above
        ):
            says: StatementKind = claim.kind if claim else "named_license"
            named = mention.license if mention else None
            yield CardStatement(about, says, _quote(sentence), code, passage.line, passage.heading, named)

    def _tells(self, heading: str) -> bool:
        """Whether a heading says what the text below it is about, so that any of its sentences may state terms."""
        known = self._headings.get(heading)
        if known is None:
            words = self._words(tokens_of(folded(heading[:LONGEST_QUOTE])), ())[1]
            known = self._headings[heading] = _may_state(words)
        return known

    def _links(self, text: str) -> tuple[str, list[Mention]]:
        """A text with its addresses blanked, and the licenses that they lead to."""
        if "@" in text:
            text = _MAIL.sub(lambda match: " " * len(match[0]), text)
        if "://" not in text:
            return text, []
        found = [(match, self._licenses.by_link(match[0].rstrip(".,;"))) for match in _URL.finditer(text)]
        blanked = _URL.sub(lambda match: " " * len(match[0]), text)
        tokens = tokens_of(blanked)
        mentions = []
        for match, license in found:
            if license is not None:
                place = max(bisect_left(tokens, match.start(), key=lambda token: token.start) - 1, 0)
                mentions.append(Mention(license, place, place))
        return blanked, mentions

    def _mentions(self, text: str, tokens: Sequence[Token]) -> list[Mention]:
        """The licenses that a text names, and the tokens that name them."""
        found = []
        for license, start, end in self._licenses.mentions(text):
            first = bisect_right(tokens, start, key=lambda token: token.start) - 1
            last = bisect_left(tokens, end, key=lambda token: token.start) - 1
            found.append(Mention(license, max(first, 0), max(last, first, 0)))
        return found

    def _words(self, tokens: Sequence[Token], mentions: Sequence[Mention]) -> tuple[str, list[FoundWord]]:
        """The language of a sentence, and the words of it that stand there, but for those inside a license's name."""
        found = self._vocabulary.find(tokens)
        shared = found.pop(EVERY_LANGUAGE, [])
        counts = Counter({code: _weight(words, tokens) for code, words in found.items()})
        speaking = [code for code, words in found.items() if any(word.concept in _TELLS for word in words)]
        most = max(counts.values(), default=0)
        speaking = [code for code in speaking if counts[code] * 2 >= most]
        code = max(speaking or counts, key=lambda code: (counts[code], self._seen[code], code == "en"), default="en")
        self._seen.update(counts)
        words = found.get(code, []) + shared
        if code != "en" and not self._vocabulary.is_latin(code):
            words += found.get("en", [])
        inside = {
            at for mention in mentions for at in range(mention.first, mention.last + 1) if mention.last > mention.first
        }
        kept: list[FoundWord] = []
        for word in sorted(words, key=lambda word: (word.first, -word.last)):
            same = kept and (word.first, word.last) == (kept[-1].first, kept[-1].last)
            own = word.concept == "family" and tokens[word.first].text in self._own
            if (not kept or word.first > kept[-1].last or same) and word.first not in inside and not own:
                kept.append(word)
        return code, kept

    def _above(self, passage: Passage, question: str) -> list[FoundWord]:
        """What the heading or a question says the text is about, as words before the first."""
        heading = passage.heading if passage.kind != "heading" else ""
        if not heading and not question and not passage.column:
            return []
        tokens = tokens_of(folded(f"{heading[:LONGEST_QUOTE]} . {passage.column} . {question[:LONGEST_SENTENCE]}"))
        _, words = self._words(tokens, ())
        handed = _HANDED_TO_ITEMS if passage.kind in ("item", "cell") else _HANDED_ON
        return [FoundWord(word.concept, -1, -1) for word in words if word.concept in handed]


def _may_state(words: Sequence[FoundWord]) -> bool:
    concepts = {word.concept for word in words}
    return not concepts.isdisjoint(SPEAKS) or concepts.issuperset(ASKS)


def _weight(words: Sequence[FoundWord], tokens: Sequence[Token]) -> int:
    """How much a text looks like a language: its words found, each once, those that are more than fillers twice."""
    seen = {(tokens[word.first].text, word.last - word.first, word.concept == "filler") for word in words}
    return sum((more + 1) * (1 if filler else 2) for _, more, filler in seen)


def _clause(words: Sequence[FoundWord], language: Language, code: str) -> CardClause:
    return CardClause(words, verb_last=language.order == "last", unspaced=code in _UNSPACED)


def _is_license_label(tokens: Sequence[Token], words: Sequence[FoundWord]) -> bool:
    """Whether a text is "License: ...", or something longer before the mark."""
    colon = next((at for at, token in enumerate(tokens[:SHORT]) if token.text == ":"), 0)
    return any(word.concept == "license" and word.last < colon for word in words)


def _only_subject(words: Sequence[FoundWord]) -> Subject | None:
    """What a heading is about, where that is one thing other than the weights."""
    named = {word.concept for word in words if word.concept in _ELSE}
    plain = any(word.concept == "weights" for word in words)
    return subject(named.pop()) if len(named) == 1 and not plain else None


Finding = tuple[Subject, Claim | None, Mention | None]


def _current(
    said: Sequence[_Said],
    subjects: Subjects,
    tokens: Sequence[Token],
    joined: Callable[[Sequence[FoundWord]], CardClause],
    above: Sequence[FoundWord],
) -> Iterator[Finding]:
    """What a sentence states now: without what it says of earlier versions, and of what a license was changed from."""
    found: list[tuple[int, Finding]] = []
    dangling: list[_Said] = []
    ours_last = max((one.part.first for one in said if _has(one.part, "ours") or _has(one.part, "weights")), default=-1)
    for one in said:
        part, claim = one.part, one.claim
        ours = ours_last > part.last
        if claim is None and above and not one.clause.permits:
            claim = joined([*above, *part.words]).claim()
        if (claim is not None and claim.kind in _ASKING) or not _is_past(part, tokens):
            found += [(one.first, (subjects.of(part, one.first, one.last, ours), None, one)) for one in part.mentions]
            if claim is not None:
                found.append((claim.last, (subjects.of(part, claim.first, claim.last, ours), claim, None)))
            elif one.clause.stated("commercial", "company", "non_commercial") and not one.clause.permits:
                dangling.append(one)
        subjects.add(part)
    if dangling and not any(claim for _, (_, claim, _) in found):
        words = [word for one in said for word in one.part.words]
        claim = joined(words).claim()
        whole = Part(tuple(words), (), 0, len(tokens))
        about = subjects.of(dangling[0].part, dangling[0].part.first, dangling[0].part.last)
        if claim is not None and not _is_past(whole, tokens):
            found.append((claim.last, (about, claim, None)))
    found = list(_without_contrast(found, said))
    changed = any(word.concept == "change" for one in said for word in one.part.words)
    if changed and len(found) > 1:
        found = [max(found, key=lambda place: place[0])]
    yield from (finding for _, finding in found)


def _without_contrast(found: Sequence[tuple[int, Finding]], said: Sequence[_Said]) -> Iterator[tuple[int, Finding]]:
    """What is found, but for what "a model" is said to be before "our model" is said to be free: that is another."""
    ours = [one.part.first for one in said if _frees_ours(one)]
    generic = [one.part for one in said if _has(one.part, "weights") and not _has(one.part, "ours")]
    for place, finding in found:
        part = next((part for part in generic if part.first <= place <= part.last), None)
        if part is None or not any(first > part.last for first in ours):
            yield place, finding


def _frees_ours(one: _Said) -> bool:
    permissive = any(mention.license.permits.commercial_use == "yes" for mention in one.part.mentions)
    commerce = one.clause.permits and (one.clause.has("commercial", "company") or bool(one.clause.stated("free")))
    return _has(one.part, "ours") and one.claim is None and (permissive or commerce)


def _has(part: Part, concept: Concept) -> bool:
    return any(word.concept == concept for word in part.words)


def _is_past(part: Part, tokens: Sequence[Token]) -> bool:
    """Whether a clause tells of an earlier version."""
    if any(word.concept == "past" for word in part.words):
        return True
    texts = [token.text for token in tokens[part.first : part.last + 1]]
    return any(_VERSION.fullmatch(one) and after in ("was", "were") for one, after in pairwise(texts))


def _sentences(text: str) -> Iterator[str]:
    """A text cut at the ends of sentences, none longer than LONGEST_SENTENCE."""
    for sentence in _SENTENCE.split(text):
        for at in range(0, len(sentence), LONGEST_SENTENCE):
            piece = sentence[at : at + LONGEST_SENTENCE].strip()
            if piece:
                yield piece


def _quote(sentence: str) -> str:
    text = " ".join(_URL.sub("", sentence).split())
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."
