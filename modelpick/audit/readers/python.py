"""Model ids in Python, through its syntax tree; where that cannot be had, line by line."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace

from modelpick.audit.hits import AuditHit, Hits, Place, Unresolved
from modelpick.audit.names import url_pattern
from modelpick.audit.readers import lines
from modelpick.audit.readers.commands import Word, in_command
from modelpick.audit.readers.constants import Constants, dotted
from modelpick.audit.rules import CallRule, Rules, plain

_COMMAND_IN_NOTEBOOK = re.compile(r"^(\s*)[!%].*$", re.M)
_SHAPE = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def read(text: str, rules: Rules) -> Hits:
    """Candidates in a Python source. Notebook magics (`!`, `%`) are left to the notebook's reader."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an audited file's own invalid escapes do not matter here
            tree = ast.parse(_COMMAND_IN_NOTEBOOK.sub(r"\1pass", text) if "!" in text or "%" in text else text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield from lines.read(text, rules)
        return
    yield from _Reader(tree, text, rules).candidates()


class _Reader:
    def __init__(self, tree: ast.Module, text: str, rules: Rules) -> None:
        self._nodes = list(ast.walk(tree))
        self._lines = text.split("\n")
        self._rules = rules
        self._constants = Constants(self._nodes, rules)
        self._url = url_pattern(rules)

    def candidates(self) -> Hits:
        inside_data_calls: set[int] = set()
        unused = {id(node.value) for node in self._nodes if isinstance(node, ast.Expr)}  # docstrings among them
        for node in self._nodes:
            if isinstance(node, ast.Call):
                name = self._constants.imported(dotted(node.func))
                if self._loads_data(name):
                    inside_data_calls |= {id(child) for child in ast.walk(node)}
                yield from self._call(node, name)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    yield from self._holds(_name_of(target), node.value, None)
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
                yield from self._holds(_name_of(node.target), node.value, None)
            elif isinstance(node, ast.Dict):
                yield from self._dictionary(node)
            elif isinstance(node, _Function):
                yield from self._defaults(node.args)
            elif isinstance(node, ast.List | ast.Tuple):
                yield from self._word_list(node.elts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside_data_calls:
                yield from self._anywhere(node)
                if "\n" in node.value and id(node) not in unused:
                    yield from self._written_text(node)

    def _call(self, node: ast.Call, name: str) -> Hits:
        keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        if self._is_other_kind(keywords):
            yield from self._data(node, keywords)
            return
        revision = self._first_string(
            [keywords[key] for key in sorted(self._rules.words["revision_keys"] & keywords.keys())]
        )
        covered: set[str] = set()
        for rule in self._rules.calls_of(name):
            covered |= rule.keywords
            yield from self._model_arguments(node, rule, keywords, revision)
        if self._loads_data(name):
            yield from self._data(node, keywords)
            return
        for key, value in keywords.items():
            if key not in covered:
                yield from self._holds(key, value, revision)
        yield from self._setting(node, keywords)
        yield from self._shell(node)

    def _model_arguments(
        self, node: ast.Call, rule: CallRule, keywords: dict[str, ast.expr], revision: str | None
    ) -> Hits:
        arguments = [node.args[at] for at in rule.positions if at < len(node.args)]
        arguments += [value for key, value in keywords.items() if key in rule.keywords]
        found: list[AuditHit] = []
        for argument in arguments:
            found += self._strings(argument, "argument", rule.name, revision, rule.bare, rule.organisation)
        yield from found
        if arguments and not found and not isinstance(arguments[0], ast.Constant):
            line, column = self._position(arguments[0])
            yield Unresolved(_shown(arguments[0]), line, column, rule.name)

    def _holds(self, key: str, value: ast.expr, revision: str | None) -> Hits:
        if key and self._rules.names_model(key):
            yield from self._strings(value, "named", plain(key), revision)
        elif key and self._rules.names_data(key):
            yield from self._strings(value, "data", plain(key))

    def _data(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Hits:
        """What a call loads other than a model: load_dataset("org/name"), repo_type="dataset"."""
        for value in (*node.args[:1], *(keywords[key] for key in ("path", "repo_id") if key in keywords)):
            yield from self._strings(value, "data", dotted(node.func).rpartition(".")[2])

    def _setting(self, node: ast.Call, keywords: dict[str, ast.expr]) -> Hits:
        """add_argument("--model", default=...), getenv("MODEL_ID", ...), config.get("model", ...)."""
        first = next(iter(node.args), None)
        flags = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        key = next((flag for flag in flags if self._rules.names_model(flag)), None)
        if key is None or first is None:
            return
        values = [keywords["default"]] if "default" in keywords else []
        if isinstance(first, ast.Constant) and first.value == key:
            values += node.args[1:2]
        for value in values:
            yield from self._strings(value, "named", plain(key))

    def _dictionary(self, node: ast.Dict) -> Hits:
        pairs = {
            key.value: value
            for key, value in zip(node.keys, node.values, strict=True)
            if isinstance(key, ast.Constant) and isinstance(key.value, str)
        }
        if self._is_other_kind(pairs):
            return
        revision = self._first_string([pairs[key] for key in sorted(self._rules.words["revision_keys"] & pairs.keys())])
        for key, value in pairs.items():
            yield from self._holds(key, value, revision)

    def _defaults(self, arguments: ast.arguments) -> Hits:
        positional = [*arguments.posonlyargs, *arguments.args]
        pairs = list(zip(reversed(positional), reversed(arguments.defaults), strict=False))
        for name, value in [*pairs, *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]:
            if value is not None:
                yield from self._holds(name.arg, value, None)

    def _word_list(self, elements: Sequence[ast.expr]) -> Hits:
        """["vllm", "serve", "org/name"]: a command as a program starts it."""
        words = [
            Word(text, *self._position(node, text)) if (text := _text_of(node)) else Word("", node.lineno, 1)
            for node in elements
        ]
        if len(words) > 1:
            yield from in_command(words, self._rules)

    def _shell(self, node: ast.Call) -> Hits:
        """os.system("vllm serve org/name"): a string with spaces, handed over as the first argument."""
        first = next(iter(node.args), None)
        if isinstance(first, ast.Constant) and isinstance(first.value, str) and " " in first.value:
            line, column = self._position(first)
            words = [Word(word, line, column) for word in first.value.split()]
            if (
                any(tuple(word.text for word in words[: len(head)]) == head for head in self._rules.commands)
                or "--model" in first.value
            ):
                yield from in_command(words, self._rules)

    def _anywhere(self, node: ast.Constant) -> Hits:
        text = str(node.value)
        if _SHAPE.fullmatch(text):
            yield AuditHit(text, *self._position(node, text), "anywhere", "string")
        elif self._url.fullmatch(text):
            yield AuditHit(text, *self._position(node, text), "url", "Hub address")

    def _written_text(self, node: ast.Constant) -> Hits:
        """Settings or a script written out over several lines: what its keys say."""
        text = str(node.value)
        shift = node.end_lineno - node.lineno - text.count("\n") if node.end_lineno else 1
        if shift:  # escapes and joined pieces: the lines of the text are not those of the source
            return
        for found in lines.read(text, self._rules):
            if isinstance(found, AuditHit) and found.place != "anywhere":
                line = node.lineno + found.line - 1
                source = self._lines[line - 1] if line <= len(self._lines) else ""
                yield replace(found, line=line, column=source.find(found.text) + 1 or 1)

    def _strings(
        self, value: ast.expr, place: Place, how: str, revision: str | None = None, bare: bool = False,
        organisation: str | None = None,
    ) -> Iterator[AuditHit]:  # fmt: skip
        """Every string `value` may be, where it is written, and where it is used when that is elsewhere."""
        strings = self._constants.strings(value)
        inside = set(ast.walk(value)) if strings else set()
        for text, node in strings:
            spots = {self._position(node, text)}
            if node not in inside:
                spots.add(self._position(value))
            is_url = bool(self._url.fullmatch(text))
            for line, column in sorted(spots):
                yield AuditHit(text, line, column, "url" if is_url else place, how, revision, bare, organisation)

    def _position(self, node: ast.expr, text: str = "") -> tuple[int, int]:
        """Line and column from 1; of `text` itself where it stands as such on the node's line, else of the node."""
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        column = len(line.encode("utf-8", "replace")[: node.col_offset].decode("utf-8", "replace"))
        inside = line.find(text, column) if text else -1
        return node.lineno, (inside if inside >= 0 else column) + 1

    def _first_string(self, values: list[ast.expr]) -> str | None:
        return next((text for value in values for text, _ in self._constants.strings(value)), None)

    def _is_other_kind(self, pairs: dict[str, ast.expr]) -> bool:
        kinds = [pairs[key] for key in self._rules.words["kind_keys"] & pairs.keys()]
        return any(
            text.lower() in self._rules.words["other_kinds"]
            for kind in kinds
            for text, _ in self._constants.strings(kind)
        )

    def _loads_data(self, name: str) -> bool:
        calls = self._rules.words["data_calls"]
        return name in calls or name.rpartition(".")[2] in calls or ".".join(name.split(".")[-2:]) in calls


def _name_of(target: ast.expr) -> str:
    """The name a value is bound to: MODEL, self.model_id, os.environ["MODEL_ID"]."""
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ""


def _text_of(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _shown(node: ast.expr) -> str:
    try:
        return ast.unparse(node)[:80]
    except (RecursionError, ValueError):
        return "an expression"
