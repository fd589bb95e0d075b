"""Writes docs/settings.md from the fields of the dataclasses: `python scripts/settings_page.py`.

tests/test_settings_page.py compares; this brings the page up to date when a setting changed.
"""

from pathlib import Path

from modelpick.planning.recipe import RunSettings
from modelpick.schema import Setting, settings_of
from modelpick.settings import DataSettings, SettingsFile
from modelpick.workload import Only, Workload

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
_HEAD = """# Settings

Each setting is one field of a dataclass: its name is the flag, the key of a JSON line, of `run.json` and of a job file,
and the field states which values it takes, what it does and where its default comes from. This page is written from the
fields by `python scripts/settings_page.py`; CONTRIBUTING.md says how to add one.
"""
_COLUMNS = "| name | takes | default | does | source |\n| --- | --- | --- | --- | --- |"
_PARTS: tuple[tuple[type, str, str], ...] = (
    (
        Workload,
        "What a model is asked to do",
        "`modelpick estimate` takes all of them, `--cases` as keys of a line; `recommend`, `cost`, `plan`, `up` and "
        "`serve` take those that apply. Fields of `Workload` in modelpick/workload.py.",
    ),
    (
        RunSettings,
        "A fine-tuning run",
        "`modelpick finetune` takes all of them, `run.json` and a job file hold them under `settings`. What is left "
        "out is chosen for the device. Fields of `RunSettings` in modelpick/planning/recipe.py.",
    ),
    (
        SettingsFile,
        "modelpick.toml",
        "In the working folder, or for all folders in `~/.config/modelpick/`; a flag and `MODELPICK_POLICY`, "
        "`MODELPICK_REGION` take precedence. Fields of `SettingsFile` in modelpick/settings.py.",
    ),
    (
        DataSettings,
        "The table data of modelpick.toml",
        "`MODELPICK_DATA` takes precedence over `use`. Fields of `DataSettings` in modelpick/settings.py.",
    ),
)


def page() -> str:
    """The whole page, as it should stand in docs/settings.md."""
    parts = [_HEAD]
    for kind, title, text in _PARTS:
        rows = "\n".join(_row(setting) for setting in settings_of(kind))
        parts.append(f"\n## {title}\n\n{text}\n\n{_COLUMNS}\n{rows}\n")
    return "".join(parts)


def _row(setting: Setting) -> str:
    shown = setting.shown_default
    if not shown and isinstance(setting.default, bool):
        shown = "yes" if setting.default else "no"
    meaning = f"{setting.help}{_only(setting)}{_former(setting)}"
    return f"| `{setting.name}` | {setting.wanted} | {shown} | {meaning} | {setting.source} |"


def _only(setting: Setting) -> str:
    words = {Only("serve"): " Serving only.", Only("finetune"): " Fine-tuning only.", Only(lora=True): " LoRA only."}
    return "".join(text for note, text in words.items() if note in setting.notes)


def _former(setting: Setting) -> str:
    former = ", ".join(f"`{name}`" for name in setting.former_names)
    return f" Older files call it {former}." if former else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
