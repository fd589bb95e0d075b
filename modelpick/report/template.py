"""The templates of the pages: text from outside is escaped, and a value that is not there is an error. Pure text."""

from pathlib import Path

from modelpick.errors import printable

_TEMPLATES = Path(__file__).resolve().parent


def rendered(name: str, **values: object) -> str:
    """The page that the template `name` gives with these values."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return printable(templates.get_template(name).render(**values), keep="\n")
