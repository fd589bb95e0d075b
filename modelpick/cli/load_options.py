"""The options that say how a server must answer under load: the same for `cost` and `plan`."""

from dataclasses import dataclass
from typing import Annotated

import typer

from modelpick.cli.options import amount
from modelpick.errors import UsageError
from modelpick.planning.load import LoadLimits


@dataclass(frozen=True)
class ServedLoadOptions:
    """Limits on the wait and on the speed of each request, and how many arrive."""

    max_first_token_s: Annotated[
        str | None,
        typer.Option(
            "--max-first-token-s",
            "--max-first-token",
            metavar="S",
            help="Longest likely wait for the first token, in seconds.",
        ),
    ] = None
    min_tokens_per_second: Annotated[
        str | None,
        typer.Option("--min-tokens-per-second", metavar="X", help="Fewest likely tokens/s of each request."),
    ] = None
    requests_per_second: Annotated[
        str | None,
        typer.Option("--requests-per-second", metavar="X", help="Requests that arrive. Default: --batch at a time."),
    ] = None

    def given(self) -> dict[str, str | None]:
        """What was typed, by flag."""
        return {
            "--max-first-token-s": self.max_first_token_s,
            "--min-tokens-per-second": self.min_tokens_per_second,
            "--requests-per-second": self.requests_per_second,
        }

    def limits(self) -> LoadLimits:
        """The limits as numbers. Raises UsageError."""
        return LoadLimits(*(amount(flag, text) for flag, text in self.given().items()))


def only_serving(given: dict[str, str | None]) -> None:
    """Raises UsageError for options of a server where nothing is served."""
    for flag, value in given.items():
        if value is not None:
            raise UsageError(f"{flag} does not apply to task finetune", fix=f"leave out {flag}", code="contradiction")
