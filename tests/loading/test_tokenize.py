"""Which tokens carry loss: those of answers, and no other, whatever the chat template does."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra train is absent")
from modelpick.datasets.examples import examples_from
from modelpick.loading import load
from modelpick.loading.tokenize import IGNORED, encode, lengths
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


def learned(template: str | None, record: dict[str, Any]) -> list[tuple[str, str]]:
    """(what is shown, what is learned) of every example of a record."""
    tokenizer = tiny_models.tokenizer(chat_template=template)
    rows = encode(examples_from(record, 1), tokenizer, "decoder", 10_000).rows
    for row in rows:
        assert [
            token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label not in (token, IGNORED)
        ] == []
        first = next(place for place, label in enumerate(row["labels"]) if label != IGNORED)
        assert IGNORED not in row["labels"][first:]
    return [
        (
            tokenizer.decode([t for t, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]),
            tokenizer.decode([label for label in row["labels"] if label != IGNORED]),
        )
        for row in rows
    ]


@pytest.mark.parametrize("template", [BARE, MARKED, THINKING, load.PLAIN_CHAT_TEMPLATE])
def test_each_answer_of_a_chat_is_learned_once_and_its_end_with_it(template: str) -> None:
    first, second = learned(template, CHAT)
    assert first[1].strip() == "three four</s>"
    assert second[1].strip() == "six</s>"
    assert "three four" in second[0]
    assert "Be kind." in first[0]
    assert first[0].rstrip().endswith(("assistant:", "Answer:", "</think>"))


@pytest.mark.parametrize(
    ("record", "shown", "taught"),
    [
        ({"instruction": "one", "output": "two"}, "Question: one\nAnswer:", " two</s>\n"),
        ({"prompt": "one", "completion": " two"}, "one", " two</s>"),
        ({"text": "one two"}, "", "one two</s>"),
    ],
)
def test_of_the_other_forms_too_only_the_answer_is_learned(record: dict[str, Any], shown: str, taught: str) -> None:
    assert learned(load.PLAIN_CHAT_TEMPLATE, record) == [(shown, taught)]


def test_the_trainer_hands_the_model_these_labels_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through SFTTrainer and its collator: what the model is given as labels is what was encoded."""
    import threading

    from modelpick.loading import adapters
    from modelpick.planning.recipe import RunSettings
    from modelpick.training import train

    loaded = load.load(str(tiny_models.make("llama", tmp_path / "base")), load.LoadOptions())
    encoded = encode(examples_from(CHAT, 1), loaded.tokenizer, "decoder", 200)
    model = adapters.add_lora(loaded, rank=2, alpha=4, dropout=0, targets="all-linear", checkpointing=False)
    seen: list[Any] = []
    model.register_forward_pre_hook(
        lambda module, given, names: seen.append(names["labels"].tolist()), with_kwargs=True
    )
    from dataclasses import replace

    settings = RunSettings("m", "d", "o", batch=1, gradient_accumulation=1, context=200, epochs=1.0, dtype="fp32")
    hooks = train.RunHooks(lambda event: None, None, threading.Event())
    monkeypatch.setattr(train, "can_skip_questions", lambda trainer: False)  # TRL's own loss gives the model its labels
    train.build_trainer(settings, replace(loaded, model=model), encoded, tmp_path / "out", hooks).train()
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
    examples = examples_from(record, 1)
    longest = encode(examples, tokenizer, kind, 10_000, ("yes",)).longest
    assert max(lengths(examples, tokenizer, kind)) == longest
    assert len(lengths(examples, tokenizer, kind)) == len(examples)
