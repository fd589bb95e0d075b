"""Flag > MODELPICK_* > ./modelpick.toml > user config > default."""

from pathlib import Path

import pytest

from modelpick import settings
from modelpick.errors import UsageError


def _user_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "modelpick" / "modelpick.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_nearer_source_wins_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert settings.load().region == "us-east-1"
    user = _user_file(monkeypatch, tmp_path, 'region = "eu-west-1"\npolicy = "research"\n')
    assert settings.load().region == "eu-west-1"
    Path("modelpick.toml").write_text('region = "eu-north-1"\n')
    here = settings.load()
    assert (here.region, here.policy) == ("eu-north-1", "research")
    assert here.origins == {"policy": str(user), "region": "modelpick.toml"}
    monkeypatch.setenv("MODELPICK_REGION", "ap-south-1")
    assert settings.load().region == "ap-south-1"
    assert settings.load({"region": "us-west-2"}).region == "us-west-2"


def test_company_facts_and_discounts_add_up_key_by_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _user_file(monkeypatch, tmp_path, '[company]\ndomicile = "DE"\n[discounts]\ng5 = 0.1\n')
    Path("modelpick.toml").write_text('[company]\ndeployment = "api"\n[discounts]\ng5 = 0.2\n')
    loaded = settings.load()
    assert dict(loaded.company) == {"domicile": "DE", "deployment": "api"}
    assert dict(loaded.discounts) == {"g5": 0.2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('regoin = "x"', "region"),
        ("region = 3", "text"),
        ("company = 3", "table"),
        ("[discounts]\ng5 = 1.0", "fraction"),
        ("[discounts]\ng5 = nan", "fraction"),
        ("[discounts]\ng5 = true", "fraction"),
        ("not toml", "mend"),
    ],
)
def test_a_bad_file_is_refused_by_name_with_a_fix(text: str, said: str) -> None:
    Path("modelpick.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert "modelpick.toml" in caught.value.message
    assert said in caught.value.fix


def test_no_home_at_all_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    assert settings.load().policy == "commercial"
