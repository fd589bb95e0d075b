"""What holds for the whole tree: no name means two things, and every decision record has a number of its own."""

import ast
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
