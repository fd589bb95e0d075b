"""Files as companies have them: what Excel, zip programs and the library datasets write is read as it is meant."""

import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from modelpick.datasets import read
from modelpick.datasets.records import LONGEST_LINE, records, sha256_of
from modelpick.errors import UsageError

ROWS = [{"prompt": f"Was kostet Nr. {n}? Müller; x, y é", "completion": f"{n} €\nzweite Zeile"} for n in range(12)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def found(file: Path) -> list[tuple[str, str | None]]:
    data = read.read_for_training(file)
    return [(example.prompt, example.answer) for example in data.examples]


EXPECTED = [(row["prompt"], row["completion"]) for row in ROWS]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("first", ["", "sep=;\r\n", '"sep=;"\r\n'])
def test_what_excel_writes(tmp_path: Path, encoding: str, first: str) -> None:
    cells = "".join(f'"{row["prompt"]}";"{row["completion"]}"\r\n' for row in ROWS)
    file = tmp_path / "sep.csv"
    file.write_bytes(f"{first}Prompt;Completion\r\n{cells}".encode(encoding))
    assert found(file) == EXPECTED
    data = read.read(file)
    assert [problem.code for problem in data.problems] == (["read_as_cp1252"] if encoding == "cp1252" else [])
    assert data.examples[0].line == (3 if first else 2)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_utf16_and_zip(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    text = LINES if name.endswith("l") else json.dumps(ROWS, indent=1)
    file.write_bytes(text.encode("utf-16"))
    assert found(file) == EXPECTED
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"folder/{name}", text)
        archive.writestr("__MACOSX/folder/._a.jsonl", "x")
        archive.writestr("readme.txt", "x")
    assert found(packed) == EXPECTED
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("other.csv", "x")
    with pytest.raises(UsageError, match=r"other\.csv"):
        read.read(packed)
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(UsageError, match="unpacked"):
        read.read(packed)


def features(*names: str) -> dict[str, Any]:
    return {"label": {"names": list(names), "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}


def test_the_names_of_classes_are_learned_not_their_numbers(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is absent")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is absent")
    table = pyarrow.table({"text": [f"text {n}" for n in range(12)], "label": [n % 2 for n in range(12)]})
    noted = {"huggingface": json.dumps({"info": {"features": features("bad", "good")}})}
    file = tmp_path / "a.parquet"
    parquet.write_table(table.replace_schema_metadata(noted), file)
    assert {answer for _, answer in found(file)} == {"bad", "good"}

    folder = tmp_path / "saved"
    folder.mkdir()
    for part in range(2):
        with pyarrow.ipc.new_stream(str(folder / f"data-0000{part}-of-00002.arrow"), table.schema) as stream:
            stream.write_table(table)
    names = [{"filename": f"data-0000{part}-of-00002.arrow"} for part in range(2)]
    (folder / "state.json").write_text(json.dumps({"_data_files": names}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features("bad", "good")}))
    assert {answer for _, answer in found(folder)} == {"bad", "good"}
    assert [line for line, _ in records(folder)] == list(range(1, 25))
    before = sha256_of(folder)
    (folder / "data-00001-of-00002.arrow").write_bytes((folder / "data-00000-of-00002.arrow").read_bytes() + b"x")
    assert sha256_of(folder) != before

    (tmp_path / "dataset_dict.json").write_text('{"splits": ["saved"]}')
    with pytest.raises(UsageError, match="several splits"):
        read.read(tmp_path)


def test_a_table_adds_no_nulls_to_what_tools_are_called_with(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is absent")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is absent")
    asked = {"role": "user", "content": "a"}
    calls = [[{"function": {"name": "f", "arguments": {key: 1}}}] for key in ("n", "m")]
    chats = [{"messages": [asked, {"role": "assistant", "content": "b", "tool_calls": call}]} for call in calls]
    file = tmp_path / "calls.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(chats), file)
    assert [example.calls[0].arguments for example in read.read(file).examples] == ['{"n": 1}', '{"m": 1}']


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_line_without_end_is_named_in_bounded_memory(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    head = {"a.jsonl": '{"text": "', "a.json": '[{"text": "', "a.csv": "text\n"}[name]
    with file.open("wb") as opened:
        opened.write(head.encode())
        for _ in range(7):  # seven times what may be held; a line of 2 GB goes the same way
            opened.write(b"x" * LONGEST_LINE)
        opened.write(b"\n")
    tracemalloc.start()
    problems = read.read(file).problems
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {problem.code for problem in problems} == {"too_large"}
    assert peak < 6 * LONGEST_LINE


@pytest.mark.parametrize("other", ["other.csv", "other.parquet", "other.jsonl.gz", "other.xlsx"])
def test_no_file_of_a_zip_or_a_folder_is_left_out(tmp_path: Path, other: str) -> None:
    """Of two files that may hold examples neither is read in place of both."""
    packed = tmp_path / "a.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.jsonl", LINES)
        archive.writestr(other, "x")
    with pytest.raises(UsageError, match=other):
        read.read(packed)


def test_the_parts_of_one_table_are_read_and_two_tables_are_not(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra data is absent")
    import pyarrow
    import pyarrow.parquet

    for number in (0, 1):
        table = pyarrow.Table.from_pylist(ROWS[6 * number : 6 * number + 6])
        pyarrow.parquet.write_table(table, tmp_path / f"train-0000{number}-of-00002.parquet")
    (tmp_path / "dataset_info.json").write_text("{}", encoding="utf-8")
    assert found(tmp_path) == EXPECTED
    for other in ("test-00000-of-00001.parquet", "more.jsonl"):
        (tmp_path / other).write_text("x", encoding="utf-8")
        with pytest.raises(UsageError, match="several tables") as refused:
            read.read(tmp_path)
        assert other in str(refused.value.fix)
        (tmp_path / other).unlink()


@pytest.mark.parametrize("more", [json.dumps(ROWS), LINES, "}", " \n\ufeff[]"])
def test_nothing_that_follows_a_list_is_left_out(tmp_path: Path, more: str) -> None:
    file = tmp_path / "a.json"
    whole = json.dumps(ROWS) + "\n" + " " * (1 << 17)
    file.write_text(whole, encoding="utf-8")
    assert found(file) == EXPECTED
    file.write_text(whole + more, encoding="utf-8")
    (problem,) = read.read(file).problems
    assert (problem.code, problem.severity) == ("broken_json", "error")


def test_empty_cells_beside_and_below_a_table_are_no_examples(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    cells = "".join(f'"{row["prompt"]}";"{row["completion"]}";;{{}}\n' for row in ROWS)
    header = "prompt;completion;;\n"
    file.write_text(header + cells.replace("{}", "") + ";;;\n;;;\n", encoding="utf-8")
    assert found(file) == EXPECTED
    assert not read.read(file).problems
    file.write_text(header + cells.replace("{}", "x"), encoding="utf-8")
    assert [problem.code for problem in read.read(file).problems] == ["ignored_key"]


def test_columns_named_by_hand(tmp_path: Path) -> None:
    """A line that is no object is a bad line, case is no matter, and a column that is replaced is named."""
    file = tmp_path / "a.jsonl"
    rows = [{"Frage": "one", "Antwort": "two", "prompt": "three"}, 5, None, ["Frage"], "Frage"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = read.read(file, columns={"prompt": "frage", "completion": "Antwort"})
    assert [(example.prompt, example.answer) for example in data.examples] == [("one", "two")]
    assert [problem.code for problem in data.errors] == ["not_an_object"] * 4
    assert data.warnings == ("prompt is not read (line 1)",)
    with pytest.raises(UsageError, match="no column Question"):
        read.read(file, columns={"prompt": "Question"})
