"""facts/ is the one source of what is embedded: a rebuild gives the same bytes, and every fact is read."""

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def builder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """scripts/build_facts.py as a module."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    import build_facts

    yield build_facts
    for name in set(sys.modules) - before:
        if name.startswith(("build_", "catalog_configs", "facts_folder", "speed_", "memory_", "calibrate_")):
            del sys.modules[name]


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A copy of facts/ that a test may edit."""
    return Path(shutil.copytree(repository / "facts", tmp_path / "facts"))


def from_facts(builder: ModuleType, folder: Path) -> dict[str, str]:
    facts = builder.Facts(folder)
    files = dict(builder.from_facts(facts))
    assert facts.unread() == {}
    return files


def test_a_rebuild_gives_every_file_byte_for_byte(builder: ModuleType, repository: Path) -> None:
    """The constants of speed aside, whose fit takes a minute: `make check` rebuilds those."""
    files = from_facts(builder, repository / "facts") | dict(builder.calibrated(fit=False))
    assert len(files) >= 13
    differing = [name for name, text in files.items() if (repository / name).read_bytes() != text.encode()]
    assert differing == []


def test_every_embedded_data_file_of_these_rooms_is_built(builder: ModuleType, repository: Path) -> None:
    built = {name for name, _ in builder.from_facts(builder.Facts())}
    built |= {"modelpick/memory/data/intervals.json", "modelpick/speed/data/efficiency.json"}
    by_hand = {f"modelpick/offers/data/{name}.toml" for name in ("chat_parsers", "compatibility")}  # sources themselves
    rooms = ("modelpick/catalog", "modelpick/offers", "modelpick/memory", "modelpick/speed", "benchmarks")
    there = {str(path.relative_to(repository)) for room in rooms for path in (repository / room / "data").iterdir()}
    assert there - by_hand == built


def test_the_order_of_rows_does_not_matter(builder: ModuleType, folder: Path) -> None:
    """Rows of measurements keep their order: a benchmark reads them as they were published."""
    expected = from_facts(builder, folder)
    for path in folder.glob("*.*"):
        head, *rows = path.read_text("utf-8").splitlines(keepends=True)
        if path.suffix == ".csv" and not path.name.startswith("measured_"):
            path.write_text("".join([head, *reversed(rows)]), "utf-8")
        elif path.suffix == ".jsonl":
            path.write_text("".join([*reversed(rows), head]), "utf-8")
    shuffled = from_facts(builder, folder)
    assert [name for name, text in shuffled.items() if text != expected[name]] == []


def test_a_changed_price_reaches_the_offers_and_their_checksum(builder: ModuleType, folder: Path) -> None:
    expected = from_facts(builder, folder)
    prices = folder / "prices.csv"
    prices.write_text(
        prices.read_text("utf-8").replace("g5.2xlarge,us-east-1,on-demand,1.212", "g5.2xlarge,us-east-1,on-demand,1.5"),
        "utf-8",
    )
    changed = from_facts(builder, folder)
    names = {Path(name).name for name, text in changed.items() if text != expected[name]}
    assert names == {"prices.jsonl", "manifest.json"}
    rows = [json.loads(line) for line in changed["modelpick/offers/data/prices.jsonl"].splitlines()]
    (home,) = (row["types"] for row in rows if row["region"] == "us-east-1")
    assert home["g5.2xlarge"]["on-demand"]["usd_per_hour"] == 1.5


def _add_column(folder: Path) -> None:
    path = folder / "instances.csv"
    head, *rows = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([f"{head},efa", *(f"{row},no" for row in rows)]) + "\n", "utf-8")


def _add_field(folder: Path) -> None:
    path = folder / "models.jsonl"
    first, rest = path.read_text("utf-8").split("\n", 1)
    path.write_text(json.dumps({**json.loads(first), "kv_hidden": 7}) + "\n" + rest, "utf-8")


def _add_to_a_gpu(folder: Path) -> None:
    path = folder / "gpus.toml"
    path.write_text(path.read_text("utf-8").replace("tflops = 121", "tflops = 121\nsm_count = 58"), "utf-8")


def _add_file(folder: Path) -> None:
    (folder / "reserved.csv").write_text("a,b\n", "utf-8")


@pytest.mark.parametrize(
    ("plant", "unread"),
    [
        (_add_column, {"instances.csv": ["efa"]}),
        (_add_field, {"models.jsonl": ["kv_hidden"]}),
        (_add_to_a_gpu, {"gpus.toml tables": ["sm_count"]}),
        (_add_file, {"reserved.csv": ["the whole file"]}),
    ],
)
def test_a_fact_that_nobody_reads_is_found(
    builder: ModuleType, folder: Path, plant: Callable[[Path], None], unread: dict[str, list[str]]
) -> None:
    plant(folder)
    facts = builder.Facts(folder)
    list(builder.from_facts(facts))
    assert facts.unread() == unread


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("prices.csv", "g9.xlarge,us-east-1,1.2,,2026-07-20,karpenter\n"),
        ("prices.csv", "g5.xlarge,eu-west-3,on-demand,1.2,2026-07-20,hearsay\n"),
        ("instances.csv", "g9.xlarge,B900,1,1.0,15.0,4,16.0,125,5.0,950,x86_64,yes,no,a page\n"),
        ("prices.csv", "g5.xlarge,eu-west-3,1.2\n"),
    ],
    ids=["price of an unknown instance", "unknown source", "unknown GPU", "short row"],
)
def test_a_row_that_no_other_file_explains_is_refused(builder: ModuleType, folder: Path, file: str, row: str) -> None:
    with (folder / file).open("a", encoding="utf-8") as opened:
        opened.write(row)
    with pytest.raises(ValueError, match=r"not a known|cells under"):
        list(builder.from_facts(builder.Facts(folder)))


def test_every_file_of_facts_is_described(repository: Path) -> None:
    page = (repository / "facts" / "README.md").read_text("utf-8")
    names = {path.name for path in (repository / "facts").iterdir()} - {"README.md"}
    assert {name for name in names if f"| `{name}` |" not in page} == set()


def test_the_wheel_does_not_carry_the_sources(repository: Path) -> None:
    wheel = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    assert wheel["packages"] == ["modelpick"]
    carried = [path for path in wheel.get("force-include", {}) if path.startswith("facts")]
    assert carried == ["facts/license_texts"]  # `license --notice` copies them
