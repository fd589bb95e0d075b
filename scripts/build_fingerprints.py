"""Writes the fingerprint of a license text beside its facts: policies/licenses/ID.prints.

    python scripts/build_fingerprints.py llama3.1 "meta-llama/llama-models models/llama3_1/LICENSE" LICENSE.txt

A second text for the same license (another version, another wording) is added; one from the same source is replaced.
Short and permissive texts keep every run (--all): what is left over beside them has to be read word by word.
"""

import argparse
import json
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

from modelpick.licensing.license_text import fingerprint, pack, words_of
from modelpick.licensing.load import policies_directory


def main() -> None:
    """Add one fingerprint."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("license")
    options.add_argument("source")
    options.add_argument("text", type=Path)
    options.add_argument("--all", action="store_true", help="keep every run")
    given = options.parse_args()
    text = given.text.read_text(encoding="utf-8", errors="replace")
    made = fingerprint(given.license, given.source, text)
    if given.all and made.stride != 1:
        made = replace(made, stride=1, hashes=frozenset(words_of(text).hashes))
    path = policies_directory() / "licenses" / f"{given.license}.prints"
    old = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    kept = [entry for entry in old if entry["source"] != given.source]
    entry = {"source": given.source, "stride": made.stride, "runs": b64encode(pack(made)).decode()}
    path.write_text("".join(json.dumps(one) + "\n" for one in [*kept, entry]))


if __name__ == "__main__":
    main()
