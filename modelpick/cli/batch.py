"""Several models in one call: one result each, in the order asked, and the most severe exit code."""

from collections.abc import Iterable

from modelpick.errors import EXIT_CANNOT_TELL, EXIT_NO, EXIT_REMOTE, EXIT_USAGE, EXIT_YES

_SEVERITY = (EXIT_REMOTE, EXIT_USAGE, EXIT_NO, EXIT_CANNOT_TELL, EXIT_YES)


def worst(codes: Iterable[int]) -> int:
    """The exit code of a batch: the most severe of 4, 2, 1, 3, 0."""
    return min(codes, key=_SEVERITY.index, default=EXIT_YES)
