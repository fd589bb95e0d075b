"""Falcon's one head of keys is repeated while it trains: torch's fused kernels take it, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
import torch

from modelpick.loading import load
from modelpick.loading.load import repeat_single_key
from tests import tiny_models


def heads_seen(model: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[set[tuple[int, int, int]], Any]:
    seen: set[tuple[int, int, int]] = set()
    functional: Any = torch.nn.functional
    whole = functional.scaled_dot_product_attention

    def watch(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> Any:
        seen.add((query.size(1), key.size(1), value.size(1)))
        return whole(query, key, value, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(functional, "scaled_dot_product_attention", watch)
        logits = model(input_ids=torch.arange(5, 21).reshape(2, 8), use_cache=False).logits
    return seen, logits


def test_keys_are_repeated_in_training_only_and_the_answer_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load.load(str(tiny_models.make("falcon", tmp_path)), load.LoadOptions(method="full")).model
    heads = model.config.num_attention_heads
    trained, with_repeats = heads_seen(model.train(), monkeypatch)
    served, without = heads_seen(model.eval(), monkeypatch)
    assert trained == {(heads, heads, heads)}
    assert served == {(heads, 1, 1)}
    assert torch.allclose(with_repeats, without, atol=1e-5)


def test_only_a_single_key_head_is_touched(tmp_path: Path) -> None:
    for name in ("falcon-40b", "llama"):
        folder = tmp_path / name
        folder.mkdir()
        model: Any = load.load(str(tiny_models.make(name, folder)), load.LoadOptions(method="full")).model
        assert repeat_single_key(model) == 0, name
