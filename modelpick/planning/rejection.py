"""Why a model cannot be placed, or not on one offer. Pure."""

from dataclasses import dataclass
from typing import Literal

from modelpick.errors import EXIT_NO, CannotTellError, ModelpickError, UsageError
from modelpick.offers.price import Offer

Cause = Literal[
    "context", "checkpoint", "engine", "gpus", "dtype", "memory", "not_offered", "price_unknown", "too_expensive",
    "cap", "no_offer", "settings", "limits",
]  # fmt: skip


class NoPlan(ModelpickError):
    """It cannot be planned, and the answer is no: the reason, and a fix."""

    exit_code = EXIT_NO


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a model cannot be placed, or not on one offer. `code` and `exit_code` are those of the error that says so."""

    cause: Cause
    code: str
    reason: str
    remedy: str
    offer: Offer | None = None
    free_gib: float | None = None  # at the upper bound, where memory was asked
    exit_code: int = EXIT_NO

    def as_json(self) -> dict[str, str]:
        """`not_placed` in `estimate --json` and `cost --json`."""
        return {"cause": self.cause, "code": self.code, "reason": self.reason, "fix": self.remedy}

    def error(self, subject: str = "") -> ModelpickError:
        """The same as an error for a command."""
        kind = CannotTellError if self.exit_code == CannotTellError.exit_code else NoPlan
        return kind(f"{subject}: {self.reason}" if subject else self.reason, fix=self.remedy, code=self.code)


def rejection_of(error: ModelpickError, cause: Cause) -> Rejection:
    """What an error says of a model, as a rejection whatever the offer."""
    exit_code = EXIT_NO if isinstance(error, UsageError) else error.exit_code
    return Rejection(cause, error.code, error.message, error.fix, exit_code=exit_code)
