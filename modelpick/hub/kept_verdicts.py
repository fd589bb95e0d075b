"""What the claims of an index came to under a policy, kept with them: an unchanged policy is not judged twice. I/O.

Verdicts are found again only under all that they follow from: the index (the dump, the license facts, the catalog,
modelpick), the policy's content with the product, and the source of the code that judges. Rows that a person's decision
names by id are never kept; they may change with the day.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import modelpick
from modelpick.errors import UsageError
from modelpick.files import read_bytes, read_json, write_atomically
from modelpick.hub.hub_table import quoted
from modelpick.hub.slim_index import SlimIndex
from modelpick.licensing.policy import Policy

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEPT = 4  # policies of an index; one took 3 MB for 2.5 million rows
_CODE = ("catalog", "hub", "licensing")  # the rooms that say what a claim is, and what it comes to
# Parquet has no integer of 128 bits.
_QUERIES = {
    "verdict": "SELECT * REPLACE (CAST(mask AS VARCHAR) AS mask) FROM verdict",
    "own": "SELECT judged, strictness FROM own",
    "licenses_of": "FROM licenses_of",
}


def place_of(index: SlimIndex, policy: Policy) -> Path:
    """The folder for verdicts of this index under this policy."""
    digest = hashlib.sha256(json.dumps([policy.sealed().sha256, policy.product]).encode())
    home = Path(modelpick.__file__).parent
    for path in sorted(path for room in _CODE for path in (home / room).glob("*.py")):
        digest.update(read_bytes(path, code="broken_installation"))
    return index.folder / f"under-{digest.hexdigest()[:24]}"


def read(connection: "DuckDBPyConnection", place: Path) -> list[str] | None:
    """Makes the tables that `verdicts.joined` makes, and returns the codes; None where they are not kept."""
    import duckdb

    if not place.is_dir():
        return None
    try:
        content = read_json(place / "codes.json", code="bad_index")
        for name in _QUERIES:
            columns = "* REPLACE (CAST(mask AS HUGEINT) AS mask)" if name == "verdict" else "*"
            source = f"read_parquet({quoted(str(place / f'{name}.parquet'))})"
            kind = "VIEW" if name == "licenses_of" else "TABLE"
            connection.execute(f"CREATE OR REPLACE {kind} {name} AS SELECT {columns} FROM {source}")
        return [str(code) for code in content["codes"]]
    except (UsageError, duckdb.Error, KeyError, TypeError):
        for name in _QUERIES:
            connection.execute(f"DROP {'VIEW' if name == 'licenses_of' else 'TABLE'} IF EXISTS {name}")
        return None


def keep(connection: "DuckDBPyConnection", place: Path, codes: Sequence[str]) -> None:
    """Keeps the tables, whole or not at all. A folder that cannot be written costs the next audit its time."""
    import duckdb

    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as new:
            for name, query in _QUERIES.items():
                target = quoted(str(Path(new) / f"{name}.parquet"))
                connection.execute(f"COPY ({query}) TO {target} (FORMAT parquet, COMPRESSION zstd)")
            write_atomically(Path(new) / "codes.json", json.dumps({"codes": list(codes)}))
            shutil.rmtree(place, ignore_errors=True)
            Path(new).rename(place)
            Path(new).mkdir()  # what the context manager removes
        kept = sorted(place.parent.glob("under-*"), key=lambda path: os.stat(path).st_mtime, reverse=True)
        for path in kept[_KEPT:]:
            shutil.rmtree(path, ignore_errors=True)
    except (OSError, UsageError, duckdb.IOException):
        return
