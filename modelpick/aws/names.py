"""The names of a deployment's resources: each follows from its id, the account and the region. Pure.

Nothing is random and nothing stored: the id is enough to find everything, and re-running a command names the same
resources. Lengths: S3 bucket 63, IAM role 64, scheduler 64, Auto Scaling group 255 (the services' API references).
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from modelpick.errors import UsageError

PREFIX = "modelpick"
TAG_DEPLOYMENT = "modelpick:deployment"
TAG_PLAN = "modelpick:plan"
TAG_OWNER = "modelpick:owner"
TAG_EXPIRES = "modelpick:expires"
_LONGEST = 20  # modelpick-<20>-<12 digit account>-<14: ap-southeast-1> is 58 of the 63 characters of a bucket's name
_VALID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_OURS = re.compile(rf"{PREFIX}-([a-z0-9][a-z0-9-]*?)-(\d{{12}})-([a-z0-9-]+)\Z")


def check_id(name: str) -> str:
    """`name` when it can be a deployment's id. Raises UsageError with the nearest name that can."""
    if _VALID.match(name) and len(name) <= _LONGEST:
        return name
    raise UsageError(
        f"{name!r} is not a deployment name: use lower-case letters, digits and single hyphens, at most {_LONGEST}",
        fix=f"use --name {slug(name)}",
        code="bad_deployment_name",
    )


def slug(text: str, longest: int = _LONGEST) -> str:
    """The nearest valid id to `text`."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return words[:longest].rstrip("-") or "machine"


@dataclass(frozen=True, slots=True)
class ResourceNames:
    """Every name of one deployment in one account and region."""

    deployment: str
    account: str
    region: str

    @property
    def partition(self) -> str:
        """`aws`, or the partition of China or GovCloud, from the region."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(
            "us-gov" if self.region.startswith("us-gov") else self.region[:2], "aws"
        )

    @property
    def group(self) -> str:
        """The Auto Scaling group, the launch template, the security group and the forced-delete schedule."""
        return f"{PREFIX}-{self.deployment}"

    @property
    def scheduled_stop(self) -> str:
        """The scheduled action that sets the group to zero."""
        return f"{self.group}-stop"

    @property
    def bucket(self) -> str:
        """The deployment's own bucket."""
        return f"{PREFIX}-{self.deployment}-{self.account}-{self.region}"

    @property
    def guest_role(self) -> str:
        """Role and instance profile of the machine. IAM is global, so the region is part of the name."""
        return f"{self.group}-{self.region}-guest"

    @property
    def switch_role(self) -> str:
        """Role that the forced-delete schedule uses."""
        return f"{self.group}-{self.region}-switch"

    @property
    def log_group(self) -> str:
        """CloudWatch log group of the machine."""
        return f"/{PREFIX}/{self.deployment}"

    @property
    def record(self) -> str:
        """SSM parameter that is made first and deleted last: the deployment's anchor."""
        return f"/{PREFIX}/{self.deployment}/record"

    @property
    def hub_token(self) -> str:
        """SSM SecureString that holds the Hub token."""
        return f"/{PREFIX}/{self.deployment}/hub-token"

    @property
    def api_key(self) -> str:
        """SSM SecureString that holds the API key of what is served."""
        return f"/{PREFIX}/{self.deployment}/api-key"

    def iam_arn(self, kind: str, name: str) -> str:
        """ARN of a role or instance profile of ours: all have the path /modelpick/."""
        return f"arn:{self.partition}:iam::{self.account}:{kind}/{PREFIX}/{name}"

    def arn(self, service: str, resource: str) -> str:
        """ARN of a regional resource."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def owner_of_bucket(bucket: str) -> tuple[str, str, str] | None:
    """(deployment, account, region) of one of our buckets' names, or None."""
    found = _OURS.match(bucket)
    return (found[1], found[2], found[3]) if found else None


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags in the form most services take."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def fingerprint(text: str | bytes) -> str:
    """Hex SHA-256 of a text."""
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()
