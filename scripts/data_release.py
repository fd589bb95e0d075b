"""The data release: newer facts from their sources, checked, and packed as the wheel modelpick-data.

    python scripts/data_release.py update [--prices URL|FILE]   into XDG_DATA_HOME, as `modelpick update` does
    python scripts/data_release.py check                        the bounds, against the embedded facts
    python scripts/data_release.py wheel FOLDER                 FOLDER/wheel: the wheel; FOLDER/latest: it and its hash

The make targets data-update, data-check and data-wheel; .github/workflows/data.yml runs them on a schedule.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from modelpick import settings
from modelpick.catalog import snapshot
from modelpick.errors import ModelpickError
from modelpick.hub.update import update
from modelpick.hub.verification import verify
from modelpick.schema import to_json
from modelpick.settings import DataSettings

ROOT = Path(__file__).resolve().parent.parent
LATEST = "modelpick_data.whl"
"""The name under which the newest release is published: an address that does not change."""


def renew(prices: str | None) -> None:
    """A new snapshot from the Hub and a price list. Raises what `hub.update.update` raises, and for a part of it."""
    done = update(("models", "prices"), DataSettings(prices=prices), settings.today(), lambda what, count, total: None)
    for kind, found in done.kinds.items():
        print(kind, json.dumps(found))
    for error in done.errors.values():
        raise error
    print(f"in force: {done.facts.name}, {len(done.changes):,} changes")


def check() -> None:
    """Raises RemoteError where the facts in force are not believed beside the embedded ones."""
    facts = snapshot.in_force()
    if facts.manifest is None:
        raise SystemExit(f"there is no snapshot to check: {facts.ignored or 'run make data-update first'}")
    verify(facts, snapshot.embedded_facts(), settings.today())
    print(f"{facts.name}: {facts.manifest.rows}")


def wheel(folder: Path) -> Path:
    """The wheel of the facts in force, in `folder`/wheel; `folder`/latest has it by its lasting name, and its hash."""
    facts = snapshot.in_force()
    if facts.manifest is None:
        raise SystemExit(f"there is no snapshot to publish: {facts.ignored or 'run make data-update first'}")
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as made:
        project = Path(made) / "project"
        shutil.copytree(ROOT / "packaging" / "modelpick_data", project)
        module = project / snapshot.PACKAGE
        for file in facts.manifest.files:
            (module / file).parent.mkdir(parents=True, exist_ok=True)
            (module / file).write_text(facts.text(file), encoding="utf-8", newline="\n")
        (module / "manifest.json").write_text(json.dumps(to_json(facts.manifest), indent=1) + "\n", encoding="utf-8")
        year, month, day = facts.manifest.made_on.split("-")
        version = f"{year}.{int(month)}.{int(day)}"
        (module / "__init__.py").write_text(f'"""Facts for modelpick."""\n\n__version__ = "{version}"\n')
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str((folder / "wheel").resolve())]
        subprocess.run(command, cwd=project, check=True, capture_output=True)
    (built,) = (folder / "wheel").glob("*.whl")
    latest = folder / "latest"
    latest.mkdir(parents=True)
    shutil.copyfile(built, latest / LATEST)
    (latest / f"{LATEST}.sha256").write_text(f"{hashlib.sha256(built.read_bytes()).hexdigest()}  {LATEST}\n")
    print(f"{built.name}: {built.stat().st_size:,} bytes")
    return built


def main(words: list[str] | None = None) -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("update", "check", "wheel"))
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/data/dist"))
    parser.add_argument("--prices")
    asked = parser.parse_args(words)
    try:
        if asked.what == "update":
            renew(asked.prices)
        elif asked.what == "check":
            check()
        else:
            wheel(asked.folder)
    except ModelpickError as error:
        raise SystemExit(f"{error.message}\n  fix: {error.fix}") from None


if __name__ == "__main__":
    main()
