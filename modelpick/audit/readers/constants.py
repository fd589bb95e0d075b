"""What an expression may be, as far as one file tells: names, attributes, tables, joined strings. Pure."""

import ast
from collections.abc import Iterable, Iterator

from modelpick.audit.rules import Rules

_DEEPEST = 40  # steps from a use to a literal: beyond this no reader follows either
_LONGEST = 300  # characters of a joined string: an id has at most 96, an address some more


class Constants:
    """The values bound to each name anywhere in a file. Scopes are not distinguished: more may be found, never less."""

    def __init__(self, nodes: Iterable[ast.AST], rules: Rules) -> None:
        self._rules = rules
        self._values: dict[str, list[ast.expr]] = {}
        self._imports: dict[str, str] = {}
        self._joined_texts: dict[ast.expr, str | None] = {}
        for node in nodes:
            self._collect(node)

    def _collect(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._bind(node.target, node.value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            self._bind(node.target, node.iter)
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            for name, default in zip(reversed(positional), reversed(node.defaults), strict=False):
                self._values.setdefault(name.arg, []).append(default)
            for name, value in zip(node.kwonlyargs, node.kw_defaults, strict=True):
                if value is not None:
                    self._values.setdefault(name.arg, []).append(value)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self._imports[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    self._imports[alias.asname] = alias.name

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Attribute):
            self._values.setdefault(target.attr, []).append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            if isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                for inner, part in zip(target.elts, value.elts, strict=True):
                    self._bind(inner, part)
            else:  # for name, model in TABLE: each may be any of its strings
                for inner in target.elts:
                    self._bind(inner, value)

    def imported(self, name: str) -> str:
        """A dotted name with its first word spelt as it was imported: `load` -> `mlx_lm.load`."""
        first, dot, rest = name.partition(".")
        return f"{self._imports.get(first, first)}{dot}{rest}"

    def strings(self, value: ast.expr) -> list[tuple[str, ast.expr]]:
        """Every string the expression may be, with the node that writes it; empty when only running it would tell."""
        return list(self._strings(value, set(), _DEEPEST))

    def _strings(self, value: ast.expr, seen: set[ast.expr | str], steps: int) -> Iterator[tuple[str, ast.expr]]:
        if value in seen or steps == 0:  # each node once, so that names which lead to names stay cheap, and circles end
            return
        seen.add(value)
        if isinstance(value, ast.Constant):
            if isinstance(value.value, str):
                yield value.value, value
        elif isinstance(value, ast.JoinedStr | ast.BinOp):
            text = self._joined(value, steps - 1)
            if text is not None:
                yield text, value
        else:
            name = _bound_name(value)
            if name and name not in seen:
                seen.add(name)
                for bound in self._values.get(name, ()):
                    yield from self._strings(bound, seen, steps - 1)
            for part in self._alternatives(value):
                yield from self._strings(part, seen, steps - 1)

    def _joined(self, value: ast.JoinedStr | ast.BinOp, steps: int) -> str | None:
        """A concatenation or f-string whose every piece is one known string; None when a piece is not."""
        if value not in self._joined_texts:
            self._joined_texts[value] = None  # what is made of itself is not known
            self._joined_texts[value] = self._join(value, steps)
        return self._joined_texts[value]

    def _join(self, value: ast.JoinedStr | ast.BinOp, steps: int) -> str | None:
        if isinstance(value, ast.JoinedStr):
            pieces: list[ast.expr] = list(value.values)
        elif isinstance(value.op, ast.Add):
            pieces = [value.left, value.right]
        else:
            return None
        text = ""
        for piece in pieces:
            inner = piece.value if isinstance(piece, ast.FormattedValue) else piece
            known = {string for string, _ in self._strings(inner, set(), steps)}
            if len(known) != 1 or len(text) > _LONGEST:
                return None
            text += known.pop()
        return text

    def _alternatives(self, value: ast.expr) -> list[ast.expr]:
        """The expressions of which `value` is one: a or b, a if c else b, TABLE[key], [a, b], getenv("X", a)."""
        if isinstance(value, ast.BoolOp):
            return list(value.values)
        if isinstance(value, ast.IfExp):
            return [value.body, value.orelse]
        if isinstance(value, ast.Subscript | ast.Starred | ast.NamedExpr | ast.Await):
            return [value.value]
        if isinstance(value, ast.List | ast.Tuple | ast.Set):
            return list(value.elts)
        if isinstance(value, ast.Dict):
            return list(value.values)
        return self._of_call(value) if isinstance(value, ast.Call) else []

    def _of_call(self, call: ast.Call) -> list[ast.expr]:
        last = dotted(call.func).rpartition(".")[2]
        owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        defaults = [keyword.value for keyword in call.keywords if keyword.arg == "default"]
        if last in self._rules.words["lookup_calls"]:
            return [*call.args[1:2], *defaults, *owner]
        if last in self._rules.words["wrapping_calls"]:
            return [*call.args[:1], *defaults, *owner]
        return defaults


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text; whatever cannot be named (a call, an index) is left out: `f().load` -> `.load`."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    words.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(words))


def _bound_name(value: ast.expr) -> str | None:
    if isinstance(value, ast.Name):
        return value.id
    if isinstance(value, ast.Attribute):
        return value.attr
    return None
