"""From a dump to what audits start from: claims, sets of ancestors, and which row has which. Knows no policy.

Each step is one query over all rows, and Python for what is distinct: names, cards, data sets, odd parents, claims. It
takes seconds for millions of rows; `slim_index` keeps the result.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick.catalog.card import hub_id
from modelpick.catalog.derived import TELLING_TAGS
from modelpick.catalog.model import Model
from modelpick.hub import name_keys
from modelpick.hub.ancestry import join_ancestors, numbered
from modelpick.hub.claims import CYCLE, LOCAL_PATH, MISSING, PSEUDO, TOO_DEEP, Contexts, HubClaim, owners_that_matter
from modelpick.hub.hub_table import HubTable, quoted
from modelpick.hub.rare_cards import add_rare_cards
from modelpick.hub.stated_parents import odd_parents, parents_of
from modelpick.licensing import load
from modelpick.licensing.assessed_model import TEXT_PIPELINES
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.license_text import linked
from modelpick.licensing.training_data import assess_training_data

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Show = Callable[[str, int, int | None], None]
_FIRST_LETTERS = (("b", "c"), ("d", "e"), ("l", "n"), ("q", "r"), ("s", "t"))  # of TELLING_TAGS: from, and up to
_ID = "[A-Za-z0-9_.-]{1,96}(/[A-Za-z0-9_.-]{1,96})?"
_PLAIN_PARENT = r"[a-z0-9][a-z0-9_.-]*/[a-z0-9_][a-z0-9_.-]*"
_HUB_LINK = r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)"


@dataclass(frozen=True, slots=True)
class Built:
    """What a dump comes to before any policy. `judged`: claims in contexts; `sets`: the judged ancestors of a model.

    The rest is in the database: audited(row, owner, downloads, pair), ids(row, id), pair(pair, judged, set_id, models,
    downloads), owners(owner, name), edge(child, parent, stated), as_ancestor(node, judged, is_row), missing(node, id).
    """

    claims: Sequence[HubClaim]
    judged: Sequence[tuple[int, tuple[int, ...]]]
    sets: Sequence[tuple[int, ...]]
    skipped: int  # rows without an id that the Hub could have given
    twins: Sequence[Sequence[int]]  # rows of one id, in any spelling of upper and lower case, where it has several


def build(connection: "DuckDBPyConnection", table: HubTable, facts: LicenseFacts, folder: Path, show: Show) -> Built:
    """Reads the dump and makes the tables of `Built`. `folder` is for files between processes."""
    run = connection.execute
    show("reading the file", 0, None)
    _read(connection, table)
    add_rare_cards(connection, table, facts)
    show("following parents", 0, None)
    _edges(connection, facts)
    show("reading names", 0, None)
    _names(connection, facts, folder)
    show("telling claims apart", 0, None)
    _data_classes(connection, facts)
    claims = _claims(connection, facts)
    _own_parents(connection, facts, claims)
    twins = _twins(connection)
    show("joining ancestors", 0, None)
    contexts = Contexts(claims, facts)
    pseudo = _as_ancestors(connection, claims, contexts)
    sets = join_ancestors(connection, pseudo)
    _subjects(connection, contexts, sets.members)
    (kept,) = run("SELECT count(*) FROM audited").fetchone() or (0,)
    return Built(claims, contexts.judged, sets.members, table.rows - kept, twins)


def _read(connection: "DuckDBPyConnection", table: HubTable) -> None:
    """hub(row, id, downloads, ...), and tag(row, tag): the tags that tell something."""
    run = connection.execute
    run(
        f"""CREATE TABLE hub AS SELECT CAST(row AS INTEGER) AS row, id, coalesce(downloads, 0) AS downloads,
            license, license_name, license_link, gated, pipeline_tag, lower(library_name) = 'peft' AS is_peft
        FROM ({table.query}) WHERE regexp_full_match(id, {quoted(_ID)})"""
    )
    # Comparing first letters, which needs no regular expression, leaves a third of the tags.
    ranges = [*_FIRST_LETTERS, *((a.upper(), b.upper()) for a, b in _FIRST_LETTERS)]
    starts = " OR ".join(f"tag >= '{a}' AND tag < '{b}'" for a, b in ranges)
    run(
        f"""CREATE TABLE tag AS SELECT row, tag FROM (
            SELECT CAST(row AS INTEGER) AS row, unnest(tags) AS tag FROM ({table.query}))
        WHERE ({starts}) AND regexp_matches(tag, {quoted(TELLING_TAGS)})"""
    )
    run(f"CREATE TABLE base AS SELECT CAST(row AS INTEGER) AS row, unnest(bases) AS parent FROM ({table.query})")
    # The Hub makes a tag of each data set of a card; where it has not, the card counts all the same.
    run(
        f"""INSERT INTO tag SELECT row, 'dataset:' || replace(name, chr(10), ' ') FROM (
            SELECT CAST(row AS INTEGER) AS row, unnest(list_filter(datasets, lambda name:
                NOT list_contains(tags, 'dataset:' || name))) AS name
            FROM ({table.query}) WHERE len(datasets) > 0)"""
    )


def _edges(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
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
    curated = _known_ids(facts)
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


def _known_ids(facts: LicenseFacts) -> list[str]:
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


def _names(connection: "DuckDBPyConnection", facts: LicenseFacts, folder: Path) -> None:
    """name(name, key, match, stem), for the names that tell something."""
    run = connection.execute
    run(
        "CREATE TABLE asked AS SELECT * FROM (SELECT name, "
        + name_keys.telling("name", facts)
        + " FROM (SELECT DISTINCT "
        "split_part(lower(id), '/', -1) AS name FROM (SELECT id FROM hub UNION ALL SELECT id FROM missing))) "
        "WHERE is_made OR has_family OR has_prefix"
    )
    (count,) = run("SELECT count(*) FROM asked").fetchone() or (0,)
    parts = 2 if count > name_keys.WORTH_PROCESSES else 1
    lists = [folder / f"names-{part}.txt" for part in range(parts)]
    for part, target in enumerate(lists):
        run(
            f"COPY (SELECT name, is_made::INT + 2 * has_family::INT + 4 * has_prefix::INT FROM asked "
            f"WHERE hash(name) % {parts} = {part}) "
            f"TO {quoted(str(target))} (FORMAT csv, HEADER false, DELIMITER '\t', QUOTE '')"
        )
    keys = name_keys.write_keys(lists, folder, processes=parts)
    columns = "{'name': 'VARCHAR', 'key': 'VARCHAR', 'match': 'VARCHAR', 'stem': 'VARCHAR'}"
    listed = ", ".join(quoted(str(path)) for path in keys)
    run(
        f"CREATE TABLE name AS SELECT * FROM read_csv([{listed}], delim = '\t', quote = '', escape = '', "
        f"header = false, columns = {columns}, auto_detect = false)"
    )
    run("DROP TABLE asked")


def _data_classes(connection: "DuckDBPyConnection", facts: LicenseFacts) -> None:
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


def _claims(connection: "DuckDBPyConnection", facts: LicenseFacts) -> list[HubClaim]:
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
    owners, text = _list(owners_that_matter(facts)), _list(TEXT_PIPELINES)
    owner = "lower(split_part(id, '/', 1))"
    special = f"CASE WHEN lower(id) IN ({_list(_known_ids(facts))}) THEN lower(id) END"
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


def _own_parents(connection: "DuckDBPyConnection", facts: LicenseFacts, claims: Sequence[HubClaim]) -> None:
    """Edges that nobody stated: to the publisher's own model of that name, and those that known_models adds or ends."""
    run = connection.execute
    run(
        """INSERT INTO edge SELECT child, parent, false FROM (
            SELECT hub.row AS child, by_id.row AS parent FROM hub ANTI JOIN edge ON hub.row = child
            JOIN name ON name = split_part(lower(hub.id), '/', -1) AND stem <> '' AND contains(hub.id, '/')
            JOIN by_id ON by_id.id = split_part(lower(hub.id), '/', 1) || '/' || stem) WHERE child <> parent"""
    )
    known = [id for id in _known_ids(facts) if any(one.bases or one.independent for one in facts.curations.about(id))]
    for row, id, claim in run(
        f"SELECT row, hub.id, claim FROM hub JOIN node ON node = row WHERE lower(hub.id) IN ({_list(known)})"
    ).fetchall():
        stated = [name for (name,) in run(
            "SELECT coalesce(h.id, m.id) FROM edge LEFT JOIN hub h ON h.row = parent "
            "LEFT JOIN missing m ON m.node = parent WHERE child = ? AND stated AND parent >= 0",
            [row]).fetchall()]  # fmt: skip
        run("DELETE FROM edge WHERE child = ? AND (NOT stated OR parent >= 0)", [row])
        for parent in parents_of(claims[claim].model(id, stated), facts):
            _add_edge(connection, row, parent.id.lower())


def _twins(connection: "DuckDBPyConnection") -> list[list[int]]:
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


def _as_ancestors(connection: "DuckDBPyConnection", claims: Sequence[HubClaim], contexts: Contexts) -> dict[int, int]:
    """as_ancestor(node, judged, is_row): every parent, judged under its own. Returns the PSEUDO nodes' numbers."""
    run = connection.execute
    last = len(claims) - len(PSEUDO)
    of_problem = {claims[number].problem: number for number in range(last, len(claims))}
    pseudo = {node: of_problem[problem] for node, problem in PSEUDO.items()}
    numbered(connection, "pseudo", {"node INTEGER": list(pseudo), "claim INTEGER": list(pseudo.values())})
    run("INSERT INTO node SELECT node, claim FROM pseudo")
    run(
        """CREATE TABLE parent AS SELECT node, claim, above FROM (SELECT DISTINCT parent AS node FROM edge)
        JOIN node USING (node) LEFT JOIN (SELECT child, list_sort(list(DISTINCT claim)) AS above FROM edge
            JOIN node ON node = parent GROUP BY child) ON child = node"""
    )
    distinct = run("SELECT DISTINCT claim, coalesce(above, []) FROM parent").fetchall()
    numbers = [contexts.number(claim, above) for claim, above in distinct]
    columns = {"claim INTEGER": [one for one, _ in distinct], "above INTEGER[]": [above for _, above in distinct],
               "judged INTEGER": numbers}  # fmt: skip
    numbered(connection, "in_context", columns)
    run(
        """CREATE TABLE as_ancestor AS
        SELECT node, judged, node >= 0 AND node NOT IN (SELECT node FROM missing) AS is_row
        FROM parent p JOIN in_context c ON c.claim = p.claim AND c.above = coalesce(p.above, [])"""
    )
    run("DROP TABLE parent")
    return {node: contexts.number(claim, ()) for node, claim in pseudo.items()}


def _subjects(connection: "DuckDBPyConnection", contexts: Contexts, sets: Sequence[Iterable[int]]) -> None:
    """audited(row, owner, downloads, pair): every row with what it is judged as; owners by their downloads from 1."""
    run = connection.execute
    run(
        "CREATE TABLE placed AS SELECT node, claim, coalesce(set_id, 0) AS set_id FROM node "
        "SEMI JOIN hub ON node = row LEFT JOIN done USING (node)"
    )
    pairs: list[tuple[Any, ...]] = run("SELECT DISTINCT claim, set_id FROM placed").fetchall()
    claims_of = [frozenset(contexts.judged[one][0] for one in members) for members in sets]
    numbers = [contexts.number(claim, claims_of[set_id]) for claim, set_id in pairs]
    places: dict[tuple[int, int], int] = {}
    keys = [(judged, set_id) for judged, (_, set_id) in zip(numbers, pairs, strict=True)]
    of_pair = [places.setdefault(key, len(places)) for key in keys]
    columns = {"claim INTEGER": [one for one, _ in pairs], "set_id INTEGER": [one for _, one in pairs],
               "pair INTEGER": of_pair}  # fmt: skip
    numbered(connection, "in_set", columns)
    run(
        """CREATE TABLE owners AS SELECT name, row_number() OVER (ORDER BY downloads DESC, name)::INTEGER AS owner
        FROM (SELECT split_part(id, '/', 1) AS name, sum(downloads) AS downloads FROM hub GROUP BY 1)"""
    )
    run(
        """CREATE TABLE audited AS SELECT row, owner, downloads, pair
        FROM hub JOIN placed ON row = node JOIN in_set USING (claim, set_id)
        JOIN owners ON name = split_part(id, '/', 1)"""
    )
    columns = {"pair INTEGER": list(range(len(places))), "judged INTEGER": [judged for judged, _ in places],
               "set_id INTEGER": [set_id for _, set_id in places]}  # fmt: skip
    numbered(connection, "place", columns)
    run(
        """CREATE TABLE pair AS SELECT pair, judged, set_id, models, downloads FROM place JOIN (SELECT pair,
        count(*) AS models, sum(downloads)::BIGINT AS downloads FROM audited GROUP BY pair) USING (pair)"""
    )
    run("CREATE VIEW ids AS SELECT row, id FROM hub")


def _list(texts: Iterable[str]) -> str:
    return ", ".join(quoted(text) for text in sorted(texts)) or "''"
