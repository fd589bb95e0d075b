"""Writes the fingerprints of the license texts in facts/license_texts/: policies/licenses/ID.prints, a line a text.

    python scripts/build_fingerprints.py [--check]

They find which texts a file is compared with, word by word. Of a license the text, its other versions
(compared/ID.version-2.txt) and its use policy count, since publishers put both into one file. Short and permissive
texts keep every run. --check writes nothing, and exits with 1 where a file is not what this would write.
"""

import argparse
import csv
import json
import sys
from base64 import b64encode
from dataclasses import replace

from modelpick.licensing.fingerprints import fingerprint, pack
from modelpick.licensing.load import known_text, license_of_text, load_licenses, policies_directory, texts_directory


def main() -> int:
    """Write the files, or compare them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="compare, and write nothing")
    check = options.parse_args().check
    folder = policies_directory() / "licenses"
    made = built()
    wrong = [path for path in folder.glob("*.prints") if path.name not in made]
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            wrong.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    if check:
        for path in wrong:
            print(f"{path.name} differs from facts/license_texts/: run this script")
        return int(bool(wrong))
    return 0


def built() -> dict[str, str]:
    """What each file holds, by its name."""
    licenses = load_licenses()
    lines: dict[str, list[str]] = {}
    for folder in (texts_directory(), texts_directory() / "compared"):
        with (folder / "index.csv").open(newline="", encoding="utf-8") as index:
            rows = [(row, id) for row in csv.DictReader(index) if (id := license_of_text(row["file"])) is not None]
        for row, id in rows:
            text = known_text(folder / row["file"])
            made = fingerprint(id, row["source"], text)
            if licenses.by_id[id].permits.commercial_use == "yes" and made.stride != 1:
                made = replace(made, stride=1, hashes=frozenset(text.hashes))
            runs = b64encode(pack(made)).decode()
            line = {"source": made.source, "stride": made.stride, "runs": runs}
            lines.setdefault(f"{id}.prints", []).append(json.dumps(line) + "\n")
    return {name: "".join(own) for name, own in lines.items()}


if __name__ == "__main__":
    sys.exit(main())
