"""The Python API over the embedded facts: what the founding article claims must come out."""

from pathlib import Path

import pytest

from modelpick import api
from modelpick.errors import CannotTellError, RemoteError, UsageError
from modelpick.offers import embedded

GIB = 2**30


def test_the_founding_claim_about_7b_and_one_a10g_at_a_dollar_and_six_mills() -> None:
    for name in ("huggyllama/llama-7b", "tiiuae/falcon-7b"):  # MPT has no sdpa path: its eager scores take more
        lora, full = (
            api.estimate_many([name], {"method": "lora-int8"}, instance="g5.xlarge"),
            api.estimate_many([name], {"method": "full"}, instance="g5.xlarge"),
        )
        assert lora[0].placement_fits, name  # type: ignore[union-attr]
        assert not full[0].placement_fits, name  # type: ignore[union-attr]
    assert embedded.offer("g5.xlarge").usd_per_hour == 1.006
    assert (embedded.instance("g5.xlarge").gpu.name, embedded.instance("g5.xlarge").gpu_count) == ("A10G", 1)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("huggyllama/llama-7b", "deny"),
        ("tiiuae/falcon-7b", "allow"),
        ("mosaicml/mpt-7b", "allow"),
        ("mosaicml/mpt-7b-chat", "deny"),
        ("tiiuae/falcon-180B", "conditions"),
        ("meta-llama/Llama-3.1-8B-Instruct", "conditions"),
        ("google/flan-t5-base", "allow"),
        ("FacebookAI/xlm-roberta-large", "allow"),
        ("mosaicml/mpt-7b-storywriter", "review"),
    ],
)
def test_the_founding_models_are_judged_as_their_licenses_say(name: str, verdict: str) -> None:
    judged = api.judge(name)
    assert judged.verdict.value == verdict
    assert judged.reasons
    if verdict == "conditions":
        assert judged.obligations


def test_nothing_denied_or_in_review_is_ever_recommended() -> None:
    answer = api.recommend(policy="commercial")
    assert {row.judgement.verdict.value for row in answer.recommendations.passed} == {"allow", "conditions"}
    for row in answer.recommendations.passed:
        assert row.placement.memory.high <= row.placement.offer.instance.usable_memory_gib * GIB
        assert row.placement.offer.usd_per_hour is not None
        assert row.placement.offer.instance.gpu_count == 1
        assert row.placement.offer.instance.gpu_class == "G"


def test_every_model_of_the_catalog_has_its_place_or_its_reason() -> None:
    answer = api.recommend()
    told = {row.model.id for row in answer.recommendations.passed} | {
        left.model for left in answer.recommendations.rejected
    }
    assert told == set(answer.catalog.models)


def test_a_stricter_policy_never_recommends_more() -> None:
    loose = {row.model.id for row in api.recommend(policy="commercial").recommendations.passed}
    strict = {row.model.id for row in api.recommend(policy="permissive").recommendations.passed}
    research = {row.model.id for row in api.recommend(policy="research").recommendations.passed}
    assert strict < loose < research | loose
    assert not {"huggyllama/llama-7b"} & loose


def test_every_recommended_row_also_says_what_8_bits_and_fine_tuning_over_them_take() -> None:
    for row in api.recommend().recommendations.passed[:20]:
        for usual in (row.eight_bit, row.finetune):
            assert usual is not None
            assert (usual.overall is None) != (usual.why is None)
            assert (usual.g5 is None) != (usual.g5_why is None)
            assert usual.g5 is None or usual.g5.offer.instance.family == "g5"
        assert row.finetune is not None
        if row.finetune.overall is not None:
            assert row.finetune.overall.memory.workload.method == "lora-int8"
        if row.eight_bit is not None and row.eight_bit.overall is not None:
            assert row.eight_bit.overall.memory.workload.method not in ("bf16", "nf4", "awq")


def test_the_company_of_the_settings_decides_what_a_limit_means() -> None:
    assert api.judge("meta-llama/Llama-3.1-8B-Instruct").verdict.value == "conditions"
    Path("modelpick.toml").write_text("[company]\nmonthly_active_users = 800_000_000\n")
    assert api.judge("meta-llama/Llama-3.1-8B-Instruct").verdict.value == "deny"


def test_a_negotiated_discount_changes_the_price_and_only_of_its_family() -> None:
    Path("modelpick.toml").write_text("[discounts]\ng6 = 0.5\n")
    listed = {offer.instance.name: offer.usd_per_hour for offer in api.offers(discounts={"g6": 0.5})}
    assert listed["g5.xlarge"] == 1.006
    assert listed["g6.xlarge"] == pytest.approx(0.8048 / 2)
    row = api.recommend().recommendations.passed[0]
    assert row.placement.offer.instance.family == "g6" or row.placement.offer.discount == 0


def test_an_unknown_region_price_is_null_and_says_how_to_get_it() -> None:
    unknown = [offer for offer in api.offers(region="sa-east-1") if offer.usd_per_hour is None]
    assert unknown
    assert all(offer.how_to_get for offer in unknown)


def test_what_cannot_be_known_is_an_error_of_its_kind(tmp_path: Path) -> None:
    with pytest.raises(RemoteError):
        api.judge("nobody/nothing", offline=True)
    with pytest.raises(UsageError):
        api.judge("../../etc/passwd")
    with pytest.raises(UsageError):
        api.recommend(policy="comercial")
    (tmp_path / "config.json").write_text('{"model_type": "never-heard-of-it", "hidden_size": 64}')
    (tmp_path / "README.md").write_text("# no front matter")
    with pytest.raises(CannotTellError):
        api.estimate(str(tmp_path))
    assert api.judge(str(tmp_path)).verdict.value == "review"


def test_every_name_of_the_door_can_be_had() -> None:
    for name in api.__all__:
        assert getattr(api, name) is not None, name
    assert callable(api.audit)
    with pytest.raises(AttributeError):
        api.no_such_name  # noqa: B018
