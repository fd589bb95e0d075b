"""`modelpick plan`: writes a file, spends nothing, refuses what cannot end well."""

import json
import re
from pathlib import Path

import pytest

from modelpick.planning.plan_file import load
from tests.cli.conftest import Run

_DATA = "\n".join(json.dumps({"prompt": f"What is {n}?", "completion": "A number. " * 20}) for n in range(200))


def test_the_plan_file_can_be_loaded_and_is_the_same_every_time(modelpick: Run) -> None:
    words = ("plan", "Qwen/Qwen3-8B", "--method", "qlora", "--offline", "--json")
    first = modelpick(*words)
    assert first.code == 0
    path = Path(first.json["file"])
    before = path.read_bytes()
    assert load(before.decode()).id == first.json["id"]
    assert modelpick(*words).code == 0
    assert path.read_bytes() == before


def test_the_screen_shows_price_limit_switches_and_what_was_not_checked(modelpick: Run) -> None:
    Path("train.jsonl").write_text(_DATA)
    answer = modelpick("plan", "Qwen/Qwen3-8B", "--data", "train.jsonl", "--offline")
    assert answer.code == 0
    for words in ("200 rows", "limit    $", "stopped by", "not checked yet", "nothing was bought", "scheduled action"):
        assert words in answer.out
    assert all(len(line) <= 80 for line in answer.out.splitlines() if not line.startswith(("next", "nothing")))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["huggyllama/llama-7b"], 1, "denied"),
        (["Qwen/Qwen3-8B", "--max-usd", "0.01"], 1, "--max-usd"),
        (["Qwen/Qwen3-8B", "--max-usd", "0"], 2, "above zero"),
        (["Qwen/Qwen3-8B", "--max-usd", "nan"], 2, "above zero"),
        (["Qwen/Qwen3-8B", "--max-hours", "-1"], 2, "above zero"),
        (["Qwen/Qwen3-8B", "--data", "absent.jsonl"], 2, "absent.jsonl"),
        (["Qwen/Qwen3-8B", "--data", "empty.jsonl"], 2, "empty"),
        (["Qwen/Qwen3-8B", "--data", "binary.jsonl"], 2, "binary.jsonl"),
        (["Qwen/Qwen3-8B", "--output", "mine.txt"], 2, "not a plan"),
        (["Qwen/Qwen3-8B", "--output", "no/such/folder.json"], 2, "cannot be written"),
        (["Qwen/Qwen3-8B", "--region", "mars-1"], 2, "region"),
        (["nobody/nothing"], 4, "catalog"),
    ],
)
def test_what_cannot_end_well_is_refused_with_the_way_out(
    modelpick: Run, words: list[str], code: int, said: str
) -> None:
    Path("empty.jsonl").write_text("")
    Path("binary.jsonl").write_bytes(bytes(range(256)) * 10)
    Path("mine.txt").write_text("my notes")
    answer = modelpick("plan", *words, "--offline")
    assert answer.code == code, answer
    assert said in answer.err
    assert Path("mine.txt").read_text() == "my notes"
    assert not list(Path().glob("modelpick-*.json"))


def test_up_takes_every_option_that_decides_a_plan(modelpick: Run) -> None:
    """Besides them `plan` has where its file goes, and how a server is to answer: it says how many that takes."""
    offered = {name: set(re.findall(r"--[a-z][a-z-]+", modelpick(name, "--help").out)) for name in ("plan", "up")}
    said_alone = {  # one server is started
        "--max-first-token", "--max-first-token-s", "--min-tokens-per-second", "--requests-per-second"
    }  # fmt: skip
    always = {"--live"}  # up asks AWS for today's prices anyway
    assert offered["plan"] - offered["up"] == {"--output", *always, *said_alone}
    assert {"--epochs", "--context", "--batch", "--generate", "--gpus", "--stack", "--dtype"} <= offered["up"]


@pytest.mark.parametrize("words", [("--context", "512"), ("--epochs", "1"), ("--serve",), ("--region", "eu-west-1")])
def test_up_refuses_what_its_plan_has_settled(modelpick: Run, words: tuple[str, ...]) -> None:
    made = modelpick("plan", "Qwen/Qwen3-8B", "--method", "qlora", "--offline", "--json")
    answer = modelpick("up", made.json["file"], *words)
    assert answer.code == 2
    assert f"{words[0]} is fixed" in answer.err


def test_what_has_a_meaning_for_serving_alone_is_refused_where_nothing_is_served(modelpick: Run) -> None:
    assert modelpick("plan", "Qwen/Qwen3-8B", "--generate", "64", "--serve", "--offline").code == 0
    answer = modelpick("plan", "Qwen/Qwen3-8B", "--generate", "64", "--offline")
    assert answer.code == 2
    assert "generate" in answer.err


def test_a_server_s_time_is_its_limit_and_its_cost_at_most(modelpick: Run) -> None:
    answer = modelpick(
        "plan", "Qwen/Qwen3-8B", "--serve", "--method", "bf16", "--batch", "1", "--max-hours", "2", "--offline"
    )
    assert "time     serves until the limit (--max-hours)\n" in answer.out
    assert "cost     at most $1.65, at $0.822/h with disk and address\n" in answer.out
    Path("train.jsonl").write_text(_DATA)
    answer = modelpick("plan", "Qwen/Qwen3-8B", "--data", "train.jsonl", "--serve", "--max-hours", "2", "--offline")
    assert re.search(
        r"time     fine-tuning \d+ min \(\d+ min to [\d.]+ (min|h)\), then it serves until the limit\n", answer.out
    )
    assert all(len(line) <= 80 for line in answer.out.splitlines() if not line.startswith(("next", "nothing")))


def test_a_plan_says_how_many_servers_a_load_takes(modelpick: Run) -> None:
    """By the same options as cost, which answers the same for the instance; and only where something is served."""
    asked = ("--max-first-token-s", "20", "--requests-per-second", "2", "--offline")
    work = ("--generate", "256", "--context", "1024", "--batch", "4")
    words = ("Qwen/Qwen3-8B", *asked, *work, "--instance", "g6e.xlarge")
    plan = modelpick("plan", *words, "--serve", "--json").json
    (said,) = [text for text in plan["assumptions"] if text.startswith("load of 2 requests a second")]
    (row,) = modelpick("cost", *words, "--json").json["rows"]
    assert f": {row['load']['servers']} needed; this plan starts one server" in said
    shown = " ".join(modelpick("plan", *words, "--serve").out.split())
    assert said in shown
    refused = modelpick("plan", "Qwen/Qwen3-8B", *asked)
    assert (refused.code, "does not apply to task finetune" in refused.err) == (2, True)
