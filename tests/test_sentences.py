"""The program's sentences are plain English, in one form for each kind: what a machine can check of that."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Each pattern once made a reader read a sentence twice. "There is no file" is plain; "is no number" is not.
DIALECT = (
    r"(?<!there )(?<!answer )\b(?:is|are) no\b(?! longer| more)",
    r"\bholds? (?:no|none)\b",
    r"\btold\b",
    r"\bmend(?:s|ed|ing)?\b",
    r"\breckons?\b",
    r"\bbeside\b",
    r"\bhas no meaning\b",
    r"\bthe same command (?:again|continues|goes on|looks on)\b",
    r"\bwhat is uncertain\b",
    r"\bwhat (?:is|was) (?:asked for|not said)\b",
    r"\bspeaks? of\b",
    r"\bwhose money lasts\b",
)
_UPPER_FIRST = re.compile(r"(?!AWS\b|CUDA\b|[A-Z_]{3,}\b)[A-Z]")


def _text(node: ast.expr | None) -> str | None:
    """The text of a string literal, with {} for what an f-string fills in; None for any other expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / "modelpick").rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text("utf-8"))


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for name, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{name}:{node.lineno}", node


def _keywords(word: str) -> dict[str, str]:
    found = {}
    for place, call in _calls():
        for keyword in call.keywords:
            if keyword.arg == word and (text := _text(keyword.value)) is not None:
                found[place] = text
    return found


def _messages() -> dict[str, str]:
    return {
        place: text
        for place, call in _calls()
        if _name(call.func).endswith("Error") and call.args and (text := _text(call.args[0])) is not None
    }


def _one_line_helps() -> dict[str, str]:
    settings = {
        place: text
        for place, call in _calls()
        if _name(call.func) == "Help" and call.args and (text := _text(call.args[0])) is not None
    }
    return settings | _keywords("help")


def _docstrings(tree: ast.Module) -> set[int]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    owners = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {id(node.body[0].value) for node in owners if node.body and isinstance(node.body[0], ast.Expr)}


def _literals() -> Iterator[tuple[str, str]]:
    """Every literal of several words that is not a docstring: messages, notes, headings, reasons, assumptions."""
    for name, tree in _trees():
        skipped = _docstrings(tree)
        for node in ast.walk(tree):
            text = _text(node) if isinstance(node, ast.expr) else None
            if text is not None and " " in text.strip() and id(node) not in skipped:
                yield f"{name}:{getattr(node, 'lineno', 0)}", text


def _tables() -> Iterator[tuple[str, str]]:
    """The sentences of the tables of facts: compatibility rules, curated facts."""
    for path, keys in (
        ("modelpick/offers/data/compatibility.toml", ("why", "way_out")),
        ("policies/families.toml", ("because",)),
        ("policies/known_models.toml", ("because",)),
    ):
        for rows in tomllib.loads((ROOT / path).read_text("utf-8")).values():
            for row in rows if isinstance(rows, list) else ():
                yield from ((path, row[key]) for key in keys if key in row)


def dialect_in(text: str) -> str | None:
    """The first pattern that a sentence matches, or None."""
    return next((pattern for pattern in DIALECT if re.search(pattern, text, re.IGNORECASE)), None)


def test_no_sentence_is_in_dialect() -> None:
    sentences = [*_literals(), *_tables()]
    assert len(sentences) > 1500
    wrong = [f"{place}: {text!r} ({pattern})" for place, text in sentences if (pattern := dialect_in(text))]
    assert not wrong, "\n".join(wrong)


def test_no_docstring_is_in_dialect() -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [
        (f"{name}: {getattr(node, 'name', 'module')}", ast.get_docstring(node) or "")
        for name, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    ]
    assert len(texts) > 2000
    wrong = [f"{place}: {text!r} ({pattern})" for place, text in texts if (pattern := dialect_in(text))]
    assert not wrong, "\n".join(wrong)


def test_every_help_is_one_sentence() -> None:
    helps = _one_line_helps()
    assert len(helps) > 150
    wrong = [f"{place}: {text!r}" for place, text in helps.items() if not re.match(r"[A-Z0-9].*[.?]\Z", text)]
    assert not wrong, "\n".join(wrong)


def test_every_fix_says_what_to_do() -> None:
    fixes = _keywords("fix")
    assert len(fixes) > 250
    wrong = [
        f"{place}: {text!r}"
        for place, text in fixes.items()
        if not text.strip() or _UPPER_FIRST.match(text) or text.endswith(".") or "  " in text
    ]
    assert not wrong, "\n".join(wrong)


def test_a_message_has_no_period_at_its_end() -> None:
    messages = _messages()
    assert len(messages) > 200
    wrong = [
        f"{place}: {text!r}"
        for place, text in messages.items()
        if not text.strip() or re.search(r"(?<!\.\.)\.\Z", text) or "  " in text.partition("\n")[0]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "sentence",
    [
        "lora_dropout is no number",
        "both are told",
        "fix: mend or remove it",
        "the file lies beside the weights",
        "data has no meaning for task serve",
        "the same command again",
        "the file holds no words",
    ],
)
def test_the_patterns_find_the_dialect(sentence: str) -> None:
    assert dialect_in(sentence) is not None


@pytest.mark.parametrize("sentence", ["there is no file x", "the Hub no longer has it", "it is no longer finite"])
def test_the_patterns_leave_plain_english(sentence: str) -> None:
    assert dialect_in(sentence) is None
