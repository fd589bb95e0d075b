"""What the name of a repository tells a judgement, as a key: equal keys are judged alike. Whole lists of names at once.

A name matters in four ways: the families it implies, what it says the model was made by, the known model it is named
after, and the prefixes that licenses ask for. The database decides all four from the patterns that `license` uses; a
name whose patterns its regular expressions (RE2, no looking around) cannot express goes through `license`'s functions.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpick.catalog.derived import NAME_WORDS, derivation
from modelpick.catalog.model import Model
from modelpick.hub.ancestry import numbered
from modelpick.hub.claims import prefixes_of
from modelpick.hub.hub_table import quoted
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.model_evidence import has_prefix
from modelpick.licensing.overrides import WeightFamily

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NOTHING = Model(id="-", origin="catalog")
_NOBODY = "-/"  # an owner that no repository has, so that a name is not taken for the known model itself
_ASK = "?"  # in place of the families: ask `license`
_BEHIND = re.compile(r"\(\?<!(\[[^\]^]+\]|\\d|\w)\)")
_AHEAD = re.compile(r"\(\?!(\[[^\]^]+\]|\\d|\w)\)$")
_ENDS = "('', '-', '_', '.')"  # what may follow the name of a known model in a name made from it


@dataclass(frozen=True, slots=True)
class NameKey:
    """`key`: what else a judgement can tell of the name. `match`: the known model (lower case) that it is named after.
    `stem`: the name that its publisher's own model would have."""

    key: str
    match: str
    stem: str


def name_key(name: str, facts: LicenseFacts) -> NameKey:
    """The key of one name, without its owner, in lower case, by the functions that `license` asks."""
    id = _NOBODY + name
    made = derivation(_NOTHING, id)
    families = "+".join(ancestor.family.name for ancestor in facts.families.of(id, None))
    prefixes = "".join("1" if has_prefix(name, one) else "0" for one in prefixes_of(facts))
    if made is None:
        return NameKey(f"|{families}|{prefixes}", "", "")
    match = (facts.name_matches.of(id) or "").lower()
    if made.kind == "merge":
        return NameKey(f"merge|{families}|{prefixes}", match, "")
    return NameKey(f"made|{families}|{prefixes}", match, made.stem or "")


def add_name_keys(connection: "DuckDBPyConnection", facts: LicenseFacts, names: str) -> int:
    """Makes name(name, key, match, stem) of the names (lower case, distinct) that the query `names` gives in a column
    `name`; one that tells nothing is not in it. Returns how many names the database could not decide alone.
    """
    run = connection.execute
    begun = r"(?s)^(.*?(?:^|[^a-z0-9]))"
    ended = "(?:[^a-z0-9]|$)"
    perhaps = f"(^|[^a-z0-9])(?:{re.sub('[?]P<[a-z]+>', '', NAME_WORDS)}){ended}"
    run(
        f"""CREATE TABLE asked AS SELECT name, {_families(facts)} AS families, {_prefixes(facts)} AS prefixes,
            CASE WHEN regexp_matches(name, {quoted(perhaps)}) AND NOT contains(name, 'unquantized')
                THEN regexp_extract(name, {quoted(f"{begun}(?:{NAME_WORDS}){ended}")},
                    ['front', 'adapter', 'merge', 'quantized']) END AS said
        FROM ({names})"""
    )
    run("DELETE FROM asked WHERE families = '' AND said IS NULL AND NOT contains(prefixes, '1')")
    left = [name for (name,) in run(f"SELECT name FROM asked WHERE contains(families, '{_ASK}')").fetchall()]
    keys = [name_key(name, facts) for name in left]
    _matches(connection, facts)
    run(
        f"""CREATE TABLE name AS SELECT a.name, CASE WHEN said IS NULL THEN '' WHEN said.merge <> '' THEN 'merge'
                ELSE 'made' END || '|' || families || '|' || prefixes AS key, coalesce(match, '') AS match,
            CASE WHEN said IS NULL OR said.merge <> '' THEN '' ELSE rtrim(said.front, '-_.') END AS stem
        FROM asked a LEFT JOIN matched USING (name) WHERE NOT contains(families, '{_ASK}')"""
    )
    columns = {"name VARCHAR": left, "key VARCHAR": [one.key for one in keys],
               "match VARCHAR": [one.match for one in keys], "stem VARCHAR": [one.stem for one in keys]}  # fmt: skip
    numbered(connection, "by_license", columns)
    run("INSERT INTO name SELECT * FROM by_license WHERE key <> ? OR match <> ''", [_nothing(facts)])
    run("DROP TABLE asked")
    run("DROP TABLE matched")
    return len(left)


def _nothing(facts: LicenseFacts) -> str:
    """The key of a name that tells nothing."""
    return f"||{'0' * len(prefixes_of(facts))}"


def _matches(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
    """matched(name, match): of the names made from others, the known model whose whole name begins each, as
    `NameMatches.of` finds it: the longest, and before it one that begins the name itself, not what follows a `_`."""
    run = connection.execute
    known = facts.name_matches.known
    columns = {"known VARCHAR": list(known), "id VARCHAR": [id.lower() for id in known.values()]}
    numbered(connection, "known_name", columns)
    first = "regexp_extract({}, '^[^-_.]*')"
    run(
        f"""CREATE TABLE known_length AS
        SELECT {first.format("known")} AS first, list(DISTINCT length(known)) AS lengths FROM known_name GROUP BY 1"""
    )
    run(
        f"""CREATE TABLE matched AS SELECT name, arg_max(id, rank) AS match FROM (
            SELECT name, length + CASE WHEN is_whole THEN 1000 ELSE 0 END AS rank, left(start, length) AS known
            FROM (SELECT name, start, is_whole, unnest(lengths) AS length FROM (
                    SELECT name, name AS start, true AS is_whole FROM asked WHERE said IS NOT NULL
                    UNION ALL SELECT name, substr(name, instr(name, '_') + 1), false
                        FROM asked WHERE said IS NOT NULL AND contains(name, '_'))
                JOIN known_length ON first = {first.format("start")})
            WHERE length <= length(start) AND substr(start, length + 1, 1) IN {_ENDS}
        ) JOIN known_name USING (known) GROUP BY name"""
    )
    run("DROP TABLE known_name")
    run("DROP TABLE known_length")


def _prefixes(facts: LicenseFacts) -> str:
    """SQL: for each prefix "1" where a name begins with it, as `has_prefix` has it."""
    plain = (
        "replace(replace(CASE WHEN starts_with(name, 'meta-') THEN substr(name, 6) ELSE name END, '-', ''), '_', '')"
    )
    tests = [
        f"CASE WHEN starts_with({plain}, {quoted(one.lower().replace(' ', ''))}) THEN '1' ELSE '0' END"
        for one in prefixes_of(facts)
    ]
    return " || ".join(tests) or "''"


def _families(facts: LicenseFacts) -> str:
    """SQL: the families that a name implies, joined by "+", as `WeightFamilies.of` finds them; _ASK where it cannot
    tell."""
    roots: dict[str, list[WeightFamily]] = {}
    for family in facts.families:
        if family.names:
            roots.setdefault(family.root, []).append(family)
    parts = [f"CASE WHEN regexp_matches(name, '[^ -~]') THEN '{_ASK}' END"]
    for root, families in roots.items():
        words = sorted({word for family in families for word in family.words or (root,)})
        has_word = " OR ".join(f"contains(name, {quoted(word)})" for word in words)
        parts.append(f"CASE WHEN {has_word} THEN CASE {' '.join(map(_case, families))} END END")
    return f"concat_ws('+', {', '.join(parts)})"


def _case(family: WeightFamily) -> str:
    subject, ask = "name", ""
    if family.but_not:
        taken, is_exact = _as_re2(family.but_not)
        if is_exact and not any("(?" in one for one in family.but_not):  # what is looked at would be taken away as well
            subject = f"regexp_replace(name, {quoted(taken)}, '', 'g')"
        else:
            ask = f"WHEN regexp_matches(name, {quoted(taken)}) THEN '{_ASK}' "
    pattern, is_exact = _as_re2(family.names)
    told = family.name if is_exact else _ASK
    return f"{ask}WHEN regexp_matches({subject}, {quoted(pattern)}) THEN {quoted(told)}"


def _as_re2(patterns: tuple[str, ...]) -> tuple[str, bool]:
    """Patterns as one expression that does not look around, and whether it finds exactly what they find. Where it
    cannot, it finds all of that and more."""
    found, is_exact = [], True
    for pattern in patterns:
        plain = pattern
        if "|" not in re.sub(r"\([^()]*\)", "", re.sub(r"\\.|\[[^\]]*\]", "", pattern)) or "(?" not in pattern:
            # A test of one letter before the match or after it is the letter itself, or the end of the name.
            plain = _AHEAD.sub(lambda one: f"(?:{_other(one[1])}|$)", plain)
            if _BEHIND.match(plain):
                plain = _BEHIND.sub(lambda one: f"(?:^|{_other(one[1])})", plain, count=1)
        if re.search(r"\(\?<?[=!]", plain):
            plain, is_exact = _without_looking(pattern), False
        found.append(f"(?:{plain})")
    return f"(?i){'|'.join(found)}", is_exact


def _other(letters: str) -> str:
    """The class of every letter but these: a class, a digit's escape, or one letter."""
    return f"[^{letters[1:-1] if letters[0] == '[' else letters}]"


def _without_looking(pattern: str) -> str:
    """The pattern without what it asks of its surroundings: it finds more."""
    while (begin := re.search(r"\(\?<?[=!]", pattern)) is not None:
        depth, place = 1, begin.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(pattern[place], 0) if pattern[place - 1] != "\\" else 0
            place += 1
        pattern = pattern[: begin.start()] + pattern[place:]
    return pattern
