"""The one door to boto3: clients with short timeouts, and its errors as sentences with a fix.

boto3 is in the extra `aws` and is imported here only, when a client is asked for. Profiles, SSO, assumed roles, proxies
and endpoint variables work as boto3 makes them work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelpick.errors import RemoteError, UsageError

_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 20, "retries": {"mode": "standard", "max_attempts": 4}}
_LOG_IN = "run `aws sso login` or `aws configure`, or set AWS_PROFILE"

# Error codes of AWS services -> ours. AWS has several words for each.
_CODES = {
    "expired_credentials": ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
    "bad_credentials": (
        "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId",
        "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
    ),
    "access_denied": (
        "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "NotAuthorized",
        "OptInRequired", "Forbidden", "403",
    ),
    "throttled": (
        "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
        "RequestThrottled", "SlowDown", "PriorRequestNotComplete",
    ),
    "clock_skew": ("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture"),
}  # fmt: skip
_FIXES = {
    "expired_credentials": f"{_LOG_IN} again",
    "bad_credentials": f"check the keys: {_LOG_IN}",
    "access_denied": "ask for the permission, or use embedded prices (leave out --live)",
    "throttled": "wait a minute and try again, or ask for fewer instance types",
    "clock_skew": "set this machine's clock; AWS accepts five minutes of difference",
}
_SENTENCES = {
    "expired_credentials": "the AWS credentials have expired",
    "bad_credentials": "AWS does not accept these credentials",
    "access_denied": "AWS denies {action} to these credentials",
    "throttled": "AWS is throttling {action}",
    "clock_skew": "this machine's clock differs from AWS's",
}


def client(service: str, region: str) -> Any:
    """A boto3 client. Raises UsageError where the extra `aws` is missing, RemoteError for an unusable profile."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise UsageError(
            "asking AWS needs the extra aws", fix="pip install 'modelpick[aws]'", code="missing_extra"
        ) from None
    with spoken(service):
        return boto3.Session().client(service, region_name=region, config=Config(**_TIMEOUTS))


@contextmanager
def spoken(action: str) -> Iterator[None]:
    """Turns what botocore raises inside into RemoteError: `action` is what was being done."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        raise _from_code(error, action) from None
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError):
        raise RemoteError("no AWS credentials were found", fix=_LOG_IN, code="no_credentials") from None
    except (aws.UnauthorizedSSOTokenError, aws.SSOTokenLoadError, aws.TokenRetrievalError):
        raise _error("expired_credentials", action) from None
    except aws.ProfileNotFound as error:
        raise RemoteError(str(error), fix="correct AWS_PROFILE, or unset it", code="unknown_profile") from None
    except (aws.HTTPClientError, aws.ConnectionError, aws.EndpointConnectionError):
        raise RemoteError(
            f"AWS could not be reached for {action}",
            fix="check the network and the proxy, or leave out --live",
            code="aws_unreachable",
        ) from None
    except aws.BotoCoreError as error:
        raise RemoteError(
            f"AWS could not be asked ({action}): {_one_line(error)}",
            fix="try again, or leave out --live",
            code="aws_error",
        ) from None


def _from_code(error: Any, action: str) -> RemoteError:
    """A service's answer as one of our codes; signature errors over the time are the clock's."""
    listed = error.response.get("Error", {})
    code, message = str(listed.get("Code", "")), str(listed.get("Message", ""))
    if "Signature expired" in message or "Signature not yet current" in message:
        return _error("clock_skew", action)
    found = next((ours for ours, theirs in _CODES.items() if code in theirs), None)
    if found is not None:
        return _error(found, f"{action} ({error.operation_name})")
    return RemoteError(
        f"AWS refused {action}: {code}: {_one_line(message)}", fix="try again, or leave out --live", code="aws_error"
    )


def _error(code: str, action: str) -> RemoteError:
    return RemoteError(_SENTENCES[code].format(action=action), fix=_FIXES[code], code=code)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:300]
