"""Dumps of the Hub for tests, and what `license` says of the same rows, one by one."""

import datetime
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from modelpick.catalog.model import Model
from modelpick.hub.claims import model_of
from modelpick.licensing.facts import LicenseFacts
from modelpick.licensing.policy import Policy
from modelpick.licensing.verdict import Judgement, judge

TODAY = datetime.date.today()
COLUMNS = {
    "id": "VARCHAR", "tags": "VARCHAR[]", "pipeline_tag": "VARCHAR", "library_name": "VARCHAR", "downloads": "BIGINT",
    "baseModels": "STRUCT(models STRUCT(_id VARCHAR, id VARCHAR)[], relation VARCHAR)", "cardData": "VARCHAR",
    "gated": "VARCHAR", "sha": "VARCHAR",
}  # fmt: skip


def row(id: str | None, license: str | None = None, *parents: str, **fields: Any) -> dict[str, Any]:
    """One row of the dump. `license` is its tag; parents are named as the Hub names them, twice."""
    tags = [f"license:{license}"] if license else []
    tags += [f"base_model:{parent}" for parent in parents] + [f"base_model:finetune:{parent}" for parent in parents]
    card = fields.pop("card", {"license": license} if license else None)
    made = dict.fromkeys(COLUMNS) | {"id": id, "tags": tags + fields.pop("tags", []), "downloads": 10, "gated": "false"}
    return made | {"cardData": json.dumps(card) if card is not None else None} | fields


def write(path: Path, rows: Iterable[Mapping[str, Any]], **types: str) -> Path:
    """A parquet file of these rows; `types` replace the usual types of columns."""
    columns = COLUMNS | types
    listed = [json.dumps(dict.fromkeys(columns) | dict(one)) for one in rows]
    fields = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT unnest(CAST(json(line) AS STRUCT({fields}))) FROM (SELECT unnest($1) AS line)) "
            f"TO '{path}' (FORMAT parquet)",
            [listed],
        )
    return path


def verdicts(path: Path) -> dict[str, tuple[str, frozenset[str], str | None]]:
    """What `--out` wrote: verdict, reasons and strictest ancestor of each id."""
    query = f"SELECT id, verdict, reasons, strictest_ancestor FROM '{path}'"
    with duckdb.connect() as connection:
        rows = connection.execute(query).fetchall()
    return {id: (verdict, frozenset(codes), who) for id, verdict, codes, who in rows}


class ByLicense:
    """The rows of a dump as `license` sees them: each a record of the Hub of which no file was read."""

    def __init__(self, dump: Path) -> None:
        self._records: dict[str, tuple[dict[str, Any], str | None]] = {}
        self._models: dict[str, Model] = {}
        names = [name for name in COLUMNS if name != "sha"]
        quoted = ", ".join(f'"{name}"' for name in names)
        with duckdb.connect() as connection:
            rows = connection.execute(f"SELECT {quoted}, sha FROM '{dump}' WHERE id IS NOT NULL").fetchall()
        for *values, sha in rows:
            record = dict(zip(names, values, strict=True))
            record["cardData"] = json.loads(record["cardData"] or "null")
            self._records.setdefault(record["id"].lower(), (record, sha))

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record, _ in self._records.values()]

    def find(self, id: str) -> Model | None:
        key = id.partition("@")[0].lower()
        if key in self._records and key not in self._models:
            self._models[key] = model_of(*self._records[key])
        return self._models.get(key)

    def judge(self, id: str, policy: Policy, facts: LicenseFacts) -> Judgement:
        model = self.find(id)
        assert model is not None
        return judge(model, policy, facts, self.find, TODAY)


def differences(
    dump: Path, out: Path, policy: Policy, facts: LicenseFacts, chosen: Callable[[list[str]], Iterable[str]] = list
) -> list[str]:
    """The rows (of those `chosen` from all ids) of which an audit says something else than `license`, with what."""
    by_license, found = ByLicense(dump), verdicts(out)
    texts = []
    for id in chosen(by_license.ids):
        one = by_license.judge(id, policy, facts)
        codes = frozenset(reason.code for reason in one.reasons)
        if found[id][:2] != (one.verdict.value, codes):
            texts.append(f"{id}: audit {found[id][0]}, license {one.verdict}; {sorted(found[id][1] ^ codes)}")
    return texts
