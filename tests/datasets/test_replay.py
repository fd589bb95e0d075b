"""Replay: the share that was asked for, nothing that is held out, and a general set that is not the one tested with."""

import json
from pathlib import Path

import pytest

from modelpick.datasets.read import read_for_training
from modelpick.datasets.replay import GENERAL, with_replay
from modelpick.datasets.split import asked_key, read_data
from modelpick.errors import UsageError
from modelpick.files import data_file


def write(path: Path, questions: list[str], **more: str) -> Path:
    rows = [{"instruction": question, "output": f"about {question}", **more} for question in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_general_set_asks_nothing_that_general_knowledge_is_tested_with() -> None:
    replayed = {asked_key(one) for one in read_for_training(data_file("datasets", "replay.jsonl")).examples}
    tested = {asked_key(one) for one in read_for_training(data_file("evaluation", "general.jsonl")).examples}
    assert len(replayed) > 100
    assert not replayed & tested


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_the_share_is_that_of_the_training_examples(share: float, tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "data.jsonl", [f"q {n}" for n in range(50)]))
    mixed = with_replay(data, GENERAL, share, seed=1)
    assert abs(mixed.replayed - share * len(mixed.train)) <= 0.5
    assert mixed.held_out == data.held_out
    assert mixed == with_replay(data, GENERAL, share, seed=1)
    assert f"{mixed.replayed} of {len(mixed.train)} training examples replay others" in mixed.sentences[-1]


def test_what_is_held_out_is_not_replayed_and_too_few_are_told(tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "data.jsonl", [f"q {n}" for n in range(50)]))
    secret = [one.asked for one in data.held_out]
    other = write(tmp_path / "other.jsonl", [*secret, *(f"r {n}" for n in range(10))], source="org/other")
    mixed = with_replay(data, str(other), 0.5, seed=1)
    assert (mixed.replayed, mixed.sources) == (10, ("org/other",))
    assert not {asked_key(one) for one in mixed.train} & {asked_key(one) for one in mixed.held_out}
    with pytest.raises(UsageError, match="every question"):
        with_replay(data, str(write(tmp_path / "same.jsonl", [f"q {n}" for n in range(50)])), 0.5, seed=1)


def test_labels_take_no_replay(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps({"text": f"t {n}", "label": n % 2}) + "\n" for n in range(20)))
    with pytest.raises(UsageError) as caught:
        with_replay(read_data(file), GENERAL, 0.2, seed=1)
    assert caught.value.code == "wrong_form"
