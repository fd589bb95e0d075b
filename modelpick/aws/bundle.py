"""What the machine downloads: this version of modelpick as a wheel, the job, the locked requirements, the guest's
programs.

The same inputs give the same bytes, so the hash in user-data says exactly what will run.
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import modelpick
from modelpick.aws.names import ResourceNames
from modelpick.aws.resources import Payload
from modelpick.aws.spec import MachineJob, Spec
from modelpick.errors import UsageError
from modelpick.files import directory, read_bytes, read_text
from modelpick.licensing.judge_models import APPROVALS
from modelpick.licensing.policy import Policy
from modelpick.licensing.policy_file import text_of

USER_DATA_LIMIT = 4096  # bytes; EC2 takes 16 KB, and what is small is read before it is trusted
_READY_MINUTES = 120  # a machine whose watchdog does not run by then will not get one
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip file can hold
_SKIPPED = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def payload(
    spec: Spec,
    names: ResourceNames,
    *,
    job: MachineJob | None = None,
    data: Mapping[str, Path] | None = None,
    hub_token: str | None = None,
) -> Payload:
    """The bundle of `spec` (with `job` in place of its own: the same one, pinned) and its user-data.

    Raises UsageError when the installation lacks the guest's files.
    """
    content = build(spec.job if job is None else job)
    digest = hashlib.sha256(content).hexdigest()
    return Payload(user_data(spec, names, digest), content, digest, dict(data or {}), hub_token)


def user_data(spec: Spec, names: ResourceNames, bundle_sha256: str, *, stop_at: str = "") -> str:
    """The cloud-config that arms the machine's own end and fetches the bundle.

    `stop_at` is the limit where no `up` writes one into the bucket. Raises UsageError beyond USER_DATA_LIMIT bytes.
    """
    text = _deploy_file("user_data.yaml").decode()
    # The machine's own last minute lies behind both switches. Until its watchdog runs, which moves it behind the real
    # limit, it is not later than set-up (an hour) and the plain end (half an hour) can take.
    values = {
        "DEPLOYMENT": names.deployment,
        "GROUP": names.group,
        "BUCKET": names.bucket,
        "SHA256": bundle_sha256,
        "LOG_GROUP": names.log_group,
        "TOKEN_PARAMETER": names.hub_token,
        "LAST_MINUTE": str(min(int(spec.hours * 60) + 30, _READY_MINUTES)),
        "REGION": names.region,
        "STOP_AT": stop_at,
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    if len(text.encode()) > USER_DATA_LIMIT:
        raise UsageError(
            f"user-data has {len(text.encode())} bytes", fix="choose a shorter --name", code="user_data_too_long"
        )
    return text


def build(job: MachineJob) -> bytes:
    """The bundle as .tar.gz bytes: with vLLM's own environment where the job says `vllm`."""
    files: dict[str, tuple[bytes, int]] = {
        "job.json": (json.dumps(job.as_json(), indent=1, sort_keys=True).encode(), 0o644)
    }
    for name, text in job.files.items():
        files[name] = (text.encode(), 0o644)
    for name in _deploy_names():
        mode = 0o755 if name.endswith(".sh") else 0o644
        files[f"deploy/{name}"] = (_deploy_file(name), mode)
    files["requirements.lock"] = (_deploy_file("requirements.lock") if job.requirements else b"", 0o644)
    if job.vllm:
        files["vllm/requirements.lock"] = (_deploy_file("requirements-vllm.lock"), 0o644)
    wheel_name, wheel = build_wheel()
    files[f"wheel/{wheel_name}"] = (wheel, 0o644)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            content, mode = files[name]
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def build_wheel() -> tuple[str, bytes]:
    """This modelpick, as it runs here, as a wheel (PEP 427): its package with the data folders inside."""
    version = modelpick.__version__
    info = f"modelpick-{version}.dist-info"
    files = {f"modelpick/{name}": content for name, content in _package_files()}
    files[f"{info}/METADATA"] = _metadata(version)
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: modelpick\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nmodelpick = modelpick.__main__:main\n"
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), files[name], zipfile.ZIP_DEFLATED)
    return f"modelpick-{version}-py3-none-any.whl", packed.getvalue()


def _package_files() -> Iterator[tuple[str, bytes]]:
    package = Path(modelpick.__file__).resolve().parent
    yield from _tree(package, "")
    for name in ("policies", "deploy"):
        folder = directory(name)
        if folder.parent != package and folder.is_dir():
            yield from _tree(folder, f"{name}/")


def _tree(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not _SKIPPED & set(path.parts) and path.suffix != ".pyc":
            yield prefix + path.relative_to(folder).as_posix(), read_bytes(path, code="broken_installation")


def _metadata(version: str) -> bytes:
    try:
        text = metadata.distribution("modelpick").read_text("METADATA")
    except metadata.PackageNotFoundError:
        text = None
    return (text or f"Metadata-Version: 2.1\nName: modelpick\nVersion: {version}\n").encode()


def _record(files: Mapping[str, bytes], own: str) -> bytes:
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for name in sorted(files):
        digest = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        writer.writerow([name, f"sha256={digest}", len(files[name])])
    writer.writerow([own, "", ""])
    return rows.getvalue().encode()


def _deploy_names() -> list[str]:
    folder = directory("deploy")
    listed = ["install.sh"] + [
        path.relative_to(folder).as_posix()
        for kind in ("guest", "units")
        for path in sorted((folder / kind).glob("*.*"))
    ]
    return [name for name in listed if not _SKIPPED & set(Path(name).parts)]


def _deploy_file(name: str) -> bytes:
    return read_bytes(directory("deploy") / name, code="broken_installation", fix="install modelpick again")


_POLICY, _SETTINGS, _APPROVALS = "policy.toml", "modelpick.toml", "approvals.toml"


def license_inputs(policy: Policy, region: str) -> dict[str, str]:
    """Names and texts of the files that the machine judges licenses by: `policy`, the company's facts, the approvals.

    The machine reads them from its working folder like a user's: modelpick.toml, the policy that it names (with all
    that it inherits and the company's facts), approvals.toml. `region` is where the machine runs; it counts as one of
    the company's regions.
    """
    files = {_POLICY: text_of(policy), _SETTINGS: _settings(policy, region)}
    if APPROVALS.is_file():
        files[_APPROVALS] = read_text(APPROVALS, code="bad_approvals")
    return files


def _settings(policy: Policy, region: str) -> str:
    """Settings that name the policy, the region, and the product. JSON's texts are valid TOML."""
    settings = {"policy": _POLICY, "runs_in": region, "product": policy.product}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items() if value is not None)
