"""Which rows claim the same: one hash of everything in a row that a judgement looks at."""

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from modelpick.catalog.card import hub_id
from modelpick.catalog.model import Model
from modelpick.hub.ancestry import numbered
from modelpick.hub.claims import CYCLE, LOCAL_PATH, MISSING, TOO_DEEP, HubClaim, owners_that_matter
from modelpick.hub.hub_table import quoted_list
from modelpick.hub.parent_edges import known_ids
from modelpick.licensing import load
from modelpick.licensing.assessed_model import TEXT_PIPELINES
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.training_data import assess_training_data

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def add_data_kinds(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
    """data(row, data): one tag for each kind of data set that a row names; kinds differ in what the terms restrict."""
    run = connection.execute
    ids = [one.id.lower() for one in facts.datasets] + [one.id.lower() for one in facts.derived_datasets]
    patterns = {name for id in ids for name in (id, id.rpartition("/")[2]) if name != "*"}
    perhaps = re.compile("|".join(translate(pattern) for pattern in sorted(patterns)))
    policy = load.load_policy("commercial")  # the kinds are the same under every policy
    is_data = (
        "(tag >= 'd' AND tag < 'e' OR tag >= 'D' AND tag < 'E' OR tag >= 's' AND tag < 't' OR tag >= 'S' AND tag < 'T')"
    )
    tags = [tag for (tag,) in run(f"SELECT DISTINCT tag FROM tag WHERE {is_data} ORDER BY tag").fetchall()]
    examples: dict[object, str] = {}
    kinds = []
    for tag in tags:
        name = hub_id(tag.partition(":")[2]).removeprefix("datasets/").strip().lower()
        if perhaps.match(name) or perhaps.match(name.rpartition("/")[2]):
            model = Model(id="-/-", origin="catalog", tags=(tag,))
            parts = assess_training_data(model, (), policy, facts, lambda _: None)
            kind = frozenset(reason.code for part in parts for reason in part.reasons)
        else:
            kind = frozenset({"training_data_unread"})
        kinds.append(examples.setdefault(kind, tag) if kind else None)
    numbered(connection, "data_kind", {"tag VARCHAR": tags, "kind VARCHAR": kinds})
    run(
        "CREATE TABLE data AS SELECT row, string_agg(DISTINCT kind, chr(10) ORDER BY kind) AS data "
        "FROM tag JOIN data_kind USING (tag) WHERE kind IS NOT NULL GROUP BY row"
    )


def add_claims(connection: "DuckDBPyConnection", facts: LicenseFacts) -> list[HubClaim]:
    """node(node, claim) for rows and missing parents, and one example of each claim."""
    run = connection.execute
    is_license = "(tag >= 'l' AND tag < 'm' OR tag >= 'L' AND tag < 'M') AND contains(tag, ':')"
    run(  # most rows have one such tag; sorting lists of one is what took the time
        f"""CREATE TABLE spoken AS WITH said AS (FROM tag WHERE {is_license} OR NOT contains(tag, ':')),
            ends AS (SELECT row, min(tag) AS tags, min(tag) = max(tag) AS is_one FROM said GROUP BY row)
        SELECT row, tags FROM ends WHERE is_one
        UNION ALL SELECT row, string_agg(DISTINCT tag, chr(10) ORDER BY tag)
            FROM said SEMI JOIN (FROM ends WHERE NOT is_one) USING (row) GROUP BY row"""
    )
    run("DROP TABLE tag")
    owners, text = quoted_list(owners_that_matter(facts)), quoted_list(TEXT_PIPELINES)
    owner = "lower(split_part(id, '/', 1))"
    special = f"CASE WHEN lower(id) IN ({quoted_list(known_ids(facts))}) THEN lower(id) END"
    name_part = "split_part(lower(id), '/', -1)"
    same_owner = f"CASE WHEN c.license_link IS NOT NULL THEN split_part(target, '/', 1) = {owner} END"
    known_owner = f"CASE WHEN {owner} IN ({owners}) THEN {owner} END"
    modality = (
        f"CASE WHEN contains(lower(id), 'vision') THEN 3 WHEN pipeline_tag IS NULL THEN 0 "
        f"WHEN pipeline_tag IN ({text}) THEN 1 ELSE 2 END"
    )
    run(
        f"""CREATE TABLE seen AS SELECT row AS node, id, tags, data, card, gated, pipeline_tag, is_peft, rest, key,
            hash(tags, data, c.license, c.license_name, c.license_link, {same_owner}, gated, {modality},
            coalesce(is_peft, false), coalesce(key, ''), match <> '' AND match <> lower(id), {known_owner}, {special},
            rest, CASE WHEN rest IS NOT NULL THEN row END) AS seen
        FROM hub LEFT JOIN spoken USING (row) LEFT JOIN data USING (row) LEFT JOIN hub_card USING (row)
        LEFT JOIN card c USING (card) LEFT JOIN rare USING (row) LEFT JOIN name ON name = {name_part}"""
    )
    run("DROP TABLE spoken")
    run("DROP TABLE data")
    rows = run(
        """SELECT seen, id, tags, data, license, license_name, license_link, gated, pipeline_tag, is_peft,
            rest FROM (
            SELECT seen, min(id) AS id, any_value(tags) AS tags, any_value(data) AS data, any_value(card) AS card,
                any_value(gated) AS gated, min(pipeline_tag) AS pipeline_tag, bool_or(is_peft) AS is_peft,
                any_value(rest) AS rest
            FROM seen GROUP BY seen) LEFT JOIN card USING (card) ORDER BY id, seen"""
    ).fetchall()
    run(
        f"""CREATE TABLE seen_missing AS SELECT node, id, hash('missing', coalesce(key, ''),
            CASE WHEN {owner} IN ({owners}) THEN {owner} END, {special}) AS seen
        FROM missing LEFT JOIN name ON name = {name_part}"""
    )
    gone = run("SELECT seen, min(id) FROM seen_missing GROUP BY seen ORDER BY 2, 1").fetchall()
    claims = [_claim(*row[1:]) for row in rows] + [HubClaim(id, problem=MISSING) for _, id in gone]
    keys = [row[0] for row in rows] + [seen for seen, _ in gone]
    numbered(connection, "claim", {"seen UBIGINT": keys, "claim INTEGER": list(range(len(keys)))})
    run(
        "CREATE TABLE node AS SELECT node, claim FROM (SELECT node, seen FROM seen UNION ALL "
        "SELECT node, seen FROM seen_missing) JOIN claim USING (seen)"
    )
    run("DROP TABLE seen")
    return claims + [HubClaim("", problem=problem) for problem in (LOCAL_PATH, CYCLE, TOO_DEEP)]


def _claim(
    id: str, tags: str | None, data: str | None, license: str | None, license_name: str | None,
    license_link: str | None, gated: str | None, pipeline_tag: str | None, is_peft: bool | None,
    rest: str | None,
) -> HubClaim:  # fmt: skip
    words = tuple(word for text in (tags, data) if text for word in text.split("\n"))
    library = "peft" if is_peft else None
    return HubClaim(id, words, license, license_name, license_link, gated, pipeline_tag, library, rest)
