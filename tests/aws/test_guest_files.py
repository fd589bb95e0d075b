"""The machine's files, read by the programs that will read them: cloud-init, bash's, systemd, pip, cfn-lint."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from modelpick.aws import bundle, templates
from modelpick.aws.names import ResourceNames
from modelpick.exports import cloudformation
from tests.aws.conftest import spec
from tests.aws.test_guest import NAMES, job


def test_user_data_is_small_and_holds_no_secret() -> None:
    longest = "a" * 20
    names = ResourceNames(longest, "123456789012", "ap-southeast-1")
    text = bundle.user_data(
        spec(name=longest, region="ap-southeast-1"), names, "f" * 64, stop_at="2026-11-23T18:00:00Z"
    )
    assert len(text.encode()) <= 4096
    assert "@" not in text
    assert "hf_" not in text


def test_the_same_inputs_give_the_same_bundle() -> None:
    assert bundle.build(job("true")) == bundle.build(job("true"))


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="needs cloud-init")
def test_cloud_init_accepts_the_user_data(tmp_path: Path) -> None:
    path = tmp_path / "user-data"
    path.write_text(bundle.user_data(spec(), NAMES, "f" * 64))
    run = subprocess.run(
        ["cloud-init", "schema", "--config-file", str(path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck")
def test_shellcheck_accepts_the_scripts(repository: Path, tmp_path: Path) -> None:
    document = yaml.safe_load(bundle.user_data(spec(), NAMES, "f" * 64))
    fetch = tmp_path / "fetch.sh"
    fetch.write_text(next(item["content"] for item in document["write_files"] if item["content"].startswith("#!")))
    scripts = [str(repository / "deploy/install.sh"), str(fetch)]
    run = subprocess.run(["shellcheck", "--exclude=SC1091", *scripts], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(repository: Path, tmp_path: Path) -> None:
    """Those of the bundle, and those that user-data writes, together: each names others."""
    document = yaml.safe_load(bundle.user_data(spec(), NAMES, "f" * 64))
    written = [(Path(one["path"]).name, one["content"]) for one in document["write_files"]]
    written += [(path.name, path.read_text()) for path in (repository / "deploy/units").glob("*.service")]
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name, text in written:
        if name.endswith(".service"):
            (tmp_path / name).write_text(text.replace("/usr/local/sbin/modelpick-", f"{program} "))
    early = document["bootcmd"][0].replace("/run/systemd/system", str(tmp_path)).partition("systemctl daemon-reload")[0]
    subprocess.run(["sh", "-euc", early], check=True)
    units = sorted(path.name for path in tmp_path.glob("modelpick-*"))
    assert len(units) == 6
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    words = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit) for unit in units)]
    run = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert [line for line in run.stderr.splitlines() if "modelpick" in line] == []


VARIANTS: dict[str, dict[str, object]] = {
    "plain": {},
    "spot": {"market": "spot"},
    "spot-then-on-demand": {"market": "spot-then-on-demand"},
    "company": {
        "kms_key": "arn:aws:kms:us-east-1:123456789012:key/k",
        "permission_boundary": "arn:aws:iam::123456789012:policy/boundary",
        "tags": {"CostCenter": "4711", "team": "a b"},
        "subnet": "subnet-0123456789abcdef0",
    },
    "service": {"job": job("true", kind="service", vllm=True)},
}


def test_every_variant_of_the_template_is_clean(tmp_path: Path) -> None:
    pytest.importorskip("cfnlint")
    paths = []
    for name, changes in VARIANTS.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(cloudformation.template_text(spec(**changes), "f" * 64))
    lint = "import sys; from cfnlint.runner import main; sys.exit(main())"
    words = [sys.executable, "-c", lint, "--regions", "us-east-1", "--template", *map(str, paths)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_the_template_starts_only_behind_both_switches() -> None:
    resources = cloudformation.template(spec(), "f" * 64)["Resources"]
    assert resources["Group"]["Properties"]["DesiredCapacity"] == "0"
    assert set(resources["Start"]["DependsOn"]) == {"Stop", "Backstop"}
    assert resources["Start"]["Properties"]["DesiredCapacity"] == 1
    assert resources["Stop"]["Properties"]["MaxSize"] == 0
    assert resources["Bucket"]["DeletionPolicy"] == "Retain"


def test_the_template_boots_the_machine_that_up_would_boot() -> None:
    """The same user-data, but for the account, which CloudFormation knows, and the limit, which no `up` writes."""
    document = json.loads(cloudformation.template_text(spec(), "f" * 64))
    pieces = document["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    values = {"AWS::AccountId": NAMES.account, "StopAt": "2026-11-23T18:00:00Z"}
    joined = "".join(one if isinstance(one, str) else values[one["Ref"]] for one in pieces["Fn::Join"][1])
    assert joined == bundle.user_data(spec(), NAMES, "f" * 64, stop_at=values["StopAt"])
    assert "123456789012" not in json.dumps(document)


def test_the_machine_may_do_no_more_than_it_must() -> None:
    for statement in templates.guest_policy(NAMES, None)["Statement"]:
        assert all("*" not in action for action in statement["Action"])
        if statement["Resource"] == ["*"]:  # what IAM lets nobody narrow by resource
            assert "Condition" in statement or all(
                action.startswith(("ssm:UpdateInstanceInformation", "ssmmessages:")) for action in statement["Action"]
            )
        else:
            assert all("demo" in resource for resource in statement["Resource"])


def test_the_export_writes_the_template_and_the_bundle_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from modelpick.cli.main import main

    words = [
        "up",
        "Qwen/Qwen3-8B",
        "--serve",
        "--method",
        "bf16",
        "--name",
        "box",
        "--keep-data",
        "--offline",
        "--json",
    ]
    with pytest.raises(SystemExit) as left:
        main([*words, "--cloudformation", str(tmp_path / "box.json")])
    assert left.value.code in (0, None)
    told = json.loads(capsys.readouterr().out)
    packed = Path(told["bundle"]).read_bytes()
    document = json.loads(Path(told["template"]).read_text())
    assert hashlib.sha256(packed).hexdigest() in json.dumps(document["Outputs"]["Bundle"])
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        made = json.load(archive.extractfile("job.json"))  # type: ignore[arg-type]
    assert made["vllm"] is made["keep_data"] is True
