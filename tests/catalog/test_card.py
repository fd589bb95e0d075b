"""Cards in the state they are found in: what the Hub would not read grants nothing, and nothing raises."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelpick.catalog import card
from modelpick.catalog.model import BaseModel


def _facts(text: str) -> card.CardFacts:
    return card.facts(card.read(text))


def test_a_plain_card() -> None:
    text = (
        "---\nlicense: other\nlicense_name: qwen\nlicense_link: LICENSE\nbase_model: Qwen/Qwen2-7B\n"
        "language: [en, zh]\ntags: [chat]\npipeline_tag: text-generation\nlibrary_name: transformers\n"
        "datasets:\n- a/b\n- c/d\nextra_gated_prompt: You agree.\n---\n# Title\nBody.\n"
    )
    facts = _facts(text)
    assert (facts.license, facts.license_name, facts.license_link) == ("other", "qwen", "LICENSE")
    assert facts.base_models == (BaseModel("Qwen/Qwen2-7B", "unknown"),)
    assert facts.languages == ("en", "zh")
    assert facts.datasets == ("a/b", "c/d")
    assert (facts.pipeline_tag, facts.library, facts.gate_text) == ("text-generation", "transformers", "You agree.")
    assert facts.notes == ()
    assert card.read(text).body == "# Title\nBody.\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("license: no", False),
        ("license: 2.0", 2.0),
        ("license: {name: mit}", {"name": "mit"}),
        ("license:", None),
        ("license: [cc-by-sa-3.0, gfdl]", ["cc-by-sa-3.0", "gfdl"]),
        ("license: 2024-01-01", "2024-01-01"),
        ("license: !!binary bWl0", "mit"),
        ("license: mit\nlicense: cc-by-nc-4.0", ["mit", "cc-by-nc-4.0"]),
    ],
)
def test_the_license_keeps_the_type_it_was_parsed_to(line: str, value: object) -> None:
    assert _facts(f"---\n{line}\n---\n").license == value


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\n\n", " \n"])
def test_line_endings_and_blank_lines_before_are_no_obstacle(ending: str, before: str) -> None:
    assert _facts(before + ending.join(["---", "license: mit", "---", "body"])).license == "mit"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("\ufeff---\nlicense: apache-2.0\n---\n", "byte-order mark"),
        ("Some prose.\n---\nlicense: apache-2.0\n---\n", "there is text before"),
        ("---\nlicense: apache-2.0\n", "not closed"),
        ("---\nlicense:\tapache-2.0\n\tx: 1\n---\n", "not valid YAML"),
        ("---\nlicense: apache-2.0\n  bad: : :\n---\n", "not valid YAML"),
        ("---\n- license\n- mit\n---\n", "not a mapping"),
        ("---\nlicense: mit\n---x\n", "not closed"),
        ("---\nlicense: !!python/object/apply:os.system [echo]\n---\n", "not valid YAML"),
        ("---\nlicense: mit\ndate: 2024-13-45\n---\n", "cannot be read"),
        ("---\nx: &a [*a]\nlicense: mit\n---\n", "refers to itself"),
        ("---\nlicense: " + "[" * 200 + "]" * 200 + "\n---\n", "nested deeper"),
        ("---\nlicense: mit\nmore: " + "x" * 2_000_000 + "\n---\n", "characters long"),
    ],
)
def test_what_the_hub_would_not_read_is_no_metadata_and_says_why(text: str, word: str) -> None:
    facts = _facts(text)
    assert facts.license is None
    assert facts.base_models == ()
    assert any(word in note for note in facts.notes), facts.notes


def test_a_billion_laughs_are_refused_without_being_laughed() -> None:
    levels = ["a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]"] + [
        f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    facts = _facts("---\nlicense: mit\n" + "\n".join(levels) + "\n---\n")
    assert facts.license is None
    assert "expands to more than" in facts.notes[0]


def test_a_hidden_license_is_quoted_so_that_a_reader_sees_it() -> None:
    assert "license: cc-by-nc-4.0" in _facts("\ufeff---\nlicense: cc-by-nc-4.0\n---\n").notes[0]


def test_evaluation_tables_of_any_shape_do_not_hide_the_license() -> None:
    assert _facts("---\nlicense: mit\nmodel-index: 3\n---\n").license == "mit"
    table = "model-index:\n" + "".join(f"- name: m{i}\n  results: [{{metric: {i}}}]\n" for i in range(3000))
    assert _facts(f"---\nlicense: mit\n{table}---\n").license == "mit"


@pytest.mark.parametrize(
    ("lines", "bases"),
    [
        ("base_model: a/b", [("a/b", "unknown")]),
        ("base_model: [a/b]", [("a/b", "unknown")]),
        ("base_model: [a/b, c/d]", [("a/b", "merge"), ("c/d", "merge")]),
        ("base_model: [a/b, a/b, a/b]", [("a/b", "unknown")]),
        ("base_model: a/b\nbase_model_relation: quantized", [("a/b", "quantized")]),
        ("base_model: a/b\nbase_model_relation: Adapter", [("a/b", "adapter")]),
        ("base_model: https://huggingface.co/a/b", [("a/b", "unknown")]),
        ("base_model: https://huggingface.co/a/b/tree/main?x=1", [("a/b", "unknown")]),
        ("base_model: {name: a/b}", [("a/b", "unknown")]),
        ("base_model: [{model: a/b}, {id: c/d}]", [("a/b", "merge"), ("c/d", "merge")]),
        ("base_model: ./checkpoints/last", [("./checkpoints/last", "unknown")]),
        ("base_model: gpt2", [("gpt2", "unknown")]),
        ("base_model: ''", []),
        ("base_model: no", []),
        ("base_model:", []),
    ],
)
def test_parents_are_found_in_every_form(lines: str, bases: list[tuple[str, str]]) -> None:
    facts = _facts(f"---\n{lines}\n---\n")
    assert [(base.id, base.relation) for base in facts.base_models] == bases


def test_a_parent_or_name_that_cannot_be_read_is_said() -> None:
    facts = _facts("---\nbase_model: 7\nlicense_name: [a]\ntags: {a: b}\nbase_model_relation: cousin\n---\n")
    assert facts.license_name is None
    assert {(each.field, each.value, each.source) for each in facts.unreadable} == {
        ("base_model", "7", "README.md"),
        ("license_name", "['a']", "README.md"),
        ("base_model_relation", "'cousin'", "README.md"),
    }
    assert len(facts.notes) == 1


@pytest.mark.parametrize(
    ("data", "text", "noted"),
    [
        ("é".encode(), "é", False),
        ("é".encode("latin-1"), "é", True),
        ("\ufeffx".encode("utf-16-le"), "\ufeffx", True),
        (b"\xff\xfe\x00", "\ufffd", True),
        (b"\xef\xbb\xbfx", "\ufeffx", False),
    ],
)
def test_any_bytes_become_text(data: bytes, text: str, noted: bool) -> None:
    decoded, notes = card.decode(data)
    assert decoded.lstrip("\ufeff") == text.lstrip("\ufeff")
    assert bool(notes) == noted


@pytest.mark.parametrize(
    "lines",
    ["license: mit\na: \ud800", "license: mit\na: !!timestamp q", "license: mit\na: 0x1" + "0" * 5000, "license: .nan",
     "license: mit\n0x1" + "0" * 5000 + ": a",
     "license: mit\n<<: {a: !!timestamp x}", "license: !!set {a, b}", "license: !!omap [a: 1]", "license: 1e999"],
)  # fmt: skip
def test_what_a_fuzzer_found(lines: str) -> None:
    """Each once raised: lone surrogates, constructors that trip over themselves, numbers that cannot be printed."""
    facts = _facts(f"---\n{lines}\n---\n")
    json.dumps([facts.license, dict(card.read(f"---\n{lines}\n---\n").metadata)], allow_nan=False)
    assert facts.license != "mit" or not facts.notes


_YAMLISH = st.text(alphabet="-:[]{}&*!|>'\"#%@`, \t\nabl icense:mit0.9~=?\\\r\ufeff", max_size=200)


@settings(max_examples=400, deadline=None)
@example("license: mit\n<<: *x")
@example("? [a]\n: b")
@example("%YAML 9.9\n---\na: b")
@given(_YAMLISH)
def test_no_front_matter_makes_the_reader_raise(inside: str) -> None:
    for text in (inside, f"---\n{inside}\n---\nbody", f"---\nlicense: mit\n{inside}\n---\nbody"):
        facts = _facts(text)
        assert isinstance(facts.base_models, tuple)
        if facts.license is None and "license" in text and text.startswith("---\nlicense: mit\n"):
            assert facts.notes or card.read(text).metadata, text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    text, _ = card.decode(data)
    card.facts(card.read("---\n" + text + "\n---\n"))
    card.facts(card.read(text))


@pytest.mark.parametrize(
    "text", ["\n" * 500_000, "---\n" + "\n" * 500_000, "---\n" + "\n---" * 100_000, "---\n" + "- " * 200_000]
)
def test_long_runs_of_one_thing_are_read_in_linear_time(text: str) -> None:
    """Quadratic reading would take hours here: the test ends, or it does not."""
    assert card.facts(card.read(text)).license is None
