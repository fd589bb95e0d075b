"""The model card of a tuned model shows every setting that made it, a new one included."""

import re
from dataclasses import fields

import pytest

from modelpick.datasets.split import DataRecord
from modelpick.licensing.license_check import Permission
from modelpick.licensing.outcome import Verdict
from modelpick.planning.recipe import RunSettings
from modelpick.training import model_card

# How the run is watched and where things lie; the model, its data and its license have parts of their own.
_NOT_OF_THE_RECIPE = {
    "model", "revision", "data", "eval_data", "held_out", "output", "save_steps", "log_steps", "probe", "probe_shots",
    "answers", "mix", "merge", "track", "checkpoint_to", "usd_per_hour", "trust_remote_code", "allow_pickles",
}  # fmt: skip
_ALLOWED = Permission("acme/base", None, Verdict.ALLOW, "commercial", ("apache-2.0",), (), (), None)


def rows(settings: RunSettings) -> dict[str, str]:
    """Setting -> value, as the card's table has them."""
    card = model_card.card("tuned", settings, _ALLOWED, DataRecord(), ())
    return dict(re.findall(r"^\| (\w+) \| (.*) \|$", card.split("## Training")[1], re.MULTILINE)[1:])


def test_the_card_shows_every_setting_of_the_recipe() -> None:
    settings = RunSettings("m", "d", "o", method="qlora", lora_rank=7, seed=5)
    shown = rows(settings)
    others = {"beta", "virtual_tokens"}  # of dpo and kto, of prompt tuning
    assert set(shown) == {item.name for item in fields(RunSettings)} - _NOT_OF_THE_RECIPE - others
    assert rows(RunSettings("m", "d", "o", objective="dpo", beta=0.3))["beta"] == "0.3"
    assert rows(RunSettings("m", "d", "o", method="prompt-tuning", virtual_tokens=7))["virtual_tokens"] == "7"
    assert (shown["method"], shown["lora_rank"], shown["seed"]) == ("qlora", "7", "5")


def test_a_full_fine_tuning_has_no_adapter_to_show() -> None:
    assert not [name for name in rows(RunSettings("m", "d", "o", method="full")) if name.startswith("lora")]


def test_a_setting_that_the_card_leaves_out_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_card, "_NOT_SHOWN", model_card._NOT_SHOWN | {"seed"})
    assert "seed" not in rows(RunSettings("m", "d", "o"))
