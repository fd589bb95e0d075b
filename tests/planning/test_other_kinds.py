"""What none of our servers is for, encoders and models that hear: whether their memory fits is answered."""

import io
from typing import Any

import pytest
from rich.console import Console

from modelpick.catalog.model import Model
from modelpick.cli.render.estimate import draw_report
from modelpick.planning import gather, report

ENCODER: dict[str, Any] = {
    "model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152,
    "num_hidden_layers": 22, "num_attention_heads": 12, "max_position_embeddings": 8192,
}  # fmt: skip
HEARING: dict[str, Any] = {
    "model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "vocab_size": 51866, "d_model": 1280,
    "num_mel_bins": 128, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120,
    "decoder_layers": 32, "decoder_attention_heads": 20, "decoder_ffn_dim": 5120, "max_source_positions": 1500,
    "max_target_positions": 448,
}  # fmt: skip


def made(config: dict[str, Any], **work: Any) -> report.MemoryReport:
    (found,) = gather.estimate_many(
        [Model("a/b", "folder", config=config)], {"task": "serve", "method": "bf16", **work}
    )
    assert isinstance(found, report.MemoryReport), found
    return found


@pytest.mark.parametrize("config", [ENCODER, HEARING])
def test_memory_is_held_against_every_gpu_though_no_server_is_started(config: dict[str, Any]) -> None:
    found = made(config)
    assert found.refusal is not None
    assert found.refusal.cause == "engine"
    rows = {row.offer.instance.name: row for row in found.fits}
    assert rows["g6.xlarge"].fits
    assert rows["g4dn.xlarge"].rejection is not None
    assert rows["g4dn.xlarge"].rejection.cause == "dtype"
    assert not made(config, batch=4096).fit_on(rows["g6.xlarge"].offer).fits
    assert found.reach_on(rows["g6.xlarge"].offer).longest_context == found.architecture.longest


def test_the_screen_speaks_of_sequences_and_says_who_does_not_serve_it() -> None:
    stream = io.StringIO()
    draw_report(Console(file=stream, width=80), made(ENCODER), explain=False, solve=False)
    assert "encode bf16" in stream.getvalue()
    assert "longest sequence" in stream.getvalue()
    assert "modelpick serve starts no server" in stream.getvalue()
