"""Every claim of an index judged under a policy, and the strictest joined over the ancestors.

Claims are judged by `licensing.model_evidence.assess_model`, once each. Rows that the policy or a person's decision
names by id (a contract, an approval, a rule of the company for publishers or models) are judged one by one by
`licensing.verdict.judge`, and so are all that descend from them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from modelpick.catalog.model import Model
from modelpick.hub import kept_verdicts
from modelpick.hub.ancestry import numbered
from modelpick.hub.claims import MISSING, HubClaim, examples_of
from modelpick.hub.hub_table import hub_table, quoted
from modelpick.hub.rare_cards import states_a_gate
from modelpick.hub.slim_index import SlimIndex
from modelpick.licensing.conditions import combine
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.lineage import DEEPEST
from modelpick.licensing.model_evidence import assess_missing, assess_model
from modelpick.licensing.named_rules import assess_rules, member
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import NamedRule, Policy
from modelpick.licensing.verdict import Day, judge

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VERDICTS = tuple(verdict.value for verdict in Verdict)
WEAKER = "weaker_than_ancestor"


@dataclass(frozen=True, slots=True)
class ClaimVerdict:
    """What one claim comes to by itself: strictness (0 allow to 3 deny), codes, licenses; `claimed`: the tag alone
    (None: it names no license)."""

    strictness: int
    codes: frozenset[str]
    licenses: tuple[str, ...] = ()
    claimed: int | None = None


def judge_claims(index: SlimIndex, policy: Policy, facts: LicenseFacts) -> list[ClaimVerdict]:
    """One answer for each of `index.judged`, for one profile of the policy."""
    return [_judged(index.claims, one, policy, facts) for one in index.judged]


def _judged(
    claims: Sequence[HubClaim], judged: tuple[int, tuple[int, ...]], policy: Policy, facts: LicenseFacts
) -> ClaimVerdict:
    claim = claims[judged[0]]
    if claim.problem == MISSING:
        total = assess_missing(claim.id, policy, facts).total
        licenses = [finding.id for finding in total.findings]
        if policy.named_rules:
            total = combine(
                [total, *assess_rules([member(claim.id, None, licenses, facts.licenses)], _general(policy))]
            )
        return ClaimVerdict(total.verdict.strictness, frozenset(one.code for one in total.reasons), tuple(licenses))
    if claim.problem is not None:
        return ClaimVerdict(Verdict(policy.rules.unknown_ancestor).strictness, frozenset({claim.problem}))
    model, ancestors = examples_of(claims, judged)
    own = assess_model(model, ancestors, policy, facts, lambda _: None)
    parts = [own.total]
    if policy.named_rules:
        parts += assess_rules(_members(model, parts, [step.model for step in own.implied], facts), _general(policy))
    total = combine(parts)
    codes = {reason.code for reason in total.reasons}
    claimed = own.claimed.verdict if own.claimed.findings else None
    if claimed is not None and own.total.verdict > claimed and any(step.verdict > claimed for step in own.implied):
        codes.add(WEAKER)
    licenses = list(dict.fromkeys(finding.id for finding in total.findings))
    return ClaimVerdict(
        total.verdict.strictness, frozenset(codes), tuple(licenses), None if claimed is None else claimed.strictness
    )


def _general(policy: Policy) -> list[Any]:
    """The company's rules that name neither publishers nor models; `named_rows` finds the rows of the others."""
    return [rule for rule in policy.named_rules if not (rule.publishers or rule.models)]


def _members(model: Model, parts: Sequence[Any], implied: Iterable[str], facts: LicenseFacts) -> list[Any]:
    members = [member(model.id, model.gated, [one.id for part in parts for one in part.findings], facts.licenses)]
    names = set(implied)
    members += [
        member(f"{owner}/{family.name}", None, [family.license] if family.license else [], facts.licenses)
        for family in (facts.families if names else ()) if family.name in names for owner in family.owners
    ]  # fmt: skip
    return members


def joined(connection: "DuckDBPyConnection", index: SlimIndex, policy: Policy, facts: LicenseFacts) -> list[str]:
    """Makes verdict(pair, judged, models, downloads, strictness, claimed, ancestor, mask), own(judged, strictness) and
    licenses_of(judged, licenses), and returns the code of each bit of `mask`.

    Of several products the strictest counts, the first of equals, as `licensing.verdict` has it.
    """
    place = kept_verdicts.place_of(index, policy)
    found = kept_verdicts.read(connection, place)
    if found is None:
        found = _joined(connection, index, policy, facts)
        kept_verdicts.keep(connection, place, found)
    return found


def _joined(connection: "DuckDBPyConnection", index: SlimIndex, policy: Policy, facts: LicenseFacts) -> list[str]:
    codes: dict[str, int] = {WEAKER: 0}
    profiles = (policy,) if policy.product is not None else policy.profiles()
    columns: dict[str, list[Any]] = {
        "profile TINYINT": [],
        "judged INTEGER": [],
        "strictness TINYINT": [],
        "claimed TINYINT": [],
        "mask HUGEINT": [],
    }
    above: dict[str, list[Any]] = {
        "profile TINYINT": [],
        "set_id INTEGER": [],
        "strictness TINYINT": [],
        "mask HUGEINT": [],
    }
    for number, profile in enumerate(profiles):
        answers = judge_claims(index, profile, facts)
        masks = [sum(1 << codes.setdefault(code, len(codes)) for code in answer.codes) for answer in answers]
        strict = [answer.strictness for answer in answers]
        licenses = [list(answer.licenses) for answer in answers]
        _extend(columns, [number] * len(answers), range(len(answers)), strict, [one.claimed for one in answers], masks)
        set_masks, set_strict = [], []
        for members in index.sets:
            mask, most = 0, -1
            for one in members:
                mask |= masks[one]
                if strict[one] > most:
                    most = strict[one]
            set_masks.append(mask & ~1)  # what an ancestor's own tag claims is not held against its children
            set_strict.append(most)
        _extend(above, [number] * len(index.sets), range(len(index.sets)), set_strict, set_masks)
    numbered(connection, "own", columns)
    numbered(
        connection, "licenses_of", {"judged INTEGER": list(range(len(index.judged))), "licenses VARCHAR[]": licenses}
    )
    numbered(connection, "above", above)
    connection.execute(
        f"""CREATE OR REPLACE TABLE verdict AS SELECT pair, any_value(judged) AS judged,
            any_value(models) AS models, any_value(downloads) AS downloads, max_by(strictness, rank) AS strictness,
            max_by(claimed, rank) AS claimed, max_by(ancestor, rank) AS ancestor, max_by(mask, rank) AS mask FROM (
            SELECT pair, judged, models, downloads, greatest(own.strictness, above.strictness) AS strictness,
                own.claimed, above.strictness AS ancestor,
                (own.mask | above.mask) | CASE WHEN above.strictness > own.claimed THEN 1::HUGEINT ELSE 0 END AS mask,
                greatest(own.strictness, above.strictness) * 128 - profile AS rank
            FROM {index.table("pair")} JOIN own USING (judged)
            JOIN above USING (set_id, profile)) GROUP BY pair"""
    )
    return list(codes)


def _extend(columns: Mapping[str, list[Any]], *values: Iterable[Any]) -> None:
    for column, more in zip(columns.values(), values, strict=True):
        column.extend(more)


def named_rows(connection: "DuckDBPyConnection", index: SlimIndex, policy: Policy, facts: LicenseFacts) -> list[int]:
    """The rows that contracts, decisions or rules name by id, or whose ancestors a rule names; and those with a gate
    that states something, which `judge` holds against all of their ancestors."""
    ids = {one.partition("@")[0].lower() for bought in policy.company.purchased for one in bought.models}
    ids |= {one.model.lower() for one in facts.approvals}
    audited, missing = index.table("audited"), index.table("missing")
    ids_of_rows = index.table("ids")
    listed = ", ".join(quoted(id) for id in sorted(ids))
    rows = set()
    if ids:
        found = connection.execute(f"SELECT row FROM {ids_of_rows} WHERE lower(id) IN ({listed})").fetchall()
        rows = {row for (row,) in found}
    of_claims = (
        f"SELECT row FROM {audited} SEMI JOIN (SELECT pair FROM {index.table('pair')} "
        "WHERE judged IN (SELECT unnest(?::INTEGER[]))) USING (pair)"
    )
    gates = [number for number, (claim, _) in enumerate(index.judged) if states_a_gate(index.claims[claim].rest)]
    if gates:
        rows |= {row for (row,) in connection.execute(of_claims, [gates]).fetchall()}
    rules = [rule for rule in policy.named_rules if rule.publishers or rule.models]
    if not rules:
        return sorted(rows)
    nodes = f"SELECT row, id FROM {ids_of_rows} UNION ALL SELECT node, id FROM {missing}"
    named = [node for node, id in connection.execute(nodes).fetchall() if _is_named(id, rules)]
    implied = {family.name for family in facts.families for owner in family.owners
               if _is_named(f"{owner}/{family.name}", rules)}  # fmt: skip
    claims = {
        number for number, claim in enumerate(index.claims)
        if claim.problem is None and implied & {one.family.name for one in facts.families.of(claim.id, None)}
    }  # fmt: skip
    judged = [number for number, (claim, _) in enumerate(index.judged) if claim in claims]
    rows |= {row for (row,) in connection.execute(of_claims, [judged]).fetchall()}
    numbered(connection, "named_node", {"node INTEGER": named})
    below = connection.execute(
        f"""WITH RECURSIVE below AS (SELECT node, 0 AS depth FROM named_node UNION
            SELECT child, depth + 1 FROM {index.table("edge")} JOIN below ON parent = node WHERE depth < {DEEPEST + 1})
        SELECT DISTINCT node FROM below WHERE node NOT IN (SELECT node FROM {missing})"""
    ).fetchall()
    return sorted(rows | {node for (node,) in below})


def _is_named(id: str, rules: Sequence[NamedRule]) -> bool:
    """Whether a rule names a model by its publisher or its id, whatever its other keys say."""
    owner, name = id.partition("/")[0].lower(), id.lower()
    return any(_matches(rule.publishers, owner) and _matches(rule.models, name) for rule in rules)


def _matches(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern.lower()) for pattern in patterns)


class Rows:
    """Rows of the dump as Models again, with their ancestors, from an index: what `judge` is given."""

    def __init__(
        self, connection: "DuckDBPyConnection", index: SlimIndex, rows: Sequence[int], *, commits: bool = False
    ) -> None:
        numbered(connection, "asked_row", {"node INTEGER": rows})
        edge, audited, missing, ids = map(index.table, ("edge", "audited", "missing", "ids"))
        connection.execute(
            f"""CREATE OR REPLACE TABLE asked_node AS WITH RECURSIVE up AS (SELECT node FROM asked_row
                UNION SELECT parent FROM {edge} JOIN up ON child = node) SELECT node FROM up"""
        )
        parents: dict[int, list[int]] = {}
        found = connection.execute(
            f"SELECT child, parent FROM {edge} SEMI JOIN asked_node ON child = node ORDER BY ALL"
        )
        for child, parent in found.fetchall():
            parents.setdefault(child, []).append(parent)
        rows_of = connection.execute(
            f"""SELECT row, id, judged FROM {ids} JOIN (SELECT row, pair FROM {audited}
            SEMI JOIN asked_node ON row = node) USING (row) JOIN verdict USING (pair)
            ORDER BY strictness DESC, row"""  # of rows of one id the strictest is the one that is found
        ).fetchall()
        sha_of: dict[int, str] = {}
        if commits:
            read = (
                f"SELECT row, sha FROM ({hub_table(connection, index.dump).query}) SEMI JOIN asked_node ON row = node"
            )
            sha_of = dict(connection.execute(read).fetchall())
        gone = connection.execute(f"SELECT node, id FROM {missing} SEMI JOIN asked_node USING (node)").fetchall()
        self.ids = {**{row: id for row, id, _ in rows_of}, **dict(gone)}
        self.parents = parents
        self._models: dict[int, Model] = {}
        for row, id, judged in rows_of:
            claim = index.claims[index.judged[judged][0]]
            bases = [self._name(parent, id) for parent in parents.get(row, ())]
            self._models[row] = claim.model(id, bases, sha_of.get(row))
        self._by_id = {model.id.lower(): model for model in reversed(self._models.values())}

    def _name(self, parent: int, child: str) -> str:
        return {-1: "./a-local-path", -2: child}.get(parent) or self.ids[parent]

    def __getitem__(self, row: int) -> Model:
        return self._models[row]

    def find(self, id: str) -> Model | None:
        """As `licensing.lineage` asks for a parent; the dump has one commit of each."""
        return self._by_id.get(id.partition("@")[0].lower())


def judge_rows(
    connection: "DuckDBPyConnection",
    index: SlimIndex,
    rows: Sequence[int],
    policy: Policy,
    facts: LicenseFacts,
    today: Day,
) -> dict[int, tuple[int, frozenset[str]]]:
    """Strictness and codes of single rows, by `licensing.verdict.judge`."""
    if not rows:
        return {}
    models = Rows(connection, index, rows, commits=True)
    answers = {row: judge(models[row], policy, facts, models.find, today) for row in rows}
    return {
        row: (one.verdict.strictness, frozenset(reason.code for reason in one.reasons)) for row, one in answers.items()
    }


def strictest_of_twins(
    connection: "DuckDBPyConnection",
    index: SlimIndex,
    codes: Sequence[str],
    special: Mapping[int, tuple[int, frozenset[str]]],
) -> dict[int, tuple[int, frozenset[str]]]:
    """Strictness and codes of the rows that share an id: each has those of all.

    `special`: rows that were judged one by one.
    """
    if not index.twins:
        return {}
    numbered(connection, "twin_row", {"row INTEGER": [row for rows in index.twins for row in rows]})
    found = connection.execute(
        f"""SELECT row, strictness, mask FROM {index.table("audited")} SEMI JOIN twin_row USING (row)
        JOIN verdict USING (pair)"""
    ).fetchall()
    by_row = {
        row: (strictness, frozenset(code for bit, code in enumerate(codes) if mask >> bit & 1))
        for row, strictness, mask in found
    } | dict(special)
    answers = {}
    for rows in index.twins:
        of_all = [by_row[row] for row in rows]
        joined = (max(one for one, _ in of_all), frozenset().union(*(told for _, told in of_all)))
        answers.update(dict.fromkeys(rows, joined))
    return answers
