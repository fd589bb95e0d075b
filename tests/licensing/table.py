"""The table of real models with the verdict each should get under the commercial policy, as models."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("data") / "verdicts.csv"

# What the table's repositories stand on and the table itself does not list: tags as on the Hub (source: their cards).
PARENTS: Mapping[str, str | None] = {
    "mosaicml/mpt-7b-8k": "apache-2.0",
    "mosaicml/mpt-30b": "apache-2.0",
    "meta-llama/Llama-2-7b-hf": "llama2",
    "meta-llama/Llama-2-13b-hf": "llama2",
    "meta-llama/Meta-Llama-3-70B-Instruct": "llama3",
    "EleutherAI/pythia-2.8b": "apache-2.0",
    "EleutherAI/pythia-6.9b": "apache-2.0",
    "CohereForAI/c4ai-command-r-plus": "cc-by-nc-4.0",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One model: its card's metadata, the verdict it should get, and how sure the table is of that."""

    id: str
    card: Mapping[str, Any]
    gated: bool
    expected: str
    confidence: str
    source: str


def rows() -> Iterator[Row]:
    """The table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        for entry in csv.DictReader(file):
            lists = {"base_model": entry["bases"].split(), "datasets": entry["datasets"].split()}
            words = {
                "license": entry["license"],
                "license_name": entry["license_name"],
                "base_model_relation": entry["relation"],
            }
            card = {key: value for key, value in {**words, **lists}.items() if value}
            yield Row(
                entry["id"], card, entry["gated"] == "yes", entry["verdict"], entry["confidence"], entry["source"]
            )
