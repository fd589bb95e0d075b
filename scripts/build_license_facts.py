"""Writes modelpick/licensing/data/licenses.json: policies/licenses/*.toml as one file, read in a third of the time.

The TOML files stay the source. The JSON carries the SHA-256 of their names and bytes, and is used only where they
agree: an edited, added or removed TOML file counts at once, and is merely read more slowly until this ran again.

    python scripts/build_license_facts.py [--check]

--check writes nothing, and exits with 1 where the file is not what this would write.
"""

import argparse
import sys

from modelpick.files import write_atomically
from modelpick.licensing.load import compiled_licenses, compiled_path, policies_directory


def main() -> int:
    """Write the file, or compare it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="compare, and write nothing")
    text = compiled_licenses(policies_directory() / "licenses")
    path = compiled_path()
    if options.parse_args().check:
        same = path.is_file() and path.read_text(encoding="utf-8") == text
        print(f"{path.name}: {'as built' if same else 'differs from policies/licenses/: run this script'}")
        return 0 if same else 1
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
