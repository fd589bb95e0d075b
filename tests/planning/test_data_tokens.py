"""Counting a data file: one pass, constant memory, and a word on what cannot be read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.planning.data_tokens import BYTES_PER_TOKEN, TEMPLATE_TOKENS, counter_at_hand, measure


def _jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_are_counted_by_their_texts_and_not_by_their_keys(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "a" * 396}, {"role": "assistant", "content": "b" * 3}]}
    found = measure(_jsonl(tmp_path / "train.jsonl", [chat, {"prompt": "", "answer": "c" * 399}, chat]), context=4096)
    assert found.rows == 3
    assert found.count.likely == pytest.approx(3 * (400 / 4 + TEMPLATE_TOKENS), abs=1)
    assert found.mean_length == pytest.approx(108, abs=1)
    assert not found.counted
    assert any("estimated" in one for one in found.assumptions)


def test_rows_longer_than_the_context_are_cut(tmp_path: Path) -> None:
    found = measure(_jsonl(tmp_path / "train.jsonl", [{"text": "x" * 100_000}, {"text": "short"}]), context=512)
    assert found.truncated_rows == 1
    assert found.count.likely < 512 + 20
    assert any("cut" in one for one in found.assumptions)


def test_plain_text_is_estimated_from_bytes_whatever_the_chunks_split(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text("é€😀 text " * 300_000, encoding="utf-8")
    found = measure(path, context=1024)
    assert found.rows is None
    assert found.count.likely == pytest.approx(path.stat().st_size / BYTES_PER_TOKEN.likely, rel=1e-5)


def test_a_tokenizer_counts_exactly(tmp_path: Path) -> None:
    found = measure(
        _jsonl(tmp_path / "t.jsonl", [{"text": "one two three"}]), 100, counter=lambda text: len(text.split())
    )
    assert found.count.low == found.count.high == 3 + TEMPLATE_TOKENS
    assert found.counted
    assert found.assumptions == []


def test_a_tokenizer_that_is_not_here_is_not_needed(tmp_path: Path) -> None:
    assert counter_at_hand(None) is None
    assert counter_at_hand(tmp_path / "tokenizer.json") is None


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.jsonl", b"", "empty_data"),
        ("blank.jsonl", b"\n\n \n", "empty_data"),
        ("blank.txt", b" \n\t\n", "empty_data"),
        ("binary.jsonl", b"\x00\x01\x02", "binary_data"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00", "binary_data"),
        ("latin.txt", "caf\xe9 ".encode("latin-1"), "binary_data"),
        ("latin.jsonl", b'{"text": "caf\xe9"}\n', "binary_data"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": \n', "bad_row"),
        ("deep.jsonl", b"[" * 100_000 + b"\n", "bad_row"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_word(tmp_path: Path, name: str, content: bytes, code: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        measure(path, context=512)
    assert caught.value.code == code
    assert name in caught.value.message


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError) as caught:
            measure(path, context=512)
        assert caught.value.code == "no_data_file"


def test_progress_ends_at_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "big.txt"
    path.write_bytes(b"word " * 700_000)
    seen: list[tuple[int, int]] = []
    measure(path, 512, progress=lambda done, size: seen.append((done, size)))
    assert len(seen) > 2
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (3_500_000, 3_500_000)


@pytest.mark.skipif(sys.platform != "linux", reason="address space can be limited on Linux only")
@pytest.mark.parametrize("suffix", ["jsonl", "txt"])
def test_a_file_larger_than_the_memory_allowed_is_read(tmp_path: Path, suffix: str) -> None:
    """150 MB of rows where the whole process may have 220 MB."""
    path = tmp_path / f"large.{suffix}"
    row = json.dumps({"text": "lorem ipsum " * 80}).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(150):
            file.write(row * 1000)
    program = (
        "import pathlib, modelpick.planning.data_tokens as tokens;"
        f"print(tokens.measure(pathlib.Path({str(path)!r}), 512).bytes)"
    )

    def limited() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (220 << 20, 220 << 20))

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, preexec_fn=limited, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == path.stat().st_size
