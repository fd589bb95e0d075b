"""One model, named as each language and each kind of file names it: the rule is that all of them are found."""

import pytest

from tests.audit.conftest import Tree, found, names

MODEL = "tiiuae/falcon-7b"
UNKNOWN = "acme/acme-llama-7b"  # not in the catalog: its name alone says what it is


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.go", 'args := []string{"serve", "--model", "ID"}'),
        ("a.go", 'const Model = "ID" // the default'),
        ("a.go", "var m = `ID`"),
        ("a.rs", 'let model_id: &str = "ID";'),
        ("a.rs", 'Command::new("vllm").args(["serve", "ID"]);'),
        ("a.java", 'private static final String MODEL = "ID";'),
        ("a.java", 'List.of("--model", "ID")'),
        ("a.kt", 'val modelId = "ID"'),
        ("a.scala", 'val model = "ID"'),
        ("a.cs", 'var options = new Options { ModelId = "ID" };'),
        ("a.rb", 'MODEL = "ID"'),
        ("a.rb", "client.chat(model: 'ID')"),
        ("a.php", '$model = "ID";'),
        ("a.php", "['model' => 'ID']"),
        ("a.swift", 'let modelId = "ID"'),
        ("a.cpp", 'std::string model = "ID";'),
        ("a.lua", 'local model = "ID"'),
        ("a.r", 'model <- f(model = "ID")'),
        ("a.ex", 'model: "ID"'),
        ("a.dart", "final model = 'ID';"),
        ("a.ts", "const generator = await pipeline('text-generation', 'ID', { dtype: 'q4' });"),
        ("a.jsx", "<Chat model='ID' />"),
        ("a.vue", '<option model="ID">one</option>'),
        ("main.tf", 'variable "model" {\n  default = {\n    model_id = "ID"\n  }\n}'),
        ("main.tf", 'command = ["vllm", "serve", "ID"]'),
        ("templates/a.yaml", "{{- if .Values.on }}\nargs:\n  - --model\n  - ID\n{{- end }}\n"),
        ("templates/a.yaml", "args:\n{{- if .Values.on }}\n  - --model=ID\n{{- end }}\n"),
        ("templates/a.yaml", 'model: {{ .Values.model | default "ID" }}\n'),
        ("templates/_helpers.tpl", '{{- define "x" -}}\nmodel: ID\n{{- end -}}\n'),
        ("values.yaml.j2", "{% if on %}\nmodel: ID\n{% endif %}\nname: {{ name }}\n"),
        ("compose.yaml", "services:\n  llm:\n    image: vllm/vllm-openai\n    command: --model ID --port 8000\n"),
        ("compose.yaml", "services:\n  llm:\n    environment:\n      - MODEL_NAME=ID\n"),
        ("Modelfile", "FROM hf.co/ID\nPARAMETER temperature 1\n"),
        ("run.sh", 'curl -d \'{"model": "ID", "prompt": "x"}\' localhost:8000'),
        ("a.jsonl", '{"custom_id": "1", "body": {"model": "ID"}}\n{"body": {}}\n'),
        ("a.py", 'CONFIG = """\nbase_model: ID\nother: 1\n"""\nuse(CONFIG)\n'),
        ("a.qmd", '```{python}\nmodel = "ID"\n```\n'),
    ],
)
@pytest.mark.parametrize("id", [MODEL, UNKNOWN])
def test_a_model_is_found_where_a_language_names_it(tree: Tree, file: str, text: str, id: str) -> None:
    assert names(found(tree({file: text.replace("ID", id)}), docs=True)) == {id}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.go", '// model := "ID"\n/* model = "ID" */'),
        ("a.go", 'import "ID"' if False else 'x := 1 // see "ID"'),
        ("a.rs", '/// let model = "ID";'),
        ("a.rb", '# model = "ID"'),
        ("a.php", "# $model = 'ID';"),
        ("a.html", '<!-- <a model="ID"> -->'),
        ("a.lua", '-- model = "ID"'),
        ("main.tf", '# model = "ID"'),
        ("a.ini", "; model = ID"),
    ],
)
def test_a_comment_uses_no_model(tree: Tree, file: str, text: str) -> None:
    assert names(found(tree({file: text.replace("ID", MODEL)}))) == set()


@pytest.mark.parametrize("file", ["a.go", "a.py", "a.ts", "a.yaml", "a.json"])
@pytest.mark.parametrize(
    "text",
    [
        "google/uuid",
        "nvidia/cuda",
        "openai/gsm8k",
        "facebook/react",
        "text/x-7b",
        "microsoft/vscode",
        "a/b",
        "acme/tool-7",
    ],
)
def test_a_string_that_only_looks_like_an_id_is_none(tree: Tree, file: str, text: str) -> None:
    quoted = {"a.yaml": f"x: {text}\n", "a.json": f'{{"x": "{text}"}}'}.get(file, f'x = "{text}"\n')
    assert names(found(tree({file: quoted}))) == set()


@pytest.mark.parametrize(
    ("file", "text", "id"),
    [
        ("Modelfile", "FROM llama3.1\n", "meta-llama/Llama-3.1-8B-Instruct"),
        ("run.sh", "ollama pull mistral", "mistralai/Mistral-7B-Instruct-v0.3"),
        ("a.yaml", "model: llama3.1:70b-instruct-q4_K_M\n", "meta-llama/Llama-3.1-70B-Instruct"),
        ("a.py", 'client.converse(modelId="us.meta.llama3-3-70b-instruct-v1:0")', "meta-llama/Llama-3.3-70B-Instruct"),
        ("a.py", 'ChatNVIDIA(model="meta/llama-3.1-8b-instruct")', "meta-llama/Llama-3.1-8B-Instruct"),
        ("a.py", 'whisper.load_model("large-v3")', "openai/whisper-large-v3"),
        ("a.py", 'import timm\ntimm.create_model("resnet50.a1_in1k")', "timm/resnet50.a1_in1k"),
        ("a.py", 'YOLO("yolov8n.pt")', "Ultralytics/YOLOv8"),
        ("a.py", 'SentenceTransformer("all-MiniLM-L6-v2")', "sentence-transformers/all-MiniLM-L6-v2"),
        ("a.py", 'DiffusionPipeline.from_pretrained("acme/paint-1")', "acme/paint-1"),
    ],
)
def test_a_services_name_stands_for_the_repository_of_its_weights(tree: Tree, file: str, text: str, id: str) -> None:
    assert names(found(tree({file: text}))) == {id}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.py", 'load_dataset("acme/corpus")'),
        ("a.py", 'snapshot_download("acme/corpus", repo_type="dataset")'),
        ("a.py", 'dataset_name = "acme/corpus"'),
        ("a.yaml", "datasets:\n  - path: acme/corpus\n"),
        ("a.json", '{"x": {"hf_hub_url": "acme/corpus"}}'),
        ("run.sh", "train --dataset acme/corpus"),
        ("a.go", 'dataset := "acme/corpus"'),
        ("a.py", 'get("https://huggingface.co/datasets/acme/corpus")'),
    ],
)
def test_a_data_set_is_told_from_a_model(tree: Tree, file: str, text: str) -> None:
    scanned = found(tree({file: text}))
    assert (names(scanned), set(scanned.data_sets)) == (set(), {"acme/corpus"})


def test_what_is_loaded_as_data_is_no_model_where_it_only_looks_like_one(tree: Tree) -> None:
    root = tree({"a.py": 'load_dataset("acme/llama-mix-7b")', "b.py": 'x = "acme/llama-mix-7b"'})
    assert names(found(root)) == set()


@pytest.mark.parametrize("comment", ["# modelpick: ignore", "// modelpick: ignore", "# a reason; modelpick:ignore"])
def test_a_comment_takes_a_line_out_and_is_counted(tree: Tree, comment: str) -> None:
    here = tree(
        {"a.py" if "#" in comment else "a.ts": f'model = "{MODEL}"  {comment}\n', "b.py": f'model = "{MODEL}"\n'}
    )
    scanned = found(here)
    assert [len(places) for places in scanned.models.values()] == [1]
    assert len(scanned.ignored) == 1


def test_a_comment_on_a_line_of_its_own_speaks_of_the_next_line(tree: Tree) -> None:
    scanned = found(tree({"a.py": f'# modelpick: ignore\nmodel = "{MODEL}"\nother_model = "{MODEL}"\n'}))
    assert [place.line for places in scanned.models.values() for place in places] == [3]


def test_modelpicks_own_files_are_no_use_of_models(tree: Tree) -> None:
    text = '{"model": "tiiuae/falcon-7b"}'
    assert names(found(tree({"modelpick.lock.json": text, "approvals.toml": 'model = "tiiuae/falcon-7b"'}))) == set()


def test_programs_that_no_reader_knows_are_listed(tree: Tree) -> None:
    scanned = found(tree({"a.clj": '(def model "x")', "b.erl": "x", "c.png": "x"}))
    assert sorted(one.reason[-9:] for one in scanned.skipped) == [".clj file", ".erl file"]
