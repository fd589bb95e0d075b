"""What looks like `a/b` and is no model."""

import pytest

from tests.audit.conftest import Tree, found, names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", 'headers = {"accept": "application/json", "model": "text/plain"}'),
        ("a.py", 'open("data/train.json"); open("src/app.py")'),
        ("a.py", 'AutoModel.from_pretrained("./checkpoints/last")'),
        ("a.py", 'AutoModel.from_pretrained("outputs/checkpoint-100")'),
        ("a.py", 'AutoModel.from_pretrained("checkpoint-100")'),
        ("a.py", 'AutoModel.from_pretrained("output_dir")'),
        ("a.py", 'AutoModel.from_pretrained("/opt/models/x-7b")'),
        ("a.py", 'AutoModel.from_pretrained("~/models/x-7b")'),
        ("a.py", 'AutoModel.from_pretrained("C:\\\\models\\\\x-7b")'),
        ("a.py", 'AutoModel.from_pretrained("weights/model.safetensors")'),
        ("a.py", 'model_path = "acme/model.gguf"'),
        ("a.py", 'AutoModel.from_pretrained("your-org/your-model")'),
        ("a.py", 'AutoModel.from_pretrained("<org>/<name>")'),
        ("a.py", 'load_dataset("tatsu-lab/alpaca")'),
        ("a.py", 'load_dataset(path="acme/data", name="acme/x")'),
        ("a.py", 'snapshot_download("acme/corpus", repo_type="dataset")'),
        ("a.py", 'hf_hub_download(repo_id="acme/demo", filename="x", repo_type="space")'),
        ("a.py", 'requests.get("https://huggingface.co/datasets/acme/corpus")'),
        ("a.py", 'requests.get("https://huggingface.co/docs/transformers")'),
        ("a.py", 'repo = "https://github.com/acme/x-7b"; clone("acme/x-7b")'),
        ("a.py", 'client.chat(model="gpt-4o"); completion(model="anthropic/claude-3-opus")'),
        ("a.py", 'completion(model="openai/gpt-4o"); completion(model="mistral"); f(model="base")'),
        ("a.py", 'TrainingArguments(hub_model_id="acme/my-tuned")'),
        ("a.py", '"""See huggyllama/llama-7b and https://huggingface.co/huggyllama/llama-7b"""'),
        ("a.py", '# AutoModel.from_pretrained("huggyllama/llama-7b")\nx = 1'),
        ("a.py", 'ratio = "16/9"; model = "1/2"; tz = "Europe/Berlin"'),
        ("a.py", 'if config.model_type == "gpt2": pass\nname = "gpt2"'),
        ("a.py", 'model_type = "gpt2"; model_class = "a/b"'),
        ("a.yaml", "uses: actions/checkout@v4\nimage: nvidia/cuda\nrepository: acme/tool\n"),
        ("a.yaml", "model: gpt-4o\nother: {model: claude-3-5-sonnet}\n"),
        ("a.yaml", "datasets:\n  - path: tatsu-lab/alpaca\n    type: alpaca\n"),
        ("a.yaml", "repo_id: acme/corpus\nrepo_type: dataset\n"),
        ("a.yaml", "# model: huggyllama/llama-7b\nx: 1\n"),
        ("a.toml", '# model = "huggyllama/llama-7b"\nreadme = "docs/readme.md"\n'),
        ("package.json", '{"name": "@acme/x", "repository": "acme/x", "main": "dist/index.js"}'),
        ("a.json", '{"vocab": {"a/b": 1, "model": 3}, "model": {"type": "BPE", "merges": ["a/b c"]}}'),
        ("Dockerfile", "FROM pytorch/pytorch\nCOPY src/app /srv/app\nRUN apt-get install -y foo/bar\n"),
        ("run.sh", "hf download acme/corpus --repo-type dataset\n"),
        ("run.sh", "# vllm serve huggyllama/llama-7b\ncd src/app; cp a/b c/d\n"),
        ("run.sh", "vllm serve /models/x --served-model-name acme/alias\nvllm serve ./x\nvllm serve $MODEL\n"),
        ("run.sh", "docker run -v a/b:/c acme/image:latest\n"),
        (".env", "DATABASE_URL=postgres://a/b\nPATH=a/b\n"),
    ],
)
def test_what_is_no_model_is_not_reported(tree: Tree, name: str, text: str) -> None:
    assert names(found(tree({name: text}))) == set()


def test_a_folder_of_files_that_is_there_is_no_id(tree: Tree) -> None:
    root = tree({"mine/tuned-7b/config.json": "{}", "app.py": 'A.from_pretrained("mine/tuned-7b")'})
    assert names(found(root)) == set()


def test_a_known_model_is_one_even_in_an_odd_place(tree: Tree) -> None:
    code = 'x = {"whatever": "tiiuae/falcon-7b"}\nmodel_path = "models/tiiuae"\n'
    assert names(found(tree({"app.py": code}))) == {"tiiuae/falcon-7b"}
