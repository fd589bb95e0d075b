"""Asks a model the cases: decoder, encoder-decoder, mask-filling, or an OpenAI-compatible endpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelpick.errors import UsageError
from modelpick.evaluation.probe.reading import leads
from modelpick.evaluation.probe.suite import Answers, Candidate, Case, concluded, solved
from modelpick.loading.load import Loaded, longest_known
from modelpick.loading.tokenize import begins_with_bos
from modelpick.serving import client

_NEW_TOKENS = 64  # room for a worked answer of a chain of three
ENDPOINT_TOKENS = 512
"""Room for the answer of a server's model, which may explain itself before it says yes or no."""
_CANDIDATES = 5  # words that could fill a gap, as shown


def ask_loaded(loaded: Loaded, cases: Sequence[Case], shots: Sequence[Case] = (), batch: int = 8) -> Answers:
    """Greedy answers of a loaded decoder or encoder-decoder; its own generation settings are not used."""
    import torch

    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    prompts = [_prompt(loaded, case, shots) for case in cases]
    _check_room(
        longest_known(model.config, loaded.kind),
        max((len(tokenizer(prompt)["input_ids"]) for prompt in prompts), default=0) + _NEW_TOKENS,
    )
    was_training, side = model.training, tokenizer.padding_side
    model.eval()
    tokenizer.padding_side = "left"
    # Cases of like length together: less padding, the same answers.
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    texts = [""] * len(prompts)
    try:
        for start in range(0, len(order), batch):
            picked = order[start : start + batch]
            inputs = tokenizer(
                [prompts[index] for index in picked], return_tensors="pt", padding=True,
                add_special_tokens=loaded.kind != "decoder",
            ).to(next(model.parameters()).device)  # fmt: skip
            inputs.pop("token_type_ids", None)
            written = 0 if loaded.kind == "encoder-decoder" else inputs["input_ids"].shape[1]
            enough = _answered(tokenizer, [cases[index] for index in picked], written)
            with torch.inference_mode():
                made = model.generate(
                    **inputs, max_new_tokens=_NEW_TOKENS, do_sample=False, temperature=None, top_p=None, top_k=None,
                    pad_token_id=tokenizer.pad_token_id, stopping_criteria=[enough],
                )  # fmt: skip
            for index, row in zip(picked, made[:, written:], strict=True):
                texts[index] = tokenizer.decode(row, skip_special_tokens=True).strip()
    finally:
        model.train(was_training)
        tokenizer.padding_side = side
    return _answers(cases, texts)


def ask_mask_filler(model_name: str, cases: Sequence[Case], shots: Sequence[Case] = ()) -> Answers:
    """What a mask-filling model puts into the gap: `x is <mask>.`, or yes against no after `The answer is`.

    An open sentence is concluded when the claim's first token outweighs every other token of the vocabulary.
    Raises UsageError for a model without a mask token, or whose head for masked words was never trained.
    """
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model_name)
    if tokenizer.mask_token is None:
        raise UsageError(f"{model_name} has no mask token", fix="probe it as a decoder", code="no_mask_token")
    loaded, info = AutoModelForMaskedLM.from_pretrained(model_name, use_safetensors=True, output_loading_info=True)
    if info["missing_keys"]:
        raise UsageError(
            f"{model_name} has no trained head for masked words ({sorted(info['missing_keys'])[0]} is missing)",
            fix="probe the encoder it was made from",
            code="no_mask_head",
        )
    model: Any = loaded.eval()
    longest = max(len(tokenizer(solved(shots) + case.prompt)["input_ids"]) for case in cases)
    _check_room(longest_known(model.config, "encoder"), longest + 8)
    concluded: list[bool | None] = []
    texts: list[str] = []
    candidates: list[tuple[Candidate, ...]] = []
    for case in cases:
        gap = f" The answer is {tokenizer.mask_token}." if case.asking == "judge" else f" {tokenizer.mask_token}."
        inputs = tokenizer(solved(shots) + case.prompt + gap, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**inputs).logits[0]
        row = logits[int((inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[-1])]
        shares, ids = row.float().softmax(-1).topk(min(_CANDIDATES, len(row)))
        candidates.append(
            tuple(
                Candidate(str(tokenizer.decode([int(token)])).strip(), float(share))
                for share, token in zip(shares, ids, strict=True)
            )
        )
        if case.asking == "judge":
            concluded.append(bool(row[_first_id(tokenizer, "yes")] > row[_first_id(tokenizer, "no")]))
            texts.append("yes" if concluded[-1] else "no")
        else:
            concluded.append(int(row.argmax()) == _first_id(tokenizer, case.claim))
            texts.append(candidates[-1][0].word)
    return Answers(tuple(cases), tuple(concluded), tuple(texts), tuple(candidates))


def ask_endpoint(
    url: str,
    model: str,
    cases: Sequence[Case],
    shots: Sequence[Case] = (),
    key_file: Path | None = None,
    *,
    plain: bool = False,
    tokens: int = ENDPOINT_TOKENS,
) -> Answers:
    """Answers of an OpenAI-compatible endpoint (`URL/chat/completions`; `plain`: /completions), at temperature 0.

    `tokens`: how long an answer may be, thoughts included. The key comes from `key_file`, else from OPENAI_API_KEY. It
    waits when the server says "later", a minute for each case. A model that takes no temperature is asked at its own.
    Raises UsageError, RemoteError for an endpoint that does not answer.
    """
    at = client.endpoint(url, key_file)
    dialect = client.Dialect()
    texts = []
    for case in cases:
        turns = [{"role": "user", "content": solved(shots) + case.prompt}] if plain else _turns(case, shots)
        asking = client.Asking(turns, tokens, plain=plain, stream=False, patience=60.0)
        texts.append("".join(piece.text for piece in client.answer(at, model, asking, dialect)).strip())
    return _answers(cases, texts)


def _check_room(limit: int | None, tokens: int) -> None:
    """Refuse solved examples that push the question out of the `limit` of tokens that the model can read."""
    if limit is not None and tokens > limit:
        raise UsageError(
            f"the cases take up to {tokens} tokens, and the model reads {limit}",
            fix="lower --shots (of finetune: --probe-shots)",
            code="too_long",
        )


def _answered(tokenizer: Any, cases: Sequence[Case], written: int) -> Any:
    """Ends the writing of each case once it has said yes or no, or has closed its sentence: the rest is not read."""
    import torch

    def stop(ids: Any, scores: Any, **names: Any) -> Any:
        texts = tokenizer.batch_decode(ids[:, written:], skip_special_tokens=True)
        return torch.tensor([_is_over(case, text) for case, text in zip(cases, texts, strict=True)], device=ids.device)

    return stop


def _is_over(case: Case, text: str) -> bool:
    if case.asking == "complete":
        return any(mark in text.strip() for mark in ".\n")
    # A word is over when something follows it: "no" may become "not", and "no doubt" is no answer.
    return not text[-1:].isalpha() and leads(text[:-1]) is not None and not text[-1:].isspace()


def _answers(cases: Sequence[Case], texts: Sequence[str]) -> Answers:
    return Answers(
        tuple(cases), tuple(concluded(case, text) for case, text in zip(cases, texts, strict=True)), tuple(texts)
    )


def _prompt(loaded: Loaded, case: Case, shots: Sequence[Case]) -> str:
    if loaded.kind != "decoder":
        return solved(shots) + case.prompt
    tokenizer: Any = loaded.tokenizer
    if case.asking == "complete":
        return (tokenizer.bos_token if begins_with_bos(tokenizer) else "") + solved(shots) + case.prompt
    return str(tokenizer.apply_chat_template(_turns(case, shots), tokenize=False, add_generation_prompt=True))


def _turns(case: Case, shots: Sequence[Case]) -> list[dict[str, str]]:
    turns = []
    for shot in shots:
        turns += [{"role": "user", "content": shot.prompt}, {"role": "assistant", "content": shot.answer}]
    return [*turns, {"role": "user", "content": case.prompt}]


def _first_id(tokenizer: Any, word: str) -> int:
    ids = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    # Sentencepiece tokenizers put a bare word-start mark first; the word itself comes next.
    return int(next((i for i in ids if tokenizer.decode([i]).strip()), ids[0]))
