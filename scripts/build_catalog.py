"""Builds the embedded catalog, modelpick/catalog/data/models.jsonl, from a folder of collected facts.

    python scripts/build_catalog.py FACTS_DIR [--out FILE]

FACTS_DIR holds models.json (rows under normalised field names, each with the key of its source), configs/ (config.json
values entered by hand, nearest to the original and therefore first), quality.json (one score a model), licenses.json
(the Hub's license ids) and license_verdicts.json (of which only what the cards say is taken, never a verdict).
The output is one header line (sources with their dates, known renames) and one line a model, sorted by id: the same
facts give the same bytes.

Rules: the source nearest to config.json wins and what it overrules is kept under `conflicts`; what nobody states is
left out (null), never guessed; what is derived says from what (`same shape as ID`, `derived: ...`).
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from catalog_configs import (
    HUB_ID,
    MIXED,
    believable_parameters,
    derived_tie,
    native_config,
    parameters_of,
    shape_of,
)

SCHEMA_VERSION = 1
OUT = Path(__file__).resolve().parent.parent / "modelpick" / "catalog" / "data" / "models.jsonl"

# What the boards' abbreviations stand for, and the day their rows were read (quality_notes.md of the facts).
BOARDS = {
    "AA": ("Artificial Analysis", "2026-08-22"),
    "ArenaText": ("LMArena, text", "2026-08-19"),
    "ArenaWeb": ("LMArena, web development", "2026-08-19"),
    "EuroEval": ("EuroEval", "2026-04-20"),
    "LiveBench": ("LiveBench", "2026-07"),
    "Aider": ("Aider polyglot", None),
    "OLLB2": ("Open LLM Leaderboard v2 (archived)", "2025-05"),
    "Vendor": ("the makers' own figures", None),
}

# Repositories and organisations that moved; the Hub answers 307 for the old name. Organisation entries end in "/".
# Sources: huggingface.co redirects as noted in hub_notes.md and license_traps.md (27) of the facts; the un-prefixed
# names are the Hub's own legacy ids, moved to their organisations in 2024.
RENAMES = {
    "THUDM/": "zai-org/",
    "CohereForAI/": "CohereLabs/",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "openai-gpt": "openai-community/openai-gpt",
    "t5-3b": "google-t5/t5-3b",
    "t5-11b": "google-t5/t5-11b",
}

HYBRIDS = ("nemotron_h",)  # where the facts know how many layers of each kind there are, but not all their widths
CONFIG_SOURCES = ("cfg", "aic")  # config.json itself, entered by hand or verbatim
# RoBERTa numbers positions from padding_idx + 1 = 2, so two of max_position_embeddings are not usable
# (transformers, models/roberta/modeling_roberta.py, create_position_ids_from_input_ids).
POSITIONS_LOST = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}


def build(facts: Path) -> list[dict[str, Any]]:
    """The header and the rows, in file order."""
    document = json.loads((facts / "models.json").read_text("utf-8"))
    quality = json.loads((facts / "quality.json").read_text("utf-8"))
    cards = json.loads((facts / "license_verdicts.json").read_text("utf-8"))
    configs = {
        _renamed(path.stem.replace("--", "/")): json.loads(path.read_text("utf-8"))
        for path in sorted((facts / "configs").glob("*.json"))
    }
    licenses = json.loads((facts / "licenses.json").read_text("utf-8"))["licenses"]
    hub_licenses = {row["hub_id"] for row in licenses if row["hub_id"]}
    scores = {id.lower(): score for id, score in quality.items()}
    told = {row["id"].lower(): row for row in cards["models"] if row["confidence"] in ("high", "medium")}
    raw = merged_by_id(document["models"], prefer=set(quality) | set(configs))
    raw += [{"id": id, "sources": {}} for id in configs if id not in {row["id"] for row in raw}]
    templates = [(row, configs[row["id"]]) for row in raw if row["id"] in configs and row.get("params_total")]
    described = [row for row in raw if row.get("model_type") and row.get("vocab_size") and shape_of(row)]
    by_shape = {shape_of(row): row for row in sorted(described, key=lambda row: row.get("downloads_30d") or 0)}
    hybrids = {shape_of(row): row for row in described if row.get(MIXED[0])}
    rows = []
    for fact in raw:
        twins = by_shape.get(shape_of(fact)), hybrids.get(shape_of(fact))
        row = model_row(fact, configs.get(fact["id"]), templates, twins, hub_licenses)
        add_card(row, told.get(fact["id"].lower()))
        if score := scores.get(fact["id"].lower()):
            row["quality"] = quality_of(score)
        complete_from_shape(row)
        rows.append(compact(row))
    rows.sort(key=lambda row: str(row["id"]).lower())
    header = {
        "schema_version": SCHEMA_VERSION,
        "as_of": document["generated"],
        "downloads_as_of": document["downloads_as_of"],
        "models": len(rows),
        "sources": source_table(document, cards["generated"]),
        "boards": {key: {"title": title, "as_of": day} for key, (title, day) in BOARDS.items()},
        "renames": RENAMES,
    }
    return [header, *rows]


def merged_by_id(rows: Iterable[dict[str, Any]], prefer: set[str]) -> list[dict[str, Any]]:
    """Rows whose ids differ only in case are one repository: facts joined, the id the other facts use kept."""
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        key = row["id"].lower()
        first = merged.get(key)
        if first is None:
            merged[key] = row
            continue
        better, other = (row, first) if row["id"] in prefer else (first, row)
        merged[key] = {**other, **better, "sources": {**other["sources"], **better["sources"]}}
    return list(merged.values())


def model_row(
    fact: Mapping[str, Any],
    by_hand: Mapping[str, Any] | None,
    templates: list[tuple[dict[str, Any], dict[str, Any]]],
    twins: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    hub_licenses: set[str],
) -> dict[str, Any]:
    """One model in the catalog's schema. `twins` are other models of the very same shape and parameter count, the
    second one with what its layers are."""
    config, sources, conflicts = native_config(fact, by_hand, templates, *twins)
    row: dict[str, Any] = {"id": fact["id"], "config": config or None}
    parameters, contradiction = believable_parameters(fact)
    row["parameters"] = parameters
    row["parameters_exact"] = bool(parameters and fact.get("params_approx") is False)
    sources["parameters"] = fact["sources"].get("params_total")
    row["active_parameters"], sources["active_parameters"] = active_parameters(fact)
    if contradiction or (parameters and (row["active_parameters"] or 0) > parameters):
        row["active_parameters"] = None  # read from the name of a draft model, which is its big sister's name
    row["context"], sources["context"], overruled = context_of(fact, config)
    conflicts += overruled
    row["license"], row["license_name"] = hub_license(fact.get("license"), hub_licenses)
    sources["license"] = sources["license_name"] = fact["sources"].get("license")
    for ours, theirs in (
        ("gated", "gated"),
        ("languages", "languages"),
        ("pipeline_tag", "pipeline_tag"),
        ("downloads", "downloads_30d"),
        ("likes", "likes"),
        ("release_date", "release_date"),
    ):
        row[ours] = fact.get(theirs)
        sources[ours] = fact["sources"].get(theirs)
    kept_names = {"params_total": "parameters"}
    skipped = {"max_position_embeddings", "sliding_window", "num_heads"} if by_hand else set()
    for conflict in fact.get("conflicts") or ():
        field = conflict["field"]
        if field in skipped or conflict["kept"] is None:
            continue
        if field not in ("license", "release_date", *kept_names):
            field = f"config.{field}"
        conflicts.append(
            [
                kept_names.get(field, field),
                conflict["kept"],
                conflict["kept_src"],
                conflict["other"],
                conflict["other_src"],
            ]
        )
    unsaid = None if MIXED[0] in config else fact.get("vram_caveat")  # which layers attend, where it is not known
    notes = [note for note in (contradiction, unsaid) if note]
    row |= {"sources": sources, "conflicts": conflicts, "notes": notes}
    return row


def hub_license(text: str | None, hub_licenses: set[str]) -> tuple[str | None, str | None]:
    """`license` and `license_name` as a card would have them: what is no id of the Hub's own list is a custom name."""
    if text is None or text in hub_licenses:
        return text, None
    return "other", text


def active_parameters(fact: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Parameters used per token: what the makers state, before what was estimated from the shape."""
    stated = fact.get("active_params_b")
    if stated is not None:
        return round(float(str(stated).replace("_", ".")) * 1e9), fact["sources"].get("active_params_b")
    return fact.get("active_params_est"), fact["sources"].get("active_params_est")


def context_of(fact: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int | None, str | None, list[list[Any]]]:
    """Tokens the makers say it reads, from the source nearest to config.json, and what the others say."""
    stated = [(fact.get("context_length_vendor"), fact["sources"].get("context_length_vendor"))]
    positions = fact.get("max_position_embeddings")
    key = fact["sources"].get("max_position_embeddings")
    in_config = next(
        (config[k] for k in ("max_position_embeddings", "n_positions", "max_seq_len") if config.get(k)), None
    )
    if in_config is not None and (key is None or key in CONFIG_SOURCES):
        lost = POSITIONS_LOST.get(str(config.get("model_type")), 0)
        stated.insert(0, (in_config - lost, key or "cfg"))
    elif positions is not None:
        stated.insert(0 if key in CONFIG_SOURCES else 1, (positions, key))
    stated.append((fact.get("context_length_derived"), fact["sources"].get("context_length_derived")))
    known = [(tokens, source) for tokens, source in stated if tokens]
    if not known:
        return None, None, []
    tokens, source = known[0]
    others = [["context", tokens, source, other, by] for other, by in known[1:] if other != tokens]
    return tokens, source, others[:1]


def complete_from_shape(row: dict[str, Any]) -> None:
    """What the shape and an exact parameter count imply of each other: tied embeddings, or the count itself."""
    config = row["config"]
    if not config:
        return
    if row["parameters_exact"] and "tie_word_embeddings" not in {**config, **(config.get("text_config") or {})}:
        tied = derived_tie(config, row["parameters"])
        if tied is not None:
            config["tie_word_embeddings"] = tied
            row["sources"]["config.tie_word_embeddings"] = "derived: only so do the shape and the exact count agree"
    whole = parameters_of({**config, "tie_word_embeddings": True}) if row["parameters_exact"] else None
    if whole and row["parameters"] < 0.8 * whole and config.get("model_type") not in HYBRIDS:
        row["notes"].insert(
            0, f"holds {row['parameters']:,} of the {whole:,} parameters its shape has: part of a model"
        )
        row["parameters"] = None
    if row["parameters"] is None and (count := parameters_of(config)):
        row["parameters"], row["parameters_exact"] = count, False
        row["sources"]["parameters"] = "derived: the sum of the shape's matrices (modelpick.catalog.architecture)"


def add_card(row: dict[str, Any], told: Mapping[str, Any] | None) -> None:
    """What a stored copy of the card says beyond models.json: parents, data sets, gating, the license's name."""
    if not told:
        return
    citation = told["source"] if isinstance(told["source"], str) else told["source"][0]
    found: dict[str, Any] = {}
    base = told["base_model"]
    bases = [base] if isinstance(base, str) else base or []
    if parents := [parent for parent in bases if HUB_ID.fullmatch(parent)]:
        found["base_models"] = [[parent, told["relation"] or "unknown"] for parent in parents]
    if data := [name for name in told["datasets"] or () if HUB_ID.fullmatch(name)]:
        found["datasets"] = data
    if told["gated"] and row["gated"] is None:
        found["gated"] = True
    if told["license"] and row["sources"].get("license") in (None, "openllms") and told["license"] != row["license"]:
        if row["license"]:
            row["conflicts"].append(
                ["license", told["license"], citation, row["license_name"], row["sources"]["license"]]
            )
        found |= {"license": told["license"], "license_name": told["license_name"]}
    elif told["license_name"] and told["license"] == row["license"] and not row["license_name"]:
        found["license_name"] = told["license_name"]
    if told["license_link"]:
        found["license_link"] = told["license_link"]
    row |= found
    row["sources"] |= dict.fromkeys(found, citation)


def quality_of(score: Mapping[str, Any]) -> list[Any]:
    """[score, low, high, status, boards, the newest board's day or null]."""
    days = [day for board in score["sources"] if (day := BOARDS[board][1])]
    return [score["q"], score["lo"], score["hi"], score["status"], score["sources"], max(days, default=None)]


def source_table(document: Mapping[str, Any], cards_read: str) -> dict[str, dict[str, str | None]]:
    """Source key -> what it is, the day of its data where it says so, and the day it was read."""
    table = {}
    for key, text in document["sources"].items():
        text = re.sub(r" \((?:stored text id|configs/ beside|exact formula)[^)]*\)|stored (?=page)", "", text)
        dates = re.findall(r"20\d\d-\d\d(?:-\d\d)?", text)
        table[key] = {"title": text, "as_of": max(dates, default=None), "read_on": document["generated"]}
    table["same shape as"] = {
        "title": "the value of the model named, whose layers, widths and parameter count are the same",
        "as_of": None,
        "read_on": document["generated"],
    }
    table["derived"] = {
        "title": "computed from the other fields by the formula that follows the colon (scripts/catalog_configs.py)",
        "as_of": None,
        "read_on": document["generated"],
    }
    table["citation"] = {
        "title": "any other source is a citation in full: the page, file or commit the fact was read from",
        "as_of": None,
        "read_on": cards_read,
    }
    return table


def compact(row: dict[str, Any]) -> dict[str, Any]:
    """The row without nulls and empty lists, and with its commonest source said once, as `source`."""
    fields = {key: value for key, value in row.items() if value not in (None, [], {}, ()) and key != "sources"}
    if not fields.get("parameters_exact"):
        fields.pop("parameters_exact", None)
    present = {name: key for name, key in row["sources"].items() if key and _present(name, fields)}
    counts = sorted(
        {key: list(present.values()).count(key) for key in present.values()}.items(), key=lambda i: (-i[1], i[0])
    )
    if counts:
        fields["source"] = counts[0][0]
        rest = {name: key for name, key in sorted(present.items()) if key != counts[0][0]}
        if rest:
            fields["sources"] = rest
    return fields


def _present(name: str, fields: Mapping[str, Any]) -> bool:
    owner, _, key = name.partition(".")
    return key in fields.get(owner, ()) if key else owner in fields


def _renamed(id: str) -> str:
    return RENAMES.get(id, id)


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the embedded catalog from a folder of collected facts.")
    parser.add_argument(
        "facts", type=Path, help="folder with models.json, quality.json, licenses.json, license_verdicts.json, configs/"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in build(arguments.facts)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    print(f"{arguments.out}: {len(lines) - 1} models, {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
