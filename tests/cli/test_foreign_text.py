"""What others wrote never steers a terminal, a page or a file: over every command, in every way it answers."""

import ast
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelpick.aws import access
from modelpick.cli import output
from modelpick.cli.main import COMMANDS, main
from tests.cli.every_command import FOREIGN, ON_DISK, Files, commands, fill, foreign_server
from tests.stand_ins.hub import Hub

# C0 and C1 controls but for line breaks and tabs, bidirectional marks and overrides, lone surrogates.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# What rich and our own bar send a terminal: colours, and how a line is drawn again. FOREIGN's colour is none of them.
OURS = re.compile(r"\x1b\[(?:\?25[lh]|2K|1A|[0-9;]*m)|\r(?=\x1b\[|counting tokens)")
EXIT_CODES = (0, 1, 2, 3, 4, 5)


class Terminal(io.StringIO):
    """stdout or stderr as a terminal has it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with foreign_server() as address:
        yield address


@pytest.fixture
def files(tmp_path: Path, hub: Hub, server: str, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The world of every_command: an account, a Hub and a home in which every word is foreign."""
    fill(hub)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFOREIGN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(access, "log_lines", lambda *_, **__: iter([FOREIGN, f"{FOREIGN}\r\x00"]))
    made = Files(tmp_path)
    monkeypatch.chdir(made.out)
    return made


def run(words: list[str], kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command on streams of a kind."""
    out, err = kind(), kind()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        patched.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def assert_clean(text: str, where: str) -> None:
    found = RAW.search(text)
    assert found is None, f"{where} holds {found[0]!r}: {text[max(found.start() - 80, 0) : found.start() + 40]!r}"


def assert_markup_is_text(text: str, where: str) -> None:
    """Where the foreign word stands whole, the markup before it does, too: nobody has taken it for a colour."""
    packed = re.sub(r"\s+", "", text)
    for found in re.finditer("MARK", packed):
        assert packed[: found.start()].endswith("[red]"), f"{where}: {packed[found.start() - 60 : found.end()]!r}"


@pytest.mark.parametrize("way", ["terminal", "pipe", "json"])
def test_nothing_raw_leaves_any_command(way: str, files: Files, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in commands(files, server):
        line = [*words, "--json"] if way == "json" else words
        code, out, err = run(line, Terminal if way == "terminal" else Pipe, monkeypatch)
        where = f"{way}: {words[:3]}"
        assert code in EXIT_CODES, where
        assert "modelpick itself failed" not in err, f"{where}: {err}"
        assert "\x1b[31;5m" not in out + err, where
        assert_clean(OURS.sub("", out) if way == "terminal" else out, where)
        assert_clean(OURS.sub("", err) if way == "terminal" else err, where)
        if way != "json" and "sarif" not in words:  # whose addresses have brackets quoted
            assert_markup_is_text(OURS.sub("", out + err), where)
        for text in filter(None, (out, err)) if way == "json" and words[0] != "audit" else ():
            assert text.isascii(), where
    written = [file for file in files.out.rglob("*") if file.is_file()]
    names = {"page.html", "NOTICE", "bom.json", "audit.sarif", "lock.json", "made.json", "curated.jsonl"}
    assert names <= {file.name for file in written}
    for file in written:
        verbatim = "texts" in file.parts or file.name == "gate.txt"  # evidence is kept byte for byte
        if file.suffix not in (".gz", ".safetensors") and not verbatim:
            assert_clean(file.read_text(encoding="utf-8"), str(file.name))


def test_every_command_is_in_the_list(tmp_path: Path) -> None:
    """A new command without a line in every_command would escape the rule."""
    named = {tuple(words[:2]) if words[0] in ("catalog", "data", "policy") else (words[0],)
             for words in commands(Files(tmp_path), "http://x")}  # fmt: skip
    groups = {"catalog": ("show", "info", "diff"), "data": ("check", "show", "curate", "next"),
              "policy": ("list", "show", "check", "approve", "reject")}  # fmt: skip
    wanted = {(name, sub) for name in COMMANDS for sub in groups.get(name, ("",))}
    assert {(name, *rest) if rest else (name, "") for name, *rest in named} >= wanted


def test_a_print_past_the_door_is_noticed(files: Files, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule's test can fail: one writer that cleans nothing is enough."""
    monkeypatch.setattr(output, "printable", lambda text, keep="": text)
    _, out, _ = run(["logs", "mp-demo"], Pipe, monkeypatch)
    with pytest.raises(AssertionError, match="holds"):
        assert_clean(out, "logs")


def test_json_says_the_same_words(files: Files, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Escaped, not lost: a program that reads the JSON gets what was written."""
    _, out, _ = run(["chat", "--endpoint", f"{server}/v1", "--message", "hello", "--json"], Pipe, monkeypatch)
    assert json.loads(out)["answer"] == FOREIGN


# (file, what it may do): the door itself, the entry before anything is imported, a server's own process.
_ALLOWED = {
    ("cli/output.py", "write"), ("cli/output.py", "Console"), ("serving/quantized_server.py", "exit"),
    ("files.py", "write"),  # a signal handler cannot go through the console; its text is made printable
}  # fmt: skip


def writers(source: str) -> set[str]:
    """The ways in which a module writes to the terminal itself, found in its syntax tree."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("print", "Console", "rich.print") or re.fullmatch(r"typer\.(echo|secho)", called):
                found.add(called)
            if re.fullmatch(r"sys\.(__)?std(out|err)(__)?(\.buffer)?\.write(lines)?", called) or called == "os.write":
                found.add("write")
            if called == "sys.exit" and any(not isinstance(word, ast.Constant) for word in node.args):
                found.add("exit")
    return found


def test_only_the_door_writes(repository: Path) -> None:
    root = repository / "modelpick"
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root).as_posix()
        past = {(name, how) for how in writers(file.read_text(encoding="utf-8"))}
        assert name == "__main__.py" or past <= _ALLOWED, f"{name} prints by itself: {past - _ALLOWED}"


@pytest.mark.parametrize(
    "planted", ["print(x)", "sys.stdout.write(x)", "sys.stderr.write(x)", "typer.echo(x)", "Console(stderr=True)",
                "sys.exit(f'{x}')", "os.write(1, x)"],
)  # fmt: skip
def test_a_writer_of_any_kind_is_found(planted: str) -> None:
    assert writers(f"def f(x):\n    {planted}\n")


def test_foreign_text_is_what_a_terminal_would_obey() -> None:
    assert RAW.search(FOREIGN)
    assert RAW.search(ON_DISK)
