"""Which tokens carry loss: those of answers, and no other, whatever the chat template does."""

import itertools
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.datasets.forms import example_from
from modelpick.loading import load
from modelpick.loading.tokenize import IGNORED, encode, lengths, tokenized
from tests import tiny_models

TURNS = [
    ("system", "Be kind."),
    ("user", "one two"),
    ("assistant", "three four"),
    ("user", "five"),
    ("assistant", "six"),
]
CHAT = {"messages": [{"role": role, "content": text} for role, text in TURNS]}
BARE = (
    "{% for message in messages %}<s>{{ message.role }}: {{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
MARKED = BARE.replace("{{ message.content }}", "{% generation %}{{ message.content }}{% endgeneration %}")
# As Qwen 3 does: an empty thought opens the prompt of an answer, and stands before the last answer only.
THINKING = (
    "{% for message in messages %}<s>{{ message.role }}: "
    "{% if message.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: <think></think>{% endif %}"
)


def learned(template: str | None, record: dict[str, Any]) -> list[list[tuple[bool, str]]]:
    """The parts of every row of a record: (is it learned?, its text)."""
    tokenizer = tiny_models.tokenizer(chat_template=template)
    rows = encode([example_from(record, 1)], tokenizer, "decoder", 10_000).rows
    found = []
    for row in rows:
        pairs = list(zip(row["input_ids"], row["labels"], strict=True))
        assert all(label in (token, IGNORED) for token, label in pairs)
        parts = itertools.groupby(pairs, key=lambda pair: pair[1] != IGNORED)
        found.append([(taught, tokenizer.decode([token for token, _ in part])) for taught, part in parts])
    return found


@pytest.mark.parametrize("template", [BARE, MARKED, load.PLAIN_CHAT_TEMPLATE])
def test_a_chat_is_one_row_in_which_each_answer_and_its_end_are_learned(template: str) -> None:
    (parts,) = learned(template, CHAT)
    assert [taught for taught, _ in parts] == [False, True, False, True]
    (_, before), (_, first), (_, between), (_, second) = parts
    assert first.strip() == "three four</s>"
    assert second.strip() == "six</s>"
    assert "Be kind." in before
    assert before.rstrip().endswith(("assistant:", "Answer:"))
    assert "five" in between


def test_where_earlier_answers_are_rendered_otherwise_each_has_its_own_row() -> None:
    first, second = learned(THINKING, CHAT)
    assert [text.strip() for taught, text in (*first, *second) if taught] == ["three four</s>", "six</s>"]
    assert "<think></think>" in first[0][1]
    assert "three four" in second[0][1]


@pytest.mark.parametrize(
    ("record", "shown", "taught"),
    [
        ({"instruction": "one", "output": "two"}, "Question: one\nAnswer:", " two</s>\n"),
        ({"prompt": "one", "completion": " two"}, "one", " two</s>"),
        ({"text": "one two"}, "", "one two</s>"),
    ],
)
def test_of_the_other_forms_too_only_the_answer_is_learned(record: dict[str, Any], shown: str, taught: str) -> None:
    expected = [part for part in ((False, shown), (True, taught)) if part[1]]
    assert learned(load.PLAIN_CHAT_TEMPLATE, record) == [expected]


def test_the_trainer_hands_the_model_these_labels_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through SFTTrainer and its collator: what the model is given as labels is what was encoded."""
    import threading

    from modelpick.loading import adapters
    from modelpick.planning.recipe import RunSettings
    from modelpick.training import train, trainers

    loaded = load.load(str(tiny_models.make("llama", tmp_path / "base")), load.LoadOptions())
    encoded = encode([example_from(CHAT, 1)], loaded.tokenizer, "decoder", 200)
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False)
    seen: list[Any] = []
    model.register_forward_pre_hook(
        lambda module, given, names: seen.append(names["labels"].tolist()), with_kwargs=True
    )
    from dataclasses import replace

    settings = RunSettings("m", "d", "o", batch=1, gradient_accumulation=1, context=200, epochs=1.0, dtype="fp32")
    hooks = trainers.RunHooks(lambda event: None, None, threading.Event())
    monkeypatch.setattr(trainers, "can_skip_questions", lambda _: False)  # TRL's own loss gives the model its labels
    train.build_trainer(
        settings, trainers.Prepared(replace(loaded, model=model), encoded), tmp_path / "out", hooks
    ).train()
    assert sorted(row for batch in seen for row in batch) == sorted(row["labels"] for row in encoded.rows)


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("decoder", CHAT),
        ("decoder", {"prompt": "one two", "completion": " three"}),
        ("decoder", {"text": "one two three"}),
        ("encoder-decoder", {"instruction": "one two", "output": "three four five six"}),
        ("encoder", {"text": "one two", "label": "yes"}),
    ],
)
def test_lengths_are_those_of_training(kind: load.Kind, record: dict[str, Any]) -> None:
    tokenizer = tiny_models.tokenizer(chat_template=THINKING)
    examples = [example_from(record, 1)]
    longest = encode(examples, tokenizer, kind, 10_000, ("yes",)).longest
    assert lengths(tokenized(examples, tokenizer, kind)) == [longest]
