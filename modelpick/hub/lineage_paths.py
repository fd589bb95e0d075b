"""Which ancestor it is that requires the most: of single models, and of all of them for the file of verdicts. I/O."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from modelpick.errors import UsageError
from modelpick.hub.ancestry import numbered
from modelpick.hub.claims import PSEUDO
from modelpick.hub.hub_table import quoted
from modelpick.hub.slim_index import SlimIndex
from modelpick.hub.verdicts import VERDICTS, Rows
from modelpick.licensing.lineage import DEEPEST

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def strictest_above(connection: "DuckDBPyConnection", index: SlimIndex, rows: Sequence[int]) -> dict[int, str]:
    """The nearest of the strictest ancestors of each row that has one, by name."""
    if not rows:
        return {}
    models = Rows(connection, index, rows)
    strict = dict(
        connection.execute(
            f"""SELECT node, max(strictness) FROM {index.table("as_ancestor")} JOIN own USING (judged)
            SEMI JOIN asked_node USING (node) GROUP BY node"""
        ).fetchall()
    )
    found = {}
    for row in rows:
        best, seen, level = None, {row}, [row]
        for _ in range(DEEPEST):
            level = list(dict.fromkeys(up for one in level for up in models.parents.get(one, ()) if up not in seen))
            seen.update(level)
            for one in level:
                if one in strict and (best is None or strict[one] > strict[best]):
                    best = one
        if best is not None:
            found[row] = models.ids.get(best) or PSEUDO[best]
    return found


def write_verdicts(connection: "DuckDBPyConnection", index: SlimIndex, codes: Sequence[str], path: Path) -> None:
    """The verdicts as parquet: id, verdict, reasons, licenses, basis, strictest_ancestor, downloads.

    Whole or not at all. Raises UsageError(code="cannot_write").
    """
    import duckdb

    _strictest_of_all(connection, index)
    masks = [mask for (mask,) in connection.execute("SELECT DISTINCT mask FROM judged_pair").fetchall()]
    texts = [[code for number, code in enumerate(codes) if mask >> number & 1] for mask in masks]
    numbered(connection, "codes_of", {"mask HUGEINT": masks, "reasons VARCHAR[]": texts})
    words = ", ".join(quoted(verdict) for verdict in VERDICTS)
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        connection.execute(
            f"""COPY (SELECT answer.id, [{words}][strictness + 1] AS verdict, reasons, licenses, 'tag' AS basis,
                coalesce(up.id, gone.id, CASE best.who WHEN -1 THEN {quoted(PSEUDO[-1])}
                    WHEN -2 THEN {quoted(PSEUDO[-2])} END) AS strictest_ancestor, downloads
            FROM answer JOIN codes_of USING (mask) JOIN licenses_of USING (judged) LEFT JOIN best ON best.node = row
            LEFT JOIN (SELECT row AS who, id FROM {index.table("ids")}
                SEMI JOIN (SELECT DISTINCT who FROM best) ON who = row) up ON up.who = best.who
            LEFT JOIN {index.table("missing")} gone ON gone.node = best.who)
            TO {quoted(str(part))} (FORMAT parquet, COMPRESSION zstd)"""
        )
        part.replace(path)
    except (OSError, duckdb.IOException) as error:
        raise UsageError(
            f"{path} cannot be written: {error}", fix="name a file in a folder that exists and is writable",
            code="cannot_write",
        ) from None  # fmt: skip
    finally:
        part.unlink(missing_ok=True)


def _strictest_of_all(connection: "DuckDBPyConnection", index: SlimIndex) -> None:
    """best(node, who): of every row with parents, the nearest of its strictest ancestors.

    `rank` is the strictness and, among equals, the nearness; it is passed down until nothing changes.
    """
    run = connection.execute
    run(
        f"""CREATE OR REPLACE TABLE self AS SELECT node, max(strictness)::INTEGER * 64 AS rank
        FROM {index.table("as_ancestor")} JOIN own USING (judged) GROUP BY node"""
    )
    step = """SELECT child AS node, max(rank) AS rank, max_by(who, rank) AS who FROM (
        SELECT child, rank - 1 AS rank, parent AS who FROM {edges} JOIN self ON parent = node
        UNION ALL SELECT child, rank - 1, who FROM {edges} JOIN best ON parent = node) GROUP BY child"""
    run(
        f"CREATE OR REPLACE TABLE inner_edge AS SELECT child, parent FROM {index.table('edge')} "
        "SEMI JOIN self ON child = node"
    )
    run("CREATE OR REPLACE TABLE best (node INTEGER, rank INTEGER, who INTEGER)")
    for _ in range(DEEPEST):
        run("CREATE OR REPLACE TABLE next AS " + step.format(edges="inner_edge"))
        (changed,) = run(
            "SELECT count(*) FROM (SELECT node, rank FROM next EXCEPT SELECT node, rank FROM best)"
        ).fetchone() or (0,)
        run("DROP TABLE best")
        run("ALTER TABLE next RENAME TO best")
        if not changed:
            break
    run("CREATE OR REPLACE TABLE last AS " + step.format(edges=index.table("edge")))
    run("DROP TABLE best")
    run("ALTER TABLE last RENAME TO best")
