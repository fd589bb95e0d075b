"""License texts recognised for what they are: whole, a piece, changed, a web page, a link, for code only, unknown."""

import random
import string
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import Fingerprints, fingerprint, pack, unpack, words_of
from modelpick.licensing.license_text import Reading, read_text
from modelpick.licensing.load import license_of_text, texts_directory

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
DISPLAY = """
Our only modification part is that, if the Software (or any derivative works thereof) is used for any of your commercial
products or services that have more than 100 million monthly active users, you shall prominently display "{name}" on the
user interface of such product or service.
"""


@pytest.fixture(scope="module")
def apache() -> str:
    return (Path(__file__).resolve().parents[2] / "LICENSE").read_text()


def read(facts: LicenseFacts, text: str, name: str = "LICENSE") -> Reading:
    """The reading of a text that holds one license or none."""
    (reading,) = read_text(text, facts.fingerprints, facts.licenses, name)
    return reading


def ids(reading: Reading) -> list[str]:
    return [one.id for one in reading.licenses]


def test_whole_texts(facts: LicenseFacts, apache: str) -> None:
    for text, license in ((MIT, "mit"), (apache, "apache-2.0")):
        assert (read(facts, text).kind, ids(read(facts, text))) == ("whole", [license])
        for form in (text.upper(), text.replace("\n", "\r\n"), "\ufeff" + text, " ".join(text.split())):
            assert read(facts, form).kind == "whole"


def test_a_text_in_a_web_page(facts: LicenseFacts, apache: str) -> None:
    page = (
        f"<!DOCTYPE html><html><head><style>p {{ color: red }}</style></head><body><nav>Home</nav><pre>{apache}</pre>"
    )
    assert (read(facts, page).kind, ids(read(facts, page))) == ("whole", ["apache-2.0"])
    assert "web page" in read(facts, page).note
    forbids = page + "<p>For research and non-commercial use.</p>"
    assert read(facts, forbids).kind == "modified"


def test_a_cut_text_is_a_piece(facts: LicenseFacts, apache: str) -> None:
    assert read(facts, apache[: len(apache) // 3]).kind == "piece"
    assert "apache-2.0" in ids(read(facts, apache[: len(apache) // 3]))


@pytest.mark.parametrize(
    "clause",
    [
        "Not for commercial use.",
        "The Software shall be used for research purposes only.",
        "Use in products with a yearly revenue above one million dollars needs our permission.",
        DISPLAY.format(name="Somebody 3"),
        "Military use is prohibited.",
        " ".join(["Lorem ipsum dolor sit amet consetetur sadipscing elitr"] * 8),
    ],
)
@pytest.mark.parametrize("place", ["before", "after", "within"])
def test_a_permissive_text_with_a_clause_more_is_not_that_license(facts: LicenseFacts, clause: str, place: str) -> None:
    half = MIT.index("The above copyright")
    text = {"before": clause + MIT, "after": MIT + clause, "within": MIT[:half] + clause + "\n" + MIT[half:]}[place]
    reading = read(facts, text)
    assert not (reading.kind == "whole" and ids(reading) == ["mit"])


def test_modified_mit_is_two_licenses(facts: LicenseFacts) -> None:
    kimi = MIT.replace("MIT License", "Modified MIT License") + DISPLAY.format(name="Kimi K2").replace(
        "users,", "users, or more than 20 million US dollars (or equivalent in other currencies) in monthly revenue,"
    )
    assert "mit" not in ids(read(facts, kimi)) or read(facts, kimi).kind == "modified"
    assert facts.fingerprints.has("kimi-k2-modified-mit")
    assert facts.fingerprints.has("minimax-modified-mit")


def test_link_code_empty_and_unknown(facts: LicenseFacts) -> None:
    assert read(facts, "See https://huggingface.co/01-ai/Yi-34B/blob/main/LICENSE").kind == "link"
    linked = read(facts, "[license](https://www.apache.org/licenses/LICENSE-2.0.html)")
    assert (linked.kind, ids(linked)) == ("link", ["apache-2.0"])
    assert read(facts, MIT, "LICENSE-CODE").kind == "code_only"
    assert read(facts, "This license applies to the source code only. All else is ours.").kind == "code_only"
    assert read(facts, " \n").kind == "empty"
    assert read(facts, "You may do as our lawyers please. " * 30).kind == "unknown"


def test_a_file_that_only_names_a_license(facts: LicenseFacts) -> None:
    for text, license in (
        ("Apache License\nVersion 2.0", "apache-2.0"),
        ("MIT License", "mit"),
        ("CC-BY-4.0", "cc-by-4.0"),
    ):
        assert (read(facts, text).kind, ids(read(facts, text))) == ("named", [license])
    assert read(facts, "Apache License Version 2.0, non-commercial use").kind == "modified"


@pytest.mark.parametrize(
    ("head", "license"),
    [
        (
            "TENCENT HUNYUAN 3D 2.0 COMMUNITY LICENSE AGREEMENT\nRelease Date: January 21, 2025",
            "tencent-hunyuan-3d-2.0",
        ),
        ("# Mistral AI Research License\nIf You want to use a Mistral Model", "mistral-research"),
        ("Mistral AI Non-Production License\n", "mistral-non-production"),
        ("TII Falcon LLM License Version 1.0\nMay 2023", "tii-falcon-1.0"),
        ("EXAONE AI Model License Agreement 1.0 - NC", "exaone-1.0-nc"),
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT", "llama3.2"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
    ],
)
def test_a_text_that_is_not_known_word_by_word_is_known_by_its_title(
    facts: LicenseFacts, head: str, license: str
) -> None:
    reading = read(facts, head)
    assert (reading.kind, ids(reading)) == ("title", [license])


@pytest.mark.parametrize(
    "license",
    ["llama1", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma", "falcon-2", "deepseek",
     "tongyi-qianwen", "qwen-2024", "tencent-hunyuan-community", "stability-ai-community", "nvidia-open-model",
     "lfm1.0", "databricks-open-model", "exaone-1.2-nc", "yi-community", "opt-175b", "bigcode-openrail-m",
     "exaone-1.1-nc", "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "creativeml-openrail-m"],
)  # fmt: skip
def test_the_ai_licenses_have_fingerprints_that_tell_them_apart(facts: LicenseFacts, license: str) -> None:
    own = [one for one in facts.fingerprints.all if one.license == license]
    assert own
    for mine in own:
        for other in facts.fingerprints.all:
            if other.license != license and other.stride == mine.stride:
                both = len(mine.hashes & other.hashes)
                assert min(both / len(mine.hashes), both / len(other.hashes)) < 0.97, other.license


def test_a_fingerprint_does_not_hold_the_text() -> None:
    words = [" ".join(random.Random(seed).choices(string.ascii_lowercase, k=4)) for seed in range(2000)]
    made = fingerprint("x", "s", words_of(" ".join(words)))
    assert made.stride == 4
    assert unpack(pack(made)) == made.hashes
    assert len(pack(made)) < len(" ".join(words))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=3000))
def test_any_text_is_read_and_none_becomes_permissive_by_chance(facts: LicenseFacts, text: str) -> None:
    reading = read(facts, text)
    assert reading.kind != "whole" or reading.licenses


def test_versions_of_one_license_are_told_apart_by_the_closest() -> None:
    common = " ".join(f"word{i}" for i in range(300))
    one, two = (f"{common} version {v} " * 1 + " ".join(f"v{v}w{i}" for i in range(60)) for v in ("3.1", "3.2"))
    fingerprints = Fingerprints(
        lambda: [fingerprint(id, "s", words_of(text)) for id, text in (("one", one), ("two", two))]
    )
    assert fingerprints.matches(words_of(two).hashes)[0].license == "two"
    assert fingerprints.matches(words_of(one).hashes)[0].license == "one"


def test_every_known_text_is_itself_word_for_word(facts: LicenseFacts) -> None:
    paths = sorted(texts_directory().rglob("*.txt"))
    assert len(paths) > 80
    for path in paths:
        reading = read(facts, path.read_text(encoding="utf-8"))
        assert (reading.kind, ids(reading)) == ("whole", [license_of_text(path.name)]), (path.name, reading.note)


@cache
def _facts() -> LicenseFacts:
    return load.load_facts()  # no fixture: hypothesis would print all of it with a failure


# Of these nothing may be left out or filled in: they are on no list that says so.
MADE_FOR_MODELS = ("llama3.1", "gemma", "qwen-2024", "deepseek", "falcon-2", "tencent-hunyuan-3d-2.0")


@settings(max_examples=25, print_blob=True)
@given(st.sampled_from(MADE_FOR_MODELS), st.floats(0.1, 0.999), st.sampled_from(["lacks", "adds", "changes"]))
def test_no_word_of_a_license_made_for_models_can_be_changed(license: str, place: float, change: str) -> None:
    facts = _facts()
    words = next(texts_directory().rglob(f"{license}.txt")).read_text(encoding="utf-8").split(" ")
    long = [at for at, word in enumerate(words) if word.isalpha() and len(word) > 3]
    at = long[int(place * len(long))]
    instead = {"lacks": [], "adds": [words[at], "sometimes"], "changes": ["sometimes"]}[change]
    reading = read(facts, " ".join([*words[:at], *instead, *words[at + 1 :]]))
    assert reading.kind in ("modified", "piece")
    assert (words[at] if change == "lacks" else "sometimes").lower() in reading.note.lower()


def test_each_of_several_licenses_in_one_file_is_found(facts: LicenseFacts, apache: str) -> None:
    found = read_text(f"{MIT}\n{apache}\n\n{MIT}", facts.fingerprints, facts.licenses)
    assert [(reading.kind, ids(reading)) for reading in found] == [
        ("whole", ["mit"]), ("whole", ["apache-2.0"]), ("whole", ["mit"]),
    ]  # fmt: skip


def test_ten_thousand_lines_that_say_the_same_are_compared_at_once(facts: LicenseFacts) -> None:
    line = "Permission is hereby granted, free of charge, to any person obtaining a copy.\n"
    assert read(facts, line * 10_000).kind != "whole"
    assert read(facts, MIT + line * 10_000).kind == "modified"
