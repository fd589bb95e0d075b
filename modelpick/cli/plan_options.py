"""The options that `plan` and `up` share, the plan made from them, and how tables show its micro-batch."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from modelpick.catalog.architecture import Kind
from modelpick.cli.options import (
    Family,
    Instance,
    MaxUsdPerHour,
    Offline,
    PolicyName,
    Region,
    amount,
    not_both,
    option,
    typed,
)
from modelpick.cli.output import Output, to_stderr
from modelpick.cli.policy_options import ProductName, judged_for
from modelpick.datasets.forms import parse_columns
from modelpick.datasets.split import read_data
from modelpick.errors import UsageError
from modelpick.planning import gather
from modelpick.planning.load import LoadLimits
from modelpick.planning.plan_file import Plan
from modelpick.planning.plan_parts import PlannedRecipe
from modelpick.planning.recipe import RunSettings
from modelpick.planning.workloads import tasks
from modelpick.workload import Workload

# What a plan file fixes: with one, such an option would have no effect, and nobody would notice.
_FIXED_BY_PLAN = ("serve", "columns", "epochs", "family", "instance", "region", "max_usd_per_hour")


@dataclass(frozen=True)
class PlanOptions:
    """What a plan needs besides the workload: data, limits on money and time, where to run."""

    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FILE", help="Training data, to count its tokens and for `up` to send."),
    ] = None
    columns: Annotated[str | None, option(RunSettings, "columns")] = None
    serve: Annotated[bool, typer.Option("--serve", help="Serve it (with --data: after fine-tuning).")] = False
    epochs: Annotated[str | None, option(RunSettings, "epochs")] = None
    max_usd: Annotated[str | None, typer.Option("--max-usd", metavar="X", help="Spend at most this, in dollars.")] = (
        None
    )
    max_hours: Annotated[
        str | None, typer.Option("--max-hours", metavar="H", help="Run at most this long, in hours.")
    ] = None
    max_usd_per_hour: MaxUsdPerHour = None
    region: Region = None
    family: Family = None
    instance: Instance = None
    policy: PolicyName = None
    product: ProductName = None
    offline: Offline = False

    def check(self) -> None:
        """Raises UsageError for options that contradict each other, before anything is read or asked."""
        not_both("--instance", self.instance, "--family", self.family)
        if self.columns is not None and self.data is None:
            raise UsageError("--columns is about --data", fix="give --data FILE", code="contradiction")
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

    def prepare(
        self, out: Output, model: str, work: Mapping[str, object], market: str, limits: LoadLimits | None = None,
        live: gather.LivePrices | None = None,
    ) -> Plan:  # fmt: skip
        """The plan for a model. Raises as gather.plan does."""

        self.check()
        tuned, served = tasks(work, data=self.data is not None, serve=self.serve)
        return gather.plan(
            model,
            finetune=tuned,
            serve=served,
            data=self.data,
            columns=self.columns,
            check_data=self._check_data,
            epochs=typed(RunSettings, "epochs", self.epochs),
            region=self.region,
            market=market,
            instance=self.instance,
            family=self.family,
            max_usd=self.most_usd,
            max_hours=self.most_hours,
            max_usd_per_hour=amount("--max-usd-per-hour", self.max_usd_per_hour),
            limits=limits,
            policy=judged_for(self.policy, self.product),
            offline=self.offline,
            live=live,
            progress=_progress(out),
        )

    def check_data_for(self, plan: Plan) -> None:
        """Raises UsageError for data that the run of a plan file would refuse."""
        if plan.finetune is not None and plan.hyperparameters is not None:
            self._check_data(None, plan.finetune, plan.hyperparameters.columns)

    def _check_data(self, kind: Kind | None, workload: Workload, columns: str | None = None) -> None:
        """Read and split the data as the run will."""
        if self.data is not None:
            named = parse_columns(columns or self.columns)
            read_data(self.data, columns=named, objective=workload.objective, kind=kind)

    def refuse_what_the_plan_fixes(self, work: Mapping[str, object], region: str) -> None:
        """Raises UsageError for an option whose value a plan file, made for `region`, fixes already."""
        for name, value in {**{name: getattr(self, name) for name in _FIXED_BY_PLAN}, **work}.items():
            if value and not (name == "region" and value == region):
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{flag} is fixed by the plan",
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


RECOMPUTED = "batch: sequences at a time; r: with checkpointing, since it does not fit without"


def micro_batch(settings: Workload | PlannedRecipe) -> str:
    """Sequences at a time, marked where activations are recomputed."""
    return f"{settings.batch}{'r' if settings.gradient_checkpointing else ''}"
