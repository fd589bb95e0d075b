"""What a name tells, as the database decides it, is what the functions of `license` say of it."""

import random
from collections.abc import Iterable

import pytest

from modelpick.catalog import index
from modelpick.hub import name_keys
from modelpick.hub.hub_table import connected
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.judge_models import facts_in_force

pytest.importorskip("duckdb")
AROUND = (
    "-gguf", "_gguf", ".q4_k_m", "-4bit", "-awq", "-merge", "-lora", "lora-", "tiny-", "open", "open_", "code", "smol",
    "-instruct", "llama", "vicuna", "3", "3.1", "2.5", "-7b", "-3b", "b", "7", "405b", "qwen", "qwen2-72b", "gemma4",
    "meta-", "_", "x_", "publisher_", "unquantized-", "-fp8", "-i1", "é", " ", "l3-8b", "l3.3-70b", "-v3", "4", ".1",
    "-2407", "glm-4-9b-0414", "cpp", "factory", "opt-125m", "dbrx", "orca-2-7b", "falcon3", "grok-2", "minimax-m2.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def facts() -> LicenseFacts:
    return facts_in_force()


@pytest.fixture(scope="module")
def names() -> list[str]:
    """Names of the catalog, whole and cut, with what people add before and behind them."""
    pick = random.Random(16)
    known = [id.rpartition("/")[2].lower() for id in index.load().models]
    made = {
        "".join(pick.choices(AROUND, k=pick.randint(0, 2)))
        + (name := pick.choice(known))[: pick.randint(2, len(name) + 9)]
        + "".join(pick.choices(AROUND, k=pick.randint(0, 3)))
        for _ in range(6000)
    }
    return sorted({*made, *known, *(word for word in AROUND if word.strip())})


def different(names: Iterable[str], facts: LicenseFacts) -> list[str]:
    """The names whose key is not that of `license`'s functions; a name that is left out tells nothing."""
    with connected() as connection:
        connection.execute("CREATE TABLE given AS SELECT unnest(?::VARCHAR[]) AS name", [list(names)])
        left = name_keys.add_name_keys(connection, facts, "FROM given")
        rows = connection.execute("SELECT name, key, match, stem FROM given LEFT JOIN name USING (name)").fetchall()
    assert 0 < left < len(rows) / 2, "most names are for the database to decide"
    nothing = name_keys.name_key("-", facts)
    found = {
        name: name_keys.NameKey(key, match, stem) if key is not None else nothing for name, key, match, stem in rows
    }
    return [name for name, key in found.items() if key != name_keys.name_key(name, facts)]


def test_a_name_tells_the_database_what_it_tells_license(names: list[str], facts: LicenseFacts) -> None:
    keys = {name_keys.name_key(name, facts).key for name in names}
    families = {family for key in keys for family in key.split("|")[1].split("+") if family}
    assert families >= {family.name for family in facts.families if family.names and family.root in ("llama", "qwen")}
    assert {key.split("|")[0] for key in keys} == {"", "made", "merge"}
    assert different(names, facts) == []


@pytest.mark.parametrize("bug", ["families", "ends", "merge"])
def test_the_comparison_sees_a_rule_forgotten(
    names: list[str], facts: LicenseFacts, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    if bug == "families":  # a pattern that looks around taken for the plain one
        blind = name_keys._without_looking
        monkeypatch.setattr(name_keys, "_as_re2", lambda them: ("(?i)" + "|".join(map(blind, them)), True))
    elif bug == "ends":
        monkeypatch.setattr(name_keys, "_ENDS", "('')")
    else:
        monkeypatch.setattr(name_keys, "NAME_WORDS", name_keys.NAME_WORDS.replace("slerp", "slarp"))
    assert different([*names, "qwen-slerp-x"], facts) != []
