"""AWS's refusals as modelpick's errors: one sentence that quotes AWS, and one command that fixes it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelpick.errors import RemoteError

# Codes for "does not exist" and "already exists" (their API references).
ABSENT = frozenset({
    "404", "NoSuchBucket", "NoSuchEntity", "NoSuchKey", "NoSuchLifecycleConfiguration", "NoSuchTagSet",
    "ParameterNotFound", "NotFoundException",
    "InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidInstanceID.NotFound", "InvalidVolume.NotFound",
    "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException", "ResourceNotFoundException",
    "NoSuchResourceException", "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError",
})  # fmt: skip
EXISTS = frozenset({
    "AlreadyExists", "AlreadyExistsFault", "BucketAlreadyOwnedByYou", "ConflictException", "EntityAlreadyExists",
    "InvalidGroup.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException",
    "ParameterAlreadyExists", "ResourceAlreadyExistsException",
})  # fmt: skip
LOG_IN = "aws sso login, or aws configure, or set AWS_PROFILE"


@dataclass(frozen=True, slots=True)
class _AwsError:
    """One way to fail: AWS's words for it (error codes, botocore's exceptions), our sentence and the fix."""

    code: str
    theirs: tuple[str, ...]
    sentence: str
    fix: str


_AGAIN = "then re-run the command"
_SKEWED = _AwsError(
    "clock_skew",
    ("RequestTimeTooSkewed", "RequestInTheFuture"),
    "AWS does not accept this machine's clock: {message}",
    f"set the clock (timedatectl set-ntp true), {_AGAIN}",
)
_UNREACHABLE = _AwsError(
    "aws_unreachable",
    (),
    "no answer from AWS to {operation}: {message}",
    f"check the network and the proxy, {_AGAIN}",
)
_OTHER = _AwsError(
    "aws_refused", (), "AWS refuses {operation}: {theirs}: {message}", f"modelpick doctor --aws, {_AGAIN}"
)
# AWS has several codes for each; RequestExpired is EC2's for a token that has run out.
_AWS_ERRORS = (
    _AwsError(
        "expired_credentials",
        (
            "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
            "UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "SSOError",
        ),
        "the AWS credentials have expired at {operation}",
        "{log_in}, " + _AGAIN,
    ),
    _AwsError(
        "unknown_profile",
        ("ProfileNotFound",),
        "{message}",
        "aws configure list-profiles lists the profiles; set AWS_PROFILE or --profile",
    ),
    _AwsError(
        "no_credentials",
        ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
        "no usable AWS credentials: {message}",
        "{log_in}",
    ),
    _AwsError(
        "bad_credentials",
        (
            "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId", "InvalidToken",
            "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken",
        ),
        "AWS does not know these credentials in this region: {message}",
        "aws sts get-caller-identity shows whose they are; then {log_in}",
    ),
    _AwsError(
        "access_denied",
        (
            "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "NotAuthorized",
            "OptInRequired", "Forbidden", "403",
        ),
        "AWS denies {operation}: {message}",
        "attach the policy of `modelpick doctor --aws --iam-policy`",
    ),
    _AwsError(
        "throttled",
        (
            "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "RequestThrottled",
            "TooManyRequestsException", "SlowDown", "RateExceeded", "PriorRequestNotComplete",
        ),
        "AWS throttles {operation}: {message}",
        f"wait a minute, {_AGAIN}",
    ),
    _SKEWED,
)  # fmt: skip
_BY_THEIRS = {word: fault for fault in _AWS_ERRORS for word in fault.theirs}


class AwsRefused(RemoteError):
    """A call that AWS refused or did not answer. `aws_code` is AWS's own code, `operation` the call."""

    def __init__(self, message: str, *, fix: str, code: str, aws_code: str, operation: str) -> None:
        super().__init__(message, fix=fix, code=code)
        self.aws_code = aws_code
        self.operation = operation

    @property
    def absent(self) -> bool:
        """Whether AWS says that the thing does not exist."""
        # Auto Scaling has no code of its own for it: a ValidationError whose text says so.
        return self.aws_code in ABSENT or (self.aws_code == "ValidationError" and "not found" in self.message)

    @property
    def exists(self) -> bool:
        """Whether AWS says that the thing is there already."""
        return self.aws_code in EXISTS


def refusal(error: Exception, operation: str, log_in: str = LOG_IN) -> AwsRefused:
    """A botocore exception of `operation` (e.g. "autoscaling:UpdateAutoScalingGroup") as an AwsRefused.

    `log_in` is the command that renews the caller's credentials.
    """
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    theirs = str(answer.get("Error", {}).get("Code") or "")
    message = " ".join(str(answer.get("Error", {}).get("Message") or error).split())[:500]
    if "Signature expired" in message or "not yet current" in message:
        fault = _SKEWED  # a signature over another time: whatever the service calls it
    else:
        fault = _BY_THEIRS.get(theirs or type(error).__name__) or (_OTHER if theirs else _UNREACHABLE)
    words = {"operation": operation, "message": message, "theirs": theirs, "log_in": log_in}
    return AwsRefused(
        fault.sentence.format(**words),
        fix=fault.fix.format(**words),
        code=fault.code,
        aws_code=theirs or ("unreachable" if fault is _UNREACHABLE else fault.code),
        operation=operation,
    )


@contextmanager
def aws_errors(
    operation: str, *, log_in: str = LOG_IN, hear: Callable[[dict[str, Any]], None] | None = None
) -> Iterator[None]:
    """Turns what botocore raises inside into AwsRefused. `hear` is given the answer that a refusal came with."""
    import botocore.exceptions
    import botocore.parsers

    try:
        yield
    except (
        botocore.exceptions.BotoCoreError,
        botocore.exceptions.ClientError,
        botocore.parsers.ResponseParserError,  # not an AWS answer: a proxy's or a failing server's page
    ) as error:
        if hear is not None:
            hear(getattr(error, "response", None) or {})
        raise refusal(error, operation, log_in) from None
