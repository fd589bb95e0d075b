"""`modelpick merge`: what `finetune --merge` writes, later, and nothing where it would not be that."""

import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.errors import ModelpickError
from modelpick.loading import adapters
from modelpick.training.finetune import Request, finetune
from modelpick.training.merge import Merged, MergeRequest, merge
from modelpick.training.progress import Event, StepLogged
from tests import tiny_models
from tests.cli.conftest import Run
from tests.stand_ins.hub import Hub

CARD = "---\nlicense: {license}\n---\n# tiny\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and a run on it with `--merge` that was interrupted after a step and resumed."""
    folder = tmp_path_factory.mktemp("made")
    base = tiny_models.make("llama", folder / "base")
    (base / "README.md").write_text(CARD.format(license="apache-2.0"), encoding="utf-8")
    shutil.copy(Path(__file__).parents[2] / "LICENSE", base / "LICENSE")
    lines = [
        {"instruction": f"What is {a}?", "output": b, "source": "ours"} for a in "abcdefgh" for b in ("one", "two")
    ]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    given = {
        "model": str(base), "data": str(folder / "data.jsonl"), "output": str(folder / "run"), "method": "lora-int8",
        "batch": 4, "max_steps": 3, "save_steps": 1, "lora_rank": 4, "answers": 0, "held_out": 0.25, "merge": True,
    }  # fmt: skip
    stop = threading.Event()

    def stop_at_once(event: Event) -> None:
        if isinstance(event, StepLogged):
            stop.set()

    assert finetune(Request(given, offline=True), stop_at_once, stop).status == "interrupted"
    with pytest.raises(ModelpickError) as unfinished:
        merge(MergeRequest(str(folder / "run"), offline=True), print)
    assert unfinished.value.code == "unfinished_run"
    resumed = Request({"output": str(folder / "run")}, offline=True, resume=True)
    assert finetune(resumed, lambda event: None).status == "done"
    (folder / "run" / "run" / "merged").rename(folder / "expected")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose base is a copy, too."""
    for name in ("base", "run"):
        shutil.copytree(made / name, tmp_path / name)
    changed(tmp_path / "run", model=str(tmp_path / "base"))
    return tmp_path / "run"


def changed(run: Path, **settings: Any) -> None:
    """Other settings in run.json."""
    record = json.loads((run / "run.json").read_text())
    record["settings"] |= settings
    (run / "run.json").write_text(json.dumps(record))


def refused(asked: Path, **options: Any) -> ModelpickError:
    """The error, after which nothing has changed on the disk."""
    before = sorted(asked.parent.rglob("*"))
    with pytest.raises(ModelpickError) as caught:
        merge(MergeRequest(str(asked), offline=True, **options), print)
    assert sorted(asked.parent.rglob("*")) == before
    return caught.value


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_resumed_run_is_merged_as_finetune_merges_it(made: Path, modelpick: Run, tmp_path: Path) -> None:
    """Weights, tokenizer, card, license and notices, to the byte; by the run or by its adapter's folder."""
    expected = files_of(made / "expected")
    assert {"model.safetensors", "README.md", "NOTICE", "LICENSE", "OBLIGATIONS.md"} <= set(expected)
    answer = modelpick("merge", str(made / "run"), "--output", str(tmp_path / "one"), "--offline", "--json")
    assert answer.code == 0
    assert answer.json["output"] == str(tmp_path / "one")
    assert answer.json["license"]["verdict"] in ("allow", "conditions")
    assert "8-bit" in " ".join(answer.json["assumptions"])
    assert files_of(tmp_path / "one") == expected
    merge(MergeRequest(str(made / "run" / "run"), str(tmp_path / "two"), offline=True), print)
    assert files_of(tmp_path / "two") == expected


def test_by_default_it_lies_where_serve_looks_for_it(run: Path) -> None:
    from modelpick.serving import source

    merge(MergeRequest(str(run), offline=True), print)
    assert source.find(str(run)).merged == run / "run" / "merged"
    assert refused(run).code == "output_exists"


def test_a_base_with_other_weights_is_refused_and_one_at_another_place_is_not(run: Path, made: Path) -> None:
    base = run.parent / "base"
    base.rename(run.parent / "moved")
    assert refused(run).code == "no_base"
    merge(MergeRequest(str(run), base=str(run.parent / "moved"), offline=True), print)
    assert files_of(run / "run" / "merged")["model.safetensors"] == (made / "expected/model.safetensors").read_bytes()
    shutil.rmtree(run / "run" / "merged")
    weights = run.parent / "moved" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert refused(run, base=str(run.parent / "moved")).code == "base_changed"


def test_another_commit_of_the_hub_is_another_base(run: Path, tmp_path: Path, hub: Hub) -> None:
    content = {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir()}
    now = hub.add("org/small", card="license: apache-2.0", files={**content, "new.txt": "moved on"})
    was = hub.add("org/small", card="license: apache-2.0", files=content, revision="v1")
    assert was != now
    record = json.loads((run / "run.json").read_text())
    record["base_sha256"] = None
    record["settings"] |= {"model": "org/small", "revision": was}
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(ModelpickError) as caught:
        merge(MergeRequest(str(run), base="org/small"), print)
    assert caught.value.code == "base_changed"
    merged = merge(MergeRequest(str(run)), print)
    assert (merged.base, merged.revision) == ("org/small", was)
    assert was in (run / "run" / "merged" / "NOTICE").read_text()


def quantize(run: Path) -> None:
    file = run.parent / "base" / "config.json"
    stored = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": stored}))


def deny(run: Path) -> None:
    (run.parent / "base" / "README.md").write_text(CARD.format(license="cc-by-nc-4.0"))
    (run.parent / "base" / "LICENSE").unlink()


def full(run: Path) -> None:
    changed(run, method="full")


def prompts(run: Path) -> None:
    changed(run, method="prompt-tuning")


def without_adapter(run: Path) -> None:
    (run / "run" / "adapter_config.json").unlink()


def locked(run: Path) -> None:
    partial = run / "run" / ".merged.partial"
    partial.mkdir()
    fcntl.flock(os.open(partial, os.O_RDONLY), fcntl.LOCK_EX)  # until this process ends


@pytest.mark.parametrize(
    ("spoil", "code", "exit_code"),
    [
        (quantize, "quantized_base", 2),
        (deny, "license_denied", 1),
        (full, "not_mergeable", 2),
        (prompts, "not_mergeable", 2),
        (without_adapter, "no_adapter", 2),
        (locked, "already_running", 2),
    ],
)
def test_what_cannot_be_merged_is_refused_by_name(
    spoil: Callable[[Path], None], code: str, exit_code: int, run: Path
) -> None:
    spoil(run)
    error = refused(run, reviewed_by="A. Counsel")
    assert (error.code, error.exit_code) == (code, exit_code)


def test_an_adapter_with_weights_that_are_no_numbers_is_refused(run: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = run / "run" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor * float("nan") for name, tensor in tensors.items()}, file)
    assert refused(run).code == "broken_adapter"


def test_a_merge_that_was_killed_or_stopped_is_simply_run_again(
    run: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = run / "run" / ".merged.partial" / "adapter"
    left.mkdir(parents=True)  # what a SIGKILL leaves
    (left.parent / "model.safetensors").write_bytes(b"half")

    def stopped(base: str, adapter: Path, output: Path, options: object) -> None:
        assert not list(output.iterdir())
        (output / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adapters, "merge", stopped)
        with pytest.raises(ModelpickError) as caught:
            merge(MergeRequest(str(run), offline=True), print)
    assert caught.value.exit_code == 130
    assert not [path for path in (run / "run").iterdir() if "merged" in path.name]
    merge(MergeRequest(str(run), offline=True), print)
    assert set(files_of(run / "run" / "merged")) == set(files_of(made / "expected"))


def test_an_adapter_of_somebody_else_is_judged_as_its_base_is(run: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "theirs"
    shutil.copytree(run / "run", adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "base")
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "README.md").write_text(CARD.format(license="cc-by-nc-4.0"), encoding="utf-8")
    (adapter / "LICENSE").unlink()
    assert refused(adapter).code == "license_denied"
    (adapter / "README.md").write_text(CARD.format(license="mit"), encoding="utf-8")
    result: Merged = merge(MergeRequest(str(adapter), offline=True, reviewed_by="A. Counsel"), print)
    assert "no hash" in result.assumptions[0]
    merged = files_of(adapter / "merged")
    assert b"adapter" in merged["README.md"]
    assert "license: apache-2.0" in merged["README.md"].decode()
    assert {"model.safetensors", "LICENSE", "NOTICE", "adapter/NOTICE"} <= set(merged)
