"""What `plan` and `up` are told alike: the options of a plan, and the plan made from them."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelpick.cli.options import (
    Family,
    Instance,
    Offline,
    PolicyName,
    Region,
    amount,
    not_both,
    option,
    typed,
)
from modelpick.cli.output import Output, to_stderr
from modelpick.errors import UsageError
from modelpick.planning.recipe import RunSettings

if TYPE_CHECKING:
    from modelpick.planning.plan import Plan

# What a plan file has settled: beside one, such an option would be silently without effect.
_SETTLED = ("serve", "epochs", "family", "instance", "region")


@dataclass(frozen=True)
class PlanOptions:
    """What is planned beside the workload: data, caps, where."""

    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="Training data: counted, and taken along by `up`.")
    ] = None
    serve: Annotated[bool, typer.Option("--serve", help="Serve it (with --data: fine-tune it first).")] = False
    epochs: Annotated[str | None, option(RunSettings, "epochs")] = None
    max_usd: Annotated[str | None, typer.Option("--max-usd", metavar="X", help="The most it may cost, in all.")] = None
    max_hours: Annotated[str | None, typer.Option("--max-hours", metavar="H", help="The longest it may run.")] = None
    region: Region = None
    family: Family = None
    instance: Instance = None
    policy: PolicyName = None
    offline: Offline = False

    def check(self) -> None:
        """Raises UsageError for what contradicts itself, before anything is read or asked."""
        not_both("--instance", self.instance, "--family", self.family)
        if self.data is not None and not self.data.is_file():
            raise UsageError(f"there is no file {self.data}", fix="check --data", code="no_data_file")

    @property
    def most_usd(self) -> float | None:
        """The cap in dollars. Raises UsageError."""
        return amount("--max-usd", self.max_usd)

    @property
    def most_hours(self) -> float | None:
        """The cap in hours. Raises UsageError."""
        return amount("--max-hours", self.max_hours)

    def prepare(self, out: Output, model: str, work: Mapping[str, Any], market: str) -> "Plan":
        """The plan for a model. Raises as planner.prepare does."""
        from modelpick.planning import gather

        self.check()
        tuned, served = gather.tasks(work, data=self.data is not None, serve=self.serve)
        return gather.prepare(
            model,
            finetune=tuned,
            serve=served,
            data=self.data,
            epochs=typed(RunSettings, "epochs", self.epochs),
            region=self.region,
            market=market,
            instance=self.instance,
            family=self.family,
            max_usd=self.most_usd,
            max_hours=self.most_hours,
            policy=self.policy,
            offline=self.offline,
            progress=_progress(out),
        )

    def refuse_what_is_settled(self, work: Mapping[str, Any], region: str) -> None:
        """Raises UsageError for an option that a plan file, which is for `region`, has settled already."""
        for name, value in {**{name: getattr(self, name) for name in _SETTLED}, **work}.items():
            if value and not (name == "region" and value == region):
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{flag} was settled when the plan was made",
                    fix=f"leave out {flag}, or make the plan again with it",
                    code="contradiction",
                )


def _progress(out: Output) -> Callable[[int, int], None] | None:
    """A bar on stderr while a large file is read, on a terminal only."""
    if out.quiet or out.as_json or not sys.stderr.isatty():
        return None

    def show(done: int, size: int) -> None:
        columns = 30
        filled = columns if size == 0 else round(columns * done / size)
        end = "\n" if done == size else ""
        bar = "#" * filled + "." * (columns - filled)
        to_stderr(f"counting tokens {bar} {done / 1e6:.0f} MB{end}", redraw=True)

    return show
