"""The gate before training, serving and paying: one function, one rule."""

from pathlib import Path

import pytest

from modelpick.errors import EXIT_CANNOT_TELL, EXIT_NO, ModelpickError
from modelpick.licensing import license_check
from modelpick.licensing.outcome import Reason, Verdict
from modelpick.licensing.verdict import Judgement


def judgement(verdict: Verdict) -> Judgement:
    reasons = (Reason("weaker", "another reason", "card", Verdict.ALLOW), Reason("x", "the cause", "card", verdict))
    return Judgement("a/b", "c" * 40, verdict, (), reasons, ())


def refusal(verdict: Verdict, reviewed_by: str | None) -> ModelpickError | None:
    try:
        license_check.require(judgement(verdict), policy="commercial", reviewed_by=reviewed_by)
    except ModelpickError as error:
        return error
    return None


@pytest.mark.parametrize("reviewed_by", [None, "", "  ", "Jane Counsel"])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_denial_stands_a_review_needs_a_name_and_the_rest_passes(verdict: Verdict, reviewed_by: str | None) -> None:
    error = refusal(verdict, reviewed_by)
    if verdict is Verdict.DENY:
        assert error is not None
        assert (error.code, error.exit_code) == ("license_denied", EXIT_NO)
    elif verdict is Verdict.REVIEW and reviewed_by != "Jane Counsel":
        assert error is not None
        assert (error.code, error.exit_code) == ("license_review", EXIT_CANNOT_TELL)
    else:
        assert error is None


def test_a_refusal_gives_the_cause_and_not_what_is_beside_it() -> None:
    error = refusal(Verdict.REVIEW, None)
    assert error is not None
    assert "the cause" in error.message
    assert "another reason" not in error.message


def test_the_policy_of_a_permission_is_the_one_that_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --policy the settings choose: a permission that said "commercial" would be a false record."""
    (tmp_path / "modelpick.toml").write_text('policy = "research"\n')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert license_check.permission_for(str(tmp_path), None, offline=True).policy == "research"
    assert license_check.permission_for(str(tmp_path), "permissive", offline=True).policy == "permissive"


def test_a_tag_alone_permits_nothing_but_what_a_person_decided() -> None:
    with pytest.raises(license_check.LicenseReviewError) as error:
        license_check.permission_for("google/flan-t5-base", "commercial", offline=True)
    assert error.value.code == "terms_not_read"
    reviewed = license_check.permission_for("google/flan-t5-base", "commercial", reviewed_by="Jane", offline=True)
    assert reviewed.reviewed_by == "Jane"


def test_offline_the_files_on_this_machine_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = "a" * 40
    kept = tmp_path / "hub" / "models--google--flan-t5-base"
    (kept / "snapshots" / sha).mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(sha)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (kept / "snapshots" / sha / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    permission = license_check.permission_for("google/flan-t5-base", "commercial", offline=True)
    assert (permission.model, permission.revision) == ("google/flan-t5-base", sha)
    (kept / "snapshots" / sha / "LICENSE").write_text("For non-commercial research only.")
    with pytest.raises(license_check.LicenseReviewError, match="google/flan-t5-base"):
        license_check.permission_for("google/flan-t5-base", "commercial", offline=True)


def test_nothing_but_the_gate_refuses_a_review(repository: Path) -> None:
    """A second place that raises license_review or data_review would be a second rule."""
    raising = {
        path.name
        for path in (repository / "modelpick").rglob("*.py")
        if '"license_review"' in (text := path.read_text(encoding="utf-8")) and "raise" in text
    }
    assert raising - {"recommend.py"} == {"license_check.py"}  # recommend names the reason code of a rejected row
