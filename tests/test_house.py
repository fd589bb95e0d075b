"""What holds for the whole tree: no name means two things, and every decision record has a number of its own."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_MODULES = sorted((_ROOT / "modelpick").rglob("*.py"))
# Such a name says nothing of what is inside, so anything may be put there.
_SAYS_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}


def _named_twice(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Class name -> the places that define it, of names defined more than once in `sources` (path, text)."""
    places = defaultdict(list)
    for path, text in sources:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{path}:{node.lineno}")
    return {name: found for name, found in places.items() if len(found) > 1}


def test_no_class_name_means_two_things() -> None:
    sources = [(str(path.relative_to(_ROOT)), path.read_text(encoding="utf-8")) for path in _MODULES]
    assert _named_twice(sources) == {}, "put the noun of the room before the name"


def test_a_class_inside_another_counts_too() -> None:
    assert _named_twice([("a.py", "class Names: pass"), ("b.py", "class B:\n class Names: pass")]) == {
        "Names": ["a.py:1", "b.py:2"]
    }


def test_every_module_is_named_for_what_it_holds() -> None:
    assert len(_MODULES) > 200
    assert [path for path in _MODULES if _SAYS_NOTHING & {path.stem, path.parent.name}] == []


def test_every_decision_has_a_number_of_its_own() -> None:
    records = sorted((_ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [path.name.split("-")[0] for path in records]
    assert len(records) > 20
    assert sorted(set(numbers)) == numbers
    titles = [path.read_text(encoding="utf-8").splitlines()[0] for path in records]
    assert [title.split(".")[0] for title in titles] == [f"# {int(number)}" for number in numbers]


# Where a file is opened by other means than files.py, and why.
_OPENS_ITSELF = {
    "modelpick/files.py": "this is where it is done",
    "modelpick/audit/walk.py": "asks whether a file may be read, and reads nothing",
    "modelpick/cli/output.py": "stands in for a closed stream",
    "modelpick/datasets/records.py": "reads data of any size and compression as a stream",
    "modelpick/planning/data_tokens.py": "reads data of any size as a stream",
    "modelpick/serving/machine.py": "reads /proc",
    "modelpick/serving/process.py": "a child writes to its log while the end is read",
    "modelpick/training/checkpoints.py": "flushes what transformers wrote",
    "modelpick/training/progress.py": "adds lines to the metrics of a run",
    "modelpick/hub/journal.py": "adds lines as answers come",
    "modelpick/memory/overhead.py": "embedded data",
    "modelpick/offers/embedded.py": "embedded data",
    "modelpick/speed/calibration.py": "embedded data",
    "modelpick/speed/operators.py": "embedded data",
}
_OPENING = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "load"}
# files.py itself (but not the path it names), an archive, an address, a package
_NOT_A_FILE = re.compile(r"files$|tarfile$|archive$|_DIRECT$|_opener\(|metadata\.")


def _opens(text: str) -> list[int]:
    """The lines of a module that open a file by other means than files.py."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            lines.append(node.lineno)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        owner = ast.unparse(node.func.value)
        reads = node.func.attr in _OPENING - {"load"} and not _NOT_A_FILE.match(owner)
        if reads or (node.func.attr == "load" and owner in ("json", "tomllib")):
            lines.append(node.lineno)
    return lines


def test_files_are_opened_by_files_py() -> None:
    opened = {str(path.relative_to(_ROOT)): _opens(path.read_text(encoding="utf-8")) for path in _MODULES}
    assert {path for path, lines in opened.items() if lines} == set(_OPENS_ITSELF), "read and write through files.py"


def test_every_way_to_open_a_file_is_seen() -> None:
    for line in ("open(p)", "p.open()", "p.read_text()", "(a / b).write_bytes(c)", "json.load(f)", "tomllib.load(f)"):
        assert _opens(line) == [1], line
    assert _opens("files.read_text(p)\nread_text(p)\njson.loads(t)") == []
