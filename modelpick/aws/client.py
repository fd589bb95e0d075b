"""The one door to boto3: sessions and clients. boto3 is in the extra `aws`, and imported here when it is asked for.

Profiles, SSO, assumed roles, credential_process, AWS_ENDPOINT_URL, proxies and CA bundles work as botocore makes them
work.
"""

from typing import Any

from modelpick.aws.errors import LOG_IN, spoken
from modelpick.errors import UsageError

# A look at prices gives up soon; a call that makes or ends something is repeated longer.
_QUICK = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "total_max_attempts": 4}}
_PATIENT = {"connect_timeout": 10, "read_timeout": 60, "retries": {"mode": "standard", "total_max_attempts": 5}}


def session(profile: str | None = None, region: str | None = None) -> Any:
    """A boto3 session. Raises UsageError where the extra `aws` is missing, RemoteError for an unknown profile."""
    try:
        import boto3
    except ImportError:
        raise UsageError(
            "asking AWS needs the extra aws", fix='pip install "modelpick[aws]"', code="missing_extra"
        ) from None
    with spoken("credentials"):
        return boto3.session.Session(profile_name=profile, region_name=region)


def client(service: str, region: str, *, of: Any = None, patient: bool = False) -> Any:
    """A client of session `of` (None: the environment's). Raises as `session` does, and for unusable settings."""
    held = of or session()
    from botocore.config import Config

    with spoken(service, log_in=how_to_log_in(held)):
        settings = Config(**(_PATIENT if patient else _QUICK), user_agent_extra="modelpick")
        return held.client(service, region_name=region, config=settings)


def how_to_log_in(held: Any) -> str:
    """The command that renews the credentials of a session, by what its profile says."""
    core, name = held._session, held.profile_name
    profiles = core.full_config.get("profiles", {})
    if name not in profiles:
        return LOG_IN
    flag = "" if name == "default" else f" --profile {name}"
    seen: set[str] = set()
    while name in profiles and name not in seen:
        seen.add(name)
        if profiles[name].get("sso_session") or profiles[name].get("sso_start_url"):
            return f"aws sso login{flag}"
        if program := profiles[name].get("credential_process"):
            return f"run the profile's own {program.split()[0]}, which gives the credentials"
        name = profiles[name].get("source_profile", "")
    return f"aws configure{flag} (or renew them as your company does)"
