"""One AWS account as seen by one caller: clients, calls with typed errors, and AWS's own clock.

Profiles, SSO, assumed roles, AWS_ENDPOINT_URL, proxies and CA bundles work as botocore makes them work.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelpick.aws.errors import LOG_IN, AwsRefused, aws_errors, refusal
from modelpick.errors import RemoteError, UsageError

_TOLERATED_SKEW = timedelta(minutes=5)  # beyond it AWS refuses signatures (Signature Version 4, "request expired")
_SETTLING = 120.0  # seconds that a new role may take to be visible everywhere (IAM: eventual consistency)


class Account:
    """Calls AWS in `region` as the caller's credentials allow. `now()` is AWS's clock, not ours."""

    def __init__(
        self,
        region: str,
        profile: str | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        own_clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.region = region
        self.sleep = sleep
        self._own_clock = own_clock or (lambda: datetime.now(UTC))
        self._skew = timedelta(0)
        self._clients: dict[tuple[str, str], Any] = {}
        self._making = threading.Lock()  # clients may be used by several threads, a session may not
        self._session = session(profile, region)
        self.profile = profile
        self.log_in = how_to_log_in(self._session)

    def in_region(self, region: str) -> "Account":
        """The same caller in another region, which another thread may ask."""
        if region == self.region:
            return self
        other = Account.__new__(Account)
        other.__dict__.update(self.__dict__)
        other.region = region
        return other

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Call e.g. ("iam", "create_role"); throttling and lost answers are retried by botocore. Raises AwsRefused."""
        with self._spoken(service, operation):
            answer: dict[str, Any] = getattr(self._client(service), operation)(**parameters)
        self._hear_clock(answer)
        return answer

    def find(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """Like `call`, but None when AWS says that the thing does not exist."""
        try:
            return self.call(service, operation, **parameters)
        except AwsRefused as refused:
            if refused.absent:
                return None
            raise

    def must_find(self, absent: RemoteError, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Like `call`, but raises `absent` when AWS says that the thing does not exist."""
        found = self.find(service, operation, **parameters)
        if found is None:
            raise absent
        return found

    def make(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """Like `call`, but None when the thing is there already (ours by its name: a repeated or a lost call)."""
        try:
            return self.call(service, operation, **parameters)
        except AwsRefused as refused:
            if refused.exists:
                return None
            raise

    def pages(self, service: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Every item under `key` of every page."""
        with self._spoken(service, operation):
            for page in self._client(service).get_paginator(operation).paginate(**parameters):
                self._hear_clock(page)
                yield from page.get(key) or ()

    def upload(self, path: Path, bucket: str, key: str) -> None:
        """Put a local file of any size into a bucket. Raises AwsRefused; UsageError when it cannot be read."""
        import boto3.exceptions
        import botocore.exceptions

        try:
            self._client("s3").upload_file(str(path), bucket, key)
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", fix="check --data", code="bad_data") from None
        except (
            boto3.exceptions.Boto3Error,
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
        ) as error:
            raise refusal(error.__cause__ or error.__context__ or error, "s3:PutObject", self.log_in) from None

    def once_settled(self, not_seen: str, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """Like `make`, repeated while AWS answers with words that match `not_seen`: new resources are not
        visible everywhere yet."""
        waited = 0.0
        while True:
            try:
                return self.make(service, operation, **parameters)
            except AwsRefused as refused:
                if waited >= _SETTLING or not re.search(not_seen, refused.message):
                    raise
                self.sleep(5.0)
                waited += 5.0

    def now(self) -> datetime:
        """The time by AWS's clock, UTC, as of the latest answer."""
        return datetime.now(UTC) + self._skew

    def identity(self) -> dict[str, Any]:
        """Who is calling: Account and Arn. Raises AwsRefused."""
        return self.call("sts", "get_caller_identity")

    def check_clock(self) -> None:
        """Raises RemoteError where this machine's clock is far off AWS's: signatures are about to be refused.

        LiveOffers before something is made; ending something only needs AWS to accept the calls.
        """
        off = abs(self.now() - self._own_clock())
        if off > _TOLERATED_SKEW:
            raise RemoteError(
                f"this machine's clock is {off.total_seconds() / 60:.0f} minutes off AWS's",
                fix="set the clock (timedatectl set-ntp true), then re-run the command",
                code="clock_skew",
            )

    def client_in(self, service: str, region: str) -> Any:
        """A boto3 client of the same caller: for requests to another region's endpoint, such as prices."""
        return self.in_region(region)._client(service)

    def endpoint(self, service: str) -> str:
        """The address of a service."""
        return str(self._client(service).meta.endpoint_url)

    def _client(self, service: str) -> Any:
        key = (service, self.region)
        with self._making:
            if key not in self._clients:
                self._clients[key] = client(service, self.region, of=self._session, patient=True)
            return self._clients[key]

    def _spoken(self, service: str, operation: str) -> AbstractContextManager[None]:
        name = f"{service}:{''.join(word.capitalize() for word in operation.split('_'))}"
        return aws_errors(name, log_in=self.log_in, hear=self._hear_clock)

    def _hear_clock(self, answer: dict[str, Any]) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date:
            self._skew = parsedate_to_datetime(date).astimezone(UTC) - datetime.now(UTC)


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
    with aws_errors("credentials"):
        return boto3.session.Session(profile_name=profile, region_name=region)


def client(service: str, region: str, *, of: Any = None, patient: bool = False) -> Any:
    """A client of session `of` (None: the environment's). Raises as `session` does, and for unusable settings."""
    held = of or session()
    from botocore.config import Config

    with aws_errors(service, log_in=how_to_log_in(held)):
        settings = Config(**(_PATIENT if patient else _QUICK), user_agent_extra="modelpick")
        try:
            made = held.client(service, region_name=region, config=settings)
            _ = urlsplit(made.meta.endpoint_url).port  # raises for a port that is not a number up to 65535
            return made
        except ValueError:  # botocore's error for an address; its text may quote a password
            raise UsageError(
                f"the address for {service} in AWS_ENDPOINT_URL or a proxy variable is not valid",
                fix="correct or unset AWS_ENDPOINT_URL, HTTP_PROXY and HTTPS_PROXY",
                code="bad_endpoint",
            ) from None


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
            return f"run the profile's own {program.split()[0]}, which provides the credentials"
        name = profiles[name].get("source_profile", "")
    return f"aws configure{flag} (or renew them as your company does)"
