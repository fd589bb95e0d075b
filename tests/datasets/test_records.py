"""Readers of data files: every form and compression reads the same, and what is broken is named by its line."""

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.datasets import read
from modelpick.datasets.examples import Problem
from modelpick.errors import UsageError

ROWS = [{"instruction": f"What is {n} and more?", "output": f'It is {n},\n"surely".', "id": f"r{n}"} for n in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
RECORD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["messages", "role", "content", "prompt", "completion", "text", "label", "instruction", "input",
                         "output", "source", "conversations", "from", "value", "user", "system"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def found(file: Path) -> list[tuple[int, str]]:
    return [(problem.line, problem.code) for problem in read.read(file).problems]


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.jsonl.gz", "a.jsonl.bz2", "a.jsonl.xz", "a.jsonl.zst"])
def test_compressed_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith(".zst"):
        pyarrow = pytest.importorskip("pyarrow", reason="the extra data is absent")
        with pyarrow.output_stream(str(file), compression="zstd") as stream:
            stream.write(LINES)
    else:
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}.get(file.suffix, bytes)
        file.write_bytes(pack(LINES))
    assert [record for _, record in read.records(file)] == ROWS
    file.write_bytes(file.read_bytes()[: len(file.read_bytes()) // 2])
    assert any(isinstance(record, Problem) for _, record in read.records(file))


@settings(deadline=None, max_examples=200)
@given(st.lists(RECORD, max_size=6))
def test_any_records_become_examples_or_problems(tmp_path_factory: pytest.TempPathFactory, made: list[Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in made), encoding="utf-8")
    for labelled in (True, False):
        try:
            data = read.read(file, labelled=labelled)
        except UsageError as error:
            if error.code != "empty_data":
                raise
            continue
        lines = {one.line for one in data.examples} | {one.line for one in data.problems if one.line}
        assert lines == set(range(1, len(made) + 1))  # nothing is lost


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damage_anywhere_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A byte changed, a piece cut out or put in: no exception, whatever the form."""
    name, whole = data.draw(st.sampled_from(sorted(files().items())))
    at = data.draw(st.integers(0, len(whole)))
    gone = data.draw(st.integers(0, 40))
    put = data.draw(st.binary(max_size=4) | st.sampled_from([b"\0", b"\xff", b'"', b"\r\n", b"\xef\xbb\xbf", b"[[["]))
    file = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    file.write_bytes(whole[:at] + put + whole[at + gone :])
    try:
        read.read(file)
    except UsageError as error:
        if error.code != "empty_data":
            raise


def files() -> dict[str, bytes]:
    import csv

    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(ROWS)
    made = {"a.jsonl": LINES, "a.json": json.dumps(ROWS).encode(), "a.csv": table.getvalue().encode()}
    made["a.jsonl.gz"] = gzip.compress(LINES)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return made
    nested = [
        {"messages": [{"role": "user", "content": r["instruction"]}, {"role": "assistant", "content": "yes"}]}
        for r in ROWS
    ]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(nested), sink)
    return {**made, "a.parquet": sink.getvalue()}


@pytest.mark.parametrize(
    ("damage", "line", "code"),
    [
        (b'{"instruction": "a", "instruction": "b", "output": "c"}\n', 13, "duplicate_key"),
        (b'{"instruction": "a", "instruction" : "b", "output": "c"}\n', 13, "duplicate_key"),
        (b"\0" * 400 + b"\n", 13, "broken_json"),
        (b'{"instruction": "\xff", "output": "c"}\n', 13, "not_utf8"),
        (b"\n\n" + b"{\n", 15, "broken_json"),
        (b'{"instruction": "a", "output": NaN}\n', 13, "not_text"),
        (b'{"text": "a b c"}\n', 13, "mixed_forms"),
        (b"[" * 100_000 + b"\n", 13, "broken_json"),
        (b'{"instruction": "a", "output": "' + b"x" * (17 << 20) + b'"}\n', 13, "too_large"),
    ],
)  # fmt: skip
def test_one_bad_line_is_named_and_the_rest_is_read(tmp_path: Path, damage: bytes, line: int, code: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + LINES + damage + b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"))
    assert found(file) == [(line, code)]
    assert len(read.read(file).examples) == 24


def test_the_odd_one_out_is_the_one_that_is_named(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b'{"prompt": "a", "completion": "b"}\n' + LINES)
    assert found(file) == [(1, "mixed_forms")]


def test_rows_of_a_csv_are_named_by_where_they_begin(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('instruction,output\n"two\nlines",b\nc,d,e\n"f\n', encoding="utf-8")
    assert found(file) == [(4, "ragged_row"), (5, "broken_csv")]


def test_tables_with_gaps_lists_and_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra data is absent")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is absent")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    file = tmp_path / "gaps.parquet"
    rows = [{"conversations": turns, "messages": None, "n": 1}, {"conversations": turns, "messages": None, "n": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert [one.answer for one in read.read(file).examples] == ["b", "b"]
    ends = pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0")
    broken = pyarrow.Array.from_buffers(pyarrow.string(), 3, [None, ends, pyarrow.py_buffer(b"a\xffb")])
    parquet.write_table(pyarrow.table({"text": broken}), file)
    assert found(file) == [(2, "broken_parquet")]
    assert len(read.read(file).examples) == 2


def test_lines_are_copied_with_all_they_hold(tmp_path: Path) -> None:
    file, target = tmp_path / "data.jsonl", tmp_path / "some.jsonl"
    file.write_bytes(LINES)
    read.copy_lines(file, {2, 5}, target)
    assert [json.loads(line) for line in target.read_text().splitlines()] == [ROWS[1], ROWS[4]]
    with pytest.raises(UsageError) as caught:
        read.copy_lines(file, {2}, tmp_path / "absent" / "some.jsonl")
    assert caught.value.code == "cannot_write"


def test_a_folder_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    with pytest.raises(UsageError) as caught:
        read.read(tmp_path)
    assert "a.jsonl" in caught.value.fix
