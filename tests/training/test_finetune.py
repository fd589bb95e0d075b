"""`modelpick finetune` from file to model card, on a tiny model, for real."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.catalog import lookup, terms
from modelpick.catalog.folder import read_folder
from modelpick.datasets.split import read_data
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.evaluation import before_after
from modelpick.licensing import license_check
from modelpick.licensing.file_evidence import read_files
from modelpick.licensing.judge_models import facts_in_force
from modelpick.loading import load
from modelpick.planning.recipe import run_from_json
from modelpick.serving import source
from modelpick.training import progress
from modelpick.training.checkpoints import TrainingStoppedError
from modelpick.training.finetune import Request, finetune
from modelpick.training.job_file import request_from_files
from tests import tiny_models
from tests.stand_ins.hub import Hub

QUICK: dict[str, Any] = {
    "epochs": 2.0,
    "gradient_accumulation": 2,
    "batch": 4,
    "save_steps": 2,
    "learning_rate": 1e-2,
    "lora_rank": 4,
}


def run(
    base: Path, data: Path, output: Path, *, resume: bool = False, **changes: Any
) -> tuple[dict[str, Any], list[Any]]:
    events: list[Any] = []
    given = {"model": str(base), "data": str(data), "output": str(output), **QUICK, **changes}
    if resume:
        given = {"output": str(output)}
    return finetune(Request(given, offline=True, resume=resume), events.append), events


def notes(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, progress.Note)]


def test_a_run_leaves_a_model_a_card_and_a_record_that_reproduces_it(base: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "tuned"
    result, events = run(base, data, output, probe=4, probe_shots=2, held_out=0.25)
    assert result.status == "done"
    assert {path.name for path in (output / "tuned").iterdir()} >= {
        "adapter_model.safetensors", "adapter_config.json", "README.md", "NOTICE", "tokenizer.json",
    }  # fmt: skip
    names = {row.name: row for row in result.comparisons}
    assert set(names) == {
        "held-out examples", "held-out answers", "reasoning probe", "reasoning probe, few-shot", "general knowledge",
    }  # fmt: skip
    assert result.probe_few_shot["after"]["cases"] == 4
    assert names["held-out examples"].verdict == "better"
    record = json.loads((output / "run.json").read_text())
    assert record["settings"]["batch"] == 4
    assert record["settings"]["context"] % 64 == 0
    assert record["versions"]["torch"]
    card = (output / "tuned" / "README.md").read_text()
    assert str(base.name) in card
    assert "license: apache-2.0" in card
    assert "| held-out examples | loss |" in card
    state = json.loads((output / "progress.json").read_text())
    assert state["state"] == "done"
    assert state["step"] == state["steps"]
    assert "<svg" in (output / "loss.svg").read_text()
    assert any(isinstance(event, progress.StepLogged) for event in events)

    again = tmp_path / "again"
    request = request_from_files(Request({"output": str(again)}, offline=True), run_file=str(output / "run.json"))
    finetune(request, lambda event: None)
    weights = "adapter_model.safetensors"
    assert (again / "again" / weights).read_bytes() == (output / "tuned" / weights).read_bytes()


@pytest.mark.parametrize("family", ["t5", "xlm-roberta"])
def test_encoder_decoders_and_encoders_train_through_trainer(family: str, data: Path, tmp_path: Path) -> None:
    base = licensed(family, tmp_path / "base", data)
    result, events = run(base, data, tmp_path / "out", held_out=0.25, epochs=4.0, probe=2)
    assert any("not probed" in text for text in notes(events)) is (family == "xlm-roberta")
    held_out = result.comparisons[0]
    assert held_out.measure == ("accuracy" if family == "xlm-roberta" else "loss")
    if family == "t5":
        assert held_out.verdict == "better"
    else:
        from modelpick.loading import adapters

        again = adapters.load_adapter(str(base), tmp_path / "out" / "out", load.LoadOptions())
        assert again.model.config.id2label == {0: "no", 1: "or", 2: "yes"}


def test_int8_counts_its_quantized_layers_into_the_result(base: Path, data: Path, tmp_path: Path) -> None:
    result, _ = run(base, data, tmp_path / "out", method="lora-int8", max_steps=2, merge=True)
    assert result.quantized_layers.quantized == 14
    assert (tmp_path / "out" / "out" / "merged" / "model.safetensors").is_file()


FULL: dict[str, Any] = {"method": "full", "lora_rank": None, "learning_rate": 1e-3}


@pytest.mark.parametrize("family", ["llama", "t5", "xlm-roberta"])
def test_full_fine_tuning_writes_a_whole_model_that_answers_as_it_was_measured(
    family: str, data: Path, tmp_path: Path
) -> None:
    base = licensed(family, tmp_path / "base", data)
    if family == "llama":
        with pytest.raises(UsageError, match="lora_rank does not apply"):
            run(base, data, tmp_path / "out", method="full")
    result, _ = run(base, data, tmp_path / "out", **FULL, held_out=0.25, epochs=4.0)
    found = source.find(str(tmp_path / "out"))  # what serve takes of a finished run
    assert (found.served.folder, found.served.adapter) == (tmp_path / "out" / "out", None)
    again = load.load(str(found.served.folder), load.LoadOptions())
    assert again.fresh == ()
    settings = run_from_json(json.loads((tmp_path / "out" / "run.json").read_text()))
    measured = before_after.measure(again, settings, read_data(data, held_out=0.25))
    assert measured.held_out is not None
    assert round(measured.held_out.mean, 4) == result.comparisons[0].after
    if family != "xlm-roberta":
        assert result.comparisons[0].verdict == "better"


def licensed(family: str, folder: Path, data: Path, **changes: Any) -> Path:
    """A tiny base under Apache-2.0, and data that suit it."""
    tiny_models.make(family, folder, **changes)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n", encoding="utf-8")
    if family in tiny_models.ENCODERS:
        lines = [{"text": f"{word} {number}", "label": word} for number in range(12) for word in ("yes", "no", "or")]
        data.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"lora_dropout": 0.2}),
        ("llama", {"method": "lora-int8"}),
        ("llama", {"method": "qlora", "lora_dropout": 0.2, "gradient_checkpointing": True}),
        ("llama", FULL),
        ("t5", {"lora_dropout": 0.2}),
        ("t5", FULL),
        ("xlm-roberta", FULL),
    ],
    ids=["lora", "int8", "qlora", "full", "seq2seq", "full-seq2seq", "full-encoder"],
)
def test_a_stopped_run_resumes_to_the_same_bits(
    family: str, changes: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    base = licensed(family, tmp_path / "base", data)
    whole, _ = run(base, data, tmp_path / "whole" / "m", **changes)
    stop, seen = threading.Event(), []

    def stop_after_a_step(event: Any) -> None:
        seen.append(event)
        if isinstance(event, progress.StepLogged) and event.step >= 3:
            stop.set()

    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "cut" / "m"), **QUICK, **changes}
    cut = finetune(Request(given, offline=True), stop_after_a_step, stop)
    assert cut.status == "interrupted"
    assert cut.step < whole.step
    # The next machine keeps base and data elsewhere.
    moved = {"model": base.rename(tmp_path / "moved"), "data": data.rename(tmp_path / "moved.jsonl")}
    places = {name: str(path) for name, path in {**moved, "output": tmp_path / "cut" / "m"}.items()}
    done = finetune(Request(places, offline=True, resume=True), lambda event: None)
    assert done.status == "done"
    weights = "m/m/model.safetensors" if changes.get("method") == "full" else "m/m/adapter_model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert done.comparisons == whole.comparisons


@pytest.mark.parametrize("changes", [{}, FULL], ids=["lora", "full"])
def test_a_run_that_died_between_its_last_step_and_its_result_takes_no_step_more(
    changes: dict[str, Any], base: Path, data: Path, tmp_path: Path
) -> None:
    done, _ = run(base, data, tmp_path / "m", max_steps=3, **changes)  # in the middle of an epoch
    name = "model.safetensors" if changes else "adapter_model.safetensors"
    weights = (tmp_path / "m" / "m" / name).read_bytes()
    shutil.rmtree(tmp_path / "m" / "m")
    (tmp_path / "m" / "result.json").unlink()
    again, _ = run(base, data, tmp_path / "m", resume=True)
    assert (again.step, again.comparisons) == (3, done.comparisons)
    assert (tmp_path / "m" / "m" / name).read_bytes() == weights


@pytest.mark.parametrize("family", ["llama", "t5", "xlm-roberta"])
def test_an_effective_batch_is_the_same_step_however_it_is_parted(family: str, data: Path, tmp_path: Path) -> None:
    """T5's and the encoders' own loss, summed over micro-batches, would be as many times too large."""
    dropout = {"dropout_rate": 0.0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    base = licensed(family, tmp_path / "base", data, **dropout)
    steps = []
    for batch in (8, 2):
        output = tmp_path / str(batch)
        run(base, data, output, batch=batch, gradient_accumulation=8 // batch, max_steps=1, log_steps=1, held_out=0.0)
        steps.append(progress.read_metrics(output / "metrics.jsonl")[0])
    assert steps[0]["loss"] == pytest.approx(steps[1]["loss"], rel=1e-4)
    assert steps[0]["grad_norm"] == pytest.approx(steps[1]["grad_norm"], rel=1e-3)


def test_out_of_memory_halves_the_micro_batch_and_the_run_can_be_done_again_bit_by_bit(
    base: Path, data: Path, tmp_path: Path
) -> None:
    """Memory runs out in the middle, twice: the same steps in the same micro-batches are the same bits elsewhere."""
    import torch

    steps = 0

    def small_device(module: Any, inputs: Any) -> None:
        nonlocal steps
        if isinstance(module, torch.nn.Embedding) and module.training:
            steps += 1
            if steps > 3 and inputs[0].shape[0] > 2:
                raise torch.OutOfMemoryError("a device that holds two sequences by now")

    changes = {"batch": 8, "gradient_accumulation": 1, "lora_dropout": 0.1, "save_steps": 2}
    hook = torch.nn.modules.module.register_module_forward_pre_hook(small_device)
    try:
        result, events = run(base, data, tmp_path / "one" / "out", **changes)
    finally:
        hook.remove()
    assert (result.batch, result.gradient_accumulation) == (2, 4)
    texts = [event.text for event in events if isinstance(event, progress.OutOfMemory)]
    assert len(texts) == 2
    assert "effective batch stays 8" in texts[-1]
    record = json.loads((tmp_path / "one" / "out" / "run.json").read_text())
    assert record["settings"]["batch"] == 8
    assert record["batch_halvings"] == [{"after_step": 2, "batch": 2}]

    file, output = tmp_path / "one" / "out" / "run.json", tmp_path / "two" / "out"
    request = request_from_files(Request({"output": str(output)}, offline=True), run_file=str(file))
    repeated = finetune(request, lambda event: None)
    assert repeated.batch == 2
    weights = "out/out/adapter_model.safetensors"
    assert (tmp_path / "one" / weights).read_bytes() == (tmp_path / "two" / weights).read_bytes()
    assert json.loads((output / "run.json").read_text())["batch_halvings"] == record["batch_halvings"]
    run(base, data, tmp_path / "three" / "out", **{**changes, "batch": 2, "gradient_accumulation": 4})
    assert (tmp_path / "one" / weights).read_bytes() != (tmp_path / "three" / weights).read_bytes()


def test_a_device_too_small_for_one_sequence_ends_with_what_to_do(base: Path, data: Path, tmp_path: Path) -> None:
    import torch

    def tiny_device(module: Any, inputs: Any) -> None:
        if isinstance(module, torch.nn.Embedding) and module.training:
            raise torch.OutOfMemoryError("a device that holds nothing")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(tiny_device)
    try:
        with pytest.raises(TrainingStoppedError) as caught:
            run(base, data, tmp_path / "out", batch=2, gradient_accumulation=1)
    finally:
        hook.remove()
    assert (caught.value.code, caught.value.exit_code) == ("out_of_memory", 1)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_stops_with_the_last_good_state(base: Path, data: Path, tmp_path: Path) -> None:
    import torch

    calls = 0

    def poison(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal calls
        if isinstance(module, torch.nn.Embedding) and module.training:
            calls += 1
            if calls > 6:
                return output * float("nan")
        return output

    hook = torch.nn.modules.module.register_module_forward_hook(poison)
    try:
        with pytest.raises(TrainingStoppedError) as caught:
            run(base, data, tmp_path / "out")
    finally:
        hook.remove()
    assert caught.value.code == "loss_not_finite"
    assert "checkpoint-2" in caught.value.fix
    assert json.loads((tmp_path / "out" / "progress.json").read_text())["state"] == "failed"


def test_a_full_disk_stops_with_the_last_good_state(base: Path, data: Path, tmp_path: Path) -> None:
    """A file-size limit of the operating system stands for a disk without room: the same failing write."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Any) -> None:
        if isinstance(event, progress.CheckpointSaved) and event.step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "out"), **QUICK}
    try:
        with pytest.raises(TrainingStoppedError) as caught:
            finetune(Request(given, offline=True), fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.code == "disk_full"
    assert "checkpoint-2" in caught.value.message
    from modelpick.training import checkpoints

    kept = checkpoints.newest(tmp_path / "out" / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-2"


def test_a_denied_model_is_refused_before_anything_is_written(base: Path, data: Path, tmp_path: Path) -> None:
    (base / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    with pytest.raises(license_check.LicenseDeniedError):
        run(base, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_license_to_review_needs_a_name(base: Path, data: Path, tmp_path: Path) -> None:
    (base / "README.md").write_text("# no license\n", encoding="utf-8")
    with pytest.raises(CannotTellError):
        run(base, data, tmp_path / "out")


def test_conditions_travel_with_the_result(base: Path, data: Path, tmp_path: Path) -> None:
    (base / "README.md").write_text("---\nlicense: llama3.1\n---\n", encoding="utf-8")
    (base / "LICENSE").write_text("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n", encoding="utf-8")
    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "mine"), **QUICK, "max_steps": 1}
    result = finetune(Request(given, offline=True, reviewed_by="A. Counsel"), lambda event: None)
    folder = Path(result.model)
    assert folder.name == "Llama-mine"
    assert (folder / "LICENSE").is_file()
    assert "Built with Llama" in (folder / "ATTRIBUTION.txt").read_text()
    assert "begin with" in (folder / "OBLIGATIONS.md").read_text()
    assert "without its license text" not in (folder / "NOTICE").read_text()
    codes = {owed.code for owed in result.license.obligations}
    assert "name_prefix" in codes


TERMS = ("license.txt", "Gemma_License.md", "EULA.txt", "acceptable_use_policy.md", "NOTICE", "LICENSES/MIT.txt")


@pytest.mark.parametrize("changes", [{"merge": True}, {"method": "full", "learning_rate": 1e-3}], ids=["lora", "full"])
def test_whatever_license_cites_is_beside_the_tuned_and_the_merged_model(
    changes: dict[str, Any], base: Path, data: Path, tmp_path: Path
) -> None:
    """By names that a person would call terms, in any case and place; what a link leads to outside is not taken."""
    (base / "LICENSES").mkdir()
    for name in TERMS:
        (base / name).write_text(f"terms in {name}\n", encoding="utf-8")
    (tmp_path / "private").write_text("a private file\n", encoding="utf-8")
    (base / "COPYING").symlink_to(tmp_path / "private")
    model = read_folder(base)
    cited = {reading.name for reading in read_files(model, facts_in_force())}
    assert cited == {name for name in TERMS if terms.kind_of(name) == "license"}
    assert set(model.texts) - {"README.md"} == set(TERMS)

    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "mine"), "max_steps": 1, "batch": 4}
    result = finetune(Request({**given, **changes}, offline=True, reviewed_by="A. Counsel"), lambda event: None)
    assert result.model is not None
    tuned = Path(result.model)
    for folder in (tuned, tuned / "merged") if changes.get("merge") else (tuned,):
        for name in TERMS:
            assert (folder / name).read_text(encoding="utf-8") == f"terms in {name}\n"
        assert "without its license text" not in (folder / "NOTICE.modelpick").read_text(encoding="utf-8")
        assert not any(
            "a private file" in path.read_text("utf-8", "replace") for path in folder.iterdir() if path.is_file()
        )


def test_an_output_that_exists_is_refused(base: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "something").touch()
    with pytest.raises(UsageError) as caught:
        run(base, data, tmp_path / "out")
    assert caught.value.code == "output_exists"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no_weights"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "pickle_weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "broken_config"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no_tokenizer"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "cannot_load"),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_one_sentence(base: Path, spoil: Any, code: str) -> None:
    spoil(base)
    with pytest.raises(UsageError) as caught:
        load.load(str(base), load.LoadOptions())
    assert caught.value.code == code


def test_a_pickle_is_loaded_when_it_is_asked_for_and_runs_nothing(base: Path, tmp_path: Path) -> None:
    import pickle

    import torch
    from safetensors.torch import load_file

    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    tensors = load_file(base / "model.safetensors")
    (base / "model.safetensors").unlink()
    torch.save(tensors, base / "pytorch_model.bin")
    options = load.LoadOptions(allow_pickles=True)
    assert torch.equal(
        load.load(str(base), options).model.state_dict()["model.norm.weight"], tensors["model.norm.weight"]
    )
    (base / "pytorch_model.bin").write_bytes(pickle.dumps(Runs()))
    with pytest.raises(UsageError) as caught:
        load.load(str(base), options)
    assert caught.value.code == "pickle_weights"
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_without_pad_or_template_is_given_both_and_it_is_said(tmp_path: Path) -> None:
    loaded = load.load(str(tiny_models.make("llama", tmp_path, pad=False)), load.LoadOptions())
    assert loaded.tokenizer.pad_token
    assert loaded.tokenizer.chat_template
    assert len(loaded.notes) == 2


def put_on_hub(hub: Hub, base: Path, *, id: str = "org/small", **changes: Any) -> str:
    files = {file.name: file.read_bytes() for file in base.iterdir() if file.name != "README.md"}
    files["LICENSE"] = (Path(__file__).parents[2] / "LICENSE").read_bytes()
    files |= changes.pop("files", {})
    files = {name: content for name, content in files.items() if content}
    return hub.add(id, "license: apache-2.0", files=files, **changes)


def test_without_the_hub_a_model_of_the_catalog_is_trained_from_the_cached_commit(
    hub: Hub, base: Path, data: Path, tmp_path: Path
) -> None:
    """The catalog knows the id and no commit; only huggingface_hub's cache holds the files."""
    id = "HuggingFaceTB/SmolLM2-135M-Instruct"
    sha = put_on_hub(hub, base, id=id)
    lookup.download(id)
    given = {"model": id, "data": str(data), "output": str(tmp_path / "out"), **QUICK, "max_steps": 1}
    del given["batch"]  # so that the memory estimate has something to decide
    finetune(Request(given, offline=True), lambda event: None)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["settings"]["model"], record["settings"]["revision"]) == (id, sha)


def test_a_hub_model_is_trained_at_the_revision_that_was_judged(
    hub: Hub, base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody is told of it: huggingface_hub asks which programs to report, and TRL reports itself, unless told."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    put_on_hub(hub, base)
    sha = put_on_hub(hub, base, revision="v1")
    given = {"model": "org/small@v1", "data": str(data), "output": str(tmp_path / "out"), **QUICK, "max_steps": 1}
    result = finetune(Request({**given, "merge": True}), lambda event: None)
    assert constants.HF_HUB_DISABLE_TELEMETRY
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["settings"]["model"], record["settings"]["revision"]) == ("org/small", sha)
    folder = Path(result.model)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "org/small"
    for made in (folder, folder / "merged"):
        assert (made / "LICENSE").is_file()
        assert sha in (made / "NOTICE").read_text()
        assert "base_model:" in (made / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "code", "exit_code"),
    [
        ({"gated": "manual"}, "license_review", 3),  # its LICENSE stands behind the gate, and was not read
        ({"files": {"model.safetensors": b"", "pytorch_model.bin": b"a pickle"}}, "pickle_weights", 2),
    ],
)
def test_hub_files_that_may_not_be_had_are_one_sentence(
    hub: Hub, base: Path, data: Path, tmp_path: Path, changes: dict[str, Any], code: str, exit_code: int
) -> None:
    put_on_hub(hub, base, **changes)
    with pytest.raises(ModelpickError) as caught:
        finetune(
            Request({"model": "org/small", "data": str(data), "output": str(tmp_path / "out")}), lambda event: None
        )
    assert (caught.value.code, caught.value.exit_code) == (code, exit_code)
    assert not (tmp_path / "out").exists()


def test_a_run_is_not_continued_or_repeated_on_other_data_or_another_base(
    base: Path, data: Path, tmp_path: Path
) -> None:
    run(base, data, tmp_path / "out", max_steps=1)
    request = request_from_files(
        Request({"output": str(tmp_path / "again")}, offline=True), run_file=str(tmp_path / "out" / "run.json")
    )
    (tmp_path / "out" / "result.json").unlink()
    other = tmp_path / "other.jsonl"
    other.write_text(data.read_text().replace("one", "eleven"))
    data.write_text(other.read_text())
    continued = {"output": str(tmp_path / "out")}
    for asked in (
        request,
        Request(continued, offline=True, resume=True),
        Request({**continued, "data": str(other)}, offline=True, resume=True),
    ):
        with pytest.raises(UsageError) as caught:
            finetune(asked, lambda event: None)
        assert caught.value.code == "data_changed"
    data.write_text(data.read_text().replace("eleven", "one"))
    tiny_models.make("llama", base, seed=1)
    with pytest.raises(UsageError) as caught:
        finetune(request, lambda event: None)
    assert caught.value.code == "base_changed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"context": 4096}, "context_too_long"),
        ({"context": 9}, "context_too_short"),
        ({"lora_targets": "q_prj"}, "unknown_lora_targets"),
        ({"checkpoint_to": "s3://"}, None),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(
    base: Path, data: Path, tmp_path: Path, changes: dict[str, Any], code: str | None
) -> None:
    with pytest.raises(ModelpickError) as caught:
        run(base, data, tmp_path / "out", **changes)
    assert code in (None, caught.value.code)
    assert not (tmp_path / "out").exists()


def test_two_processes_do_not_work_in_one_folder(base: Path, data: Path, tmp_path: Path) -> None:
    tried: list[str] = []

    def a_second_one(event: Any) -> None:
        if isinstance(event, progress.CheckpointSaved) and not tried:
            with pytest.raises(UsageError) as caught:
                run(base, data, tmp_path / "out", resume=True)
            tried.append(caught.value.code)

    given = {"model": str(base), "data": str(data), "output": str(tmp_path / "out"), **QUICK, "max_steps": 3}
    assert finetune(Request(given, offline=True), a_second_one).status == "done"
    assert tried == ["already_running"]


def test_an_output_that_cannot_be_written_is_one_sentence(base: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        run(base, data, tmp_path / "file" / "out")
    assert caught.value.code == "cannot_write"


def test_a_held_out_example_that_training_asks_too_proves_nothing(base: Path, data: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held.jsonl"
    lines = data.read_text().splitlines()
    held_out.write_text("\n".join([*lines[:12], json.dumps({"instruction": "Is it new?", "output": "it is"})]))
    result, events = run(base, data, tmp_path / "out", eval_data=str(held_out), max_steps=1)
    assert result.comparisons[0].cases == 1
    assert any("12 held-out examples" in text for text in notes(events))
    held_out.write_text("\n".join(lines[:12]))
    with pytest.raises(UsageError) as caught:
        run(base, data, tmp_path / "other", eval_data=str(held_out))
    assert caught.value.code == "leak"


def test_code_that_came_with_a_model_runs_when_it_is_asked_for_by_name(base: Path, data: Path, tmp_path: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "homemade", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "own.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "class Own(LlamaConfig):\n    model_type = 'homemade'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = Own\n"
    )
    with pytest.raises(UsageError) as caught:
        run(base, data, tmp_path / "out")
    assert caught.value.code == "remote_code"
    assert not (tmp_path / "ran").exists()
    result, _ = run(base, data, tmp_path / "out", trust_remote_code=True, method="lora", max_steps=1)
    assert (tmp_path / "ran").exists()
    assert result.status == "done"
