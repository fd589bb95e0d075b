"""Model ids in notebooks, settings, Dockerfiles, scripts and Markdown, each at its place."""

import json

import pytest

from tests.audit.conftest import Places, Tree, found, names


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.yaml", "model: acme/x-7b\n", [("acme/x-7b", 1, 8)]),
        ("a.yml", "x:\n  - base_model: 'acme/x-7b'\n    revision: abc\n", [("acme/x-7b@abc", 2, 18)]),
        ("a.yaml", "llm:\n  model: {name: acme/x-7b}\n", [("acme/x-7b", 2, 17)]),
        ("a.yaml", "models:\n  - acme/x-7b\n  - acme/y-7b\n", [("acme/x-7b", 2, 5), ("acme/y-7b", 3, 5)]),
        ("a.yaml", "models:\n  fast: acme/x-7b\n", [("acme/x-7b", 2, 9)]),
        ("a.yaml", "data:\n  MODEL_ID: acme/x-7b\n", [("acme/x-7b", 2, 13)]),
        ("a.yaml", "---\na: 1\n---\nmodel: acme/x-7b\n", [("acme/x-7b", 4, 8)]),
        ("k8s.yaml", "env:\n- name: MODEL_ID\n  value: acme/x-7b\n", [("acme/x-7b", 3, 10)]),
        ("k8s.yaml", 'args: ["--model", "acme/x-7b", "--revision", "r1"]\n', [("acme/x-7b@r1", 1, 20)]),
        ("c.yaml", "command: vllm serve acme/x-7b --port 80\n", [("acme/x-7b", 1, 21)]),
        ("c.yaml", "environment:\n  - MODEL_ID=acme/x-7b\n", [("acme/x-7b", 2, 14)]),
        ("ci.yaml", "run: |\n  pip install vllm\n  vllm serve acme/x-7b\n", [("acme/x-7b", 3, 14)]),
        ("a.yaml", "m: &a acme/x\nmodel: *a\nrepo_id: acme/x-7b\n", [("acme/x-7b", 3, 10)]),
        ("a.yaml", "? [a, b]\n: {model: acme/x-7b}\n", [("acme/x-7b", 2, 11)]),
        ("helm.yaml", "{{- if .x }}\nmodel: acme/x-7b\n{{ end }}\n", [("acme/x-7b", 2, 8)]),
        ("a.toml", 'model = "acme/x-7b" # why\n', [("acme/x-7b", 1, 10)]),
        ("a.toml", '[tool.model]\nname = "acme/x-7b"\nrevision = "r"\n', [("acme/x-7b@r", 2, 9)]),
        (
            "a.toml",
            "models = [\n  \"acme/x-7b\", # one\n  'acme/y-7b',\n]\n",
            [("acme/x-7b", 2, 4), ("acme/y-7b", 3, 4)],
        ),
        ("a.toml", 'a = { model = "acme/x-7b", repo = 1 }\n', [("acme/x-7b", 1, 16)]),
        ("a.json", '{\n "model_id": "acme/x-7b", "revision": "r"}', [("acme/x-7b@r", 2, 15)]),
        ("a.json", '{"models": ["acme/x-7b",\n"acme/y-7b"]}', [("acme/x-7b", 1, 14), ("acme/y-7b", 2, 2)]),
        (
            "a.json",
            '{"x": ["tiiuae/falcon-7b"], // why\n "model": "acme/x-7b",',
            [("tiiuae/falcon-7b", 1, 9), ("acme/x-7b", 2, 12)],
        ),
        ("adapter_config.json", '{"base_model_name_or_path": "acme/x-7b"}', [("acme/x-7b", 1, 30)]),
        ("Dockerfile", "ENV MODEL_ID=acme/x-7b\n", [("acme/x-7b", 1, 14)]),
        ("Dockerfile", "ENV MODEL_ID acme/x-7b\n", [("acme/x-7b", 1, 14)]),
        ("gpu.Dockerfile", "ARG BASE_MODEL=acme/x-7b\n", [("acme/x-7b", 1, 16)]),
        ("Dockerfile.gpu", 'CMD ["vllm", "serve", "acme/x-7b"]\n', [("acme/x-7b", 1, 24)]),
        ("Dockerfile", "RUN pip install hf && \\\n  hf download --local-dir /m acme/x-7b\n", [("acme/x-7b", 2, 30)]),
        ("run.sh", "vllm serve acme/x-7b --revision r1\n", [("acme/x-7b@r1", 1, 12)]),
        ("run.sh", "vllm serve --port 80 \\\n  acme/x-7b\n", [("acme/x-7b", 2, 3)]),
        ("run.sh", "/opt/bin/hf download acme/x-7b a.gguf\n", [("acme/x-7b", 1, 22)]),
        ("run.sh", "huggingface-cli download acme/x-7b\n", [("acme/x-7b", 1, 26)]),
        ("run.sh", "serve --model=acme/x-7b --draft-model 'acme/y-7b'\n", [("acme/x-7b", 1, 15), ("acme/y-7b", 1, 40)]),
        ("run.sh", "export MODEL_ID=acme/x-7b; ls\n", [("acme/x-7b", 1, 17)]),
        ("run.sh", 'M="${MODEL_ID:-acme/x-7b}"\n', [("acme/x-7b", 1, 16)]),
        ("run.sh", "lm_eval --model hf --model_args pretrained=acme/x-7b,dtype=float\n", [("acme/x-7b", 1, 44)]),
        ("run.sh", "llama-server -hf acme/x-7b-GGUF:Q4_K_M\n", [("acme/x-7b-GGUF", 1, 18)]),
        ("run.sh", "ollama run hf.co/acme/x-7b-GGUF:Q8_0\n", [("acme/x-7b-GGUF", 1, 12)]),
        ("run.sh", "git clone https://huggingface.co/acme/x-7b.git\n", [("acme/x-7b", 1, 11)]),
        ("run.sh", "python -c \"AutoModel.from_pretrained('acme/x-7b')\"\n", [("acme/x-7b", 1, 39)]),
        (".env", "MODEL_ID=acme/x-7b\n", [("acme/x-7b", 1, 10)]),
        (
            "Makefile",
            "MODEL := acme/x-7b\nrun:\n\tvllm serve acme/y-7b\n",
            [("acme/x-7b", 1, 10), ("acme/y-7b", 3, 13)],
        ),
        ("start", "#!/usr/bin/env bash\nvllm serve acme/x-7b\n", [("acme/x-7b", 2, 12)]),
        ("start", '#!/usr/bin/python3\nA.from_pretrained("acme/x-7b")\n', [("acme/x-7b", 2, 20)]),
        ("x.tf", 'variable "m" {\n  default_model = "acme/x-7b"\n}\n', [("acme/x-7b", 2, 20)]),
        ("x.ts", 'const p = await pipeline("a-b", "acme/x-7b");\n', [("acme/x-7b", 1, 34)]),
        ("x.ini", "[a]\nmodel = acme/x-7b\n", [("acme/x-7b", 2, 9)]),
        ("x.md", "use `acme/no`\n```python\nA.from_pretrained('acme/x-7b')\n```\n", [("acme/x-7b", 3, 20)]),
        ("x.md", "```bash\n$ vllm serve acme/x-7b\n```\n", [("acme/x-7b", 2, 14)]),
    ],
)
def test_a_planted_model_is_found_at_its_place(
    places: Places, name: str, text: str, expected: list[tuple[str, int, int]]
) -> None:
    assert places(name, text) == expected


def _notebook(*cells: tuple[str, list[str] | str]) -> str:
    return json.dumps(
        {
            "cells": [{"cell_type": kind, "metadata": {}, "outputs": [], "source": source} for kind, source in cells],
            "nbformat": 4,
        },
        indent=1,
    )


def test_a_notebook_is_read_cell_by_cell_at_the_lines_of_its_file(places: Places) -> None:
    text = _notebook(
        ("markdown", ['A.from_pretrained("acme/prose")']),
        ("code", ["%matplotlib inline\n", "!vllm serve acme/x-7b\n", 'm = A.from_pretrained("acme/y-7b")']),
        ("code", ["%%bash\n", "hf download acme/z-7b\n"]),
    )
    lines = text.split("\n")
    rows = places("n.ipynb", text)
    assert [name for name, _, _ in rows] == ["acme/x-7b", "acme/y-7b", "acme/z-7b"]
    for name, line, column in rows:
        assert lines[line - 1][column - 1 :].startswith(name)


def test_a_notebook_names_the_cell(tree: Tree) -> None:
    text = _notebook(("markdown", "x"), ("code", 'import y\nA.from_pretrained("acme/x-7b")'))
    (where,) = found(tree({"n.ipynb": text})).models.values()
    assert [place.cell for place in where] == [2]


def test_a_constant_of_an_old_notebook_and_a_broken_one(tree: Tree) -> None:
    old = json.dumps({"worksheets": [{"cells": [{"cell_type": "code", "input": ['A.from_pretrained("acme/old")']}]}]})
    broken = '{"cells": [ "source": ["A.from_pretrained(\\"acme/broken\\")"'
    assert names(found(tree({"old.ipynb": old, "broken.ipynb": broken}))) == {"acme/old", "acme/broken"}


def test_outputs_of_a_notebook_are_not_code(tree: Tree) -> None:
    cell = {"cell_type": "code", "source": [], "outputs": [{"text": ["model: huggyllama/llama-7b"], "model": "a/b"}]}
    assert not found(tree({"n.ipynb": json.dumps({"cells": [cell]})})).models


def test_markdown_is_read_only_when_asked_or_named(tree: Tree) -> None:
    root = tree({"a.md": "```sh\nvllm serve acme/x-7b\n```\n"})
    assert names(found(root)) == set()
    assert names(found(root, docs=True)) == names(found(root / "a.md")) == {"acme/x-7b"}
