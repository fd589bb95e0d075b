"""Texts that are nearly a known license: a clause more or less, a number changed, another licensor, two in one."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.licensing.adversary import Case, harmless, kind, misleading
from tests.licensing.adversary.texts import APACHE, MIT

_TEXTS = Path(__file__).resolve().parents[3] / "facts" / "license_texts"


def text_of(license: str) -> str:
    """The text of a license, as facts/ has it."""
    return (_TEXTS / f"{license}.txt").read_text(encoding="utf-8")


LLAMA, GEMMA, CC_BY, CC_BY_NC = map(text_of, ("llama3.1", "gemma", "cc-by-4.0", "cc-by-nc-4.0"))
CLAUSES = (
    "You may not use the Materials for any commercial purpose.",
    "Use in products with more than one thousand users needs our permission.",
    "Military use is prohibited.",
    "A yearly fee of 10,000 US dollars is due to Acme.",
)


def _amid(text: str, clause: str) -> str:
    """`clause` as a paragraph of its own in the middle."""
    paragraphs = text.split("\n\n")
    half = len(paragraphs) // 2
    return "\n\n".join([*paragraphs[:half], clause, *paragraphs[half:]])


def _without(text: str, words: str) -> str:
    """`text` without `words`, which stand in it, whatever its line ends."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    shorter, times = re.subn(pattern, "", text, count=1)
    assert times == 1, words
    return shorter


def _instead(text: str, words: str, others: str) -> str:
    pattern = r"\s+".join(map(re.escape, words.split()))
    other, times = re.subn(pattern, others, text, count=1)
    assert times == 1, words
    return other


@kind("a known license with a clause more", "an added clause is not the license")
def added() -> Iterator[Case]:
    for number, clause in enumerate(CLAUSES):
        for license, text in (("mit", MIT), ("apache-2.0", APACHE), ("llama3.1", LLAMA), ("cc-by-4.0", CC_BY)):
            card = f"license: {license}"
            yield misleading(f"acme/{license}-more-{number}", card, {"LICENSE": _amid(text, clause)})
            yield misleading(f"acme/{license}-after-{number}", card, {"LICENSE": f"{text}\n{clause}\n"})
            yield misleading(f"acme/{license}-before-{number}", card, {"LICENSE": f"{clause}\n\n{text}"})
    yield misleading("acme/one-word", "license: mit", {"LICENSE": MIT.replace("free of charge", "not free of charge")})
    held = MIT.replace("Copyright (c) 2024 Somebody", "Copyright (c) 2024 Somebody. Not for commercial use.")
    yield misleading("acme/holder", "license: mit", {"LICENSE": held})
    held = MIT.replace("Copyright (c) 2024 Somebody", "Copyright (c) 2024 Jemand. Nur für nichtkommerzielle Nutzung.")
    yield misleading("acme/holder-german", "license: mit", {"LICENSE": held})
    yield misleading(
        "acme/title", "license: mit", {"LICENSE": MIT.replace("MIT License", "MIT License, research only")}
    )
    for license, text in (("mit", MIT), ("apache-2.0", APACHE), ("llama3.1", LLAMA), ("gemma", GEMMA)):
        yield harmless(f"acme/{license}-itself", f"license: {license}", {"LICENSE": text})


@kind("a known license with a clause less", "what is missing may be what protects you")
def removed() -> Iterator[Case]:
    free = _without(MIT, "to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of")
    yield misleading("acme/mit-less", "license: mit", {"LICENSE": free})
    patents = APACHE[: APACHE.index("3. Grant of Patent License")] + APACHE[APACHE.index("4. Redistribution") :]
    yield misleading("acme/apache-less", "license: apache-2.0", {"LICENSE": patents})
    less = _without(LLAMA, "non-exclusive, worldwide,")
    yield misleading("acme/llama-less", "license: llama3.1", {"LICENSE": less})
    yield misleading("acme/cut", "license: apache-2.0", {"LICENSE": APACHE[: len(APACHE) // 2]})
    short = APACHE[: APACHE.index("APPENDIX")]
    yield harmless("acme/no-appendix", "license: apache-2.0", {"LICENSE": short})
    yield harmless("acme/no-title", "license: mit", {"LICENSE": MIT.replace("MIT License\n", "")})


@kind("a known license with a number changed", "a limit is what the license is about")
def numbers() -> Iterator[Case]:
    for number, others in enumerate(("7 million", "700 thousand", "700")):
        text = _instead(LLAMA, "700 million", others)
        yield misleading(f"acme/users-{number}", "license: llama3.1", {"LICENSE": text})
    text = _instead(text_of("stability-ai-community"), "1,000,000", "1,000")
    card = "license: other\nlicense_name: stability-ai-community"
    yield misleading("stabilityai/revenue", card, {"LICENSE.md": text})
    yield harmless("acme/year", "license: mit", {"LICENSE": MIT.replace("2024", "2023-2025")})


@kind("a known license in another publisher's name", "another licensor, another contract")
def names() -> Iterator[Case]:
    yield misleading("acme/their-llama", "license: llama3.1", {"LICENSE": LLAMA.replace("Meta", "Acme")})
    yield misleading("acme/their-gemma", "license: gemma", {"LICENSE": GEMMA.replace("Google", "Acme")})
    held = MIT.replace("Somebody", "Acme Inc. and contributors, all rights reserved")
    yield harmless("acme/their-mit", "license: mit", {"LICENSE": held})
    filled = APACHE.replace("[yyyy] [name of copyright owner]", "2024 Acme Cloud")
    yield harmless("acme/their-apache", "license: apache-2.0", {"LICENSE": filled})


@kind("several licenses in one file", "each of them applies")
def several() -> Iterator[Case]:
    yield misleading("acme/mit-and-nc", "license: mit", {"LICENSE": f"{MIT}\n\n{CC_BY_NC}"})
    yield misleading("acme/nc-and-mit", "license: mit", {"LICENSE": f"{CC_BY_NC}\n\n{MIT}"})
    yield misleading("acme/three", "license: mit", {"LICENSE": f"{MIT}\n{APACHE}\n{CC_BY_NC}"})
    yield harmless("acme/mit-and-apache", "license: mit", {"LICENSE": f"{MIT}\n\n{APACHE}"})
    yield harmless("acme/mit-and-llama", "license: llama3.1", {"LICENSE": f"{MIT}\n\n{LLAMA}"}, expect="conditions")


@kind("a restriction that only a person sees", "letters are compared as they look")
def disguised() -> Iterator[Case]:
    for number, words in enumerate(
        ("n\u200bon-com\u200bmercial use only", "n&#111;n-commercial use only", "nоn-cоmmercial use only",
         "ｎｏｎ－ｃｏｍｍｅｒｃｉａｌ use only", "non-\ncommercial use only", "non\u00adcommercial use only")
    ):  # fmt: skip
        yield misleading(f"acme/seen-{number}", "license: mit", {"LICENSE": f"{MIT}\nFor {words}.\n"})
    dressed = MIT.replace("AS IS", "AS\u00a0IS").replace('"', "\u201c").replace("\n", "\r\n")
    yield harmless("acme/typeset", "license: mit", {"LICENSE": dressed})
    yield harmless("acme/one-line", "license: mit", {"LICENSE": " ".join(MIT.split())})


@kind("a license that a page frames", "what stands around a text counts as well")
def framed() -> Iterator[Case]:
    page = f"<!DOCTYPE html><html><body><nav>Home</nav><pre>{APACHE}</pre>"
    yield misleading("acme/page", "license: apache-2.0", {"LICENSE.html": f"{page}<p>For non-commercial research.</p>"})
    yield harmless("acme/plain-page", "license: apache-2.0", {"LICENSE.html": f"{page}</body></html>"})
