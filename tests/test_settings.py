"""Flag > MODELPICK_* > ./modelpick.toml > user config > default."""

import os
from pathlib import Path

import pytest

from modelpick import settings
from modelpick.catalog.hub_client import Client, Patience
from modelpick.errors import UsageError
from modelpick.licensing.judge_models import policy_in_force
from modelpick.schema import settings_of


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
    ("text", "fix"),
    [
        ('regoin = "x"', "region"),
        ("region = 3", "text"),
        ('region = ""', "text"),
        ("company = 3", "table"),
        ("discounts = []", "table"),
        ("[discounts]\ng5 = 1.0", "0 to below 1"),
        ("[discounts]\ng5 = -0.1", "0 to below 1"),
        ("[discounts]\ng5 = nan", "0 to below 1"),
        ("[discounts]\ng5 = true", "0 to below 1"),
        ('[discounts]\ng5 = "0.1"', "0 to below 1"),
        ("not toml", "fix or delete"),
        ("a = " + "[" * 100_000, "fix or delete"),
    ],
)
def test_a_bad_file_is_refused_by_name_with_a_fix(text: str, fix: str) -> None:
    Path("modelpick.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert "modelpick.toml" in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.code == "bad_settings"


@pytest.mark.parametrize("content", [b"region = '\xff'", b"\xff\xfe", b"a" * (65 * 2**20)])
def test_a_file_that_is_not_text_is_refused(content: bytes) -> None:
    Path("modelpick.toml").write_bytes(content)
    with pytest.raises(UsageError, match=r"modelpick\.toml"):
        settings.load()


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device", "dangling"])
def test_what_is_not_a_file_is_refused_and_not_waited_for(kind: str, tmp_path: Path) -> None:
    path = Path("modelpick.toml")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"loop": path.name, "device": "/dev/zero", "dangling": "absent"}[kind])
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert caught.value.code == "bad_settings"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('domicle = "DE"', "unknown key 'domicle'"),
        ("domicile = 3", "domicile is 3"),
        ('monthly_active_users = "many"', "monthly_active_users is 'many'"),
        ("monthly_active_users = -1", "monthly_active_users is -1"),
    ],
)
def test_a_wrong_fact_about_the_company_names_its_file(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    user = _user_file(monkeypatch, tmp_path, f"[company]\n{text}\n")
    Path("modelpick.toml").write_text('[company]\ndeployment = "api"\n')
    with pytest.raises(UsageError) as caught:
        policy_in_force()
    assert message in caught.value.message
    assert str(user) in caught.value.message


def test_the_nearer_fact_about_the_company_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _user_file(monkeypatch, tmp_path, '[company]\ndomicile = "DE"\ndeployment = "api"\n')
    Path("modelpick.toml").write_text('[company]\ndomicile = "FR"\n')
    company = policy_in_force().company
    assert (company.domicile, company.deployment) == ("FR", "api")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://hub.example.com/mirror", "http://[::1]:8080"])
def test_the_hubs_address_is_a_web_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{url}/")
    assert settings.hub_endpoint() == url
    monkeypatch.setenv("HF_ENDPOINT", "")
    assert settings.hub_endpoint() is None


@pytest.mark.parametrize(
    "url",
    ["huggingface.co", "ftp://hub", "http://", "http://[bad", "http://hub:port", "http://hub:99999", "a b", "file:///x",
     "http://hub/\x1b[2J", "http://user:secret@[bad", "user:secret@hub"],
)  # fmt: skip
def test_what_is_no_web_address_is_refused_before_it_is_asked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    for ask in (settings.load, settings.hub_endpoint, lambda: Client(Patience(bulk=False)).endpoint):
        with pytest.raises(UsageError) as caught:
            ask()
        assert caught.value.code == "bad_endpoint"
        assert "https://huggingface.co" in caught.value.fix
        assert "secret" not in caught.value.message
        assert caught.value.message.isprintable()


def test_every_setting_says_what_it_is_and_where_its_default_comes_from() -> None:
    for setting in settings_of(settings.SettingsFile):
        assert setting.help
        assert setting.source


def test_no_home_at_all_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME")
    assert settings.load().policy == "commercial"
