"""The ancestors of every model at once: sets of claims, built level by level in the database.

A model's set is that of its parents and their sets. Where no chain is longer than 30 and none leads in a circle, each
parent is done before its children, so every edge is looked at once. What is left (circles, and what hangs below them;
chains that are too long; a thousand ancestors and more) is walked one by one as `licensing.lineage` walks it.

Tables: edge(child, parent, stated), by row number; as_ancestor(node, judged, is_row); done(node, set_id, ancestors).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from modelpick.hub.claims import PSEUDO
from modelpick.licensing.lineage import DEEPEST, MOST

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Edges = Mapping[int, Sequence[tuple[int, bool]]]  # node -> its parents, each with whether it is stated


class Sets:
    """Numbers each set of judged ancestors once; number 0 is the empty one."""

    def __init__(self) -> None:
        self.members: list[tuple[int, ...]] = [()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}

    def number(self, members: Iterable[int]) -> int:
        key = tuple(sorted(set(members)))
        if key not in self._numbers:
            self._numbers[key] = len(self.members)
            self.members.append(key)
        return self._numbers[key]


def join_ancestors(connection: "DuckDBPyConnection", pseudo: Mapping[int, int]) -> Sets:
    """Fills done(node, set_id, ancestors) for every node with parents.

    `pseudo`: the judged number of each PSEUDO node.
    """
    sets = Sets()
    connection.execute("CREATE TABLE done (node INTEGER, set_id INTEGER, ancestors BIGINT)")
    connection.execute("CREATE TABLE edge_left AS SELECT child, parent FROM edge")
    # Of a parent: what it is as an ancestor, with the set above it. `whole` is one number for both.
    connection.execute(
        "CREATE TABLE whole AS SELECT node, judged, 0 AS set_id, 0::BIGINT AS ancestors FROM as_ancestor "
        "WHERE node NOT IN (SELECT child FROM edge)"
    )
    for _ in range(DEEPEST):
        if not _level(connection, sets):
            break
    _walk_the_rest(connection, sets, pseudo)
    return sets


def _level(connection: "DuckDBPyConnection", sets: Sets) -> bool:
    """One level: the nodes all of whose parents are done. False where there is none left."""
    connection.execute(
        f"""CREATE OR REPLACE TABLE level AS SELECT * EXCLUDE (known, parents) FROM (
            SELECT child AS node, list_sort(list(DISTINCT (judged::BIGINT << 32) | set_id)) AS above,
                sum(ancestors + 1)::BIGINT AS ancestors, count(judged) AS known, count(*) AS parents
            FROM (SELECT child, judged, set_id, ancestors FROM edge_left LEFT JOIN whole ON parent = whole.node)
            GROUP BY child) WHERE known = parents AND ancestors < {MOST}"""
    )
    distinct = connection.execute("SELECT DISTINCT above FROM level").fetchall()
    if not distinct:
        return False
    numbers = []
    for (above,) in distinct:
        members: set[int] = set()
        for one in above:
            members.add(one >> 32)
            members.update(sets.members[one & 0xFFFFFFFF])
        numbers.append(sets.number(members))
    numbered(connection, "above_set", {"above BIGINT[]": [row[0] for row in distinct], "set_id INTEGER": numbers})
    connection.execute(
        "CREATE OR REPLACE TABLE fresh AS SELECT node, set_id, ancestors FROM level JOIN above_set USING (above)"
    )
    connection.execute("INSERT INTO done FROM fresh")
    connection.execute(
        "INSERT INTO whole SELECT node, judged, set_id, ancestors FROM fresh JOIN as_ancestor USING (node)"
    )
    connection.execute("CREATE OR REPLACE TABLE edge_left AS FROM edge_left ANTI JOIN fresh ON child = node")
    return True


def _walk_the_rest(connection: "DuckDBPyConnection", sets: Sets, pseudo: Mapping[int, int]) -> None:
    rest = [node for (node,) in connection.execute("SELECT DISTINCT child FROM edge_left ORDER BY 1").fetchall()]
    if not rest:
        return
    connection.execute(
        """CREATE TABLE above_rest AS WITH RECURSIVE above AS (
            SELECT DISTINCT child AS node FROM edge_left UNION SELECT parent FROM edge JOIN above ON child = node)
        SELECT node FROM above"""
    )
    edges: dict[int, list[tuple[int, bool]]] = {}
    for child, parent, stated in connection.execute(
        "SELECT child, parent, stated FROM edge SEMI JOIN above_rest ON child = node ORDER BY child, parent"
    ).fetchall():
        edges.setdefault(child, []).append((parent, stated))
    judged = dict(
        connection.execute("SELECT node, judged FROM as_ancestor SEMI JOIN above_rest USING (node)").fetchall()
    )
    rows = {
        node for (node,) in connection.execute(
            "SELECT node FROM as_ancestor SEMI JOIN above_rest USING (node) WHERE is_row").fetchall()
    }  # fmt: skip
    numbers, remembered = [], {}
    in_circle = _may_meet_itself(edges)
    for node in rest:
        key = tuple(edges[node]) if node not in in_circle else (node,)
        if key not in remembered:
            found = walk(node, edges, rows)
            members = {judged[one] for one in found if one not in pseudo} | {
                pseudo[one] for one in found if one in pseudo
            }
            remembered[key] = sets.number(members)
        numbers.append(remembered[key])
    numbered(connection, "walked", {"node INTEGER": rest, "set_id INTEGER": numbers})
    connection.execute(f"INSERT INTO done SELECT node, set_id, {MOST} FROM walked")


def _may_meet_itself(edges: Edges) -> set[int]:
    """The nodes that are an ancestor of something here: only they can be their own ancestor."""
    return {parent for parents in edges.values() for parent, _ in parents}


def walk(node: int, edges: Edges, rows: set[int]) -> set[int]:
    """The ancestors of a node, nearest first, as `licensing.lineage.ancestry` follows them; PSEUDO nodes for problems.

    `rows`: the nodes that are repositories of the dump; the others (missing, paths) have no depth.
    """
    cycle, too_deep = -2, -3
    found: dict[int, None] = {}
    links: list[tuple[int, int]] = []
    queue: list[tuple[int, tuple[int, ...]]] = [(node, (node,))]
    result: set[int] = set()
    for child, path in queue:
        for parent, stated in edges.get(child, ()):
            if parent in PSEUDO or parent not in rows:
                if parent in path and stated:
                    result.add(cycle)
                result.add(parent)
            elif parent in path:
                if stated:
                    result.add(cycle)
            else:
                is_deep = len(path) > DEEPEST
                if stated and not is_deep:
                    links.append((child, parent))
                if parent not in found:
                    found[parent] = None
                    result.add(too_deep if is_deep else parent)
                    if not is_deep:
                        queue.append((parent, (*path, parent)))
            if len(found) >= MOST:
                return result | {too_deep}
    if cycle not in result and len(links) > len(found) and _has_circle(links):
        result.add(cycle)
    return result


def _has_circle(links: Sequence[tuple[int, int]]) -> bool:
    parents: dict[int, set[int]] = {}
    for child, parent in links:
        parents.setdefault(child, set()).add(parent)
    left = {node for link in links for node in link}
    while ends := {node for node in left if not parents.get(node, set()) & left}:
        left -= ends
    return bool(left)


def numbered(connection: "DuckDBPyConnection", name: str, columns: Mapping[str, Sequence[object]]) -> None:
    """A table made of Python lists of equal length; each column by its name and type ("node INTEGER")."""
    typed = [column.split() for column in columns]
    selected = ", ".join(
        f"unnest(CAST(${number} AS {kind}[])) AS {column}" for number, (column, kind) in enumerate(typed, 1)
    )
    connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT {selected}", list(columns.values()))
