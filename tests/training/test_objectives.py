"""DPO, KTO and prompt tuning: what is learned, what it is compared with, and the same bits after an interruption."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.datasets.read import read_for_training  # noqa: E402
from modelpick.errors import UsageError  # noqa: E402
from modelpick.loading import adapters, load, preferences  # noqa: E402
from modelpick.planning.recipe import RunSettings  # noqa: E402
from modelpick.training import checkpoints, progress, trainers  # noqa: E402
from modelpick.training.finetune import Request, finetune  # noqa: E402
from tests import tiny_models  # noqa: E402

WORDS = ["blue", "red", "green", "one", "two", "three", "four", "five"]
ASKED = [(a, b) for a in WORDS for b in ("six", "seven", "eight", "nine")]
QUICK: dict[str, Any] = {
    "epochs": 3.0, "batch": 4, "gradient_accumulation": 1, "save_steps": 3, "learning_rate": 1e-2, "answers": 2,
    "held_out": 0.25,
}  # fmt: skip


def pairs(file: Path) -> Path:
    rows = [{"prompt": f"What is {a} {b}?", "chosen": f" {b} {a}", "rejected": f" {a} {b}"} for a, b in ASKED]
    return write(file, rows)


def thumbs(file: Path) -> Path:
    rows = [
        {"prompt": f"What is {a} {b}?", "completion": f" {b} {a}" if n % 2 else f" {a} {b}", "label": bool(n % 2)}
        for n, (a, b) in enumerate(ASKED)
    ]
    return write(file, rows)


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def run(base: Path, data: Path, output: Path, *, stop_at: int | None = None, **changes: Any) -> Any:
    stop = threading.Event()

    def screen(event: object) -> None:
        if isinstance(event, progress.StepLogged) and event.step == stop_at:
            stop.set()

    given = {"model": str(base), "data": str(data), "output": str(output), **QUICK, **changes}
    return finetune(Request(given, offline=True), screen, stop)


@pytest.mark.parametrize(
    ("changes", "measure"),
    [
        ({"objective": "dpo", "method": "lora-int8", "lora_rank": 4, "lora_dropout": 0.1}, "chosen preferred"),
        ({"objective": "kto", "method": "qlora", "lora_rank": 4, "eval_steps": 4}, "liked preferred"),
        ({"method": "prompt-tuning", "virtual_tokens": 4, "learning_rate": 0.3}, "loss"),
    ],
    ids=["dpo-int8", "kto-qlora", "prompt-tuning"],
)
def test_it_learns_and_an_interrupted_run_ends_in_the_same_bits(
    changes: dict[str, Any], measure: str, base: Path, data: Path, tmp_path: Path
) -> None:
    file = {"dpo": pairs, "kto": thumbs}.get(changes.get("objective", "sft"), lambda file: data)(tmp_path / "d.jsonl")
    whole, cut = tmp_path / "whole" / "m", tmp_path / "cut" / "m"
    result = run(base, file, whole, **changes)
    row = result.comparisons[0]
    assert (row.name, row.measure) == ("held-out examples", measure)
    assert row.verdict in ("better", "no difference shown") if measure != "loss" else row.verdict == "better"
    assert row.after >= row.before if measure != "loss" else row.after < row.before
    weights = "m/adapter_model.safetensors"
    assert sorted(path.name for path in (whole / "m").iterdir() if path.is_dir()) == []  # no second adapter
    assert not (checkpoints.newest(whole / "checkpoints") / "ref").exists()

    assert run(base, file, cut, stop_at=5, **changes).status == "interrupted"
    done = finetune(Request({"output": str(cut)}, offline=True, resume=True), lambda event: None)
    assert (cut / weights).read_bytes() == (whole / weights).read_bytes()
    assert done.comparisons == result.comparisons
    again = adapters.load_adapter(str(base), whole / "m", load.LoadOptions(method=changes["method"]))
    assert again.model.peft_config.keys() == {"default"}


def trainer_for(objective: str, file: Path, folder: Path) -> Any:
    torch.manual_seed(3)
    loaded = load.load(str(tiny_models.make("llama", folder / "base")), load.LoadOptions())
    settings = RunSettings("m", "d", "o", objective=objective, batch=4, gradient_accumulation=1, dtype="fp32")
    examples = read_for_training(file).examples
    encoded = (
        preferences.encode_pairs(examples, loaded.tokenizer, 64)
        if objective == "dpo"
        else preferences.encode_thumbs(examples, loaded.tokenizer, 64, 1)
    )
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False)
    loaded = replace(loaded, model=model)
    hooks = trainers.RunHooks(lambda event: None, None, threading.Event())
    return trainers.make(settings, trainers.Prepared(loaded, encoded), folder / "out", hooks)


@pytest.mark.parametrize(("objective", "start"), [("dpo", math.log(2)), ("kto", 0.5)])
def test_the_reference_is_the_base(objective: str, start: float, tmp_path: Path) -> None:
    file = (pairs if objective == "dpo" else thumbs)(tmp_path / "d.jsonl")
    trainer = trainer_for(objective, file, tmp_path)
    trained = [name for name, weight in trainer.model.named_parameters() if weight.requires_grad]
    assert trained
    assert all(".default." in name for name in trained)
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(start, abs=1e-5)
    before = trainer.compute_ref_log_probs(trainer.model, batch)
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.5)
    after = trainer.compute_ref_log_probs(trainer.model, batch)
    assert all(torch.equal(*both) for both in zip(before, after, strict=True) if both[0] is not None)
    assert trainer.compute_loss(trainer.model, batch).item() != pytest.approx(start, abs=1e-5)


def test_a_pair_is_one_question_and_two_answers_that_end(tmp_path: Path) -> None:
    loaded = load.load(str(tiny_models.make("llama", tmp_path / "base")), load.LoadOptions())
    examples = read_for_training(pairs(tmp_path / "d.jsonl")).examples
    encoded = preferences.encode_pairs(examples, loaded.tokenizer, 64)
    assert len(encoded.rows) == len(examples) == 32
    for example, row in zip(examples, encoded.rows, strict=True):
        for key, turn in (("chosen_ids", example.reply), ("rejected_ids", example.rejected)):
            ids: list[int] = dict(row)[key]
            assert ids[-1] == loaded.tokenizer.eos_token_id
            assert turn.content.strip() in loaded.tokenizer.decode([*dict(row)["prompt_ids"], *ids])
    with pytest.raises(UsageError) as caught:
        preferences.encode_pairs(examples, loaded.tokenizer, 2)
    assert caught.value.code == "context_too_short"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "wrong_form"),
        ({"objective": "kto"}, "wrong_form"),
        ({"objective": "dpo", "method": "full"}, "preferences_need_lora"),
        ({"objective": "dpo", "method": "prompt-tuning"}, "preferences_need_lora"),
        ({"objective": "dpo", "mix": "general"}, "contradiction"),
        ({"beta": 0.5}, "contradiction"),
        ({"objective": "dpo", "virtual_tokens": 5}, "contradiction"),
    ],
)
def test_what_cannot_be_learned_is_refused(changes: dict[str, Any], code: str, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(base, pairs(tmp_path / "d.jsonl"), tmp_path / "out", **changes)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_thumbs_need_both_and_a_neighbour(base: Path, tmp_path: Path) -> None:
    file = thumbs(tmp_path / "d.jsonl")
    with pytest.raises(UsageError, match="micro-batch of 2"):
        run(base, file, tmp_path / "out", objective="kto", batch=1)
    liked = write(tmp_path / "liked.jsonl", [{"prompt": f"q {n}", "completion": "a", "label": True} for n in range(20)])
    with pytest.raises(UsageError) as caught:
        run(base, liked, tmp_path / "out", objective="kto")
    assert caught.value.code == "one_label"
    assert RunSettings("m", "d", "o", objective="kto", batch=2).smaller_batch() is None
