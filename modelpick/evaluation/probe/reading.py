"""What an answer in words concludes: answers as models and people write them. Pure."""

import re

# Thoughts before the answer, in the marks of the families that write them: DeepSeek-R1 and Qwen3 (<think>), Magistral
# ([THINK]); <reasoning> and <thought> are what prompts ask others for. A block that nobody opened was opened by the
# chat template; one that nobody closed was cut off, and nothing was answered.
_THOUGHT = r"think|thinking|thought|reasoning|reflection"
_BLOCK = re.compile(rf"[<\[]({_THOUGHT})[>\]].*?[<\[]/\1[>\]]", re.DOTALL | re.IGNORECASE)
_CLOSED_ONLY = re.compile(rf"^.*[<\[]/(?:{_THOUGHT})[>\]]", re.DOTALL | re.IGNORECASE)
_OPEN_ONLY = re.compile(rf"[<\[](?:{_THOUGHT})[>\]].*$", re.DOTALL | re.IGNORECASE)
# gpt-oss writes channels; the last is the answer.
_CHANNEL = re.compile(r"^.*<\|channel\|>\s*final\s*<\|message\|>", re.DOTALL)

_FENCE = re.compile(r"^\s*(?:```|~~~)\w*\s*$", re.MULTILINE)
_MARKS = re.compile(r"[*_`#>\"“”]")
# The question said again is no answer.
_BOTH = re.compile(r"\b(?:yes\s*(?:or|/|,|and)\s*no|no\s*(?:or|/)\s*yes)\b", re.IGNORECASE)

_YES, _NO = r"yes|yeah|yep", r"no|nope"
# "no" is an answer when its clause ends there ("no.", "no, since") or another one begins; in "no doubt" it is not.
_CLAUSE = (
    r"because|since|as|given|from|based|only|not|but|and"
    r"|it|its|this|that|these|those|the|there|we|i|you|one|he|she|they"
)
_STANDING = re.compile(rf"\b(?:({_YES})|({_NO})(?=\s*(?:[^\w\s'’]|$|\n)|\s+(?:{_CLAUSE})\b))", re.IGNORECASE)
_LEADING = re.compile(rf"^\W*(?:(?:{_YES}|true|correct)|(?:{_NO}|false|incorrect)\b)", re.IGNORECASE)
_STATED = re.compile(
    rf"(?:\b(?:answer|conclusion|verdict|result)\b\W*(?:(?:is|would be|must be)\b\W*)?|\\boxed\{{\s*(?:\\text\{{)?)"
    rf"(?:({_YES}|true)|({_NO}|false))\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:(?:does|do|did|would)(?:\s+not|n['’]t)\s+(?:\w+ly\s+)?(?:follow|prove|mean|imply)"
    r"|(?:can(?:\s*not|['’]t)|could(?:\s+not|n['’]t))\s+(?:\w+\s+){0,2}?"
    r"(?:conclude|concluded|know|known|tell|say|said|sure|certain|determine|determined|inferred|infer|deduce|deduced)"
    r"|(?:not|isn['’]t)\s+(?:necessarily|certain|possible to|enough|beyond doubt)"
    r"|unknown|uncertain|undetermined|insufficient)\b",
    re.IGNORECASE,
)  # fmt: skip
_AFFIRMED = re.compile(
    r"\b(?:it|this|that|conclusion)\s+(?:\w+ly\s+)?(?:follows|must be true|is certain)\b", re.IGNORECASE
)


def without_thoughts(text: str) -> str:
    """The answer without what was thought before it, code fences and emphasis; empty where only thoughts were written.

    >>> without_thoughts("<think>Is it? No.</think> **Yes**")
    'Yes'
    """
    text = _CHANNEL.sub("", text)
    text = _OPEN_ONLY.sub("", _CLOSED_ONLY.sub("", _BLOCK.sub("", text)))
    return _MARKS.sub("", _FENCE.sub("", text)).strip()


def judged(text: str) -> bool | None:
    """True for yes, False for no, None for neither.

    What is called the answer decides ("the answer is no"), the last time it is; else the word it begins with; else the
    last yes or no that stands for itself; else a sentence that says whether the conclusion follows.

    >>> [judged(text) for text in ("There is no doubt: yes", "No reason to doubt it. Yes!", "It does not follow.")]
    [True, True, False]
    """
    text = _BOTH.sub(" ", without_thoughts(text))
    stated = list(_STATED.finditer(text))
    if stated:
        return stated[-1].group(1) is not None
    leading = leads(text)
    if leading is not None:
        return leading
    standing = list(_STANDING.finditer(text))
    if standing:
        return standing[-1].group(1) is not None
    if _DENIED.search(text):
        return False
    return True if _AFFIRMED.search(text) else None


def leads(text: str) -> bool | None:
    """The answer that a text begins with, which nothing that follows changes but another one called the answer."""
    found = _LEADING.match(text)
    if found is None:
        return None
    word = found.group(0).strip(" \n\t.,:;!?()[]{}'-").lower()
    if word in ("no", "nope"):
        standing = _STANDING.search(text)
        return False if standing is not None and standing.start() <= found.end() and standing.group(2) else None
    return word in ("yes", "yeah", "yep", "true", "correct")


_DOUBT = ("not ", "n't", "n’t", "unknown", "cannot", "necessarily", "maybe", "uncertain", "unclear")


def completed(text: str, claim: str) -> bool | None:
    """Whether the end of an open sentence draws the conclusion: its first clause has the claim, undenied, undoubted."""
    first = without_thoughts(text).split(".")[0].split("\n")[0].strip().lower()
    if not first:
        return None
    said = re.search(rf"\b{re.escape(claim.lower())}\b", first) is not None
    return said and not any(word in first for word in _DOUBT)
