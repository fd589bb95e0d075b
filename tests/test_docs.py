"""The pages for whoever works on modelpick name what is there: rooms, functions, files; and README's Python runs."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = _ROOT / "modelpick"
_ARCHITECTURE = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_PAGES = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md"), _ROOT / "facts" / "README.md"])
_FOLDERS = ("modelpick", "tests", "benchmarks", "scripts", "facts", "policies", "deploy", "docs")
_ID = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_CODE = re.compile(r"```.*?```|`([^`\n]+)`|^ {4,}\S.*$", re.DOTALL | re.MULTILINE)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# Rooms -----------------------------------------------------------------------------------------------------------


def _rooms_of_the_page() -> list[str]:
    table = _ARCHITECTURE.split("\n## The rooms\n")[1].split("\n\n**")[0]
    return re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)


def _rooms_of_the_contract() -> list[str]:
    config = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [rule["layers"] for rule in config["tool"]["importlinter"]["contracts"] if rule["type"] == "layers"]
    # In parentheses: a room that need not be there.
    return [
        layer.strip("()") for layer in reversed(layers) if (_PACKAGE / layer.strip("()")).exists() or "(" not in layer
    ]


def _pure_modules() -> set[str]:
    config = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (rule,) = [rule for rule in config["tool"]["importlinter"]["contracts"] if rule["type"] == "forbidden"]
    return {name.removeprefix("modelpick.") for name in rule["source_modules"]}


def test_what_the_page_calls_pure_is_held_to_be() -> None:
    pure = _pure_modules()
    assert {"memory", "speed"} <= pure
    planning = {f"planning.{path.stem}" for path in (_PACKAGE / "planning").glob("*.py") if path.stem != "__init__"}
    assert planning - pure == {"planning.catalog_search", "planning.gather", "planning.data_tokens"}
    impure = ("licensing.load", "licensing.judge_models", "licensing.lock", "offers.embedded")
    assert pure.isdisjoint(impure)
    text = _ARCHITECTURE.split("**What pure means.**")[1].split("\n\n")[0]
    assert all(f"`{name}`" in text for name in ("planning.gather", "planning.data_tokens", *impure))


def _rooms_of_the_package() -> set[str]:
    folders = {path.parent.name for path in _PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in _PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    return folders | files


def test_the_page_the_contract_and_the_folders_have_the_same_rooms_in_one_order() -> None:
    assert _rooms_of_the_page() == _rooms_of_the_contract()
    assert set(_rooms_of_the_page()) == _rooms_of_the_package()


def test_a_room_says_what_it_is_for_and_what_may_be_touched() -> None:
    rows = [line for line in _ARCHITECTURE.splitlines() if re.match(r"\| `[a-z_]+` \|", line)]
    assert len(rows) == len(_rooms_of_the_page())
    for row in rows:
        assert len(row.split(" | ")) == 3, row


# Functions -------------------------------------------------------------------------------------------------------


def _exists(id: str) -> bool:
    """Whether `room.module.name`, or a name in a class of it, is defined in the package; so is a module or a room."""
    words = id.split(".")
    for length in range(len(words), 0, -1):
        place = _PACKAGE.joinpath(*words[:length])
        file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if file.is_file():
            return _defines(ast.parse(file.read_text(encoding="utf-8")), words[length:])
    return False


def _statements(tree: ast.Module | ast.ClassDef) -> Iterator[ast.stmt]:
    """The statements of a module, and those under TYPE_CHECKING, where api names what it re-exports."""
    for node in tree.body:
        yield from node.body if isinstance(node, ast.If) else [node]


def _defines(tree: ast.Module | ast.ClassDef, words: list[str]) -> bool:
    if not words:
        return True
    for node in _statements(tree):
        names = {getattr(node, "name", None)}
        if isinstance(node, ast.Assign):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = {node.target.id}
        elif isinstance(node, ast.ImportFrom):  # api re-exports
            names = {alias.asname or alias.name for alias in node.names}
        if words[0] in names:
            return len(words) == 1 or (isinstance(node, ast.ClassDef) and _defines(node, words[1:]))
    return False


def _ids(text: str) -> Iterator[str]:
    rooms = _rooms_of_the_package()
    yield from (
        id for id in _ID.findall(text) if id.split(".")[0] in rooms and not id.endswith((".py", ".json", ".toml"))
    )


# The page of contracts names fields of JSON objects (`workload.stack`), which look alike.
@pytest.mark.parametrize("page", [page for page in _PAGES if page.name != "contracts.md"], ids=lambda page: page.name)
def test_every_function_that_a_page_names_exists(page: Path) -> None:
    assert [id for id in _ids(_text(page)) if not _exists(id)] == []


def test_the_architecture_names_functions_of_nearly_every_room() -> None:
    named = {id.split(".")[0] for id in _ids(_ARCHITECTURE)}
    assert len(list(_ids(_ARCHITECTURE))) > 60
    assert {"catalog", "offers", "licensing", "memory", "planning", "aws", "cli", "serving", "training"} <= named


@pytest.mark.parametrize("id", ["planning.placement.seat", "planning.nowhere.place", "licensing.conditions.ROWS.x"])
def test_a_function_that_is_gone_is_seen(id: str) -> None:
    assert not _exists(id)


# Files -----------------------------------------------------------------------------------------------------------


def _paths(text: str) -> Iterator[str]:
    """The files that code spans and indented lines name: `tests/x.py`, `room/module.py`, `docs/`, but no patterns."""
    rooms = "|".join(sorted(_rooms_of_the_package() | set(_FOLDERS)))
    named = re.compile(rf"(?<![\w./-])(?:{rooms})/[\w./-]*")
    for match in _CODE.finditer(text):
        if match[0].startswith("```"):
            continue  # what a program printed
        for path in named.findall(match[0]):
            at = match[0].index(path) + len(path)
            if match[0][at : at + 1] not in ("*", "{", "<") and not re.search(r"[A-Z]{2,}(?!\w*\.md)", path):
                yield path.rstrip(".,")


def _is_ours(path: str) -> bool:
    """A path in the repository, or below modelpick/ (`memory/stacks.py`)."""
    return (_ROOT / path).exists() or (_PACKAGE / path).exists()


def _looks_like_a_file(path: str) -> bool:
    return path.split("/")[0] in _FOLDERS[1:] or path.endswith((".py", ".toml", ".jsonl", ".csv", ".sh"))


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert [path for path in _paths(_text(page)) if _looks_like_a_file(path) and not _is_ours(path)] == []


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(_text(page)) if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_a_file_that_moved_is_seen() -> None:
    page = "`tests/tuning/test_tiny.py`, `memory/trace.py`, `memory/stacks.py`, `modelpick up demo`, `tests/*.py`"
    assert [path for path in _paths(page) if _looks_like_a_file(path) and not _is_ours(path)] == [
        "tests/tuning/test_tiny.py", "memory/trace.py",
    ]  # fmt: skip


# README ----------------------------------------------------------------------------------------------------------


def test_the_pages_for_contributors_are_linked_from_the_readme() -> None:
    links = _LINK.findall(_text(_ROOT / "README.md"))
    assert {"CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md"} <= set(links)


def test_the_readmes_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", _text(_ROOT / "README.md"), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_every_script_of_benchmarks_says_how_it_is_run() -> None:
    scripts = sorted((_ROOT / "benchmarks").glob("*.py"))
    assert len(scripts) > 20
    assert all(ast.get_docstring(ast.parse(_text(script))) for script in scripts)
