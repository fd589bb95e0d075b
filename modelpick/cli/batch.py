"""Several models in one call: one result each, in the order asked, and the most severe exit code."""

from collections.abc import Iterable

from modelpick.errors import EXIT_CANNOT_TELL, EXIT_NO, EXIT_REMOTE, EXIT_USAGE, EXIT_YES

VERDICT_EXIT = {"allow": EXIT_YES, "conditions": EXIT_YES, "review": EXIT_CANNOT_TELL, "deny": EXIT_NO}
"""What a license verdict is as an exit code."""

_SEVERITY = (EXIT_REMOTE, EXIT_USAGE, EXIT_NO, EXIT_CANNOT_TELL, EXIT_YES)


def worst(codes: Iterable[int]) -> int:
    """The exit code of a batch: the most severe of 4, 2, 1, 3, 0."""
    return min(codes, key=_SEVERITY.index, default=EXIT_YES)
