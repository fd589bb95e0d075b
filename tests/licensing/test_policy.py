"""Policy files: a typo is refused with the file, the key and the key that was probably meant."""

import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelpick.errors import UsageError
from modelpick.licensing import load as files
from modelpick.licensing.policy import Company, Policy, PolicyRules, TrainingDataRules
from modelpick.licensing.verdict import Verdict


@pytest.mark.parametrize("name", ["commercial", "research", "permissive"])
def test_the_embedded_policies_are_sound_and_complete(name: str) -> None:
    policy = files.load_policy(name)
    assert policy.name == name
    assert len(policy.sha256) == 64
    table = tomllib.loads(Path(policy.path).read_text())
    assert set(table["company"]) == {item.name for item in fields(Company)}
    assert set(table["rules"]) == {item.name for item in fields(PolicyRules)}
    assert set(table["rules"]["training_data"]) == {item.name for item in fields(TrainingDataRules)}


def test_the_defaults_are_those_of_the_commercial_policy() -> None:
    assert files.load_policy("commercial").rules == PolicyRules()


def test_a_short_policy_takes_the_careful_defaults(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'name = "ours"\r\n[company]\r\ndomicile = "DE"\r\n')
    policy = files.load_policy(path)
    assert policy.company == Company(domicile="DE")
    assert policy.rules == PolicyRules()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name = "x"\n[rules]\nnon_comercial = "deny"', ("non_comercial", "non_commercial")),
        ('name = "x"\n[rules]\nnon_commercial = "denny"', ("non_commercial", "deny")),
        ('name = "x"\n[rules]\nnon_commercial = true', ("non_commercial", "True")),
        ('name = "x"\n[rules]\nunknown_license = "allow"', ("unknown_license", "review")),
        ('name = "x"\n[rule]\n', ("rule", "rules")),
        ('name = "x"\n[company]\nanual_revenue_usd = 3', ("anual_revenue_usd", "annual_revenue_usd")),
        ('name = "x"\n[company]\nannual_revenue_usd = "3"', ("annual_revenue_usd", "number")),
        ('name = "x"\n[company]\nannual_revenue_usd = nan', ("annual_revenue_usd", "number")),
        ('name = "x"\n[company]\nannual_revenue_usd = inf', ("annual_revenue_usd", "number")),
        ('name = "x"\n[company]\nannual_revenue_usd = -1', ("annual_revenue_usd", "number")),
        ('name = "x"\n[company]\nannual_revenue_usd = true', ("annual_revenue_usd", "number")),
        ('name = "x"\n[company]\ndeployment = "intern"', ("deployment", "internal")),
        ('name = "x"\n[company]\ntrains_other_models = 1', ("trains_other_models", "true or false")),
        ('name = "x"\n[company]\nregions = "eu-west-1"', ("regions", "list")),
        ('name = "x"\n[company]\nregions = [1]', ("regions[0]", "text")),
        ('name = "x"\nrules = 3', ("rules", "table")),
        ('name = "x"\n[rules.training_data]\nnoncommercial = "deny"', ("noncommercial", "non_commercial")),
        ("[rules]\n", ("name", "name")),
        ('sha256 = "x"\nname = "x"', ("sha256", "known keys")),
        ("name = ", ("TOML", "at end of document")),
        ('name = "x"\nname = "y"', ("TOML", "Cannot overwrite a value")),
    ],
)
def test_a_bad_policy_is_refused_with_file_key_and_remedy(tmp_path: Path, text: str, says: tuple[str, str]) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        files.load_policy(path)
    assert "ours.toml" in refused.value.message
    assert says[0] in refused.value.message
    assert says[1] in refused.value.message + refused.value.fix
    assert refused.value.exit_code == 2


def test_a_policy_that_is_not_there(tmp_path: Path) -> None:
    for name in ("comercial", tmp_path, tmp_path / "none.toml", "known_models"):
        with pytest.raises(UsageError) as refused:
            files.load_policy(name)
        assert refused.value.code == "unknown_policy"
    with pytest.raises(UsageError, match="no policy 'comercial'") as near:
        files.load_policy("comercial")
    assert "commercial" in near.value.fix


@pytest.mark.parametrize(
    "data", [b"\xff\xfe\x00", b"\x00" * 100, b"name = '" + b"x" * 2_000_000 + b"'", b"a=" + b"[" * 9_000]
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "ours.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        files.load_policy(path)


def _try(load: Callable[[], Policy]) -> tuple[Any, UsageError | None]:
    """What was loaded, or the sentence; any other exception fails the test."""
    try:
        return load(), None
    except UsageError as error:
        return None, error


_values = st.recursive(
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from([one.value for one in Verdict]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from([item.name for kind in (Policy, Company, PolicyRules) for item in fields(kind)]) | st.text(
    max_size=12
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_keys, _values | st.dictionaries(_keys, _values, max_size=4), max_size=6))
@example({"name": "x", "company": {"monthly_active_users": 10**400}})
@example({"name": "x", "rules": {"training_data": []}})
def test_any_table_is_a_policy_or_a_sentence(table: dict[str, object]) -> None:
    from modelpick.schema import read

    policy, refused = _try(lambda: read(Policy, table, "ours.toml"))
    if refused is not None:
        assert "ours.toml" in refused.message
        assert refused.fix
    else:
        assert policy.rules.unknown_license in ("review", "deny")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_policy_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("policy") / "ours.toml"
    path.write_bytes(data)
    policy, refused = _try(lambda: files.load_policy(path))
    assert isinstance(policy, Policy) or (refused is not None and refused.fix)
