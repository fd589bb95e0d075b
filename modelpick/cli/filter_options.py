"""The options of `recommend` that say which models and instances are ranked, and in which order."""

from dataclasses import dataclass
from typing import Annotated

import typer

from modelpick.catalog import languages
from modelpick.cli.options import Family, amount, not_both, one_of, option, parameter_count, whole_number
from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.offers.embedded import families_named
from modelpick.offers.own import own_offer
from modelpick.offers.price import MARKETS, Market, Offer
from modelpick.planning.engines import ENGINE_NAMES, STACKS
from modelpick.planning.filters import FINDERS, SORT_KEYS, USE_CASES, Filters
from modelpick.planning.load import LoadLimits
from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """Which models and instances are ranked, and in which order."""

    use_case: Annotated[
        str | None, typer.Option("--for", metavar="USE", help=f"What it is for: {', '.join(USE_CASES)}.")
    ] = None
    languages: Annotated[
        str | None, typer.Option("--languages", metavar="en,de", help="Languages that the card, or others, must name.")
    ] = None
    publisher: Annotated[
        str | None, typer.Option("--publisher", metavar="A,B", help="Organisations on the Hub, e.g. mistralai.")
    ] = None
    min_params: Annotated[
        str | None, typer.Option("--min-params", metavar="N", help="Smallest size, as names say it, e.g. 7B.")
    ] = None
    max_params: Annotated[
        str | None, typer.Option("--max-params", metavar="N", help="Largest size, as names say it, e.g. 14B.")
    ] = None
    min_score: Annotated[str | None, typer.Option("--min-score", metavar="X", help="Least score.")] = None
    family: Family = None
    instance: Annotated[
        str | None, typer.Option("--instance", metavar="A,B", help="Instance types, e.g. g5.xlarge,g6.xlarge.")
    ] = None
    gpu: Annotated[
        str | None,
        typer.Option("--gpu", metavar="CARD", help='Your own card: "RTX 4090", "2x RTX 3090", 24GiB.'),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option("--memory", metavar="GIB", help="Memory that your laptop's or Mac's GPU shares with the CPU."),
    ] = None
    gpus: Annotated[str | None, typer.Option("--gpus", metavar="N|any", help=option(Workload, "gpus").help)] = None
    market: Annotated[
        str | None, typer.Option("--market", metavar="|".join(MARKETS), help="Which prices. Default: on-demand.")
    ] = None
    engine: Annotated[str | None, typer.Option("--engine", metavar="E", help=f"Server: {', '.join(ENGINE_NAMES)}.")] = (
        None
    )
    max_usd_per_hour: Annotated[
        str | None, typer.Option("--max-usd-per-hour", metavar="X", help="Most dollars an hour.")
    ] = None
    max_usd_per_month: Annotated[
        str | None,
        typer.Option("--max-usd-per-month", metavar="X", help="Most dollars a month, always on, disk included."),
    ] = None
    sort: Annotated[str, typer.Option("--sort", metavar="|".join(SORT_KEYS), help="Sort order.")] = "quality"

    def filters(self, strict: bool, limits: LoadLimits) -> Filters:
        """The filters of the ranking. Raises UsageError for bad options, and for those that contradict each other."""
        order = one_of("--sort", self.sort, SORT_KEYS)
        not_both("--instance", self.instance, "--family", self.family)
        low, high = parameter_count("--min-params", self.min_params), parameter_count("--max-params", self.max_params)
        if low is not None and high is not None and low > high:
            raise UsageError("--min-params is above --max-params", fix="swap them", code="contradiction")
        return Filters(
            use_case=None if self.use_case is None else one_of("--for", self.use_case, USE_CASES),
            strict=strict,
            languages=() if self.languages is None else languages.asked(self.languages),
            publishers=_listed("--publisher", self.publisher, "mistralai,google"),
            min_parameters=low,
            max_parameters=high,
            min_score=amount("--min-score", self.min_score),
            families=families_named("any" if self.gpus == "any" and self.family is None else self.family),
            instances=tuple(
                embedded.instance(name).name for name in _listed("--instance", self.instance, "g5.xlarge,g6.xlarge")
            ),
            own=self._own(),
            any_gpus=self.gpus == "any",
            max_usd_per_hour=amount("--max-usd-per-hour", self.max_usd_per_hour),
            max_usd_per_month=amount("--max-usd-per-month", self.max_usd_per_month),
            limits=limits,
            sort=order,
        )

    def _own(self) -> Offer | None:
        """The card of one's own that was named. Raises UsageError, also for what only a rented machine has."""
        if self.gpu is None and self.memory is None:
            return None
        flag, named = ("--gpu", self.gpu) if self.gpu is not None else ("--memory", self.memory)
        if self.gpus is not None:
            raise UsageError(
                f"{flag} and --gpus contradict each other", fix=f'leave out --gpus, and write {flag} "2x {named}"',
                code="contradiction",
            )  # fmt: skip
        for other, value in (
            ("--instance", self.instance), ("--family", self.family), ("--market", self.market),
            ("--max-usd-per-hour", self.max_usd_per_hour), ("--max-usd-per-month", self.max_usd_per_month),
            ("--sort cost", "cost" if self.sort == "cost" else None),
        ):  # fmt: skip
            if value is not None:
                raise UsageError(
                    f"{flag} names a card of your own, which has no price, and {other} is about rented ones",
                    fix=f"leave out {flag} or {other}",
                    code="contradiction",
                )
        return own_offer(self.gpu, self.memory)

    def priced_on(self) -> Market:
        """The market that was asked for. Raises UsageError."""
        return one_of("--market", self.market or MARKETS[0], MARKETS)

    def workload(self) -> dict[str, object]:
        """What these options set of the workload, by its names; None: not asked. Raises UsageError."""
        engine = None if self.engine is None else one_of("--engine", self.engine, ENGINE_NAMES)
        gpus = None if self.gpus == "any" else whole_number("--gpus", self.gpus, largest=4096)
        return {"gpus": gpus, "stack": None if engine is None else STACKS[engine]}


def agree(filters: Filters, task: str, engine: str | None) -> None:
    """Raises UsageError for filters that say nothing of the task, or of what none of our servers is for."""
    if task == "serve" and filters.use_case in FINDERS and (engine is not None or filters.limits.asked):
        flag = "--engine" if engine is not None else "limits on the wait"
        raise UsageError(
            f"{flag} does not apply to --for {filters.use_case}: `serve` starts a server for .gguf files alone",
            fix=f"leave out {flag}",
            code="contradiction",
        )
    if task == "serve":
        return
    if filters.use_case in FINDERS:
        raise UsageError(
            f"--for {filters.use_case} does not apply to task finetune: `finetune` trains what writes or classifies",
            fix="leave out --for, or --task and --method",
            code="contradiction",
        )
    if filters.max_usd_per_month is not None:
        raise UsageError(
            "--max-usd-per-month does not apply to task finetune, which ends", fix="use --max-usd-per-hour",
            code="contradiction",
        )  # fmt: skip


def _listed(flag: str, text: str | None, example: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in (text or "").split(",") if word.strip())
    if text is not None and not words:
        raise UsageError(f"{flag} is empty", fix=f"give names joined by commas, such as {example}", code="empty_list")
    return words
