"""The JSON that other programs rely on: names, units, order, exit codes."""

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from modelpick.cli.main import COMMANDS
from tests.cli.conftest import Run

PARTS = {"weights", "kv_cache", "activations", "gradients", "optimizer", "adapter", "runtime"}


@pytest.mark.parametrize(
    "words",
    [
        ["recommend", "--limit", "2"],
        ["license", "tiiuae/falcon-7b", "--offline"],
        ["estimate", "tiiuae/falcon-7b", "--offline"],
        ["offers"],
        ["catalog", "info"],
        ["catalog", "show", "tiiuae/falcon-7b"],
        ["catalog", "show", "falcon"],
        ["policy", "list"],
        ["policy", "show"],
        ["doctor"],
    ],
)
def test_every_answer_is_one_object_with_a_schema_version(modelpick: Run, words: list[str]) -> None:
    answer = modelpick(*words, "--json")
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out.count("\n") == 1
    body = answer.json
    assert body["schema_version"] == 1
    assert isinstance(body["assumptions"], list)
    assert isinstance(body["sources"], list)
    assert all(key == key.lower() and " " not in key for key in body)


def test_recommend(modelpick: Run) -> None:
    body = modelpick("recommend", "--commercial", "--limit", "3", "--json").json
    assert set(body["catalog"]) >= {"source", "as_of", "models"}
    assert body["policy"]["name"] == "commercial"
    assert len(body["policy"]["sha256"]) == 64
    assert body["workload"]["method"] == "auto"
    assert body["region"] == "us-east-1"
    assert [row["rank"] for row in body["recommendations"]] == [1, 2, 3]
    for row in body["recommendations"]:
        assert set(row["license"]) == {"verdict", "basis", "ids", "obligations"}
        assert set(row["memory"]) == {"total_gib", "low_gib", "high_gib", "parts_gib"}
        assert set(row["memory"]["parts_gib"]) == PARTS
        assert sum(row["memory"]["parts_gib"].values()) == pytest.approx(row["memory"]["total_gib"])
        assert set(row["offer"]) >= {
            *("instance_type", "gpu", "gpu_count", "usd_per_hour", "market", "region", "source", "as_of"),
        }
        assert set(row["quality"]) == {"score", "low", "high", "status", "use", "sources", "as_of"}
        assert set(row["setup"]) >= {"engine", "method", "repository", "gpus", "sharding"}
        assert set(row["speed"]) == {"tokens_per_s", "per_request", "first_token_s"}
        assert set(row["cost"]) >= {"usd_per_month", "usd_per_mtok_in", "usd_per_mtok_out"}
        for usual in (row["eight_bit"], row["finetune"]):
            assert set(usual) == {"method", "memory", "offer", "cost", "setup", "reason", "g5"}
            assert set(usual["g5"]) == {"memory", "offer", "cost", "setup", "reason"}
    assert len(body["recommendations"]) + len(body["rejected"]) < body["catalog"]["models"]
    assert body["passed"] + len(body["rejected"]) == body["catalog"]["models"]
    assert all(set(left) >= {"model", "reason_code", "reason", "cause"} for left in body["rejected"])


def test_license_of_several_models_keeps_their_order_and_the_most_severe_code(modelpick: Run) -> None:
    asked = ["tiiuae/falcon-7b", "nobody/nothing", "huggyllama/LLAMA-7b", "mosaicml/mpt-7b-storywriter"]
    answer = modelpick("license", *asked, "--offline", "--json")
    assert answer.code == 4
    results = answer.json["results"]
    assert [result["asked"] for result in results] == asked
    assert results[2]["model"] == "huggyllama/llama-7b"
    assert [result.get("verdict") for result in results] == ["allow", None, "deny", "review"]
    assert set(results[1]["error"]) == {"code", "message", "fix"}
    for result in (results[0], results[2], results[3]):
        assert set(result) >= {"model", "revision", "verdict", "licenses", "reasons", "obligations", "lineage"}
        assert all(set(one) == {"id", "spdx", "from", "evidence"} for one in result["licenses"])
        assert all(set(one) >= {"code", "text", "evidence"} for one in result["reasons"])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (["tiiuae/falcon-7b"], 0),
        (["meta-llama/Llama-3.1-8B-Instruct"], 0),
        (["huggyllama/llama-7b"], 1),
        (["mosaicml/mpt-7b-storywriter"], 3),
        (["nobody/nothing"], 4),
        (["../etc/passwd"], 2),
        (["mosaicml/mpt-7b-storywriter", "huggyllama/llama-7b"], 1),
        (["no good id", "huggyllama/llama-7b"], 2),
        (["tiiuae/falcon-7b", "mosaicml/mpt-7b-storywriter"], 3),
    ],
)
def test_license_exit_codes(modelpick: Run, asked: list[str], code: int) -> None:
    assert modelpick("license", *asked, "--offline").code == code


def test_estimate(modelpick: Run) -> None:
    body = modelpick("estimate", "tiiuae/falcon-7b", "--offline", "--json").json
    assert set(body["parts_gib"]) == PARTS
    assert sum(body["parts_gib"].values()) == pytest.approx(body["total_gib"])
    assert body["low_gib"] <= body["total_gib"] <= body["high_gib"]
    assert body["kv_bytes_per_token"] == 2 * 32 * 1 * 64 * 2  # one KV head of 64, 32 layers, bf16
    listed = {one["instance_type"]: one for one in body["fits"]}
    assert listed["g5.xlarge"]["fits"] is True
    assert (body["workload"]["method"], body["workload"]["stack"]) == ("bf16", "vllm")  # as `serve` would start it
    assert listed["g5.xlarge"]["free_gib"] == pytest.approx(0.9 * 22.35 - body["high_gib"], abs=0.005)
    assert listed["g4dn.xlarge"]["fits"] is False  # a T4 has no bf16
    assert not any(name.startswith(("dl1", "inf", "trn", "g4ad", "vt1")) for name in listed)


def test_measure_allocated_has_no_runtime_and_fit_is_still_device_level(modelpick: Run) -> None:
    device = modelpick("estimate", "tiiuae/falcon-7b", "--offline", "--json").json
    allocated = modelpick("estimate", "tiiuae/falcon-7b", "--offline", "--measure", "allocated", "--json").json
    assert allocated["parts_gib"]["runtime"] == 0
    assert allocated["total_gib"] < device["total_gib"]
    assert allocated["fits"] == device["fits"]


def test_an_estimate_for_one_instance_answers_by_exit_code(modelpick: Run) -> None:
    words = ("estimate", "huggyllama/llama-7b", "--offline", "--instance", "g5.xlarge", "--method")
    assert modelpick(*words, "lora-int8").code == 0
    assert modelpick(*words, "full").code == 1


def test_an_unknown_architecture_cannot_be_told(modelpick: Run, tmp_path: Path) -> None:
    config = {"model_type": "brand-new", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 32000, "intermediate_size": 11008}))
    answer = modelpick("estimate", str(tmp_path), "--json")
    assert answer.code == 3
    assert "brand-new" in answer.error["message"]


def _folder(path: Path, card: str, config: Any = None) -> str:
    path.mkdir(parents=True, exist_ok=True)
    (path / "README.md").write_text(card)
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    shape |= {"model_type": "qwen2", "vocab_size": 1000, "intermediate_size": 128}
    (path / "config.json").write_text(json.dumps(config if config is not None else shape))
    return str(path)


@pytest.mark.parametrize(
    ("card", "verdict"),
    [
        ("---\nlicense: mit\n---\n", "allow"),
        ("---\nlicense: apache-2.0 OR cc-by-nc-4.0\n---\n", "allow"),
        ("---\nlicense: apache-2.0 AND cc-by-nc-4.0\n---\n", "deny"),
        ("---\nlicense: no\n---\n", "review"),
        ("---\nlicense:\n---\n", "review"),
        ("---\nlicense: [mit, cc-by-nc-4.0]\n---\n", "deny"),
        ("---\nlicense: other\nlicense_name: my-own\n---\n", "review"),
        ("# nothing said\n", "review"),
        ("\ufeff---\nlicense: mit\n---\n", "review"),
    ],
)
def test_a_local_folder_is_judged_by_its_card(modelpick: Run, tmp_path: Path, card: str, verdict: str) -> None:
    body = modelpick("license", _folder(tmp_path / "m", card), "--json").json
    assert body["results"][0]["verdict"] == verdict


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("config.json", "{broken", 2),
        ("config.json", "[]", 2),
        ("config.json", '{"model_type": "llama", "hidden_size": 1e400}', 3),
        ("config.json", '{"model_type": "llama", "hidden_size": -4096, "num_hidden_layers": 32}', 3),
        ("config.json", '{"model_type": "llama", "hidden_size": "wide"}', 3),
    ],
)
def test_a_folder_with_a_bad_config_is_an_error_of_its_kind(
    modelpick: Run, tmp_path: Path, name: str, content: str, code: int
) -> None:
    folder = _folder(tmp_path / "m", "---\nlicense: mit\n---\n")
    (Path(folder) / name).write_text(content)
    assert modelpick("estimate", folder).code == code


def test_a_folder_without_config_can_be_judged_but_not_estimated(modelpick: Run, tmp_path: Path) -> None:
    folder = _folder(tmp_path / "m", "---\nlicense: mit\n---\n")
    (Path(folder) / "config.json").unlink()
    assert modelpick("license", folder).code == 0
    assert modelpick("estimate", folder).code == 3
    assert modelpick("license", str(tmp_path / "absent")).code == 2 or modelpick("license", "./absent").code == 2


def test_cases_answer_line_by_line_in_order(modelpick: Run, tmp_path: Path) -> None:
    lines = [
        {"model": "huggyllama/llama-7b", "method": "lora-int8", "lora_rank": 8},
        {"model": "nobody/nothing"},
        "not json",
        {"model": "tiiuae/falcon-7b", "contxt": 1},
        {"model": "Qwen/Qwen3-8B", "method": "nf4", "measure": "allocated"},
    ]
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    answer = modelpick("estimate", "--cases", str(file), "--offline", "--json")
    assert answer.code == 4  # an unknown model outranks a bad line
    results = answer.json["results"]
    assert [result["model"] for result in results] == ["huggyllama/llama-7b", None, None, None, "Qwen/Qwen3-8B"]
    assert [set(result.get("error", ())) for result in results[1:4]] == [{"code", "message", "fix"}] * 3
    assert results[0]["workload"]["lora_rank"] == 8
    assert results[4]["parts_gib"]["runtime"] == 0
    file.write_text("not json\n")
    assert modelpick("estimate", "--cases", str(file), "--offline").code == 2
    assert modelpick("estimate", "--cases", str(tmp_path / "absent")).code == 2
    assert modelpick("estimate", "--cases", str(file), "tiiuae/falcon-7b").code == 2


def test_no_command_takes_one_policy_where_two_are_named(modelpick: Run) -> None:
    both = []
    for name in COMMANDS:
        function = getattr(import_module(f"modelpick.cli.commands.{name}"), name, None)
        if function is not None and {"commercial", "policy"} <= set(inspect.signature(function).parameters):
            both.append(name)
    assert {"audit", "license", "recommend"} <= set(both)
    for name in both:
        words = [] if name == "recommend" else ["tiiuae/falcon-7b" if name == "license" else "."]
        answer = modelpick(name, *words, "--commercial", "--policy", "research", "--json")
        assert (answer.code, json.loads(answer.err)["error"]["code"]) == (2, "contradiction"), name
