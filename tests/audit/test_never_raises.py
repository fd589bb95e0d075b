"""Whatever a file holds, the scan answers: for all bytes, for broken code around real patterns, for deep nesting."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.conftest import Tree, found, names

FILE_NAMES = ("a.py", "a.ipynb", "a.yaml", "a.toml", "a.json", "Dockerfile", "a.sh", "a.ini", "a.md")
PIECES = st.sampled_from(
    [
        "model", "model_id", ":", "=", " ", "\n", "  ", '"', "'", '"""', "acme/x-7b", "gpt2", "{", "}", "[", "]",
        "(", ")", ",", "#", "//", "\\", "?", "- ", "from_pretrained(", "pipeline(", "revision=", "--model",
        "vllm serve ", "```python\n", "```", "f'{", "&a", "*a", "|", "? ", "!x ", "cells", "source", "cell_type",
        "code", "\t", "\r", "\x0c", "\x85", "\u2028", "é", "𐍈", "\ufeff", "https://huggingface.co/", "@", "$",
        "${M:-", "import x as y\n", "for a in b:\n", "lambda: ", ":=", "\\u", "\\ud800", "%%bash\n", "!", "%",
    ]
)  # fmt: skip


def _scan(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        scanned = found(Path(folder, name))
        text = content.decode("latin-1")
        for where in scanned.models.values():
            for place in where:
                assert 1 <= place.line <= len(text.replace("\r", "\n").split("\n")) + text.count("\n") + 1
                assert place.column >= 1
        assert scanned.files + len(scanned.skipped) == 1


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILE_NAMES), st.binary(max_size=400))
def test_any_bytes(name: str, content: bytes) -> None:
    _scan(name, content)


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(FILE_NAMES), st.lists(PIECES, max_size=40).map("".join))
def test_any_jumble_of_what_the_readers_look_for(name: str, text: str) -> None:
    _scan(name, text.encode("utf-8", "surrogatepass"))


@settings(max_examples=100, deadline=None)
@given(
    st.from_regex(r"[A-Za-z][A-Za-z0-9]{2,10}", fullmatch=True),
    st.from_regex(r"[A-Z][a-z]{2,8}-[1-9]{1,2}b", fullmatch=True),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r\n\"'\\#"), max_size=20),
)
def test_a_planted_id_is_found_on_its_line_whatever_stands_before(org: str, name: str, noise: str) -> None:
    code = f'x = """{noise}\n{noise}"""\nm = AutoModel.from_pretrained("zz-{org}/{name}")\n'
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.py").write_text(code, encoding="utf-8", newline="")
        scanned = found(Path(folder))
    assert names(scanned) == {f"zz-{org}/{name}"}
    assert [place.line for where in scanned.models.values() for place in where] == [3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "(" * 5000),
        ("a.py", "x = " + "-" * 20000 + "1"),
        ("a.py", "x = " + " + ".join(['"a"'] * 3000) + "\nA.from_pretrained(x)"),
        ("a.py", "".join(f"a{n} = a{n + 1} or a{n + 1} or a{n + 1}\n" for n in range(60)) + "A.from_pretrained(a0)"),
        ("a.py", 'a0 = "x"\n' + "".join(f"a{n + 1} = a{n} + a{n}\n" for n in range(60)) + "A.from_pretrained(a60)"),
        ("a.py", "MODELS = [" + "'acme/x-7b'," * 20_000 + "]"),
        ("a.json", "[" * 100_000),
        ("a.json", '{"model":' * 50_000),
        ("a.yaml", "[" * 100_000),
        ("a.yaml", "- " * 20_000 + "x"),
        ("a.yaml", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmodel: *c\n"),
        ("a.toml", '"' * 100_000),
        ("a.sh", "'" * 100_001),
        ("a.sh", "a " * 200_000),
        ("a.sh", "a." * 200_000),
        ("a.ini", "a" * 400_000),
        ("a.ini", "a." * 200_000),
        ("a.ini", '"' * 100_001 + "a" * 100_000),
        ("a.ini", "=" * 400_000),
        ("a.md", "```\n" * 50_000),
        ("a.ipynb", '{"cells": [' + '{"cell_type": "code", "source": "x"},' * 20_000),
    ],
)
def test_long_and_deep_files_end(tree: Tree, name: str, text: str) -> None:
    assert found(tree({name: text}), docs=True).files == 1
