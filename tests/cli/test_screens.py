"""Screens: colour only on a terminal, NO_COLOR honoured, one line a model at 80 columns, nothing cut in a pipe."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def _on_a_terminal(repository: Path, *words: str, **environment: str) -> str:
    """What the program prints when stdout is a terminal of 80 columns."""
    master, slave = pty.openpty()
    variables = {**os.environ, "PYTHONPATH": str(repository), "COLUMNS": "80", "TERM": "xterm-256color", **environment}
    process = subprocess.Popen([sys.executable, "-m", "modelpick", *words], stdout=slave, env=variables)
    os.close(slave)
    chunks = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # the other end is closed: Linux says EIO
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    assert process.wait() == 0
    return b"".join(chunks).decode()


def test_colour_on_a_terminal_only(repository: Path, modelpick: Run) -> None:
    assert "\x1b[" in _on_a_terminal(repository, "license", "tiiuae/falcon-7b", "--offline")
    assert "\x1b[" not in modelpick("license", "tiiuae/falcon-7b", "--offline").out


def test_no_color_is_honoured(repository: Path) -> None:
    plain = _on_a_terminal(repository, "license", "tiiuae/falcon-7b", "--offline", NO_COLOR="1")
    assert not any(f"\x1b[{code}m" in plain for code in ("31", "32", "33", "1;32"))
    assert "allow" in plain


def test_one_line_a_model_at_80_columns(modelpick: Run) -> None:
    lines = modelpick("recommend", "--commercial").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    head = next(index for index, line in enumerate(lines) if line.startswith("model "))
    assert lines[head].split() == ["model", "score", "license", "set-up", "instance", "$/h"]
    for line in lines[head + 1 : head + 21]:
        assert line[:2] in ("* ", "  ")
        assert line.split()[-1].replace(".", "").isdigit()


def test_each_row_says_more_where_there_is_room(modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    lines = modelpick("recommend", "--commercial", "--limit", "3").out.splitlines()
    assert all(len(line) <= 110 for line in lines)
    head = next(line for line in lines if line.startswith("model "))
    assert all(title in head for title in ("tok/s", "$/month", "$/M out", "8-bit g5", "LoRA g5"))


def test_a_pipe_gets_whole_ids(modelpick: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    body = modelpick("recommend", "--json").json
    out = modelpick("recommend").out
    for row in body["recommendations"]:
        assert row["model"] in out


def test_obligations_stand_below_the_table(modelpick: Run) -> None:
    out = modelpick("recommend", "--all").out
    assert "[1] on conditions: " in out
    assert "license_deny" not in out
    assert "huggyllama/llama-7b: LLaMA (v1) License forbids commercial use" in out


def test_why_not_answers_for_the_absent_and_the_present(modelpick: Run) -> None:
    absent = modelpick("recommend", "--why-not", "huggyllama/llama-7b")
    assert absent.code == 1
    assert "forbids commercial use" in absent.out
    first = modelpick("recommend", "--json", "--limit", "1").json["recommendations"][0]["model"]
    present = modelpick("recommend", "--why-not", first)
    assert (present.code, "number 1 of" in present.out) == (0, True)
    assert modelpick("recommend", "--why-not", "nobody/nothing").code == 2


def test_nothing_passes_is_a_no_with_the_counts(modelpick: Run) -> None:
    answer = modelpick("recommend", "--max-usd-per-hour", "0.0001")
    assert answer.code == 1
    assert "No model passes" in answer.out
    assert "raise --max-usd-per-hour to" in " ".join(answer.out.split())
    assert "too expensive" in answer.out


def test_explain_names_a_formula_for_every_part(modelpick: Run) -> None:
    out = modelpick("estimate", "Qwen/Qwen3-8B", "--method", "qlora", "--explain", "--offline").out
    for part in ("weights", "activations", "gradients", "optimizer", "adapter", "runtime"):
        assert part in out
    assert "rank *" in out


def test_fit_asks_the_other_way_round(modelpick: Run) -> None:
    answer = modelpick("estimate", "Qwen/Qwen3-8B", "--method", "qlora", "--fit", "g5.xlarge", "--offline")
    assert answer.code == 0
    for word in ("longest context", "largest batch", "largest rank", "methods that fit"):
        assert word in answer.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_knows_the_commands(repository: Path, shell: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(repository),
        "_MODELPICK_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "modelpick rec",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "modelpick rec",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    run = subprocess.run(
        [sys.executable, "-m", "modelpick"], env=environment, capture_output=True, text=True, check=False
    )
    assert "recommend" in run.stdout


def test_a_page_is_written_beside_the_answer(modelpick: Run, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    answer = modelpick("recommend", "--commercial", "--limit", "3", "--json", "--html", str(file))
    assert answer.code == 0
    assert answer.json["recommendations"][0]["model"] in file.read_text(encoding="utf-8")
    refused = modelpick("recommend", "--commercial", "--html", str(tmp_path / "no" / "page.html"))
    assert refused.code == 2
    assert "cannot be written" in refused.err


def test_each_reason_and_duty_names_its_clause_and_the_license_where_it_was_read(modelpick: Run) -> None:
    asked = ("license", "google/gemma-3-4b-it", "--offline")
    said = modelpick(*asked, "--json").json["results"][0]
    lines = [line.strip() for line in modelpick(*asked).out.splitlines()]
    assert all(len(line) <= 80 for line in lines)
    for each in (*said["reasons"], *said["obligations"]):
        clause = each["clause"]
        if clause is not None:
            assert any(line.startswith(f'gemma {clause["section"]}: "{clause["words"][:20]}') for line in lines), each
    assert "https://ai.google.dev/gemma/terms, read 2026-11-29" in lines


def test_a_screen_names_ones_own_card_once_and_says_none_once(modelpick: Run) -> None:
    words = ("recommend", "--for", "chat", "--gpu", "RTX 4090", "--concurrency", "1", "--offline", "--limit", "3")
    shown = " ".join(modelpick(*words).out.split())
    assert "GeForce RTX 4090 (GeForce RTX 4090)" not in shown
    assert "LoRA over 8 bits: none (" in shown


def test_an_empty_answer_still_says_what_to_run_next(modelpick: Run) -> None:
    answer = modelpick("recommend", "--for", "chat", "--max-usd-per-hour", "0.01", "--offline")
    assert answer.code == 1
    assert "\nnext: modelpick recommend --why-not " in answer.out
