"""The machine's locks: what pyproject asks for, every file by its hash, for a GPU, and from nowhere but the index."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from modelpick.aws import bundle
from modelpick.aws.spec import MachineJob

LOCKS = ("requirements", "requirements-vllm")
MACHINE = {"python_version": "3.12", "sys_platform": "linux", "platform_machine": "x86_64", "extra": ""}


def pins(path: Path) -> dict[str, str]:
    """Name and version of every package; a line of another form fails."""
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", path.read_text().strip()):
        head, *hashes = [line.strip().removesuffix("\\").strip() for line in entry.splitlines()]
        name, _, version = head.partition("==")
        assert re.fullmatch(r"[a-z0-9-]+", name), head
        assert hashes, f"{name} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), name
        found[name] = version
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_for_a_gpu_and_from_the_index_alone(repository: Path, name: str) -> None:
    locked = pins(repository / "deploy" / f"{name}.lock")
    assert not [version for version in locked.values() if "+" in version]  # +cpu, and every other local build
    assert locked["torch"] == "2.13.0"
    assert Version(locked["cuda-toolkit"]).major == 13
    assert {"nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"} <= set(locked)
    wanted = [
        line for line in (repository / "deploy" / f"{name}.in").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    for line in wanted:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[normal(requirement.name)]), line


def test_the_lock_holds_what_pyproject_asks_of_every_extra_the_machine_uses(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    locked = pins(repository / "deploy" / "requirements.lock")
    for line in [*project["dependencies"], *extras["aws"], *extras["train"], *extras["serve"]]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(MACHINE):
            assert requirement.specifier.contains(locked[normal(requirement.name)]), line


def test_vllm_goes_with_a_job_that_serves_with_it_and_with_no_other() -> None:
    assert b"vllm" not in names_in(bundle.build(MachineJob(("true",))))
    assert b"vllm/requirements.lock" in names_in(bundle.build(MachineJob(("true",), vllm=True)))


def names_in(packed: bytes) -> bytes:
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return "\n".join(archive.getnames()).encode()
