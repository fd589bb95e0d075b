"""Files that are not the dump are refused in a sentence; columns of another type or absent ones are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelpick.errors import UsageError
from modelpick.hub.audit import audit_hub
from modelpick.licensing import load
from tests.hub.dump import row, write

ROWS = [
    row("meta-llama/Llama-3.1-8B", "llama3.1", gated="manual"), row("a/tuned", "mit", "meta-llama/Llama-3.1-8B"),
    row("a/other", "other", card={"license": "other", "license_name": "llama-3-community-license"}),
]  # fmt: skip


def verdicts_of(dump: Path, tmp_path: Path) -> dict[str, int]:
    found = audit_hub(dump, load.load_policy("commercial"), index=tmp_path / "index")
    return {one.verdict: one.models for one in found.tallies}


def refusal(path: Path | str, tmp_path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        audit_hub(Path(path), load.load_policy("commercial"), index=tmp_path / "index")
    assert caught.value.code == "bad_hub_file"
    return caught.value.message


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "models.parquet", ROWS).read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.parquet").write_text("id,tags\n")
    (tmp_path / "empty.parquet").write_bytes(b"")
    for name in ("half", "text", "empty"):
        assert "cannot be read as parquet" in refusal(tmp_path / f"{name}.parquet", tmp_path)
    assert "is a folder" in refusal(tmp_path, tmp_path)
    assert "does not exist" in refusal(tmp_path / "absent.parquet", tmp_path)
    for address in ("https://example.org/models.parquet", "hf://datasets/x/models.parquet", "s3://x/models.parquet"):
        assert "is an address, not a file" in refusal(address, tmp_path)


def test_another_schema_is_refused_by_the_names_of_its_columns(tmp_path: Path) -> None:
    other = write(tmp_path / "other.parquet", [{"id": "a/b", "sha": "c"}])
    import duckdb

    duckdb.sql(f"COPY (SELECT 1 AS number, 'x' AS name) TO '{tmp_path}/numbers.parquet' (FORMAT parquet)")
    assert "no column id and no column tags; its columns are number, name" in refusal(
        tmp_path / "numbers.parquet", tmp_path
    )
    typed = write(tmp_path / "typed.parquet", [{"id": "a/b", "tags": 7}], tags="INTEGER")
    assert "a column tags of type INTEGER" in refusal(typed, tmp_path)
    assert verdicts_of(other, tmp_path)["review"] == 1  # no tag at all


@pytest.mark.parametrize(
    "types",
    [
        {"tags": "VARCHAR"},
        {"gated": "BOOLEAN"},
        {"cardData": "STRUCT(license VARCHAR, license_name VARCHAR)"},
        {"baseModels": "VARCHAR", "downloads": "INTEGER"},
    ],
)
def test_a_column_may_be_of_another_type(tmp_path: Path, types: dict[str, str]) -> None:
    plain = verdicts_of(write(tmp_path / "plain.parquet", ROWS), tmp_path)
    assert plain == {"allow": 0, "conditions": 2, "review": 1, "deny": 0}
    rows = [dict(one) for one in ROWS]
    for one in rows:
        if "gated" in types:
            one["gated"] = one["gated"] != "false"
        if types.get("cardData", "").startswith("STRUCT"):
            one["cardData"] = {"license_name": None} | json.loads(one["cardData"])
        if "tags" in types:
            one["tags"] = str(one["tags"]).replace("'", '"')
    dump = write(tmp_path / "typed.parquet", rows, **types)
    assert verdicts_of(dump, tmp_path) == plain


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    import duckdb

    dump = write(tmp_path / "models.parquet", ROWS)
    duckdb.sql(f"COPY (SELECT id, tags FROM '{dump}') TO '{tmp_path}/slim.parquet' (FORMAT parquet)")
    found = audit_hub(tmp_path / "slim.parquet", load.load_policy("commercial"), index=tmp_path / "index")
    told = " ".join(found.not_judged)
    assert all(
        name in told for name in ("cardData", "baseModels", "gated", "pipeline_tag", "library_name", "downloads", "sha")
    )


@pytest.mark.parametrize("id", [None, "", "a b/c", "a/b/c", "-->", "\x1b[31mred", "x" * 500])
def test_a_row_without_a_possible_id_is_counted_and_not_judged(tmp_path: Path, id: Any) -> None:
    dump = write(tmp_path / "models.parquet", [*ROWS, row(id, "mit", "a/tuned"), row(id, "mit")])
    found = audit_hub(dump, load.load_policy("commercial"), index=tmp_path / "index")
    assert (found.rows, found.skipped, sum(one.models for one in found.tallies)) == (5, 2, 3)


def test_an_empty_dump_has_no_verdict(tmp_path: Path) -> None:
    assert sum(verdicts_of(write(tmp_path / "models.parquet", []), tmp_path).values()) == 0
