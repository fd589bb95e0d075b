"""Writes the number of models and the table of sources into docs/data.md: `python scripts/fill_data_page.py`.

tests/catalog/test_data.py compares; run it after `make facts`.
"""

import re
from collections import Counter
from pathlib import Path

from modelpick.catalog import index
from modelpick.catalog.index import Catalog

PAGE = Path(__file__).resolve().parent.parent / "docs" / "data.md"
_KINDS = ("same shape as", "quantization of", "derived")


def table(catalog: Catalog) -> str:
    """One line a source: what it is, the day of its data, the day it was read, how many facts name it."""
    used: Counter[str] = Counter()
    for model in catalog.models.values():
        for key in model.sources.values():
            kind = next((one for one in _KINDS if key.startswith(one)), key)
            several = kind.split("; ")
            used.update(several if catalog.sources.keys() >= set(several) else ["citation"])
    lines = ["| source | what it is | data of | read on | facts |", "|---|---|---|---|---:|"]
    for key, source in catalog.sources.items():
        lines.append(f"| `{key}` | {source.title} | {source.as_of or '-'} | {source.read_on} | {used[key]:,} |")
    return "\n".join(lines)


def main() -> None:
    """Rewrites the page in place."""
    catalog = index.load()
    text = PAGE.read_text("utf-8")
    text = re.sub(r"[\d,]+ models, facts as of", f"{len(catalog.models):,} models, facts as of", text)
    text = re.sub(r"\| source \| what it is \|.*?(?=\n\n)", lambda _: table(catalog), text, flags=re.DOTALL)
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
