"""What a text says, for comparing texts: its words and its word triples. Pure, and needs no extra."""

import re
import unicodedata
from collections.abc import Callable

# Scripts that put no space between words (Thai to Tibetan, Burmese, Khmer, kana, Han): there each letter is a word.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
# Signs that change little of what is said. A minus, times or greater between numbers or spaces does, as other signs do.
_QUIET = re.escape("'\"“”‘’«».,;:!?¿¡…–—()[]{}-_*#`>|\\\ufe0f")
_WORDS = re.compile(rf"[^\W_{_UNSPACED}]+|[{_UNSPACED}]|[^\w\s{_QUIET}]|(?<=[\d\s])[-*>](?=[\d\s])")
SHINGLE = 3
# How far a long piece of work is: what is done, how much of it, of how much (None: unknown).
Tell = Callable[[str, int, int | None], None]


def words(text: str) -> list[str]:
    """The words of a text in lower case, with the signs that matter."""
    return _WORDS.findall((text if text.isascii() else unicodedata.normalize("NFKC", text)).lower())


def normalized(text: str) -> str:
    """Lower case, words only: equal here means an exact duplicate."""
    return " ".join(words(text))


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """The set of word triples; a shorter text is one shingle."""
    found = words(text)
    return frozenset(tuple(found[i : i + SHINGLE]) for i in range(max(1, len(found) - SHINGLE + 1)))
