"""run.json and result.json as frozen dataclasses: what a run was made from, and what came of it.

Older files are read: run.json of schema_version 1, which called `batch_halvings` `halvings` and three settings by other
names (recipe.py has them), and result.json with `accumulation`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from modelpick import schema
from modelpick.datasets.split import DataRecord
from modelpick.errors import UsageError
from modelpick.evaluation.score import ComparisonRow
from modelpick.files import read_json, write_atomically
from modelpick.licensing.license_check import Permission
from modelpick.licensing.outcome import Obligation
from modelpick.planning.recipe import SCHEMA_VERSION, BatchHalving, RunSettings, run_from_json
from modelpick.schema import FormerNames, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenseRecord:
    """The `license` object of run.json and result.json: what the license check permitted, and who decided."""

    model: str
    revision: str | None = None
    verdict: str
    policy: str
    licenses: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    lineage: tuple[str, ...] = ()
    reviewed_by: str | None = None


def license_record(permission: Permission) -> LicenseRecord:
    """The recorded part of a permission: all but the texts of the notices, which lie next to the tuned model."""
    return LicenseRecord(
        model=permission.model,
        revision=permission.revision,
        verdict=permission.verdict.value,
        policy=permission.policy,
        licenses=permission.licenses,
        obligations=permission.obligations,
        lineage=permission.lineage,
        reviewed_by=permission.reviewed_by,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """run.json: enough to repeat the run (`modelpick finetune --run run.json --output OTHER`)."""

    schema_version: int = SCHEMA_VERSION
    settings: RunSettings
    chosen_because: tuple[str, ...] = ()
    estimated_high_gib: float = 0.0
    license: LicenseRecord | None = None
    data: DataRecord = field(default_factory=DataRecord)
    base_sha256: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)  # of the packages that decide the bits of a run
    batch_halvings: Annotated[tuple[BatchHalving, ...], FormerNames(("halvings",))] = ()


def read_run(file: Path) -> RunRecord:
    """A run.json of this version or an older one.

    Raises UsageError: "no_file", "bad_run_file" for a file that is damaged, "unknown_schema" for one of another
    version, and the code of the setting for a value that is out of its bounds.
    """
    if not file.exists():
        raise UsageError(f"there is no file {file}", fix="name a file that exists", code="no_file")
    fix = "restore the run.json written by the run, or start another run with another --output"
    table = read_json(file, code="bad_run_file", fix=fix)
    settings = run_from_json(table)
    table = {**table, "schema_version": SCHEMA_VERSION, "settings": to_json(settings)}
    return schema.read(RunRecord, table, str(file), code="bad_run_file", ignore_unknown=True)


def write_run(file: Path, record: RunRecord) -> None:
    """Write run.json whole. Raises UsageError when it cannot be written."""
    write_atomically(file, json.dumps(to_json(record), indent=1) + "\n")


def record_halvings(file: Path, halvings: tuple[BatchHalving, ...]) -> None:
    """Add halvings to run.json: without them neither --resume nor --run would take the same steps."""
    write_run(file, replace(read_run(file), batch_halvings=halvings))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedRecord:
    """How many layers hold quantized weights, and which linear layers stay in full precision on purpose."""

    quantized: int
    kept_in_full_precision: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneResult:
    """result.json. `model` is the tuned model's folder, None while the run is interrupted; `best_step` the step that it
    is of, where evaluations during training chose it; `loss_curve` is a line of text; `probe` and `probe_few_shot` are
    the figures before and after, where the probe was asked."""

    schema_version: int = 1
    status: Literal["done", "interrupted"]
    model: str | None = None
    base: str
    step: int
    best_step: int | None = None
    batch: int
    gradient_accumulation: Annotated[int, FormerNames(("accumulation",))]
    quantized_layers: QuantizedRecord | None = None
    comparisons: tuple[ComparisonRow, ...] = ()
    loss_curve: str = ""
    license: LicenseRecord
    notes: tuple[str, ...] = ()
    probe: Mapping[str, Mapping[str, object]] | None = None
    probe_few_shot: Mapping[str, Mapping[str, object]] | None = None

    def as_json(self) -> dict[str, object]:
        """The file's object, with `accumulation` too: the name that readers of result.json knew before 2026-12."""
        table = to_json(self) | {"accumulation": self.gradient_accumulation}
        return {name: value for name, value in table.items() if value is not None or not name.startswith("probe")}


def write_result(file: Path, result: FinetuneResult) -> None:
    """Write result.json whole. Raises UsageError when it cannot be written."""
    write_atomically(file, json.dumps(result.as_json(), indent=1) + "\n")


def finished(file: Path) -> FinetuneResult | None:
    """The result of a run that is over, so that re-running the command ends at once; None for any other."""
    try:
        table = read_json(file, code="bad_result")
        result = schema.read(FinetuneResult, table, str(file), code="bad_result", ignore_unknown=True)
    except UsageError:
        return None
    return result if result.status == "done" else None
