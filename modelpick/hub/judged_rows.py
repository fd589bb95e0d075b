"""What each row is judged as: its claim under the claims of its ancestors, reduced to what they can tell it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from modelpick.hub.ancestry import join_ancestors, numbered
from modelpick.hub.claims import PSEUDO, Contexts, HubClaim
from modelpick.licensing.facts import LicenseFacts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

JudgedClaim = tuple[int, tuple[int, ...]]
"""A claim, and claims that are examples of its context."""


def judge_together(
    connection: "DuckDBPyConnection", claims: Sequence[HubClaim], facts: LicenseFacts
) -> tuple[list[JudgedClaim], list[tuple[int, ...]]]:
    """Makes as_ancestor, audited, pair, owners and ids of `build.Built`, and returns what is judged and the sets of
    judged ancestors."""
    contexts = Contexts(claims, facts)
    examples = _classes(connection, claims, contexts)
    pseudo = _as_ancestors(connection, claims, contexts, examples)
    sets = join_ancestors(connection, pseudo)
    _subjects(connection, contexts, examples, sets.members)
    return contexts.judged, sets.members


def _classes(connection: "DuckDBPyConnection", claims: Sequence[HubClaim], contexts: Contexts) -> list[int]:
    """claim_class(claim, subject, is_open, ancestor): which claims are judged alike in every context, and which tell
    others the same. Returns a claim of each class of ancestors."""
    subjects = [contexts.subject_class(number) for number in range(len(claims))]
    ancestors = [contexts.ancestor_class(number) for number in range(len(claims))]
    columns: dict[str, list[Any]] = {
        "claim INTEGER": list(range(len(claims))),
        "subject INTEGER": [one for one, _ in subjects],
        "is_open BOOLEAN": [is_open for _, is_open in subjects],
        "ancestor INTEGER": ancestors,
    }
    numbered(connection, "claim_class", columns)
    examples: dict[int, int] = {}
    for claim, number in enumerate(ancestors):
        examples.setdefault(number, claim)
    return [examples[number] for number in range(len(examples))]


def _as_ancestors(
    connection: "DuckDBPyConnection", claims: Sequence[HubClaim], contexts: Contexts, examples: Sequence[int]
) -> dict[int, int]:
    """as_ancestor(node, judged, is_row): every parent, judged under its own. Returns the PSEUDO nodes' numbers."""
    run = connection.execute
    last = len(claims) - len(PSEUDO)
    of_problem = {claims[number].problem: number for number in range(last, len(claims))}
    pseudo = {node: of_problem[problem] for node, problem in PSEUDO.items()}
    numbered(connection, "pseudo", {"node INTEGER": list(pseudo), "claim INTEGER": list(pseudo.values())})
    run("INSERT INTO node SELECT node, claim FROM pseudo")
    run(
        """CREATE TABLE parent AS SELECT node, claim, subject, coalesce(above, []) AS above
        FROM (SELECT DISTINCT parent AS node FROM edge) JOIN node USING (node) JOIN claim_class USING (claim)
        LEFT JOIN (SELECT child, list_sort(list(DISTINCT ancestor)) AS above FROM edge
            SEMI JOIN (SELECT DISTINCT parent AS node FROM edge) of_parent ON child = of_parent.node
            JOIN node ON node.node = parent JOIN claim_class USING (claim) GROUP BY child) ON child = node"""
    )
    distinct = run("SELECT subject, above, min(claim) FROM parent GROUP BY subject, above ORDER BY 3, 1, 2").fetchall()
    numbers = [contexts.number(claim, [examples[one] for one in above]) for _, above, claim in distinct]
    columns = {"subject INTEGER": [one for one, *_ in distinct], "above INTEGER[]": [above for _, above, _ in distinct],
               "judged INTEGER": numbers}  # fmt: skip
    numbered(connection, "in_context", columns)
    run(
        """CREATE TABLE as_ancestor AS
        SELECT node, judged, node >= 0 AND node NOT IN (SELECT node FROM missing) AS is_row
        FROM parent JOIN in_context USING (subject, above)"""
    )
    run("DROP TABLE parent")
    return {node: contexts.number(claim, ()) for node, claim in pseudo.items()}


def _subjects(
    connection: "DuckDBPyConnection", contexts: Contexts, examples: Sequence[int], sets: Sequence[Iterable[int]]
) -> None:
    """audited(row, owner, downloads, pair): every row with what it is judged as; owners by their downloads from 1."""
    run = connection.execute
    # In place of an ancestor's claim one that tells the same: most sets then are one of a few.
    of_judged = [examples[contexts.ancestor_class(claim)] for claim, _ in contexts.judged]
    claims_of = [frozenset(of_judged[one] for one in members) for members in sets]
    of_sets = [contexts.context_classes(claims) for claims in claims_of]
    columns = {"set_id INTEGER": list(range(len(of_sets))), "context INTEGER": [one for one, _ in of_sets],
               "context_of_roots INTEGER": [one for _, one in of_sets]}  # fmt: skip
    numbered(connection, "set_class", columns)
    run(
        """CREATE TABLE placed AS SELECT node, claim, set_id, subject,
            CASE WHEN is_open THEN context ELSE context_of_roots END AS context
        FROM (SELECT node, claim, coalesce(set_id, 0) AS set_id FROM node SEMI JOIN hub ON node = row
            LEFT JOIN done USING (node)) JOIN set_class USING (set_id) JOIN claim_class USING (claim)"""
    )
    met = run(
        "SELECT subject, context, min(claim), min(set_id) FROM placed GROUP BY subject, context ORDER BY 3, 4, 1, 2"
    ).fetchall()
    columns = {"subject INTEGER": [one for one, *_ in met], "context INTEGER": [one for _, one, *_ in met],
               "judged INTEGER": [contexts.number(claim, claims_of[set_id]) for *_, claim, set_id in met]}  # fmt: skip
    numbered(connection, "in_set", columns)
    run(
        """CREATE TABLE owners AS SELECT name, row_number() OVER (ORDER BY downloads DESC, name)::INTEGER AS owner
        FROM (SELECT split_part(id, '/', 1) AS name, sum(downloads) AS downloads FROM hub GROUP BY 1)"""
    )
    run(
        """CREATE TABLE counted AS SELECT row_number() OVER (ORDER BY judged, set_id)::INTEGER - 1 AS pair, * FROM (
            SELECT judged, set_id, count(*) AS models, sum(downloads)::BIGINT AS downloads
            FROM placed JOIN hub ON row = node JOIN in_set USING (subject, context) GROUP BY judged, set_id)"""
    )
    run(
        """CREATE TABLE audited AS SELECT row, owner, hub.downloads, pair
        FROM hub JOIN placed ON row = node JOIN in_set USING (subject, context)
        JOIN (SELECT pair, judged, set_id FROM counted) USING (judged, set_id)
        JOIN owners ON name = split_part(id, '/', 1)"""
    )
    run("CREATE TABLE pair AS SELECT pair, judged, set_id, models, downloads FROM counted")
    run("CREATE VIEW ids AS SELECT row, id FROM hub")
