"""Who was made from whom: the edges that tags, cards and known_models state, and those that names and links tell."""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelpick.catalog.card import hub_id
from modelpick.hub.ancestry import numbered
from modelpick.hub.claims import LOCAL_PATH, MISSING, HubClaim
from modelpick.hub.hub_table import quoted, quoted_list
from modelpick.hub.stated_parents import odd_parents, parents_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license_text import linked

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_PLAIN_PARENT = r"[a-z0-9][a-z0-9_.-]*/[a-z0-9_][a-z0-9_.-]*"
_HUB_LINK = r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)"


def add_edges(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
    """edge(child, parent, stated), and missing(node, id) for parents without a row."""
    run = connection.execute
    part = "split_part(tag, ':', -1)"
    run(
        f"""CREATE TABLE named AS SELECT DISTINCT row, parent FROM (
            SELECT row, CASE WHEN contains(tag, '//') OR split_part(tag, ':', 4) <> '' THEN tag ELSE lower({part}) END
                AS parent FROM tag WHERE tag >= 'b' AND tag < 'c' OR tag >= 'B' AND tag < 'C'
            UNION ALL SELECT row, lower(parent) FROM base) WHERE parent <> ''"""
    )
    run("DROP TABLE base")
    plain = (
        f"regexp_full_match(parent, {quoted(_PLAIN_PARENT)}) AND length(parent) <= 300 "
        "AND NOT regexp_matches(parent, '^(hf|(www.)?huggingface)[.]co/|^n/a$')"
    )
    odd = [text for (text,) in run(f"SELECT DISTINCT parent FROM named WHERE NOT ({plain})").fetchall()]
    texts, ids, problems = [], [], []
    for text in odd:
        for id, problem in odd_parents(text, facts):
            texts.append(text)
            ids.append(id)
            problems.append(problem)
    numbered(connection, "odd", {"parent VARCHAR": texts, "id VARCHAR": ids, "problem VARCHAR": problems})
    renamed = [
        (entry.id.lower(), facts.curations.canonical(entry.id).lower()) for entry in facts.curations if entry.renamed_to
    ]
    numbered(
        connection, "renamed", {"old VARCHAR": [one for one, _ in renamed], "new VARCHAR": [one for _, one in renamed]}
    )
    _cards(connection, facts)
    run(
        f"""CREATE TABLE wanted AS
            SELECT row, coalesce(new, parent) AS id, NULL::VARCHAR AS problem, true AS stated
                FROM named LEFT JOIN renamed ON parent = old WHERE {plain}
            UNION ALL SELECT row, id, problem, true FROM named JOIN odd USING (parent)
            UNION ALL SELECT row, target, NULL, false FROM hub_card JOIN card USING (card) WHERE target IS NOT NULL"""
    )
    run("DROP TABLE named")
    run("CREATE TABLE by_id AS SELECT lower(id) AS id, min(row) AS row FROM hub GROUP BY ALL")
    curated = known_ids(facts)
    run(
        f"""CREATE TABLE missing AS SELECT id,
            CAST((SELECT coalesce(max(row), 0) + 1 FROM hub) + row_number() OVER () AS INTEGER) AS node
            FROM (SELECT DISTINCT id FROM wanted ANTI JOIN by_id USING (id)
            WHERE (problem IS NULL OR problem = '{MISSING}') AND (stated OR id IN (SELECT unnest(?::VARCHAR[]))))""",
        [curated],
    )
    run(
        f"""CREATE TABLE edge AS SELECT child, parent, bool_or(stated) AS stated FROM (
            SELECT w.row AS child, w.stated, CASE WHEN w.problem = '{LOCAL_PATH}' THEN -1
                WHEN lower(h.id) = w.id THEN -2 ELSE coalesce(by_id.row, missing.node) END AS parent
            FROM wanted w JOIN hub h ON h.row = w.row LEFT JOIN by_id ON by_id.id = w.id
            LEFT JOIN missing ON missing.id = w.id)
        WHERE parent IS NOT NULL AND (parent <> -2 OR stated) GROUP BY child, parent"""
    )
    run("DROP TABLE wanted")


def known_ids(facts: LicenseFacts) -> list[str]:
    """Repositories that are known even where they cannot be found (a trace that leads there counts)."""
    return sorted({entry.id.lower() for entry in facts.curations})


def _cards(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
    """hub_card(row, card), card(card, license, license_name, license_link, target): what cards say, each once.

    A link stays in the claim where it may name a license, and is a trace of a parent where it leads to a repository.
    """
    run = connection.execute
    linked_to = sorted({match[1].lower() for one in facts.licenses.licenses for link in one.source.links
                        if (match := re.match(_HUB_LINK, f"https://{link.partition('://')[2] or link}"))})  # fmt: skip
    own = f"lower(regexp_extract(json_extract_string(license_link, '$'), {quoted(_HUB_LINK)}, 1)) = lower(id)"
    run(
        f"""CREATE TABLE written AS SELECT row, license, license_name, CASE WHEN {own} AND NOT
            list_contains(?::VARCHAR[], lower(id)) THEN NULL ELSE license_link END AS license_link
        FROM hub WHERE license IS NOT NULL OR license_name IS NOT NULL OR license_link IS NOT NULL""",
        [linked_to],
    )
    rows = run("SELECT DISTINCT license, license_name, license_link FROM written").fetchall()
    kept, targets = [], []
    for license, name, link in rows:
        text = json.loads(link) if link is not None else None
        target = hub_id(text).lower() if isinstance(text, str) and hub_id(text) != text.strip() else None
        if target is not None and (target.startswith("datasets/") or target.count("/") != 1):
            target = None
        matters = not isinstance(text, str | None) or _tells_a_license(text, target, facts)
        kept.append((license, name, link if matters else None))
        targets.append(facts.curations.canonical(target).lower() if target else None)
    columns = {"license VARCHAR": [row[0] for row in rows], "license_name VARCHAR": [row[1] for row in rows],
               "license_link VARCHAR": [row[2] for row in rows], "kept_link VARCHAR": [row[2] for row in kept],
               "target VARCHAR": targets}  # fmt: skip
    numbered(connection, "read_card", columns)
    run(
        "CREATE TABLE card AS SELECT row_number() OVER () AS card, license, license_name, kept_link AS license_link, "
        "target, license_link AS written_link FROM read_card"
    )
    run(
        """CREATE TABLE hub_card AS SELECT row, card FROM written w JOIN card c
            ON w.license IS NOT DISTINCT FROM c.license AND w.license_name IS NOT DISTINCT FROM c.license_name
            AND w.license_link IS NOT DISTINCT FROM c.written_link"""
    )
    run("DROP TABLE written")
    for column in ("license", "license_name", "license_link"):
        run(f"ALTER TABLE hub DROP COLUMN {column}")


def _tells_a_license(link: str | None, target: str | None, facts: LicenseFacts) -> bool:
    """Whether a link may lead to a known license: by its address, or through the repository that it leads to."""
    if not link:
        return False
    if linked(link, facts.licenses):
        return True
    return target is not None and bool(facts.curations.about(target) or facts.families.of(target, None))


def add_own_parents(connection: "DuckDBPyConnection", facts: LicenseFacts, claims: Sequence[HubClaim]) -> None:
    """Edges that nobody stated: to the publisher's own model of that name, and those that known_models adds or ends."""
    run = connection.execute
    run(
        """INSERT INTO edge SELECT child, parent, false FROM (
            SELECT hub.row AS child, by_id.row AS parent FROM hub ANTI JOIN edge ON hub.row = child
            JOIN name ON name = split_part(lower(hub.id), '/', -1) AND stem <> '' AND contains(hub.id, '/')
            JOIN by_id ON by_id.id = split_part(lower(hub.id), '/', 1) || '/' || stem) WHERE child <> parent"""
    )
    known = [id for id in known_ids(facts) if any(one.bases or one.independent for one in facts.curations.about(id))]
    for row, id, claim in run(
        f"SELECT row, hub.id, claim FROM hub JOIN node ON node = row WHERE lower(hub.id) IN ({quoted_list(known)})"
    ).fetchall():
        stated = [name for (name,) in run(
            "SELECT coalesce(h.id, m.id) FROM edge LEFT JOIN hub h ON h.row = parent "
            "LEFT JOIN missing m ON m.node = parent WHERE child = ? AND stated AND parent >= 0",
            [row]).fetchall()]  # fmt: skip
        run("DELETE FROM edge WHERE child = ? AND (NOT stated OR parent >= 0)", [row])
        for parent in parents_of(claims[claim].model(id, stated), facts):
            _add_edge(connection, row, parent.id.lower())


def join_twins(connection: "DuckDBPyConnection") -> list[list[int]]:
    """The rows of each id that has several. What was made from one of them is taken to be made from all."""
    run = connection.execute
    run("CREATE TABLE twin AS SELECT row, lower(id) AS id FROM hub ANTI JOIN by_id USING (row)")
    run("INSERT INTO twin SELECT by_id.row, id FROM by_id SEMI JOIN twin USING (id)")
    run(
        """INSERT INTO edge SELECT DISTINCT child, other.row, stated FROM edge JOIN twin one ON parent = one.row
        JOIN twin other ON one.id = other.id AND one.row <> other.row"""
    )
    return [rows for (rows,) in run("SELECT list_sort(list(row)) FROM twin GROUP BY id ORDER BY 1").fetchall()]


def _add_edge(connection: "DuckDBPyConnection", row: int, parent: str) -> None:
    run = connection.execute
    found = run(
        "SELECT row FROM by_id WHERE id = ? UNION ALL SELECT node FROM missing WHERE id = ?", [parent] * 2
    ).fetchone()
    if found is not None:
        run("INSERT INTO edge VALUES (?, ?, true)", [row, -2 if found[0] == row else found[0]])
