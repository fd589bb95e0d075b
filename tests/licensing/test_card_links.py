"""What a card's text says a model was made from: relation words of many languages, and a link or an id."""

import pytest

from modelpick.licensing.facts import LicenseFacts

HUB = "https://huggingface.co/"

# Each says that the model was made from A/B-7b; `H/` stands for the Hub's address.
PARENT = [
    "## Base model\n[B](H/A/B-7b)",
    "### Base Model\n\n- [B](H/A/B-7b)",
    "## Models merged\n\n* [C](H/C/D-7b)\n* [B](H/A/B-7b)",
    "# Quantized version of [B](H/A/B-7b)",
    "# Orca\nA fine-tune of A/B-7b\n",
    "Trained on top of `A/B-7b`.",
    "Based on the Mistral architecture and initialized from [B](H/A/B-7b).",
    "With a new tokenizer, fine-tuned from [B](H/A/B-7b).",
    "Fine-tuned from [link](H/A/B-7b).",
    "This is a quantized version of [B](H/A/B-7b).",
    "This is a GGUF conversion of A/B-7b.",
    "This repo contains GGUF format model files for [Pankaj's Mini 3B v0.2](H/A/B-7b).",
    "These files are GGML format model files for [Pankaj Mathur's Orca Mini 3B](H/A/B-7b).",
    "**Finetuned from model :** A/B-7b",
    "- **Base model:** [B](H/A/B-7b)",
    "| Base model | [B](H/A/B-7b) |",
    "Original model: H/A/B-7b",
    "static quants of H/A/B-7b",
    "A LoRA adapter for `A/B-7b`.",
    "This model is a fine-tuned version of [A/B-7b](H/A/B-7b) on the x dataset.",
    "Converted to MLX format from [`A/B-7b`](H/A/B-7b) using mlx-lm version 0.1.",
    "We initialized the weights from\n[B](H/A/B-7b) and trained further.",
    "We took [B](H/A/B-7b) as a base.",
    "[B](H/A/B-7b) was fine-tuned on our data.",
    "Dieses Modell ist eine quantisierte Version von [B](H/A/B-7b).",
    "Ce modèle est une version affinée de [B](H/A/B-7b).",
    "Este modelo es una versión cuantizada de [B](H/A/B-7b).",
    "Modelo ajustado a partir do [B](H/A/B-7b).",
    "本模型基于[B](H/A/B-7b)微调得到。",
    "このモデルは[B](H/A/B-7b)をファインチューニングしたものです。",
    "이 모델은 [B](H/A/B-7b)를 파인튜닝한 모델입니다.",
    "Модель дообучена на основе [B](H/A/B-7b).",
    "Mô hình này được tinh chỉnh từ [B](H/A/B-7b).",
    "هذا النموذج نسخة مضبوطة من [B](H/A/B-7b).",
    "Bu model [B](H/A/B-7b) modelinin ince ayarlı bir sürümüdür.",
    "Questo modello è una versione quantizzata di [B](H/A/B-7b).",
    "Dit model is gebaseerd op [B](H/A/B-7b).",
    "यह मॉडल [B](H/A/B-7b) पर आधारित है।",
    "Model ini adalah hasil fine-tuning dari [B](H/A/B-7b).",
    'Quantized with llama.cpp. Base: it was pruned from <a href="H/A/B-7b">B</a>.',
    "The following models were included in the merge:\n* [B](H/A/B-7b)\n* [C](H/C/D-7b)",
    "Merge of [x](H/Z/Q-1b) and [B](H/A/B-7b).",
    "Exllamav2 quant (**exl2** / **3.0 bpw**) made with ExLlamaV2. Original: exl2 quantization of [B](H/A/B-7b)",
    "AWQ 4-bit of H/A/B-7b",
    "weights/imatrix quants of H/A/B-7b",
    "Derived from A/B-7b, distilled with care.",
    "An abliterated (uncensored) version of [B](H/A/B-7b).",
]

# Each links to or names A/B-7b, and says nothing of a parent.
NO_PARENT = [
    "## Base model\nIts own.\n\nOther models: [B](H/A/B-7b)",
    "## Quantized versions\n\n* [GGUF](H/A/B-7b)",
    "## Results\n[B](H/A/B-7b) is weaker.",
    "The tokenizer is based on the one of [B](H/A/B-7b).",
    "Inspired by the training recipe of [B](H/A/B-7b).",
    "Built with the architecture of [B](H/A/B-7b).",
    "Fine-tuned with the script of `train/run-7b.py`.",
    "GGUF version of this model is available at [X-GGUF](H/A/B-7b).",
    "See also [B](H/A/B-7b).",
    "It outperforms [B](H/A/B-7b) by 3 points.",
    "Compared with [B](H/A/B-7b), our model, trained from scratch, is better.",
    "Quantized versions: [B-GGUF](H/A/B-7b)",
    "Try the demo on [B](H/spaces/A/B-7b).",
    "Trained with [PEFT](H/docs/peft).",
    "Other models: [B](H/A/B-7b), [C](H/A/C-7b).",
    "We evaluate against A/B-7b and others.",
    "Unlike [B](H/A/B-7b), it is free.",
    "```\nmodel = load('A/B-7b') # quantized version of A/B-7b\n```",
    "Tokenizer files are similar to [B](H/A/B-7b)",
    "本模型优于[B](H/A/B-7b)。",
    "このモデルは[B](H/A/B-7b)より優れています。",
]


@pytest.mark.parametrize("text", PARENT)
def test_a_relation_word_and_a_link_or_id_name_a_parent(facts: LicenseFacts, text: str) -> None:
    found = facts.relation_words.parents(f"---\nlicense: mit\n---\n# Card\n{text.replace('H/', HUB)}\n")
    assert "A/B-7b" in [named.id for named in found if named.how != "perhaps"]
    assert all(named.sentence and len(named.sentence) <= 160 for named in found)


@pytest.mark.parametrize("text", NO_PARENT)
def test_other_links_name_none(facts: LicenseFacts, text: str) -> None:
    assert facts.relation_words.parents(f"# Card\n{text.replace('H/', HUB)}\n") == ()


@pytest.mark.parametrize("text", ["Trained on `A/B-7b`.", "This model was fine-tuned on A/B-7b."])
def test_what_a_model_was_trained_on_may_be_a_model_or_data(facts: LicenseFacts, text: str) -> None:
    assert [named.how for named in facts.relation_words.parents(text)] == ["perhaps"]
    assert [id for id, _ in facts.relation_words.data(text)] == ["A/B-7b"]


def test_data_sets_are_told_from_models(facts: LicenseFacts) -> None:
    text = f"Fine-tuned from [m]({HUB}a/m) on [u]({HUB}datasets/b/u), `c/d` and e-f/g52k."
    assert "a/m" in [named.id for named in facts.relation_words.parents(text)]
    assert [id for id, _ in facts.relation_words.data(text)] == ["b/u", "c/d", "e-f/g52k"]
    assert facts.relation_words.data(f"See [u]({HUB}datasets/b/u).") == ()


@pytest.mark.parametrize(
    "text",
    ["a quantized version of " * 9000, f"[]({HUB}a/b) " * 6000, "<a href=\n" * 20_000, "[" * 200_000, "a/" * 100_000,
     "based " * 33_000 + f"{HUB}a/b", "train " * 30_000 + f"{HUB}datasets/a/b", "**" * 100_000, "`a/b1` of " * 20_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_long_card_is_read_in_linear_time(facts: LicenseFacts, text: str) -> None:
    """Quadratic reading would take minutes here: the test ends, or it does not."""
    words = facts.relation_words
    assert all(len(each) < 2000 for each in (words.parents(text), words.data(text)))
    words.is_from_scratch(text)
    words.holds_outputs(text)
