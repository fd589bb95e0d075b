"""What a person sees is what is compared, whatever the characters behind it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.licensing.plain_text import folded, read_as_a_person, unmasked

SENTENCE = "Not for commercial use."
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u202e\u2060\u2063\ufe0f\ufeff\x00\x7f\U000e0041"
LOOKALIKES = {"a": "аαɑ", "c": "сϲ", "e": "е", "i": "іι", "o": "оοօ", "s": "ѕ", "m": "м", "N": "Νꓠ", "u": "υս"}


@given(st.data())
def test_invisible_characters_and_lookalikes_change_nothing(data: st.DataObject) -> None:
    shown = ""
    for letter in SENTENCE:
        shown += data.draw(st.sampled_from([letter, *LOOKALIKES.get(letter, "")]))
        shown += data.draw(st.sampled_from(["", *INVISIBLE]))
    assert read_as_a_person(shown) == SENTENCE


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("CC&nbsp;BY&#8209;NC&nbsp;4.0", "CC BY-NC 4.0"),
        ("𝐍𝐨𝐧-𝒄𝒐𝒎𝒎𝒆𝒓𝒄𝒊𝒂𝒍", "Non-commercial"),
        ("ｎｏｎ－ｃｏｍｍｅｒｃｉａｌ", "non-commercial"),
        ("non\u2011com\u00admercial", "non-commercial"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("仅限研究：（非商业）", "仅限研究:(非商业)"),
    ],
)
def test_a_form_that_looks_the_same_is_the_same(written: str, seen: str) -> None:
    assert read_as_a_person(written) == seen


@pytest.mark.parametrize(
    "text",
    ["Только для некоммерческого использования", "Μόνο για μη εμπορική χρήση", "Тест", "α = 0.5", "Не", "μ-law",
     "Модель GPT и LoRA", "非商用", "केवल शोध", "สำหรับการวิจัยเท่านั้น", "অবাণিজ্যিক"],
)  # fmt: skip
def test_a_text_in_its_own_alphabet_stays(text: str) -> None:
    assert read_as_a_person(text) == unmasked(text)


def test_a_latin_letter_in_a_cyrillic_word_is_cyrillic() -> None:
    assert read_as_a_person("для некомepційного вжитку") == "для некомерційного вжитку"


def test_folding_forgets_case_and_accents_and_keeps_vowel_signs() -> None:
    assert folded("Não-Comercial ÜBER đề İstanbul kullanılır") == "nao-comercial uber de istanbul kullanilir"
    assert folded("غَيْر تجاريّة") == folded("غير تجارية")
    assert folded("استفادهٔ تجاری") == folded("استفاده تجارى")
    for kept in ("व्यावसायिक", "เชิงพาณิชย์", "ブドウ", "비상업"):
        assert folded(kept) == kept


@given(st.text())
def test_reading_twice_is_reading_once(text: str) -> None:
    once = read_as_a_person(text.replace("&", ""))
    assert read_as_a_person(once) == once
    assert not set(once) & set(INVISIBLE)
