"""Puts a license text into facts/license_texts/, with its row in index.csv: source, today's day, SHA-256.

    python scripts/store_license_text.py llama3.1 "meta-llama/llama-models 47401a8 models/llama3_1/LICENSE" LICENSE.txt

--policy stores the use policy that the license makes part of itself, --version N another version of the text, with
which files are compared and from which nothing is quoted: it goes into compared/, as does a policy with --compared.
--runs stores the hashes of the text's runs of five words instead of the text, for one that may not lie in this tree:
its quotes can be proved and files can be compared with it, copies cannot be made. A file of the same name is replaced.
"""

import argparse
import csv
import hashlib
import io
from datetime import UTC, datetime
from pathlib import Path

from modelpick.files import write_atomically
from modelpick.licensing.fingerprints import words_of
from modelpick.licensing.load import texts_directory
from modelpick.licensing.quotes import packed


def main() -> None:
    """Write the text and the index."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("license", help="its id: the name of its file in policies/licenses/ without .toml")
    options.add_argument("source", help="where the text was read: repository, commit and path, or an address")
    options.add_argument("text", type=Path)
    options.add_argument("--policy", action="store_true")
    options.add_argument("--version", type=int, metavar="N")
    options.add_argument("--compared", action="store_true")
    options.add_argument("--runs", action="store_true")
    given = options.parse_args()
    text = given.text.read_text(encoding="utf-8").strip("\n") + "\n"
    part = f"{f'.version-{given.version}' if given.version else ''}{'.use_policy' if given.policy else ''}"
    name = f"{given.license}{part}.{'runs' if given.runs else 'txt'}"
    folder = texts_directory() / "compared" if given.compared or given.version else texts_directory()
    content = packed(words_of(text).hashes) if given.runs else text
    write_atomically(folder / name, content)
    write_atomically(folder / "index.csv", indexed(folder / "index.csv", name, content, given.source))


def indexed(index: Path, name: str, content: str, source: str) -> str:
    """index.csv with the row of this file, in the order of names."""
    with index.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    digest = hashlib.sha256(content.encode()).hexdigest()
    day = datetime.now(UTC).date().isoformat()
    rows[name] = {"file": name, "sha256": digest, "read_on": day, "source": source}
    made = io.StringIO()
    table = csv.DictWriter(made, ["file", "sha256", "read_on", "source"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows[file] for file in sorted(rows))
    return made.getvalue()


if __name__ == "__main__":
    main()
