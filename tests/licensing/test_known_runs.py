"""A text of which only the hashes of its runs are kept is compared word by word as one that is kept whole."""

import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.fingerprints import Fingerprints, KnownRuns, fingerprint, words_of
from modelpick.licensing.license_text import Reading, read_text
from modelpick.licensing.quotes import packed
from modelpick.licensing.text_difference import run_differences

LICENSE = "yi-community"  # whose text is kept as runs; here the made text below stands for it


def _made() -> str:
    """Terms that nobody wrote: few different words, so that many stand twice in a row."""
    chosen = random.Random(7)
    words = ("licensee", "model", "shall", "use", "derivative", "grant", "terms", "under", "notice", "users", "700")
    return "\n".join(" ".join(chosen.choices(words, k=12)) + "." for _ in range(40))


TEXT = _made()


@cache
def _facts() -> LicenseFacts:
    return load.load_facts()


@cache
def _fingerprints() -> Fingerprints:
    kept = KnownRuns(words_of(TEXT).hashes)
    return Fingerprints(lambda: [fingerprint(LICENSE, "s", kept)], lambda _: [kept])


def read(text: str) -> Reading:
    (reading,) = read_text(text, _fingerprints(), _facts().licenses, "LICENSE")
    return reading


def test_the_same_words_are_the_license_however_they_are_set() -> None:
    title = _facts().licenses.by_id[LICENSE].title
    for text in (TEXT, TEXT.upper(), " ".join(TEXT.split()), f"# {title}\n\n{TEXT}\n\nEnd of terms\n"):
        assert (read(text).kind, [one.id for one in read(text).licenses]) == ("whole", [LICENSE]), read(text).note


@given(st.integers(0, 479), st.sampled_from(["lacks", "adds", "changes", "twice"]))
def test_no_word_can_be_changed(at: int, change: str) -> None:
    words = TEXT.split(" ")
    at %= len(words)
    instead = {"lacks": [], "adds": [words[at], "never"], "changes": ["never"], "twice": [words[at], words[at]]}[change]
    reading = read(" ".join([*words[:at], *instead, *words[at + 1 :]]))
    assert reading.kind in ("modified", "piece"), reading.note
    if change == "lacks":
        assert "it lacks " in reading.note
    else:
        assert ("never" if change != "twice" else words_of(words[at]).words[0]) in reading.note


def test_a_clause_is_quoted_where_it_was_added_and_placed_where_it_was_removed() -> None:
    lines = TEXT.splitlines()
    clause = "Commercial use is prohibited without a permit."
    added = read("\n".join([*lines[:20], clause, *lines[20:]]))
    assert (added.kind, f'it adds "{clause[:-1]}"' in added.note) == ("modified", True)
    removed = read("\n".join([*lines[:20], *lines[21:]]))
    before = " ".join(lines[19].rstrip(".").split()[-5:])
    assert removed.kind == "modified"
    assert f'it lacks some 12 words after "{before}"' in removed.note
    replaced = read("\n".join([*lines[:20], clause, *lines[21:]]))
    assert f'"{clause[:-1]}" in place of some 12 words' in replaced.note
    assert read("\n".join(lines[:30])).note.count("it lacks some 120 words") == 1
    assert "it lacks some 24 words at the beginning" in read("\n".join(lines[2:])).note


@pytest.mark.parametrize("line", ["3.", "Copyright (c) 2026 Somebody", "b)"])
def test_an_added_number_or_holder_is_explained_and_an_unknown_word_for_it_is_not(line: str) -> None:
    lines = TEXT.splitlines()
    assert read("\n".join([*lines[:9], line, *lines[9:]])).kind == "whole"
    assert read("\n".join([*lines[:9], line, *lines[10:]])).kind == "modified"
    assert read("\n".join([*lines[:9], line + " " + lines[9].partition(" ")[2], *lines[10:]])).kind == "modified"


@given(st.lists(st.sampled_from("abc"), min_size=5, max_size=40), st.lists(st.sampled_from("abc"), min_size=5))
def test_outside_of_the_differences_all_words_are_the_same(known: list[str], found: list[str]) -> None:
    differing = run_differences(words_of(" ".join(known)).hashes, words_of(" ".join(found)).hashes)
    rebuilt: list[str] = []
    at_known = at_found = 0
    for one in differing:
        assert at_known <= one.lacks_from <= one.lacks_to <= len(known)
        assert at_found <= one.adds_from <= one.adds_to <= len(found)
        assert known[at_known : one.lacks_from] == found[at_found : one.adds_from]
        rebuilt += [*known[at_known : one.lacks_from], *found[one.adds_from : one.adds_to]]
        at_known, at_found = one.lacks_to, one.adds_to
    assert [*rebuilt, *known[at_known:]] == found
    assert bool(differing) == (known != found)


def test_what_may_not_lie_here_is_read_as_runs_and_never_copied(tmp_path: Path) -> None:
    for path in sorted(load.texts_directory().rglob("*.runs")):
        kept = load.known_text(path)
        assert isinstance(kept, KnownRuns)
        assert kept.size > 100, path.name
        license = load.license_of_text(path.name)
        assert license is not None
        assert kept in tuple(load.load_texts(license)), path.name
        if path.name == f"{license}.runs":
            assert load.license_text(license) is None, path.name
    (tmp_path / "x.runs").write_text(packed(words_of(TEXT).hashes))
    assert load.known_text(tmp_path / "x.runs") == KnownRuns(words_of(TEXT).hashes)
