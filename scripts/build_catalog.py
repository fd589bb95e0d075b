"""Builds the embedded catalog, modelpick/catalog/data/models.jsonl, from facts/ (see facts/README.md; `make facts`).

The output is one header line (sources with their dates, known renames) and one line a model, sorted by id: the same
facts give the same bytes.

Rules: the source nearest to config.json wins and what it overrules is kept under `conflicts`; what nobody states is
left out (null), never guessed; what is derived says from what (`same shape as ID`, `derived: ...`).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from catalog_configs import (
    HALF_KNOWN,
    HUB_ID,
    MIXED,
    believable_parameters,
    derived_tie,
    native_config,
    parameters_of,
    shape_of,
)
from facts_folder import Facts, Row, number

from modelpick.catalog.architecture.families import FAMILIES

SCHEMA_VERSION = 1
CONFIG_SOURCES = ("cfg", "aic")  # config.json itself, entered by hand or verbatim


def build(facts: Facts) -> str:
    """The text of the file: the header, then the rows."""
    header, rows = catalog(facts)
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in (header, *rows))


def catalog(facts: Facts) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header and the rows, in file order."""
    about = facts.toml("catalog.toml")
    renames, boards = about["renames"], about["boards"]
    quality = {row["id"].lower(): row for row in facts.csv("quality.csv")}
    configs = {renames.get(row["id"], row["id"]): row["config"] for row in facts.jsonl("configs.jsonl")}
    hub_licenses = set(facts.lines("hub_licenses.txt"))
    cards = {row["id"].lower(): row for row in facts.jsonl("cards.jsonl")}
    rows_of_facts = map(_with_sources, facts.jsonl("models.jsonl"))
    raw = merged_by_id(rows_of_facts, prefer={row["id"] for row in quality.values()} | set(configs))
    known = {row["id"] for row in raw}
    raw += [Row({"id": id, "sources": {}}, set()) for id in configs if id not in known]
    raw.sort(key=lambda row: (-(row.get("downloads") or 0), row["id"]))  # of equal shapes the most used one is named
    templates = [(row, configs[row["id"]]) for row in raw if row["id"] in configs and row.get("parameters")]
    described = [row for row in raw if row.get("model_type") and row.get("vocab_size") and shape_of(row)]
    by_shape = {shape_of(row): row for row in reversed(described)}
    first = sorted(described, key=lambda row: (row.get("release_date") or "9999", row["id"]))
    hybrids = {shape_of(row): row for row in reversed(first) if row.get(MIXED[0])}  # the one they descend from
    rows = []
    for fact in raw:
        twins = by_shape.get(shape_of(fact)), hybrids.get(shape_of(fact))
        row = model_row(fact, configs.get(fact["id"]), templates, twins, hub_licenses)
        add_card(row, cards.get(fact["id"].lower()))
        if score := quality.get(fact["id"].lower()):
            row["quality"] = quality_of(score, boards)
        complete_from_shape(row)
        rows.append(compact(row))
    rows.sort(key=lambda row: str(row["id"]).lower())
    header = {
        "schema_version": SCHEMA_VERSION,
        "as_of": about["as_of"],
        "downloads_as_of": about["downloads_as_of"],
        "models": len(rows),
        "sources": source_table(about),
        "boards": {key: {"title": board["title"], "as_of": board.get("as_of")} for key, board in boards.items()},
        "renames": renames,
    }
    return header, rows


def _with_sources(row: Row) -> Row:
    """The row with the source of every field under `sources`: the fields not named there share `source`."""
    return row.with_values(sources=dict.fromkeys(row, row.get("source")) | row.get("sources", {}))


def merged_by_id(rows: Iterable[Row], prefer: set[str]) -> list[Row]:
    """Rows whose ids differ only in case are one repository: facts joined, the id the other facts use kept."""
    merged: dict[str, Row] = {}
    for row in rows:
        key = row["id"].lower()
        first = merged.get(key)
        if first is None:
            merged[key] = row
        else:
            merged[key] = row.over(first) if row["id"] in prefer else first.over(row)
    return list(merged.values())


def model_row(
    fact: Mapping[str, Any],
    by_hand: Mapping[str, Any] | None,
    templates: list[tuple[Row, dict[str, Any]]],
    twins: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None],
    hub_licenses: set[str],
) -> dict[str, Any]:
    """One model in the catalog's schema. `twins` are other models of the very same shape and parameter count, the
    second one with what its layers are."""
    config, sources, conflicts = native_config(fact, by_hand, templates, *twins)
    row: dict[str, Any] = {"id": fact["id"], "config": config or None}
    parameters, contradiction = believable_parameters(fact)
    row["parameters"] = parameters
    row["parameters_exact"] = bool(parameters and fact.get("parameters_rounded") is False)
    sources["parameters"] = fact["sources"].get("parameters")
    row["active_parameters"], sources["active_parameters"] = active_parameters(fact)
    if contradiction or (parameters and (row["active_parameters"] or 0) > parameters):
        row["active_parameters"] = None  # read from the name of a draft model, which is its big sister's name
    row["context"], sources["context"], overruled = context_of(fact, config)
    conflicts += overruled
    row["license"], row["license_name"] = hub_license(fact.get("license"), hub_licenses)
    sources["license"] = sources["license_name"] = fact["sources"].get("license")
    for field in ("gated", "languages", "pipeline_tag", "downloads", "likes", "release_date"):
        row[field] = fact.get(field)
        sources[field] = fact["sources"].get(field)
    overruled_by_hand = {"max_position_embeddings", "sliding_window", "num_heads"} if by_hand else set()
    for field, kept, *rest in fact.get("conflicts") or ():
        if field not in overruled_by_hand and kept is not None:
            name = field if field in ("license", "release_date", "parameters") else f"config.{field}"
            conflicts.append([name, kept, *rest])
    caveat = None if MIXED[0] in config else fact.get("caveat")  # that it is not known which layers attend
    notes = [note for note in (contradiction, caveat) if note]
    row |= {"sources": sources, "conflicts": conflicts, "notes": notes}
    return row


def hub_license(text: str | None, hub_licenses: set[str]) -> tuple[str | None, str | None]:
    """`license` and `license_name` as a card writes them: an id that is not on the Hub's list is a custom name."""
    if text is None or text in hub_licenses:
        return text, None
    return "other", text


def active_parameters(fact: Mapping[str, Any]) -> tuple[int | None, str | None]:
    """Parameters used per token: what the makers state, before what was estimated from the shape."""
    stated = fact.get("active_parameters_stated_b")
    if stated is not None:
        return round(float(str(stated).replace("_", ".")) * 1e9), fact["sources"].get("active_parameters_stated_b")
    return fact.get("active_parameters_estimated"), fact["sources"].get("active_parameters_estimated")


def context_of(fact: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int | None, str | None, list[list[Any]]]:
    """Tokens the makers say it reads, from the source nearest to config.json, and what the others say."""
    stated = [(fact.get("context_stated"), fact["sources"].get("context_stated"))]
    positions = fact.get("max_position_embeddings")
    key = fact["sources"].get("max_position_embeddings")
    in_config = next(
        (config[k] for k in ("max_position_embeddings", "n_positions", "max_seq_len") if config.get(k)), None
    )
    if in_config is not None and (key is None or key in CONFIG_SOURCES):
        family = FAMILIES.get(str(config.get("model_type")))
        stated.insert(0, (in_config - (family.padded_positions if family else 0), key or "cfg"))
    elif positions is not None:
        stated.insert(0 if key in CONFIG_SOURCES else 1, (positions, key))
    stated.append((fact.get("context_derived"), fact["sources"].get("context_derived")))
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
    if whole and row["parameters"] < 0.8 * whole and config.get("model_type") not in HALF_KNOWN:
        row["notes"].insert(
            0, f"holds {row['parameters']:,} of the {whole:,} parameters its shape has: part of a model"
        )
        row["parameters"] = None
    if row["parameters"] is None and (count := parameters_of(config)):
        row["parameters"], row["parameters_exact"] = count, False
        row["sources"]["parameters"] = "derived: the sum of the shape's matrices (modelpick.catalog.architecture)"


def add_card(row: dict[str, Any], card: Mapping[str, Any] | None) -> None:
    """Adds what the model card says: parents, data sets, gating, the license's name. Never a verdict."""
    if not card:
        return
    citation = card["source"]
    added: dict[str, Any] = {}
    base = card.get("base_model")
    bases = [base] if isinstance(base, str) else base or []
    if parents := [parent for parent in bases if HUB_ID.fullmatch(parent)]:
        added["base_models"] = [[parent, card.get("relation") or "unknown"] for parent in parents]
    license, name, link = card.get("license"), card.get("license_name"), card.get("license_link")
    if data := [dataset for dataset in card.get("datasets") or () if HUB_ID.fullmatch(dataset)]:
        added["datasets"] = data
    if card.get("gated") and row["gated"] is None:
        added["gated"] = True
    if license and row["sources"].get("license") in (None, "openllms") and license != row["license"]:
        if row["license"]:
            row["conflicts"].append(["license", license, citation, row["license_name"], row["sources"]["license"]])
        added |= {"license": license, "license_name": name}
    elif name and license == row["license"] and not row["license_name"]:
        added["license_name"] = name
    if link:
        added["license_link"] = link
    row |= added
    row["sources"] |= dict.fromkeys(added, citation)


def quality_of(score: Mapping[str, Any], boards: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """[score, low, high, status, boards, the newest board's day or null]."""
    names = score["boards"].split()
    days = [day for name in names if (day := boards[name].get("as_of"))]
    interval = [number(score[column]) for column in ("score", "low", "high")]
    return [*interval, score["status"], names, max(days, default=None)]


def source_table(about: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """Source key -> what it is, the day of its data where it says so, and the day it was read."""
    table = {
        key: {"title": source["title"], "as_of": source.get("as_of"), "read_on": about["as_of"]}
        for key, source in about["sources"].items()
    }
    for key, title, day in (
        ("same shape as", "the value of the model named, whose layers, widths and parameter count are the same", None),
        (
            "derived",
            "computed from the other fields by the formula that follows the colon (scripts/catalog_configs.py)",
            None,
        ),
        (
            "citation",
            "any other source is a citation in full: the page, file or commit the fact was read from",
            about["cards_read_on"],
        ),
    ):
        table[key] = {"title": title, "as_of": None, "read_on": day or about["as_of"]}
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
