"""All ancestries at once are those that `licensing.lineage` follows one by one."""

from collections.abc import Mapping, Sequence
from functools import cache

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog.model import BaseModel, Model
from modelpick.hub.ancestry import join_ancestors, numbered
from modelpick.hub.claims import PSEUDO
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.lineage import ancestry
from modelpick.licensing.load import load_facts

SHIFT = 10  # so that the pseudo nodes have numbers, too


def at_once(parents: Mapping[int, Sequence[int]], missing: int = 10**9) -> dict[int, set[int]]:
    """The ancestors of each node; nodes from `missing` on are no repositories."""
    pairs = [(child, -2 if up == child else up) for child, above in parents.items() for up in dict.fromkeys(above)]
    nodes = sorted({node for pair in pairs for node in pair})
    with duckdb.connect(config={"threads": 1}) as connection:
        columns: dict[str, Sequence[object]] = {
            "child INTEGER": [a for a, _ in pairs],
            "parent INTEGER": [b for _, b in pairs],
            "stated BOOLEAN": [True] * len(pairs),
        }
        numbered(connection, "edge", columns)
        rows = [0 <= node < missing for node in nodes]
        numbered(
            connection,
            "as_ancestor",
            {"node INTEGER": nodes, "judged INTEGER": [n + SHIFT for n in nodes], "is_row BOOLEAN": rows},
        )
        sets = join_ancestors(connection, {node: node + SHIFT for node in PSEUDO})
        done = connection.execute("SELECT node, set_id FROM done").fetchall()
    return {node: {one - SHIFT for one in sets.members[number]} for node, number in done}


@cache
def facts() -> LicenseFacts:
    return load_facts()


def one_by_one(parents: Mapping[int, Sequence[int]], node: int, missing: int) -> set[int]:
    """The ancestors of a node as `license` finds them."""

    def find(id: str) -> Model | None:
        number = int(id.partition("-")[2])
        bases = tuple(BaseModel(f"x/n-{up}") for up in parents.get(number, ()))
        return Model(id=f"x/n-{number}", origin="catalog", base_models=bases) if number < missing else None

    problems = {"cycle": -2, "too_deep": -3}
    subject = find(f"x/n-{node}")
    assert subject is not None
    found = ancestry(subject, find, facts())
    return {problems.get(str(one.problem), int(one.id.partition("-")[2])) for one in found}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[int, list[int]], int]:
    """Some nodes with up to three parents each, some of them missing; often a long chain that ends in one of them."""
    size = draw(st.integers(2, 12))
    missing = draw(st.integers(size - 2, size))
    parents = {n: draw(st.lists(st.integers(0, size - 1), max_size=3, unique=True)) for n in range(missing)}
    length = draw(st.sampled_from([0, 0, 28, 29, 30, 31, 33]))
    chain = list(range(100, 100 + length))
    for child in chain:
        parents[child] = [child + 1 if child < chain[-1] else draw(st.integers(0, size - 1))]
    return {child: above for child, above in parents.items() if above}, missing


@settings(max_examples=15)
@given(graphs())
def test_random_graphs(graph: tuple[dict[int, list[int]], int]) -> None:
    parents, missing = graph
    known = {node for node in (*parents, *(up for above in parents.values() for up in above)) if node >= 100}
    gone = {up for above in parents.values() for up in above if missing <= up < 100}
    # The missing ones get the highest numbers, as in a dump.
    renamed = {node: node + 1000 if node in gone else node for node in {*parents, *gone, *known, *range(100)}}
    moved = {renamed[child]: [renamed[up] for up in above] for child, above in parents.items()}
    found = at_once(moved, missing=1000)
    assert found == {child: one_by_one(moved, child, 1000) for child in moved}


def test_a_chain_of_a_hundred_ends_at_thirty() -> None:
    found = at_once({n: [n + 1] for n in range(100)})
    assert found[0] == {*range(1, 31), -3}
    assert found[70] == set(range(71, 101))


def test_a_circle_of_ten_thousand_ends_for_each_of_its_members() -> None:
    found = at_once({n: [(n + 1) % 10_000] for n in range(10_000)})
    assert all(len(above) == 31 and -3 in above for above in found.values())
    assert len(found) == 10_000


def test_a_hundred_thousand_children_share_what_their_parent_has() -> None:
    children = {n: [0] for n in range(10, 100_010)}
    found = at_once({0: [1, 2], 1: [2], 2: [1], **children})
    assert {frozenset(found[child]) for child in children} == {frozenset({0, 1, 2, -2})}


def test_a_thousand_ancestors_are_too_many() -> None:
    found = at_once({0: list(range(1, 1500)), 5000: [0]})
    assert all(-3 in found[node] for node in (0, 5000))
