"""AWS's refusals as modelpick's errors: one sentence with AWS's own words in it, and one command that mends it."""

from typing import Any

from modelpick.errors import RemoteError

# Codes by which services say "there is no such thing" and "there is one already" (their API references).
ABSENT = frozenset({
    "404", "NoSuchBucket", "NoSuchEntity", "NoSuchKey", "NoSuchLifecycleConfiguration", "NoSuchTagSet",
    "ParameterNotFound",
    "InvalidGroup.NotFound", "InvalidGroupId.NotFound", "InvalidInstanceID.NotFound", "InvalidVolume.NotFound",
    "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateName.NotFoundException", "ResourceNotFoundException",
    "NoSuchResourceException", "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError",
})  # fmt: skip
EXISTS = frozenset({
    "AlreadyExists", "AlreadyExistsFault", "BucketAlreadyOwnedByYou", "ConflictException", "EntityAlreadyExists",
    "InvalidGroup.Duplicate", "InvalidLaunchTemplateName.AlreadyExistsException",
    "ParameterAlreadyExists", "ResourceAlreadyExistsException",
})  # fmt: skip
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_INVALID = ("InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "InvalidAccessKeyId", "InvalidToken")
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException", "403")
_THROTTLED = (
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "RequestThrottled", "SlowDown", "RateExceeded",
)  # fmt: skip
_SKEWED = ("RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestInTheFuture")


class Refused(RemoteError):
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

    @property
    def settled(self) -> bool:
        """Whether AWS surely did not do it (a refusal), as against an answer that was lost."""
        return self.aws_code not in ("InternalFailure", "InternalError", "ServiceUnavailable", "unreachable")


def refusal(error: Exception, operation: str) -> Refused:
    """A botocore exception of `operation` (e.g. "autoscaling:UpdateAutoScalingGroup") as a Refused."""
    answer: dict[str, Any] = getattr(error, "response", None) or {}
    aws_code = str(answer.get("Error", {}).get("Code") or "")
    said = " ".join(str(answer.get("Error", {}).get("Message") or error).split())
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"):
        return _made(
            "no_credentials", f"no usable AWS credentials: {said}", "aws configure, or set AWS_PROFILE", operation
        )
    if kind.startswith(("SSO", "UnauthorizedSSO", "TokenRetrieval")) or aws_code in _EXPIRED:
        return _made(
            "expired_credentials",
            f"the AWS credentials have expired at {operation}",
            "aws sso login (or renew them), then the same command again",
            operation,
            aws_code,
        )
    if aws_code in _INVALID:
        fix = "check AWS_PROFILE; aws sts get-caller-identity"
        return _made("bad_credentials", f"AWS does not know these credentials: {said}", fix, operation, aws_code)
    if aws_code in _SKEWED:
        fix = "set this machine's clock (timedatectl set-ntp true), then the same command again"
        return _made(
            "clock_skew", f"AWS does not accept this machine's clock or signature: {said}", fix, operation, aws_code
        )
    if aws_code in _DENIED:
        fix = "have the policy of `modelpick doctor --aws --iam-policy` attached"
        return _made("access_denied", f"AWS denies {operation}: {said}", fix, operation, aws_code)
    if aws_code in _THROTTLED:
        fix = "wait a minute, then the same command again"
        return _made("throttled", f"AWS throttles {operation}: {said}", fix, operation, aws_code)
    if not aws_code:
        fix = "check the network and proxy, then the same command again"
        return _made("aws_unreachable", f"no answer from AWS to {operation}: {said}", fix, operation, "unreachable")
    fix = "modelpick doctor --aws, then the same command again"
    return _made("aws_refused", f"AWS refuses {operation}: {aws_code}: {said}", fix, operation, aws_code)


def _made(code: str, message: str, fix: str, operation: str, aws_code: str = "") -> Refused:
    return Refused(message, fix=fix, code=code, aws_code=aws_code or code, operation=operation)
