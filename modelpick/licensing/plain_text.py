"""A text as a person sees it: no invisible characters, no letters borrowed from another alphabet. Pure.

Whoever compares texts of terms compares what a reader would read. Three steps, each usable alone: `unmasked` resolves
entities, takes compatibility forms apart (NFKC, https://unicode.org/reports/tr15) and drops what shows nothing;
`read_as_a_person` also puts back letters that only look like those of the word they stand in; `folded` is for looking
words up, and forgets case and accents as well.
"""

import html
import re
import unicodedata

# Characters that show nothing, or only shape their neighbours: general categories Cf and Cc (but for line ends and
# tabs), variation selectors, and the fillers that count as letters. Listed by block, since one pass of str.translate
# is fast: https://www.unicode.org/Public/16.0.0/ucd/DerivedCoreProperties.txt, Default_Ignorable_Code_Point.
_INVISIBLE = (
    (0x00, 0x08), (0x0B, 0x0C), (0x0E, 0x1F), (0x7F, 0x84), (0x86, 0x9F), (0xAD, 0xAD), (0x034F, 0x034F),
    (0x0600, 0x0605), (0x061C, 0x061C), (0x0640, 0x0640), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFB), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE01EF),
)  # fmt: skip
_MARKS = {
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\uff0d\u2043"), "-"),
    **dict.fromkeys(map(ord, "\u2018\u2019\u201b\u02bc\u02b9\u2032\uff07"), "'"),
    **dict.fromkeys(map(ord, "\u2028\u2029\x85\v\f"), "\n"),
    **dict.fromkeys((0xFDFA, 0xFDFB), " "),  # whole sentences as one character: eighteen in place of one
    0x03F2: "c",  # NFKC makes a final sigma of it, which looks otherwise
}
_DROPPED = dict.fromkeys(code for first, last in _INVISIBLE for code in range(first, last + 1)) | _MARKS
# Letters that look like a Latin one, from https://www.unicode.org/Public/security/16.0.0/confusables.txt (those of
# the alphabets a keyboard has).
_CYRILLIC = dict(zip("аеорсухіјѕԁһԛԝӏАВЕКМНОРСТУХІЈЅԌ", "aeopcyxijsdhqwlABEKMHOPCTYXIJSG", strict=True))
_GREEK = dict(zip("αονιρυγϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aovipuyjABEZHIKMNOPTYX", strict=True))
_OTHERS = dict(zip("օոսհցզոѵꓮꓐꓚꓓꓰꓝꓖꓧꓲꓙꓗꓡꓟꓠꓳꓑꓣꓢꓔꓴꓦꓪꓫꓬꓜɑɡɩʏ", "onuhgqnvABCDEFGHIJKLMNOPRSTUVWXYZagiy", strict=True))
_AT_A_GLANCE = dict(zip("гпвкмнткτ", "rnbkmhtkt", strict=True))  # only inside a word that is Latin for the rest
_LATIN_OF = _CYRILLIC | _GREEK | _OTHERS | _AT_A_GLANCE
_CYRILLIC_OF = {latin: letter for letter, latin in _CYRILLIC.items()} | {"k": "к"}
_LETTERS = r"\u0250-\u02af\u0370-\u058f\ua4d0-\ua4ff"  # the blocks those letters stand in
_MIXED = re.compile(rf"(?<![A-Za-z{_LETTERS}])(?:[A-Za-z]+[{_LETTERS}]|[{_LETTERS}]+[A-Za-z])[A-Za-z{_LETTERS}]*")
_WHOLE = re.compile(rf"(?<![A-Za-z{_LETTERS}])[{_LETTERS}]+")
_NOT_LATIN = re.compile(f"[^A-Za-z{''.join(_LATIN_OF)}]")
_LATIN = re.compile("[A-Za-z]")
_TO_LATIN, _TO_CYRILLIC = str.maketrans(_LATIN_OF), str.maketrans(_CYRILLIC_OF)
_ALIKE = frozenset(_CYRILLIC | _GREEK | _OTHERS)
# Marks above and below letters of Latin, Cyrillic, Greek, Hebrew, Arabic; those of other scripts are vowels.
_ACCENTS = dict.fromkeys([*range(0x0300, 0x0370), *range(0x0591, 0x05C8), *range(0x064B, 0x0660), 0x0670])
_VARIANTS = str.maketrans({
    "ı": "i", "ł": "l", "đ": "d", "ø": "o", "æ": "ae", "œ": "oe",
    "ى": "ي", "ی": "ي", "ې": "ي", "ة": "ه", "ۀ": "ه", "ۃ": "ه", "ھ": "ه", "ہ": "ه", "ە": "ه",
    "ک": "ك", "ٱ": "ا", "؟": "?", "،": ",", "؛": ";",
})  # fmt: skip


def unmasked(text: str) -> str:
    """A text without what shows nothing: entities resolved, compatibility forms plain, one dash and one apostrophe."""
    if "&" in text:
        text = html.unescape(text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.translate(_DROPPED)
    return text if text.isascii() else unicodedata.normalize("NFKC", text).translate(_DROPPED)


def read_as_a_person(text: str) -> str:
    """`unmasked`, and with letters of another alphabet put back where they only pass for a word's own.

    A word of two alphabets is read in the one that has no letter like its others, else as Latin. A word wholly of
    lookalikes is Latin in a line of Latin words. Lines stay lines, and case and accents stay.
    """
    text = unmasked(text)
    if text.isascii():
        return text
    return "\n".join(line if line.isascii() else _in_one_alphabet(line) for line in text.split("\n"))


def folded(text: str) -> str:
    """A text for looking words up: lower case, without accents, the variants of one Arabic letter as one."""
    text = text.casefold()
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFD", text).translate(_ACCENTS)
    return unicodedata.normalize("NFC", plain).translate(_VARIANTS)


def _in_one_alphabet(line: str) -> str:
    line = _MIXED.sub(_one_alphabet, line)
    if not _LATIN.search(line):
        return line
    words = _WHOLE.findall(line)
    if not words or any(map(_NOT_LATIN.search, words)):
        return line
    return _WHOLE.sub(lambda match: match[0].translate(_TO_LATIN) if _ALIKE.issuperset(match[0]) else match[0], line)


def _one_alphabet(word: re.Match[str]) -> str:
    return word[0].translate(_TO_CYRILLIC if _NOT_LATIN.search(word[0]) else _TO_LATIN)
