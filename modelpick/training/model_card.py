"""The model card of a tuned model: lineage, declared data, hyper-parameters, before and after. Pure."""

import json
from collections.abc import Sequence
from dataclasses import fields

from modelpick.datasets.split import DataRecord
from modelpick.errors import printable
from modelpick.evaluation.score import ComparisonRow
from modelpick.licensing.license_check import Permission
from modelpick.planning.recipe import RunSettings

# Where things lie, how the run is watched, and what the card says in other words. A new setting is shown.
_NOT_SHOWN = frozenset({
    "model", "revision", "data", "eval_data", "held_out", "output", "save_steps", "log_steps", "probe", "probe_shots",
    "answers", "mix", "merge", "track", "checkpoint_to", "usd_per_hour", "trust_remote_code", "allow_pickles",
})  # fmt: skip


def card(
    name: str,
    settings: RunSettings,
    permission: Permission,
    data: DataRecord,
    results: Sequence[ComparisonRow],
    *,
    merged: bool = False,
) -> str:
    """README.md with front matter that the Hub, and modelpick's own license command, read.

    `merged`: of the adapter joined with its base, which is a model of its own.
    """
    adapter = settings.has_adapter and not merged
    front = _front(permission, "adapter" if adapter else "finetune", data.sources)
    if adapter:
        front.append("library_name: peft")
    front += ["tags:", "- modelpick", "---", ""]
    return printable("\n".join([*front, *_body(name, settings, permission, data, results)]) + "\n", keep="\n")


def merged_card(name: str, permission: Permission, adapter: Permission) -> str:
    """README.md of a base joined with an adapter that no run here made: what both are, and no more than is known."""
    front = [*_front(permission, "finetune", ()), "tags:", "- modelpick", "---", ""]
    body = [
        f"# {name}",
        "",
        f"`{permission.model}`" + (f" at `{permission.revision}`" if permission.revision else "") + ", joined with the "
        f"adapter `{adapter.model}`. How the adapter was trained is not known here.",
        "",
        "## License",
        "",
        f"Verdict under policy `{permission.policy}`: {permission.verdict} for the base, {adapter.verdict} for the "
        "adapter.",
        *(f"Decided by {by}." for by in {permission.reviewed_by} if by),
        *(f"- {text}" for text in dict.fromkeys(owed.text for owed in (*permission.obligations, *adapter.obligations))),
    ]
    return printable("\n".join([*front, *body]) + "\n", keep="\n")


def _front(permission: Permission, relation: str, sources: Sequence[str]) -> list[str]:
    """The front matter as far as every kind of model has it."""
    front = ["---", f"base_model: {json.dumps(permission.model)}", f"base_model_relation: {relation}"]
    if permission.licenses:
        front.append(f"license: {_license_tag(permission.licenses)}")
        if len(permission.licenses) > 1 or _license_tag(permission.licenses) == "other":
            front.append(f"license_name: {json.dumps(' AND '.join(permission.licenses))}")
    if sources:
        front += ["datasets:", *(f"- {json.dumps(source)}" for source in sources)]
    return front


def _body(
    name: str, settings: RunSettings, permission: Permission, data: DataRecord, results: Sequence[ComparisonRow]
) -> list[str]:
    lines = [
        f"# {name}",
        "",
        f"Fine-tuned from `{permission.model}`" + (f" at `{permission.revision}`." if permission.revision else "."),
    ]
    if permission.lineage:
        lines.append(f"Its ancestors: {', '.join(f'`{step}`' for step in permission.lineage)}.")
    lines += ["", "## License", "", f"Verdict under policy `{permission.policy}`: {permission.verdict}."]
    if permission.reviewed_by:
        lines.append(f"Decided by {permission.reviewed_by}.")
    lines += [f"- {obligation.text}" for obligation in permission.obligations]
    lines += [
        "",
        "## Data",
        "",
        f"- {data.examples} examples to train on, {data.held_out} held out",
        *([f"- {data.replayed} of them replay other data"] if data.replayed else []),
        *([f"- {data.validation} more chose the best checkpoint"] if data.validation else []),
        f"- SHA-256 `{data.sha256}`",
    ]
    lines.append(f"- declared sources: {', '.join(data.sources) if data.sources else 'none declared'}")
    lines += ["", "## Training", "", "| setting | value |", "| --- | --- |"]
    shown = [item.name for item in fields(RunSettings) if item.name not in _NOT_SHOWN]
    lines += [
        f"| {key} | {getattr(settings, key)} |"
        for key in shown
        if (settings.is_lora or not key.startswith("lora"))
        and (settings.objective != "sft" or key != "beta")
        and (settings.method == "prompt-tuning" or key != "virtual_tokens")
    ]
    lines += ["", "## Before and after", ""]
    if results:
        lines += [
            "| on | measure | cases | before | after | difference (95 %) | |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in results:
            gap = row.difference
            lines.append(
                f"| {row.name} | {row.measure} | {row.cases} | {row.before} | {row.after} | "
                f"{gap.value} ({gap.low} to {gap.high}) | {row.verdict} |"
            )
    else:
        lines.append("Not measured.")
    return lines


def _license_tag(licenses: Sequence[str]) -> str:
    return licenses[0] if len(licenses) == 1 else "other"
