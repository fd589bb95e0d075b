"""An audit of the whole Hub from its public dump: every model judged with all of its ancestors. I/O."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick.errors import UsageError, first_line, printable
from modelpick.hub import mine as my
from modelpick.hub.ancestry import numbered
from modelpick.hub.build import Show
from modelpick.hub.hub_table import CODE, checked_path, connected, quoted
from modelpick.hub.lineage_paths import strictest_above, write_verdicts
from modelpick.hub.slim_index import SlimIndex, indexed
from modelpick.hub.verdicts import VERDICTS, joined, judge_rows, named_rows, strictest_of_twins
from modelpick.licensing.judge_models import facts_in_force
from modelpick.licensing.policy import Policy
from modelpick.schema import to_json

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ASSUMPTIONS = (
    "judged by what the Hub's record says: tags, parents, the fields of the card, the gate",
    "no card's text below its fields, no file and no config was read: modelpick license does that for one model",
    "not legal advice",
)
TOP = 20
"""Rows of each list, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many models came to one verdict, and how often they were downloaded in 30 days."""

    verdict: str
    models: int
    downloads: int


@dataclass(frozen=True, slots=True)
class TagConflict:
    """A model whose tag claims more than an ancestor gives: what it claims, and the ancestor that requires more."""

    model: str
    downloads: int
    claimed: str
    requires: str
    ancestor: str
    licenses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Organisation:
    """A publisher's models by verdict, in the order of VERDICTS."""

    name: str
    models: int
    downloads: int
    counts: tuple[int, int, int, int]
    conflicts: int


@dataclass(frozen=True, slots=True)
class HubChange:
    """A model whose verdict differs from an earlier audit's; None: it was not there, or is not there any more."""

    model: str
    downloads: int
    was: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class HubChanges:
    """What changed since an earlier audit: how many models by (was, now), and those with the most downloads."""

    since: str
    counts: tuple[tuple[str | None, str | None, int], ...]
    top: tuple[HubChange, ...]


@dataclass(frozen=True, slots=True)
class HubAudit:
    """The answer of `catalog audit`."""

    file: str
    sha256: str
    rows: int
    skipped: int
    repeated: int  # rows that share their id with another
    not_judged: tuple[str, ...]
    from_index: bool
    policy: Policy
    tallies: tuple[Tally, ...]
    conflict_counts: tuple[tuple[str, str, int, int], ...]  # claimed, required, models, downloads
    conflicts: tuple[TagConflict, ...]
    organisations: tuple[Organisation, ...]
    reasons: tuple[tuple[str, int], ...]  # how many models each reason was given for
    one_by_one: int  # models that the policy or a decision names, judged by themselves
    changes: HubChanges | None
    mine: tuple[my.MyModel, ...] | None

    def as_json(self) -> dict[str, object]:
        """The answer of `catalog audit --json`."""
        counts = [
            {"claimed": claimed, "requires": requires, "models": models, "downloads": downloads}
            for claimed, requires, models, downloads in self.conflict_counts
        ]
        return {
            "policy": self.policy.as_json(),
            "file": {"path": self.file, "sha256": self.sha256, "rows": self.rows, "skipped": self.skipped,
                     "repeated": self.repeated},
            "basis": "tag",
            "from_index": self.from_index,
            "verdicts": [to_json(one) for one in self.tallies],
            "conflicts": {"counts": counts, "top": [to_json(one) for one in self.conflicts]},
            "organisations": [
                {**to_json(one), "counts": dict(zip(VERDICTS, one.counts, strict=True))} for one in self.organisations
            ],
            "reasons": dict(self.reasons),
            "judged_one_by_one": self.one_by_one,
            "changes": None if self.changes is None else {
                "since": self.changes.since,
                "counts": [{"was": was, "now": now, "models": count} for was, now, count in self.changes.counts],
                "top": [to_json(one) for one in self.changes.top],
            },
            "mine": None if self.mine is None else [to_json(one) for one in self.mine],
            "assumptions": [*ASSUMPTIONS, *self.not_judged],
            "sources": [],
        }  # fmt: skip


def audit_hub(
    file: Path, policy: Policy, *, out: Path | None = None, since: Path | None = None, mine: Path | None = None,
    index: Path | None = None, top: int = TOP, show: Show = lambda *_: None,
) -> HubAudit:  # fmt: skip
    """Judges every model of a dump of the Hub under a policy.

    `out`: where the verdicts go as parquet. `since`: such a file of before. `mine`: a lock, an answer of `audit` or
    `license`, or a list of ids. `index`: the folder of indexes (default: the user's cache).
    Raises UsageError for files that are not what they should be, and without the extra `scale`.
    """
    checked_path(file)
    asked = my.asked_in(mine) if mine is not None else None
    facts = facts_in_force()
    with connected() as connection:
        found = indexed(connection, file, facts, show, index)
        show("judging claims", 0, None)
        codes = joined(connection, found, policy, facts)
        special = judge_rows(
            connection, found, named_rows(connection, found, policy, facts), policy, facts, datetime.date.today()
        )
        apart = special | strictest_of_twins(connection, found, codes, special)
        _judged_table(connection, found, codes, apart)
        show("counting", 0, None)
        answer = HubAudit(
            file=str(file),
            sha256=found.source,
            rows=found.rows,
            skipped=found.skipped,
            repeated=sum(map(len, found.twins)),
            not_judged=found.not_judged,
            from_index=found.was_there,
            policy=policy,
            tallies=_tallies(connection),
            conflict_counts=_conflict_counts(connection),
            conflicts=_conflicts(connection, found, top),
            organisations=_organisations(connection, found, top),
            reasons=_reasons(connection, codes),
            one_by_one=len(special),
            changes=_changes(connection, since, top) if since is not None else None,
            mine=my.judged(connection, found, asked, codes) if asked is not None else None,
        )
        if out is not None:
            show("writing the verdicts", 0, None)
            write_verdicts(connection, found, codes, out)
    return answer


def _judged_table(
    connection: "DuckDBPyConnection", index: SlimIndex, codes: list[str], special: dict[int, tuple[int, frozenset[str]]]
) -> None:
    """judged_pair(pair, judged, models, downloads, strictness, claimed, ancestor, mask): all that is judged alike.
    row_pair(row, owner, downloads, pair): every model; answer: both by row, with the id."""
    run = connection.execute
    audited = index.table("audited")
    if not special:
        run("CREATE OR REPLACE VIEW judged_pair AS FROM verdict")
        run(f"CREATE OR REPLACE VIEW row_pair AS FROM {audited}")
    else:
        _set_apart(connection, index, codes, special)
    run(
        f"""CREATE OR REPLACE VIEW answer AS SELECT row, id, p.downloads, judged, strictness, claimed, ancestor, mask
        FROM row_pair p JOIN judged_pair USING (pair) JOIN {index.table("ids")} USING (row)"""
    )


def _set_apart(
    connection: "DuckDBPyConnection", index: SlimIndex, codes: list[str], special: dict[int, tuple[int, frozenset[str]]]
) -> None:
    """Rows that were judged one by one as pairs of their own, taken away from those that they were counted in."""
    run = connection.execute
    numbers = {code: number for number, code in enumerate(codes)}
    for _, found in special.values():
        for code in sorted(found):
            if code not in numbers:
                numbers[code] = len(codes)
                codes.append(code)
    columns: dict[str, list[Any]] = {
        "row INTEGER": list(special),
        "own INTEGER": [-1 - number for number in range(len(special))],
        "strictness TINYINT": [one for one, _ in special.values()],
        "mask HUGEINT": [sum(1 << numbers[code] for code in found) for _, found in special.values()],
    }
    numbered(connection, "special", columns)
    audited = index.table("audited")
    run(f"CREATE OR REPLACE TABLE apart AS SELECT s.*, pair, downloads FROM special s JOIN {audited} USING (row)")
    run(
        """CREATE OR REPLACE TABLE judged_pair AS SELECT pair, judged, models - coalesce(a.n, 0) AS models,
            downloads - coalesce(a.sum, 0) AS downloads, strictness, claimed, ancestor, mask FROM verdict
            LEFT JOIN (SELECT pair, count(*) AS n, sum(downloads)::BIGINT AS sum FROM apart GROUP BY pair) a
            USING (pair)
        UNION ALL SELECT a.own, judged, 1, a.downloads, a.strictness, claimed, ancestor, a.mask
            FROM apart a JOIN verdict USING (pair)"""
    )
    run(
        f"""CREATE OR REPLACE VIEW row_pair AS SELECT row, owner, downloads, coalesce(own, a.pair) AS pair
        FROM {audited} a LEFT JOIN special USING (row)"""
    )


def _tallies(connection: "DuckDBPyConnection") -> tuple[Tally, ...]:
    found = {
        strictness: (models, downloads) for strictness, models, downloads in connection.execute(
            "SELECT strictness, sum(models)::BIGINT, sum(downloads)::BIGINT FROM judged_pair GROUP BY 1").fetchall()
    }  # fmt: skip
    return tuple(Tally(verdict, *found.get(number, (0, 0))) for number, verdict in enumerate(VERDICTS))


def _conflict_counts(connection: "DuckDBPyConnection") -> tuple[tuple[str, str, int, int], ...]:
    rows = connection.execute(
        "SELECT claimed, ancestor, sum(models)::BIGINT, sum(downloads)::BIGINT FROM judged_pair "
        "WHERE ancestor > claimed AND models > 0 GROUP BY claimed, ancestor ORDER BY claimed, ancestor DESC"
    ).fetchall()
    return tuple((VERDICTS[claimed], VERDICTS[above], models, downloads) for claimed, above, models, downloads in rows)


def _conflicts(connection: "DuckDBPyConnection", index: SlimIndex, top: int) -> tuple[TagConflict, ...]:
    """Those with the most downloads: first where an ancestor forbids, then where it has terms, then questions."""
    deny, review = VERDICTS.index("deny"), VERDICTS.index("review")
    first = f"CASE ancestor WHEN {deny} THEN 0 WHEN {review} THEN 2 ELSE 1 END"
    rows = connection.execute(
        f"""WITH shown AS (SELECT row, p.downloads, claimed, ancestor, judged FROM row_pair p
            JOIN judged_pair USING (pair) WHERE ancestor > claimed
            ORDER BY {first}, p.downloads DESC, row LIMIT {top})
        SELECT row, id, downloads, claimed, ancestor, judged FROM shown JOIN {index.table("ids")} USING (row)
        ORDER BY {first}, downloads DESC, row"""
    ).fetchall()
    above = strictest_above(connection, index, [row for row, *_ in rows])
    listed = []
    for row, id, downloads, claimed, ancestor, judged in rows:
        model = index.claims[index.judged[judged][0]].model()
        stated = (model.license_name or model.license) if model.license == "other" else model.license
        licenses = tuple(map(str, stated)) if isinstance(stated, list) else (str(stated),)
        name = above.get(row, "")
        listed.append(TagConflict(id, downloads, VERDICTS[claimed], VERDICTS[ancestor], name, licenses))
    return tuple(listed)


def _organisations(connection: "DuckDBPyConnection", index: SlimIndex, top: int) -> tuple[Organisation, ...]:
    rows = connection.execute(
        f"""SELECT name, count(*), sum(p.downloads)::BIGINT, {
            ", ".join(f"count(*) FILTER (strictness = {number})" for number in range(4))
        },
            count(*) FILTER (ancestor > claimed) FROM row_pair p JOIN judged_pair USING (pair)
            JOIN {index.table("owners")} USING (owner) WHERE owner <= {top} GROUP BY owner, name ORDER BY owner"""
    ).fetchall()
    return tuple(
        Organisation(name, models, downloads, (a, c, r, d), weak) for name, models, downloads, a, c, r, d, weak in rows
    )


def _reasons(connection: "DuckDBPyConnection", codes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    counts = dict.fromkeys(codes, 0)
    for mask, models in connection.execute(
        "SELECT mask, sum(models)::BIGINT FROM judged_pair GROUP BY mask"
    ).fetchall():
        for number, code in enumerate(codes):
            counts[code] += models if mask >> number & 1 else 0
    return tuple(sorted(((code, n) for code, n in counts.items() if n), key=lambda one: (-one[1], one[0])))


def _changes(connection: "DuckDBPyConnection", since: Path, top: int) -> HubChanges:
    """Compared by id, in any spelling of upper and lower case."""
    import duckdb

    fix = "give a file that modelpick catalog audit --out wrote"
    try:
        connection.execute(
            f"CREATE OR REPLACE TABLE before AS SELECT lower(id) AS key, any_value(id) AS id, max(verdict) AS verdict, "
            f"max(downloads)::BIGINT AS downloads FROM read_parquet({quoted(str(since))}) GROUP BY lower(id)"
        )
    except duckdb.Error as error:
        text = printable(first_line(error))[:200]
        raise UsageError(
            f"{printable(str(since))} cannot be read as an audit of before: {text}", fix=fix, code=CODE
        ) from None
    words = ", ".join(quoted(verdict) for verdict in VERDICTS)
    connection.execute(
        f"""CREATE OR REPLACE TABLE change AS SELECT coalesce(n.id, b.id) AS id,
            coalesce(n.downloads, b.downloads) AS downloads, b.verdict AS was, n.verdict AS now
            FROM (SELECT lower(id) AS key, any_value(id) AS id, sum(downloads) AS downloads,
                [{words}][max(strictness) + 1] AS verdict FROM answer GROUP BY lower(id)) n
            FULL JOIN before b USING (key) WHERE b.verdict IS DISTINCT FROM n.verdict"""
    )
    counts = connection.execute(
        "SELECT was, now, count(*) FROM change GROUP BY was, now ORDER BY 3 DESC, 1, 2"
    ).fetchall()
    rows: list[Any] = connection.execute(
        f"""SELECT id, downloads::BIGINT, was, now FROM change
        ORDER BY was IS NULL OR now IS NULL, downloads DESC, id LIMIT {top}"""
    ).fetchall()
    return HubChanges(str(since), tuple(counts), tuple(HubChange(*row) for row in rows))
