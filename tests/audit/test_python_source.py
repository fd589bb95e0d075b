"""Model ids in Python: calls, names that hold models, constants within a file."""

import pytest

from tests.audit.conftest import Places, Tree, found, names


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('AutoModel.from_pretrained("acme/new-7b")', "acme/new-7b"),
        ('AutoModel.from_pretrained(pretrained_model_name_or_path="acme/new-7b")', "acme/new-7b"),
        ('PeftModel.from_pretrained(base, "acme/adapter")', "acme/adapter"),
        ('pipeline("text-generation", model="acme/new-7b")', "acme/new-7b"),
        ('pipeline("text-generation", "acme/new-7b")', "acme/new-7b"),
        ('snapshot_download("acme/new-7b")', "acme/new-7b"),
        ('hf_hub_download(repo_id="acme/new-7b", filename="config.json")', "acme/new-7b"),
        ('LLM(model="acme/new-7b")', "acme/new-7b"),
        ('vllm.LLM("acme/new-7b")', "acme/new-7b"),
        ('SentenceTransformer("acme/new-embed")', "acme/new-embed"),
        ('SentenceTransformer("all-MiniLM-L6-v2")', "sentence-transformers/all-MiniLM-L6-v2"),
        ('from mlx_lm import load\nload("acme/new-7b")', "acme/new-7b"),
        ('anything(model_id="acme/new-7b")', "acme/new-7b"),
        ('CONFIG = {"model_name_or_path": "acme/new-7b"}', "acme/new-7b"),
        ('MODELS = {"small": "acme/new-7b"}', "acme/new-7b"),
        ('EMBEDDING_MODEL = "acme/new-7b"', "acme/new-7b"),
        ('self.modelName = "acme/new-7b"', "acme/new-7b"),
        ('model_id: str = "acme/new-7b"', "acme/new-7b"),
        ('def run(base_model="acme/new-7b"): ...', "acme/new-7b"),
        ('def run(*, model: str = typer.Option("acme/new-7b")): ...', "acme/new-7b"),
        ('class C:\n    model: str = Field("acme/new-7b")', "acme/new-7b"),
        ('class C:\n    model: str = field(default="acme/new-7b")', "acme/new-7b"),
        ('MODEL = os.environ.get("X") or "acme/new-7b"', "acme/new-7b"),
        ('parser.add_argument("--model", type=str, default="acme/new-7b")', "acme/new-7b"),
        ('os.getenv("MODEL_ID", "acme/new-7b")', "acme/new-7b"),
        ('os.environ["MODEL_ID"] = "acme/new-7b"', "acme/new-7b"),
        ('subprocess.run(["vllm", "serve", "acme/new-7b", "--port", "80"])', "acme/new-7b"),
        ('os.system("vllm serve acme/new-7b")', "acme/new-7b"),
        ('litellm.completion(model="together_ai/acme/new-7b")', "acme/new-7b"),
        ('timm.create_model("hf_hub:acme/new-vit")', "acme/new-vit"),
        ('AutoModel.from_pretrained("https://huggingface.co/acme/new-7b")', "acme/new-7b"),
        ('download("https://huggingface.co/acme/new-7b/resolve/v2/model.gguf")', "acme/new-7b@v2"),
        ('AutoModel.from_pretrained("t5-small")', "t5-small"),
        ('AutoModel.from_pretrained("gpt2")', "openai-community/gpt2"),
        ('print("huggyllama/llama-7b")', "huggyllama/llama-7b"),
        ('check(["x", "huggyllama/llama-7b"])', "huggyllama/llama-7b"),
    ],
)
def test_a_model_is_found_where_a_model_stands(tree: Tree, code: str, expected: str) -> None:
    assert names(found(tree({"app.py": code}))) == {expected}


@pytest.mark.parametrize(
    "code",
    [
        'NAME = "acme/new-7b"\nAutoModel.from_pretrained(NAME)',
        'ORG = "acme"\nAutoModel.from_pretrained(f"{ORG}/new-7b")',
        'ORG = "acme"\nAutoModel.from_pretrained(ORG + "/new-7b")',
        'class C:\n    NAME = "acme/new-7b"\nAutoModel.from_pretrained(C.NAME)',
        'for name in ["acme/new-7b"]:\n    AutoModel.from_pretrained(name)',
        'for size, name in [("s", "acme/new-7b")]:\n    AutoModel.from_pretrained(name)',
        'TABLE = {"a": "acme/new-7b"}\nAutoModel.from_pretrained(TABLE[size])',
        'TABLE = {"a": "acme/new-7b"}\nAutoModel.from_pretrained(TABLE.get(size))',
        'def go(name="acme/new-7b"):\n    return AutoModel.from_pretrained(name)',
        'name = given or "acme/new-7b"\nAutoModel.from_pretrained(name)',
        'AutoModel.from_pretrained("acme/new-7b" if big else None)',
        'a = "acme/new-7b"\nb = a\nAutoModel.from_pretrained(b)',
        'if (name := "acme/new-7b"):\n    AutoModel.from_pretrained(name)',
    ],
)
def test_constants_are_followed_within_a_file(tree: Tree, code: str) -> None:
    assert names(found(tree({"app.py": code}))) == {"acme/new-7b"}


def test_a_constant_is_reported_where_it_is_written_and_where_it_is_used(places: Places) -> None:
    text = 'X = "acme/new-7b"\n\nm = AutoModel.from_pretrained(X)\n'
    assert places("app.py", text) == [("acme/new-7b", 1, 6), ("acme/new-7b", 3, 31)]


def test_columns_count_characters_not_bytes(places: Places) -> None:
    assert places("app.py", 'é = "ü"; m = AutoModel.from_pretrained("acme/new-7b")') == [("acme/new-7b", 1, 41)]


def test_the_revision_beside_an_id_is_kept(tree: Tree) -> None:
    code = """
AutoModel.from_pretrained("acme/a-7b", revision="0123abc")
SHA = "feed"
NAME = "acme/b-7b"
AutoModel.from_pretrained(NAME, revision=SHA)
settings = {"model": "acme/c-7b", "revision": "v1"}
AutoModel.from_pretrained("acme/d-7b", revision="main")
AutoModel.from_pretrained("acme/e-7b@cafe")
"""
    assert names(found(tree({"app.py": code}))) == {
        "acme/a-7b@0123abc", "acme/b-7b@feed", "acme/c-7b@v1", "acme/d-7b", "acme/e-7b@cafe",
    }  # fmt: skip


def test_one_model_pinned_in_one_call_and_free_in_another_is_two_questions(tree: Tree) -> None:
    code = 'N = "acme/a-7b"\nA.from_pretrained(N, revision="r1")\nB.from_pretrained(N)\n'
    assert names(found(tree({"app.py": code}))) == {"acme/a-7b@r1", "acme/a-7b"}


def test_spellings_of_one_model_are_one_model(tree: Tree) -> None:
    code = 'A.from_pretrained("TIIUAE/Falcon-7B")\nA.from_pretrained("tiiuae/falcon-7b")\n'
    assert names(found(tree({"app.py": code}))) == {"tiiuae/falcon-7b"}


def test_a_model_chosen_at_run_time_is_said_to_be_so(tree: Tree) -> None:
    scanned = found(tree({"app.py": "import x\nm = AutoModel.from_pretrained(args.model)\n"}))
    assert not scanned.models
    assert [(place.line, place.text) for place in scanned.unresolved] == [(2, "args.model")]


def test_a_syntax_error_falls_back_to_the_text(places: Places) -> None:
    text = 'print "old"\nmodel_id = "acme/x-7b"\nm = AutoModel.from_pretrained("acme/y-7b", revision="r1")\n'
    text += '# model = "acme/no-7b"\n'
    assert places("app.py", text) == [("acme/x-7b", 2, 13), ("acme/y-7b@r1", 3, 32)]


def test_a_constant_that_leads_to_itself_ends(tree: Tree) -> None:
    code = "a = b\nb = a\nAutoModel.from_pretrained(a)\n"
    assert len(found(tree({"app.py": code})).unresolved) == 1
