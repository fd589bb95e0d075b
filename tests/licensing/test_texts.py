"""The stored license texts are the ones their index names."""

import csv
import hashlib
import re
from pathlib import Path

from modelpick.licensing.facts import LicenseFacts


def test_each_text_is_the_one_that_the_index_names(repository: Path) -> None:
    folder = repository / "facts" / "license_texts"
    rows = list(csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines()))
    files = {path.name for path in folder.glob("*.txt")}
    assert [row["file"] for row in rows] == sorted(files)
    for row in rows:
        assert hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"], row["file"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row["read_on"]), row["file"]
        assert row["source"].strip(), row["file"]


def test_each_text_belongs_to_a_license(repository: Path, facts: LicenseFacts) -> None:
    names = {path.name for path in (repository / "facts" / "license_texts").glob("*.txt")}
    known = set(facts.licenses.by_id)
    assert {name.removesuffix(".txt").removesuffix(".use_policy") for name in names} <= known
