"""docs/settings.md says what the fields say."""

import importlib.util
from pathlib import Path
from types import ModuleType

from modelpick.planning.recipe import RunSettings
from modelpick.schema import settings_of
from modelpick.settings import DataSettings, SettingsFile
from modelpick.workload import Workload

_ROOT = Path(__file__).resolve().parent.parent


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", _ROOT / "scripts" / "settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_fields_say() -> None:
    page = (_ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == _script().page(), "run: python scripts/settings_page.py"


def test_every_setting_has_a_row() -> None:
    rows = [line for line in _script().page().splitlines() if line.startswith("| `")]
    wanted = [
        setting.name for kind in (Workload, RunSettings, SettingsFile, DataSettings) for setting in settings_of(kind)
    ]
    assert [row.split("`")[1] for row in rows] == wanted
    assert all(row.count(" | ") == 4 for row in rows)
