"""The real program, run in this process."""

from tests.cli.conftest import modelpick  # noqa: F401
