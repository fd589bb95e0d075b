"""What can go wrong, as types: one sentence, what mends it, and the contracted exit code.

Exit codes (docs/contracts.md): 0 yes, 1 the answer is no, 2 usage, 3 cannot tell, 4 Hub/AWS/credentials/quota,
5 something may still be billing, 130 interrupted.
"""

from collections.abc import Iterable
from difflib import get_close_matches

EXIT_YES = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_CANNOT_TELL = 3
EXIT_REMOTE = 4
EXIT_MAY_BE_BILLING = 5
EXIT_INTERRUPTED = 130


class ModelpickError(Exception):
    """Anything a user should read as one sentence and a fix.

    `code` is a stable snake_case word for programs, `message` says what is wrong, `fix` what mends it.
    """

    exit_code = EXIT_NO

    def __init__(self, message: str, *, fix: str, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code

    def as_json(self) -> dict[str, str]:
        """The `error` object of the JSON contract."""
        return {"code": self.code, "message": self.message, "fix": self.fix}


class UsageError(ModelpickError):
    """The command, an option, or a file the user wrote is not as it must be."""

    exit_code = EXIT_USAGE


class CannotTellError(ModelpickError):
    """modelpick does not know enough to answer, and says so instead of guessing."""

    exit_code = EXIT_CANNOT_TELL


class RemoteError(ModelpickError):
    """The Hub, AWS, credentials or a quota stand in the way."""

    exit_code = EXIT_REMOTE


class MayBeBillingError(ModelpickError):
    """Something may still be running and costing money."""

    exit_code = EXIT_MAY_BE_BILLING


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of what a library's error says, or its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """The clause `did you mean a, b?` for a mistyped word, or an empty string when nothing is near."""
    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=count, cutoff=0.6)
    return f"did you mean {' or '.join(by_lower[name] for name in found)}?" if found else ""
