"""What the name of a repository tells a judgement, as a key: equal keys are judged alike. Whole lists of names at once.

A name matters in four ways: the families it implies, what it says the model was made by, the known model it is named
after, and the prefixes that licenses ask for. Everything is asked of the functions that `license` asks.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from modelpick.catalog.derived import NAME_WORDS, derivation
from modelpick.catalog.model import Model
from modelpick.files import read_text, write_atomically
from modelpick.licensing import load
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.model_evidence import has_prefix

WORTH_PROCESSES = 100_000  # names; below, a second process costs more than it saves (it loads the facts, 0.3 s)
_NOTHING = Model(id="-", origin="catalog")
LARGEST = 2**30  # bytes of a list of names: 30 for each of the dump's rows
_NOBODY = "-/"  # an owner that no repository has, so that a name is not taken for the known model itself


@dataclass(frozen=True, slots=True)
class NameKey:
    """`key`: what else a judgement can tell of the name. `match`: the known model (lower case) that it is named after.
    `stem`: the name that its publisher's own model would have."""

    key: str
    match: str
    stem: str


def name_key(name: str, facts: LicenseFacts, is_made: bool, has_family: bool, is_prefixed: bool) -> NameKey:
    """The key of one name, without its owner, in lower case. The others are what `telling` says of it."""
    id = _NOBODY + name
    made = derivation(_NOTHING, id) if is_made else None
    families = "+".join(ancestor.family.name for ancestor in facts.families.of(id, None)) if has_family else ""
    asked = prefixes_of(facts)
    prefixes = "".join("1" if has_prefix(name, one) else "0" for one in asked) if is_prefixed else "0" * len(asked)
    if made is None:
        return NameKey(f"|{families}|{prefixes}", "", "")
    match = (facts.name_matches.of(id) or "").lower()
    if made.kind == "merge":
        return NameKey(f"merge|{families}|{prefixes}", match, "")
    return NameKey(f"made|{families}|{prefixes}", match, made.stem or "")


def prefixes_of(facts: LicenseFacts) -> tuple[str, ...]:
    """The prefixes that some license asks the names of derived models to begin with."""
    if "name_prefixes" not in facts.memo:
        asked = {one.owes.name_prefix for one in facts.licenses.licenses if one.owes.name_prefix}
        facts.memo["name_prefixes"] = tuple(sorted(asked))
    prefixes: tuple[str, ...] = facts.memo["name_prefixes"]
    return prefixes


def telling(name: str, facts: LicenseFacts) -> str:
    """SQL: three columns, is_made, has_family and has_prefix, that are false where a name (an expression in lower case)
    tells nothing of that kind. Where they are true, it may.
    """
    words = {word for family in facts.families if family.names for word in family.words or (family.root,)}
    begins = "|".join(sorted({prefix.lower().split()[0] for prefix in prefixes_of(facts)}))
    made = f"(^|[^a-z0-9])(?:{re.sub('[?]P<[a-z]+>', '', NAME_WORDS)})([^a-z0-9]|$)"
    has_family = f"regexp_matches({name}, '{'|'.join(sorted(re.escape(word) for word in words))}')"
    has_prefix = f"regexp_matches(replace(replace({name}, '-', ''), '_', ''), '{begins}')"
    return f"regexp_matches({name}, '{made}') AS is_made, {has_family} AS has_family, {has_prefix} AS has_prefix"


def write_keys(lists: Iterable[Path], folder: Path, *, processes: int = 1) -> list[Path]:
    """For each file of names, a file of tab-separated name, key, match, stem.

    A line of `lists` is a name and the sum of what `telling` says of it (1: is_made, 2: has_family, 4: has_prefix).
    """
    work = [(source, folder / f"{source.stem}.keys") for source in lists]
    if processes < 2 or len(work) < 2:
        for source, target in work:
            _write(source, target)
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(_write, *zip(*work, strict=True)))
    return [target for _, target in work]


def _write(source: Path, target: Path) -> None:
    facts = load.load_facts()
    names = read_text(source, code="bad_index", largest=LARGEST).splitlines()
    write_atomically(target, "".join(_lines(names, facts)))


def _lines(names: Iterable[str], facts: LicenseFacts) -> Iterator[str]:
    for line in names:
        name, told = line.split("\t")
        bits = int(told)
        found = name_key(name, facts, bool(bits & 1), bool(bits & 2), bool(bits & 4))
        yield f"{name}\t{found.key}\t{found.match}\t{found.stem}\n"
