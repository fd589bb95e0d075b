"""The machine that `up` builds, as data, and how long the budget lasts. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from modelpick.aws.names import fingerprint
from modelpick.errors import UsageError
from modelpick.licensing.outcome import Verdict
from modelpick.licensing.policy import Policy
from modelpick.workload import Workload

Market = Literal["on-demand", "spot", "spot-then-on-demand"]
MARKETS: tuple[Market, ...] = ("on-demand", "spot", "spot-then-on-demand")
FORCED_DELETE_AFTER = timedelta(minutes=20)  # the second switch, behind the first: time for a scale-in to end by itself
DELAY_HOURS = FORCED_DELETE_AFTER.total_seconds() / 3600
SHORTEST_HOURS = 0.25  # boot, driver check and bundle take minutes; less than a quarter of an hour is wasted money


@dataclass(frozen=True, slots=True)
class InstanceCandidate:
    """An instance type that will do, at its on-demand price: what an hour of it costs at most."""

    instance_type: str
    usd_per_hour: float
    vcpus: int
    cpu: str = "x86_64"


@dataclass(frozen=True, slots=True)
class LicenseClaim:
    """What a plan says about its model's license; license_gate judges again before anything is made or paid.

    `policy` is the one that the plan was made under. `revision` is the commit that was judged, None where it was not
    known. `download_gb` is the size of its weights in 10^9 bytes, None where the plan does not say. `offline`: judged
    from embedded facts alone. `workloads`: what runs on them, by which the format that they are held in is known.
    """

    policy: Policy
    verdict: Verdict
    license_ids: tuple[str, ...]
    revision: str | None = None
    download_gb: float | None = None
    offline: bool = False
    workloads: tuple[Workload, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineJob:
    """What the machine runs, as job.json tells its guest (deploy/guest/job.py).

    A job ends with its command, a service when nobody has used it for `idle_minutes` (None: the guest's own time).
    `requirements`: the training libraries are installed; `vllm`: vLLM too, in an environment of its own. `keep_data`:
    the training data outlives the machine. `files` are texts that belong to the job, by name; `environment` is the
    command's, in addition to the machine's own.
    """

    command: tuple[str, ...] = ()
    kind: Literal["job", "service"] = "job"
    idle_minutes: float | None = None
    vllm: bool = False
    keep_data: bool = False
    requirements: bool = True
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The content of job.json: a missing value takes the guest's own default."""
        content: dict[str, object] = {"schema_version": 1, "command": list(self.command), "kind": self.kind}
        if self.idle_minutes is not None:
            content["idle_minutes"] = self.idle_minutes
        content |= {name: True for name in ("vllm", "keep_data") if getattr(self, name)}
        if not self.requirements:
            content["requirements"] = False
        tables = {"files": self.files, "environment": self.environment}
        return content | {name: dict(table) for name, table in tables.items() if table}


@dataclass(frozen=True, slots=True)
class Spec:
    """A machine to launch: the types that will do (the best first), how long, for how much, and what it runs.

    `around_usd_per_hour` is the disk and the public address; `job` is the job file the machine runs;
    `subnet`, `kms_key`, `permission_boundary` and `tags` are what a company may require. `asked_sha256` is the hash of
    the request that this one was priced from (None: its own).
    """

    deployment: str
    region: str
    candidates: tuple[InstanceCandidate, ...]
    max_hours: float
    max_usd: float
    around_usd_per_hour: float
    disk_gib: int
    model: str
    license: LicenseClaim
    job: MachineJob = MachineJob()
    market: Market = "on-demand"
    subnet: str | None = None
    kms_key: str | None = None
    permission_boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    keep_results_days: int = 30
    asked_sha256: str | None = None

    @property
    def hourly_usd(self) -> float:
        """What an hour costs at most: the dearest candidate on demand, its disk, its address."""
        return max(candidate.usd_per_hour for candidate in self.candidates) + self.around_usd_per_hour

    @property
    def hours(self) -> float:
        """How long the machine may run: the money cap is the time limit, the second switch's delay paid from it."""
        return min(self.max_hours, self.max_usd / self.hourly_usd - DELAY_HOURS)

    @property
    def serves(self) -> bool:
        """Whether the job is a service: it is reached with a key, and ends only when idle or stopped."""
        return self.job.kind == "service"

    @property
    def most_usd(self) -> float:
        """The most this can cost: the hours, and the delay until the second switch should the first one fail."""
        return (self.hours + DELAY_HOURS) * self.hourly_usd

    @property
    def sha256(self) -> str:
        """Hash of the request in canonical JSON: the same command has the same hash, whatever the prices."""
        request = self.as_json() | {"candidates": [item.instance_type for item in self.candidates]}
        return self.asked_sha256 or fingerprint(json.dumps(request, sort_keys=True, separators=(",", ":")))

    def as_json(self) -> dict[str, object]:
        """The request as JSON, from which its hash is taken. A change of it would hide deployments that were begun."""
        return {
            "deployment": self.deployment,
            "model": self.model,
            "region": self.region,
            "candidates": [
                {"instance_type": item.instance_type, "usd_per_hour": item.usd_per_hour, "vcpus": item.vcpus}
                for item in self.candidates
            ],
            "market": self.market,
            "max_hours": self.max_hours,
            "max_usd": self.max_usd,
            "around_usd_per_hour": self.around_usd_per_hour,
            "disk_gib": self.disk_gib,
            "subnet": self.subnet,
            "kms_key": self.kms_key,
            "permission_boundary": self.permission_boundary,
            "tags": dict(self.tags),
            "keep_results_days": self.keep_results_days,
            "job": self.job.as_json(),
        }


def check(spec: Spec) -> Spec:
    """`spec` when it can be built. Raises UsageError for what contradicts itself or cannot be meant."""
    for name, value in (("max_hours", spec.max_hours), ("max_usd", spec.max_usd), ("disk_gib", spec.disk_gib)):
        if not math.isfinite(value) or value <= 0:
            raise UsageError(f"{name} is {value!r}", fix="give a number above zero", code=f"bad_{name}")
    if not spec.candidates:
        raise UsageError("no instance type is named", fix="name one with --instance", code="no_instance")
    if len({candidate.cpu for candidate in spec.candidates}) > 1:
        raise UsageError(
            "x86_64 and arm64 instance types cannot share one image",
            fix="leave out the arm64 ones (g5g)",
            code="contradiction",
        )
    if spec.max_hours > 24 * 30:
        raise UsageError("max_hours is above 30 days", fix="start with less, and extend it later", code="bad_max_hours")
    if spec.hours < SHORTEST_HOURS:
        least = (SHORTEST_HOURS + DELAY_HOURS) * spec.hourly_usd
        raise UsageError(
            f"${spec.max_usd:.2f} buys {max(spec.hours, 0) * 60:.0f} minutes at ${spec.hourly_usd:.3f} an hour",
            fix=f"allow at least ${math.ceil(least * 100) / 100:.2f} with --max-usd",
            code="cap_too_small",
        )
    for key in spec.tags:
        if key.startswith(("aws:", "modelpick:")) or not 0 < len(key) <= 128:
            raise UsageError(f"tag {key!r} is reserved", fix="choose another key", code="bad_tag")
    return spec
