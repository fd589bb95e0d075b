"""Callers as companies have them: profiles, assumed roles, credential_process, single sign-on that has run out."""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from modelpick.aws.account import Account
from modelpick.errors import ModelpickError
from tests.stand_ins.aws_account import Aws

_CONFIG = """
[profile base]
aws_access_key_id = stand-in
aws_secret_access_key = stand-in
[profile role]
role_arn = arn:aws:iam::123456789012:role/engineer
source_profile = base
[profile program]
credential_process = {python} {program}
[profile broken]
credential_process = {python} {program} broken
[sso-session corp]
sso_start_url = https://sso.invalid/start
sso_region = us-east-1
[profile corp]
sso_session = corp
sso_account_id = 123456789012
sso_role_name = engineer
[profile by-corp]
role_arn = arn:aws:iam::123456789012:role/engineer
source_profile = corp
"""
_PROGRAM = """import json, sys
if sys.argv[1:]:
    sys.exit("the vault is closed")
print(json.dumps({"Version": 1, "AccessKeyId": "stand-in", "SecretAccessKey": "stand-in"}))
"""


@pytest.fixture
def home(tmp_path: Path, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "credentials.py"
    program.write_text(_PROGRAM)
    config = tmp_path / "config"
    config.write_text(_CONFIG.format(python=sys.executable, program=program))
    for key, value in {**aws.environment, "AWS_CONFIG_FILE": str(config), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key, raising=False)
    return tmp_path


def arn(profile: str | None, aws: Aws) -> str:
    return str(Account("us-east-1", profile).identity()["Arn"])


def refused(profile: str, aws: Aws) -> ModelpickError:
    with pytest.raises(ModelpickError) as caught:
        arn(profile, aws)
    return caught.value


def test_profiles_programs_and_assumed_roles_are_used(home: Path, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    assert arn("base", aws).endswith(":user/ann")
    assert arn("program", aws).endswith(":user/ann")
    assert ":assumed-role/engineer/" in arn("role", aws)
    monkeypatch.setenv("AWS_PROFILE", "role")
    assert ":assumed-role/engineer/" in arn(None, aws)


@pytest.mark.parametrize("profile", ["corp", "by-corp"])
def test_single_sign_on_that_has_run_out_is_mended_by_logging_in(profile: str, home: Path, aws: Aws) -> None:
    error = refused(profile, aws)
    assert (error.code, error.exit_code) == ("expired_credentials", 4)
    assert f"aws sso login --profile {profile}" in error.fix
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    old = {
        "startUrl": "https://sso.invalid/start", "region": "us-east-1", "accessToken": "old",
        "expiresAt": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    (cache / f"{hashlib.sha1(b'corp').hexdigest()}.json").write_text(json.dumps(old))
    assert f"aws sso login --profile {profile}" in refused(profile, aws).fix


def test_a_credential_process_that_fails_is_shown_with_its_words(home: Path, aws: Aws) -> None:
    error = refused("broken", aws)
    assert error.code == "no_credentials"
    assert "the vault is closed" in error.message
    assert sys.executable in error.fix


def test_a_token_that_expires_names_the_profile_s_own_mend(home: Path, aws: Aws) -> None:
    aws.fail("GetCallerIdentity", code="ExpiredToken", times=9)
    assert "credentials.py" not in refused("base", aws).fix
    assert "--profile base" in refused("base", aws).fix


def test_an_unknown_profile_is_said_so(home: Path, aws: Aws) -> None:
    error = refused("nobody", aws)
    assert error.code == "unknown_profile"
    assert "nobody" in error.message
