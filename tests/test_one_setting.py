"""A field is the setting: one name, one help, one range, by flag, by JSON line, by run file and by job file."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import click
import pytest
import typer

from modelpick.cli import options
from modelpick.cli.main import register
from modelpick.planning.recipe import SHARED, RunSettings, run_from_json, settings_from
from modelpick.schema import Bounds, Setting, read_options, read_value, settings_of
from modelpick.workload import Workload
from tests.cli.conftest import Run, modelpick

__all__ = ["modelpick"]

KINDS = (Workload, RunSettings)
EVERY = [(kind, setting) for kind in KINDS for setting in settings_of(kind)]
COMMANDS = ("recommend", "estimate", "cost", "plan", "up", "finetune", "serve")
# Files of the command, not settings of a run: what `plan` counts and where it writes.
OTHER_THINGS = {("plan", "data"), ("up", "data"), ("cost", "data"), ("plan", "output")}
NEEDED = {"model": "m", "data": "d", "output": "o"}


def _name(pair: tuple[type, Setting]) -> str:
    return f"{pair[0].__name__}.{pair[1].name}"


@pytest.mark.parametrize("pair", EVERY, ids=_name)
def test_a_field_says_all_there_is_to_say(pair: tuple[type, Setting]) -> None:
    setting = pair[1]
    assert setting.help.endswith(".")
    assert setting.source
    assert setting.kind is bool or setting.bounds or setting.choices or setting.pattern
    assert setting.flag == f"--{setting.name.replace('_', '-')}"
    assert setting.name in {item.name for item in fields(pair[0])}


def test_what_two_records_share_is_defined_once() -> None:
    """But for the methods, of which a fine-tuning has fewer, and the names of older files."""
    mine, theirs = ({setting.name: setting for setting in settings_of(kind)} for kind in KINDS)
    shared = mine.keys() & theirs.keys()
    assert shared == set(SHARED)
    assert len(shared) == 13
    for name in shared:
        for part in ("kind", "bounds", "pattern", "help", "source", "choices"):
            if name != "method" or part not in ("kind", "choices"):
                assert getattr(mine[name], part) == getattr(theirs[name], part), f"{name}: {part}"
    assert set(theirs["method"].choices) < set(mine["method"].choices)


def _options(command: str) -> dict[str, click.Parameter]:
    app = typer.Typer()
    register(app, command)
    return {flag: option for option in typer.main.get_command(app).params for flag in option.opts}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_takes_a_setting_by_its_flag_with_its_help(command: str) -> None:
    offered = _options(command)
    kinds = {name: kind for kind in KINDS for name in (setting.name for setting in settings_of(kind))}
    if command != "finetune":
        kinds |= {setting.name: Workload for setting in settings_of(Workload)}
    taken = {name for name in kinds if f"--{name.replace('_', '-')}" in offered}
    for name in taken:
        if (command, name) not in OTHER_THINGS:
            expected = options.option(kinds[name], name)
            assert offered[f"--{name.replace('_', '-')}"].help == expected.help  # type: ignore[attr-defined]
    assert {"method", "context"} <= taken
    if command == "estimate":
        assert {setting.name for setting in settings_of(Workload)} <= taken
    if command == "finetune":
        assert {setting.name for setting in settings_of(RunSettings)} - {"model"} <= taken


def _at_the_ends(setting: Setting) -> tuple[list[Any], list[Any]]:
    """Values that are just allowed, and values that just are not."""
    if setting.choices:
        return list(setting.choices), ["none of these"]
    if setting.pattern is not None:
        return (["4.42", "5"], ["new", ""]) if setting.name == "stack_version" else (["a b", "x"], ["", "  "])
    bounds = setting.bounds
    if bounds is None:
        return [True, False], ["maybe", 1]
    low, high = bounds.smallest, bounds.largest
    if setting.kind is int:
        return [int(low), int(high)], [int(low) - 1, int(high) + 1, int(low) + 0.5, math.nan]
    inside_low = math.nextafter(low, math.inf) if bounds.above else float(low)
    inside_high = math.nextafter(high, -math.inf) if bounds.below else float(high)
    outside = [math.nextafter(inside_low, -math.inf), math.nextafter(inside_high, math.inf), math.nan]
    return [inside_low, inside_high], outside


@pytest.mark.parametrize("pair", EVERY, ids=_name)
def test_the_value_at_each_bound_is_taken_everywhere(pair: tuple[type, Setting]) -> None:
    kind, setting = pair
    for value in _at_the_ends(setting)[0]:
        assert read_options(kind, {setting.name: value}, unknown="x") == {setting.name: value}
        if setting.kind is not bool:
            assert options.typed(kind, setting.name, str(value)) == value
        if kind is RunSettings:
            settings = {**NEEDED, setting.name: value}
            assert getattr(settings_from(settings), setting.name) == value
            assert getattr(run_from_json({"schema_version": 1, "settings": settings}), setting.name) == value


Refusal = tuple[str, str]
Route = Callable[[str, Any], Refusal | None]


@dataclass(frozen=True)
class Routes:
    """The ways a setting reaches the program, each through the program itself."""

    modelpick: Run
    folder: Path

    def of(self, kind: type, *, flags: bool) -> dict[str, Route]:
        if kind is Workload:
            return {"case": self.case, **({"flag": self.estimate_flag} if flags else {})}
        return {"run": self.run_file, "job": self.job_file, **({"flag": self.finetune_flag} if flags else {})}

    def estimate_flag(self, name: str, value: Any) -> Refusal | None:
        return self._refusal("estimate", "Qwen/Qwen3-8B", f"--{name.replace('_', '-')}={value}", "--offline")

    def finetune_flag(self, name: str, value: Any) -> Refusal | None:
        given = [f"--{key}=x" for key in ("data", "output") if key != name]
        return self._refusal("finetune", "m", *given, f"--{name.replace('_', '-')}={value}", "--offline")

    def case(self, name: str, value: Any) -> Refusal | None:
        file = self._write({"model": "Qwen/Qwen3-8B", name: value})
        error = self.modelpick("estimate", "--cases", file, "--offline", "--json").json["results"][0].get("error")
        return (error["message"], error["fix"]) if error else None

    def run_file(self, name: str, value: Any) -> Refusal | None:
        record = {"schema_version": 1, "settings": {**NEEDED, name: value}}
        return self._refusal("finetune", "--run", self._write(record), "--output=o", "--offline")

    def job_file(self, name: str, value: Any) -> Refusal | None:
        job = {"schema_version": 1, "kind": "finetune", "settings": {**NEEDED, name: value}}
        return self._refusal("finetune", "--job", self._write(job), "--offline")

    def _write(self, content: Mapping[str, Any]) -> str:
        file = self.folder / "file.json"
        file.write_text(json.dumps(content))
        return str(file)

    def _refusal(self, *words: str) -> Refusal | None:
        answer = self.modelpick(*words, "--json")
        return (answer.error["message"], answer.error["fix"]) if answer.code == 2 else None


def _refusals(routes: Mapping[str, Route], name: str, value: Any) -> set[Refusal | None]:
    return {route(name, value) for route in routes.values()}


@pytest.mark.parametrize("pair", EVERY, ids=_name)
def test_the_value_beyond_is_refused_in_one_sentence(
    pair: tuple[type, Setting], modelpick: Run, tmp_path: Path
) -> None:
    kind, setting = pair
    by_flag = setting.kind is not bool and setting.name != "model"  # typer reads switches; MODEL is no option
    routes = Routes(modelpick, tmp_path).of(kind, flags=by_flag)
    for value in _at_the_ends(setting)[1]:
        if not (isinstance(value, float) and math.isnan(value)):  # JSON has no NaN: a file with one is refused whole
            (refusal,) = _refusals(routes, setting.name, value)
            assert refusal is not None
            assert setting.name in refusal[0]


@dataclass(frozen=True)
class Planted:
    """The bug that the test above is for: a bound changed in one place."""

    batch: Annotated[int, Bounds(1, 10)] = 1
    lora_dropout: Annotated[float, Bounds(0, 0.9)] = 0


@pytest.mark.parametrize(("name", "value"), [("batch", 1_000_001), ("lora_dropout", 1.0)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_changed_in_one_place_is_seen(
    kind: type, name: str, value: Any, modelpick: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(_: type, name: str, value: object, **more: Any) -> Any:
        return read_value(Planted, name, value, **more)

    routes = Routes(modelpick, tmp_path).of(kind, flags=True)
    assert len(_refusals(routes, name, value)) == 1
    monkeypatch.setattr(options, "read_value", planted)
    assert len(_refusals(routes, name, value)) > 1


@pytest.mark.parametrize(
    ("former", "name", "value"), [("accumulation", "gradient_accumulation", 4), ("schedule", "scheduler", "linear"),
                                  ("warmup", "warmup_share", 0.25)],
)  # fmt: skip
def test_a_file_of_an_older_version_is_read_and_written_with_one_name(former: str, name: str, value: Any) -> None:
    read = run_from_json({"schema_version": 1, "settings": {**NEEDED, former: value}})
    assert getattr(read, name) == value
    assert former not in read.as_json()
    assert read.as_json()[name] == value
    assert run_from_json({"schema_version": 1, "settings": read.as_json()}) == read


def test_no_other_word_means_gradient_accumulation() -> None:
    """The former name may be read (FormerNames) and stays in result.json, where programs know it; nowhere else."""
    root = Path(options.__file__).parents[1]
    word = re.compile(r"""["'.]accumulation["' =)]|\baccumulation\s*[=:]""")
    places = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if word.search(line)
    ]
    assert [place.split(":")[0] for place in places] == ["planning/recipe.py", *["training/records.py"] * 2], places


@pytest.mark.parametrize("shared", SHARED)
def test_what_is_estimated_is_what_is_set(shared: str) -> None:
    """Each setting that a run and the estimate share reaches the estimate with the run's value."""
    setting = next(item for item in settings_of(RunSettings) if item.name == shared)
    needed = NEEDED | ({"method": "prompt-tuning"} if shared == "virtual_tokens" else {})
    for value in _at_the_ends(setting)[0]:
        settings = settings_from({**needed, shared: value})
        assert getattr(settings.workload(), shared) == value
