"""One rule for files of terms: what `license` reads is what is fetched, copied beside a model and served."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelpick.catalog import folder, hub, index, lookup, terms
from modelpick.licensing import file_evidence, license_check
from modelpick.licensing.file_evidence import read_files
from modelpick.licensing.judge_models import facts_in_force
from modelpick.licensing.license_check import Permission, write_notices
from modelpick.licensing.outcome import Verdict
from modelpick.serving import server
from tests.stand_ins.hub import Hub

LICENSES = (
    "LICENSE", "LICENCE", "license.txt", "LICENSE.md", "License.rst", "LICENSE.html", "LICENSE-MODEL", "LICENSE_CODE",
    "LICENSE.Apache-2.0", "LICENSE2", "LICENSE(1).txt", "LICENSE-2.0.txt", "MODEL_LICENSE", "MODELLICENSE.md",
    "gemma_license.md", "Llama-3.1.LICENSE", "my-model-licence.txt", "LicenseAgreement.txt", "COPYING", "COPYING.txt",
    "COPYING3", "EULA", "EULA.txt", "nvidia_eula.md", "TERMS.md", "TERMS_OF_USE.md", "terms-of-service.txt",
    "gemma-terms.md", "tou.txt", "TOU.md", "LICENSES/Apache-2.0.txt", "LICENSES/MIT", "licenses/model.md",
    "tou/gemma.txt", "model.safetensors.license", "sub/LICENSE", "a/b/c/COPYING", "LICENSES/weights/model.txt",
    "AGREEMENT.md", "LIZENZ.txt", "Nutzungsbedingungen.md", "licença.md", "许可证.txt", "模型许可协议", "ライセンス.md",
    "이용약관.txt", "лицензия.txt",
)  # fmt: skip
NOTICES = (
    "NOTICE", "NOTICE.txt", "NOTICES", "notice.md", "THIRD_PARTY_NOTICES.txt", "third-party-licenses.txt",
    "ThirdPartyNotices.txt", "LICENSES/NOTICE",
)  # fmt: skip
POLICIES = (
    "USE_POLICY.md", "USE-POLICY", "USEPOLICY.txt", "usage_policy.md", "acceptable_use_policy.md",
    "ACCEPTABLE_USE_POLICY.txt", "ACCEPTABLE-USE-POLICY", "PROHIBITED_USES.md", "prohibited_use.txt",
    "use_restrictions.md", "AUP.md", "original/USE_POLICY.md",
)  # fmt: skip
KINDS = {
    **dict.fromkeys(LICENSES, "license"),
    **dict.fromkeys(NOTICES, "notice"),
    **dict.fromkeys(POLICIES, "use_policy"),
}
CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.lower, str.title)
OTHERS = (
    "README.md", "config.json", "license.py", "license.json", "LICENSE.png", "model.safetensors", "sub/README.md",
    "original/config.json", "sublicensee", "licensed.txt", "noticed", "terminal.txt", "copyingly", "stoufer.txt",
    "LICENSES/..", "LICENSES/", "LICENSES/README.md", "LICENSES/check.py", "/LICENSE", "../LICENSE", "", ".", "..",
    "LICENSES/../LICENSE", "tokenizer.model",
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_file_does_not_depend_on_its_case(name: str) -> None:
    assert len(KINDS) >= 40
    assert {case: terms.kind_of(case(name)) for case in CASES} == dict.fromkeys(CASES, KINDS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_carry_no_terms(name: str) -> None:
    assert {terms.kind_of(case(name)) for case in CASES} == {None}


def test_a_pdf_that_cannot_be_read_is_unread_and_passed_on(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.pdf").write_bytes(b"%PDF-1.7\n")
    (tmp_path / "config.json").write_text("{}")
    model = folder.read_folder(tmp_path)
    assert model.texts == {}
    assert [unread.name for unread in model.unread] == ["LICENSE.pdf"]
    assert folder.copy_terms(tmp_path, tmp_path / "copy") == ("LICENSE.pdf",)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("MODELPICK_CACHE", str(tmp_path / "own"))
    return tmp_path


def _spread(names: list[str], case: Callable[[str], str]) -> list[list[str]]:
    """Groups of as many as are read of one repository."""
    cased = sorted({case(name) for name in names})
    return [cased[start : start + 12] for start in range(0, len(cased), 12)]


def _permission() -> Permission:
    return Permission("org/base", None, Verdict.ALLOW, "company", ("mit",), (), (), None)


def _launch(base: Path, adapter: Path | None = None) -> Any:
    served = SimpleNamespace(folder=base, adapter=adapter, names=("base",))
    return SimpleNamespace(to_merge=None, served=served, permission=_permission())


def _files(top: Path) -> set[str]:
    return {file.relative_to(top).as_posix() for file in top.rglob("*") if file.is_file()}


def passed_on(base: Path, at: Path) -> dict[str, set[str]]:
    """The names of files that each of the callers takes from a base."""
    write_notices(_permission(), base, _made(at / "tuned"), "mine")
    server.write_terms(cast(server.Launch, _launch(base)), at / "served")
    server.write_terms(cast(server.Launch, _launch(at / "tuned")), at / "served-tuned")
    return {name: _files(at / name) for name in ("tuned", "served", "served-tuned")}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.__name__))
def test_what_is_read_is_fetched_copied_and_served(home: Path, case: Callable[[str], str], monkeypatch: Any) -> None:
    for number, names in enumerate(_spread(list(KINDS), case)):
        with Hub() as stand_in:
            monkeypatch.setenv("HF_ENDPOINT", stand_in.url)
            id = f"org/base-{case.__name__}-{number}"
            stand_in.add(
                id, "license: mit", config={"model_type": "llama"}, files={name: f"terms of {name}" for name in names}
            )
            live = hub.look_up([id], offline=False, catalog=index.load()).results[0]
            fetched = lookup.download(id)
        local = folder.read_folder(fetched)
        assert not isinstance(live, Exception)
        for model in (live, local):
            assert set(model.texts) - {"README.md"} == set(names)
            cited = {reading.name for reading in read_files(model, facts_in_force())}
            assert cited == {name for name in names if terms.kind_of(name) == "license"}
        for caller, taken in passed_on(fetched, home / f"{number}").items():
            assert set(names) <= taken, caller


def _copy_by_glob(source: Path, target: Path) -> tuple[str, ...]:
    names = [file.name for file in source.glob("LICENSE*")]
    for name in names:
        shutil.copyfile(source / name, target / name)
    return tuple(names)


@pytest.mark.parametrize(
    ("module", "name", "own_rule"),
    [
        (license_check, "copy_terms", _copy_by_glob),
        (server, "copy_terms", _copy_by_glob),
        (lookup, "is_wanted", lambda name, patterns: name == "config.json" or name.startswith("LICENSE")),
        (file_evidence, "kind_of", lambda name: "license" if name.startswith("LICENSE") else None),
    ],
    ids=["copied", "served", "fetched", "read"],
)
def test_a_caller_with_a_pattern_of_its_own_is_caught(
    home: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, own_rule: Any
) -> None:
    monkeypatch.setattr(module, name, own_rule)
    with pytest.raises(AssertionError):
        test_what_is_read_is_fetched_copied_and_served(home, str, monkeypatch)


def test_notice_says_that_the_license_text_is_missing_only_where_it_is(tmp_path: Path) -> None:
    for number, name in enumerate([*LICENSES, *NOTICES, *POLICIES, None]):
        base, target = _made(tmp_path / f"base{number}"), _made(tmp_path / f"target{number}")
        if name is not None:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text("terms")
        permission = Permission("a/b", None, Verdict.ALLOW, "p", (), (), (), None, None, (("NOTICE", "ours"),))
        written = write_notices(permission, base, target, "mine")
        head = next(target / file for file in written if file in ("NOTICE", "NOTICE.modelpick")).read_text()
        if "NOTICE.modelpick" in written:
            head = (target / "NOTICE.modelpick").read_text()
            assert (target / "NOTICE").read_text() == "terms"
        assert ("without its license text" in head) == (name not in LICENSES), name


def test_links_out_of_the_folder_are_not_followed_by_anybody(tmp_path: Path) -> None:
    secret = tmp_path / ".aws"
    _made(secret)
    (secret / "credentials").write_text("SECRET")
    base = _made(tmp_path / "base")
    (base / "config.json").write_text("{}")
    (base / "LICENSE").write_text("the terms")
    (base / "license-inside.txt").symlink_to("LICENSE")
    for name, leads_to in {
        "NOTICE": "../.aws/credentials", "LICENSE-env": "/proc/self/environ", "COPYING": "/dev/zero",
        "EULA.txt": "EULA.txt", "TERMS.md": "tou.txt", "tou.txt": "TERMS.md", "LICENSES": "../.aws",
        "USE_POLICY.md": str(secret / "credentials"), "license.absent": "nowhere",
    }.items():  # fmt: skip
        (base / name).symlink_to(leads_to)
    os.mkfifo(base / "LICENSE.pipe")
    model = folder.read_folder(base)
    assert set(model.texts) == {"LICENSE", "license-inside.txt"}
    assert {unread.name for unread in model.unread} == {
        "NOTICE", "LICENSE-env", "COPYING", "EULA.txt", "TERMS.md", "tou.txt", "LICENSES", "USE_POLICY.md",
        "license.absent", "LICENSE.pipe",
    }  # fmt: skip
    for caller, taken in passed_on(base, tmp_path / "out").items():
        own = {"NOTICE", "OBLIGATIONS.txt"} if caller.startswith("served") else set()
        assert taken == {"LICENSE", "license-inside.txt"} | own, caller
        for name in taken:
            assert "SECRET" not in (tmp_path / "out" / caller / name).read_text()
            assert not (tmp_path / "out" / caller / name).is_symlink()


def test_a_config_that_is_a_pipe_or_a_link_out_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    os.mkfifo(tmp_path / "model.safetensors")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    model = folder.read_folder(tmp_path)
    assert model.config is None
    other = _made(tmp_path / "other")
    (other / "LICENSE").write_text("x")
    (other / "config.json").symlink_to("/etc/hostname")
    assert folder.read_folder(other).config is None


def test_no_module_has_a_pattern_of_its_own() -> None:
    pattern = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|USE_POLICY)\*")
    package = Path(folder.__file__).parent.parent
    having = {file.name for file in package.rglob("*.py") if pattern.search(file.read_text(encoding="utf-8"))}
    assert having == set()
