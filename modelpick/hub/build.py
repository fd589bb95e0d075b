"""From a dump to what audits start from: claims, sets of ancestors, and which row has which. Knows no policy.

Each step is one query over all rows, and Python for what is distinct: names, cards, data sets, odd parents, claims. It
takes seconds for millions of rows; `slim_index` keeps the result.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelpick.catalog.derived import TELLING_TAGS
from modelpick.hub.claim_rows import add_claims, add_data_kinds
from modelpick.hub.claims import HubClaim
from modelpick.hub.hub_table import HubTable, quoted
from modelpick.hub.judged_rows import JudgedClaim, judge_together
from modelpick.hub.name_keys import add_name_keys
from modelpick.hub.parent_edges import add_edges, add_own_parents, join_twins
from modelpick.hub.rare_cards import add_rare_cards
from modelpick.licensing.facts import LicenseFacts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Show = Callable[[str, int, int | None], None]
_FIRST_LETTERS = (("b", "c"), ("d", "e"), ("l", "n"), ("q", "r"), ("s", "t"))  # of TELLING_TAGS: from, and up to
_ID = "[A-Za-z0-9_.-]{1,96}(/[A-Za-z0-9_.-]{1,96})?"
_NAMES = """SELECT DISTINCT split_part(lower(id), '/', -1) AS name FROM (
    SELECT id FROM hub UNION ALL SELECT id FROM missing)"""


@dataclass(frozen=True, slots=True)
class Built:
    """What a dump comes to before any policy. `judged`: claims in contexts; `sets`: the judged ancestors of a model.

    The rest is in the database: audited(row, owner, downloads, pair), ids(row, id), pair(pair, judged, set_id, models,
    downloads), owners(owner, name), edge(child, parent, stated), as_ancestor(node, judged, is_row), missing(node, id).
    """

    claims: Sequence[HubClaim]
    judged: Sequence[JudgedClaim]
    sets: Sequence[tuple[int, ...]]
    skipped: int  # rows without an id that the Hub could have given
    twins: Sequence[Sequence[int]]  # rows of one id, in any spelling of upper and lower case, where it has several


def build(connection: "DuckDBPyConnection", table: HubTable, facts: LicenseFacts, show: Show) -> Built:
    """Reads the dump and makes the tables of `Built`."""
    run = connection.execute
    show("reading the file", 0, None)
    _read(connection, table)
    add_rare_cards(connection, facts)
    show("following parents", 0, None)
    add_edges(connection, facts)
    show("reading names", 0, None)
    add_name_keys(connection, facts, _NAMES)
    show("telling claims apart", 0, None)
    add_data_kinds(connection, facts)
    claims = add_claims(connection, facts)
    add_own_parents(connection, facts, claims)
    twins = join_twins(connection)
    show("joining ancestors", 0, None)
    judged, sets = judge_together(connection, claims, facts)
    (kept,) = run("SELECT count(*) FROM audited").fetchone() or (0,)
    return Built(claims, judged, sets, table.rows - kept, twins)


def _read(connection: "DuckDBPyConnection", table: HubTable) -> None:
    """hub(row, id, downloads, ...), tag(row, tag): the tags that tell something, base(row, parent), odd_card(row, id,
    bases, card). Cards are parsed once, in one query: a filter on what was parsed would parse them again."""
    run = connection.execute
    run(
        f"""CREATE TABLE hub AS SELECT CAST(row AS INTEGER) AS row, id, coalesce(downloads, 0) AS downloads,
            license, license_name, license_link, gated, pipeline_tag, lower(library_name) = 'peft' AS is_peft,
            nullif(bases, []) AS bases, nullif(datasets, []) AS datasets, rare,
            regexp_full_match(id, {quoted(_ID)}) AS is_id FROM ({table.query})"""
    )
    # Comparing first letters, which needs no regular expression, leaves a third of the tags.
    ranges = [*_FIRST_LETTERS, *((a.upper(), b.upper()) for a, b in _FIRST_LETTERS)]
    starts = " OR ".join(f"tag >= '{a}' AND tag < '{b}'" for a, b in ranges)
    run(
        f"""CREATE TABLE tag AS SELECT row, tag FROM (
            SELECT CAST(row AS INTEGER) AS row, unnest(tags) AS tag FROM ({table.query}))
        WHERE ({starts}) AND regexp_matches(tag, {quoted(TELLING_TAGS)})"""
    )
    run("CREATE TABLE base AS SELECT row, unnest(bases) AS parent FROM hub WHERE bases IS NOT NULL")
    # The Hub makes a tag of each data set of a card; where it has not, the card counts all the same.
    run(
        """INSERT INTO tag SELECT row, replace(tag, chr(10), ' ') FROM (
            SELECT DISTINCT row, 'dataset:' || unnest(datasets) AS tag FROM hub WHERE datasets IS NOT NULL)
        ANTI JOIN tag USING (row, tag)"""
    )
    run("CREATE TABLE odd_card AS SELECT row, id, coalesce(bases, []) AS bases, rare AS card FROM hub "
        "WHERE rare IS NOT NULL")  # fmt: skip
    run("DELETE FROM hub WHERE is_id IS NOT true")
    for column in ("bases", "datasets", "rare", "is_id"):
        run(f"ALTER TABLE hub DROP COLUMN {column}")
