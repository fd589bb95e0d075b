"""Measures the structure of one or more checkouts, one column each: `python benchmarks/structure.py . ../before`.

An import circle is a set of modules (or rooms) that reach each other by imports. Late imports and those under
TYPE_CHECKING count: a reader has to follow them too. A room is a folder below modelpick/; a loose module is a file
beside them.
"""

import argparse
import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_UNTYPED = re.compile(r"(?:dict|Mapping)\[str, Any\]")
_LONG_FILE, _LONG_FUNCTION = 400, 50  # lines


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of the package in a checkout."""
    files = sorted((root / "modelpick").rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(tree: ast.AST, known: Mapping[str, Path]) -> Iterator[tuple[str, bool]]:
    """(module of the package, whether the import is late) for each import statement in a module."""
    top = set(ast.iter_child_nodes(tree))
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            joined = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in joined]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from ((name, node not in top) for name in dict.fromkeys(names) if name in known)


def circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The sets of more than one node that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for after in sorted(graph[node]):
            if after not in index:
                visit(after)
                low[node] = min(low[node], low[after])
            elif after in stack:
                low[node] = min(low[node], index[after])
        if low[node] == index[node]:
            component = set()
            while True:
                component.add(stack.pop())
                if node in component:
                    break
            if len(component) > 1:
                found.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def measure(root: Path) -> dict[str, str]:
    """The figures of one checkout, by name."""
    known = modules(root)
    texts = {name: file.read_text(encoding="utf-8") for name, file in known.items()}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    between: dict[str, set[str]] = {name: set() for name in known}
    late = 0
    for name, tree in trees.items():
        for other, is_late in imports(tree, known):
            late += is_late
            if other not in (name, "modelpick"):
                between[name].add(other)
    room_of = {name: name.split(".")[1] if "." in name else "" for name in known}
    rooms: dict[str, set[str]] = {room: set() for room in room_of.values()}
    for name, others in between.items():
        rooms[room_of[name]] |= {room_of[other] for other in others} - {room_of[name]}
    folders = {path.name: path for path in (root / "modelpick").iterdir() if (path / "__init__.py").is_file()}
    lines = {name: len(text.splitlines()) for name, text in texts.items()}
    per_room = {room: sum(lines[name] for name in known if room_of[name] == room) for room in folders}
    largest = max(per_room, key=lambda room: per_room[room])
    functions = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    loose = [path.stem for path in (root / "modelpick").glob("*.py") if path.stem != "__init__"]
    return {
        "Python files": str(len(known)),
        "lines": f"{sum(lines.values()):,}",
        "rooms": str(len(folders)),
        "largest room": f"{largest} ({per_room[largest] / sum(lines.values()):.0%} of the lines)",
        "loose modules at the root": str(len(loose)),
        "circles between rooms": str(len(circles(rooms))),
        "circles between modules": str(len(circles(between))),
        "late or TYPE_CHECKING imports of our own": str(late),
        "dict[str, Any], Mapping[str, Any]": str(sum(len(_UNTYPED.findall(text)) for text in texts.values())),
        f"files over {_LONG_FILE} lines": str(sum(count > _LONG_FILE for count in lines.values())),
        f"functions over {_LONG_FUNCTION} lines": str(sum(length > _LONG_FUNCTION for length in lengths)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path(__file__).resolve().parent.parent])
    columns = [measure(root) for root in parser.parse_args().checkouts]
    for name in columns[0]:
        print(" | ".join([f"{name:42}", *(f"{column[name]:>32}" for column in columns)]))


if __name__ == "__main__":
    main()
