"""Builds the embedded catalog, modelpick/catalog/data/models.jsonl, from facts/ (see facts/README.md; `make facts`).

The output is one header line (sources with their dates, known renames) and one line a model, sorted by id: the same
facts give the same bytes.

Rules: the source nearest to config.json wins and what it overrules is kept under `conflicts`; what nobody states is
left out (null), never guessed; what is derived says from what (`same shape as ID`, `derived: ...`).
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import catalog_bases
import catalog_encoders
import catalog_laws as laws
import catalog_quantized
import use_scores
from catalog_configs import (
    HALF_KNOWN,
    HUB_ID,
    MIXED,
    believable_parameters,
    contradicting_shape,
    derived_tie,
    native_config,
    parameters_of,
    shape_of,
)
from facts_folder import Facts, Row, number

SCHEMA_VERSION = 1


def build(facts: Facts) -> str:
    """The text of the file: the header, then the rows."""
    header, rows = catalog(facts)
    return "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in (header, *rows))


def catalog(facts: Facts) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The header and the rows, in file order."""
    about = facts.toml("catalog.toml")
    renames, boards = about["renames"], about["boards"]
    quality = {row["id"].lower(): row for row in facts.csv("quality.csv")}
    # What is entered by hand comes later and overrules what was gathered.
    listed = [*facts.jsonl("gathered_configs.jsonl"), *facts.jsonl("configs.jsonl")]
    configs = {renames.get(row["id"], row["id"]): row for row in listed}
    rated = {id: float(row["score"]) for id, row in quality.items() if row["status"] == "rated"}
    for_use = use_scores.by_use(facts.csv("board_scores.csv"), about["use_boards"], rated)
    contexts = {row["id"].lower(): row for row in facts.csv("contexts.csv")}
    measured = {row["id"].lower(): str(row["languages"]).split() for row in facts.csv("measured_languages.csv")}
    family = frozenset(key for key, source in about["sources"].items() if source.get("level") == "family")
    hub_licenses = set(facts.lines("hub_licenses.txt"))
    cards = {row["id"].lower(): row for row in facts.jsonl("cards.jsonl")}
    rows_of_facts = [
        *map(_with_sources, facts.jsonl("models.jsonl")),
        *map(laws.flattened, facts.jsonl("gathered.jsonl")),
    ]
    raw = merged_by_id(rows_of_facts, prefer={row["id"] for row in quality.values()} | set(configs))
    known = {row["id"] for row in raw}
    raw += [Row({"id": id, "sources": {}}, set()) for id in configs if id not in known]
    raw.sort(key=lambda row: (-(row.get("downloads") or 0), row["id"]))  # of equal shapes the most used one is named
    whole = {id: row["config"] for id, row in configs.items()}
    templates = [(row, whole[row["id"]]) for row in raw if row["id"] in whole and row.get("parameters")]
    described = [row for row in raw if row.get("model_type") and row.get("vocab_size") and shape_of(row)]
    by_shape = {shape_of(row): row for row in reversed(described)}
    first = sorted(described, key=lambda row: (row.get("release_date") or "9999", row["id"]))
    hybrids = {shape_of(row): row for row in reversed(first) if row.get(MIXED[0])}  # the one they descend from
    siblings = laws.siblings_of(row["id"] for row in raw)
    pretrained = [(re.compile(one["ids"]), one["source"]) for one in about.get("pretrained") or ()]
    rows: list[dict[str, Any]] = []
    for fact in raw:
        twins = by_shape.get(shape_of(fact)), hybrids.get(shape_of(fact))
        by_hand = configs.get(fact["id"])
        row = model_row(fact, by_hand, templates, twins, hub_licenses)
        score = quality.get(fact["id"].lower())
        able = measured.get(fact["id"].lower(), [])
        beside = Beside(
            by_hand, contexts.get(fact["id"].lower()), siblings.get(fact["id"], {}), score, pretrained, able
        )  # fmt: skip
        add_statements(row, fact, beside, family, about["as_of"])
        add_card(row, cards.get(fact["id"].lower()))
        if score is not None:
            row["quality"] = quality_of(score, boards)
        if fact["id"].lower() in for_use:
            row["quality_by_use"] = for_use[fact["id"].lower()]
        catalog_encoders.add_encoder_shape(row)
        complete_from_shape(row)
        rows.append(row)
    catalog_bases.add_base_shapes(rows)
    rows = [compact(row) for row in catalog_quantized.completed(rows)]
    rows.sort(key=lambda row: str(row["id"]).lower())
    header = {
        "schema_version": SCHEMA_VERSION,
        "as_of": about["as_of"],
        "downloads_as_of": about["downloads_as_of"],
        "models": len(rows),
        "sources": source_table(about),
        "boards": {
            key: {"title": board["title"], "as_of": board.get("as_of")}
            for key, board in (boards | about["use_boards"]).items()
        },
        "renames": renames,
        "left_out": {row["reason"]: number(row["count"]) for row in sorted_by_reason(facts)},
    }
    return header, rows


def sorted_by_reason(facts: Facts) -> list[Row]:
    """What was not taken up of the sources, and why."""
    return sorted(facts.csv("gathered_left_out.csv"), key=lambda row: str(row["reason"]))


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
    own, told_by = (by_hand["config"], by_hand.get("source", "cfg")) if by_hand is not None else (None, "cfg")
    config, sources, conflicts = native_config(fact, own, templates, *twins, own_source=told_by)
    row: dict[str, Any] = {"id": fact["id"], "config": config or None}
    parameters, contradiction = believable_parameters(fact)
    row["parameters"] = parameters
    row["parameters_exact"] = bool(parameters and fact.get("parameters_rounded") is False)
    sources["parameters"] = fact["sources"].get("parameters")
    row["active_parameters"], sources["active_parameters"] = active_parameters(fact)
    if contradiction or (parameters and (row["active_parameters"] or 0) > parameters):
        row["active_parameters"] = None  # read from the name of a draft model, which is its big sister's name
    row["license"], row["license_name"] = hub_license(fact.get("license"), hub_licenses)
    sources["license"] = sources["license_name"] = fact["sources"].get("license")
    for field in ("gated", "pipeline_tag", "downloads", "likes", "dimension", "quantization"):
        row[field] = fact.get(field)
        sources[field] = fact["sources"].get(field)
    overruled_by_hand = {"max_position_embeddings", "sliding_window", "num_heads"} if by_hand else set()
    for field, kept, *rest in fact.get("conflicts") or ():
        if field not in overruled_by_hand and kept is not None and field != "release_date":
            name = field if field in ("license", "parameters") else f"config.{field}"
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


class Beside(NamedTuple):
    """What other files have of a repository: config.json, a cited context, those beside it, a score, papers, and the
    languages that a board measured."""

    config: Mapping[str, Any] | None
    context: Mapping[str, Any] | None
    siblings: Mapping[str, str]
    score: Mapping[str, Any] | None
    pretrained: list[tuple[re.Pattern[str], str]]
    languages: Sequence[str]


def add_statements(
    row: dict[str, Any],
    fact: Mapping[str, Any],
    beside: "Beside",
    family: frozenset[str],
    as_of: str,
) -> None:
    """Adds what several may say: the context, languages, capabilities, the day of release, the original."""
    sources, config, context = row["sources"], row["config"] or {}, beside.context
    told_by = beside.config.get("source", "cfg") if beside.config is not None else "cfg"
    tokens, by, overruled = laws.context_of(fact, config, told_by, context, family)
    field = "trained_context" if laws.without_limit(config) else "context"
    row[field], sources[field] = tokens, by
    row["release_date"], sources["release_date"], days = laws.release_of(fact, family, as_of)
    for field, (languages, by) in laws.languages_of(fact, beside.languages).items():
        row[field], sources[field] = languages, by
    boards = beside.score["boards"].split() if beside.score is not None else ()
    paper = next((source for ids, source in beside.pretrained if ids.fullmatch(row["id"])), None)
    capabilities, doubts = laws.capabilities_of(fact, config, family, beside.siblings, boards, paper)
    row["capabilities"] = list(capabilities)
    sources |= {f"capabilities.{one}": by for one, by in capabilities.items()}
    told = [conflict for conflict in fact.get("told") or () if conflict[0] != "release_date"]
    row["conflicts"] += [*overruled, *days, *doubts, *told]
    if base := fact.get("base_model"):
        row["base_models"], sources["base_models"] = [base], fact["sources"]["base_model"]
    if (row["license"] and laws.is_card(sources.get("license"))) or laws.is_card(sources.get("languages")):
        row["card_read"] = True


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
    if row["parameters_exact"] and (shape := contradicting_shape(config, row["parameters"])):
        row["parameters_exact"] = False
        row["notes"].append(f"counted are {row['parameters']:,} parameters, its shape has {shape:,}: taken as claimed")
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
    row["card_read"] = True
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
        key: {"title": source["title"], "as_of": source.get("as_of"), "read_on": source.get("read_on", about["as_of"])}
        for key, source in about["sources"].items()
    }
    for key, title, day in (
        ("same shape as", "the value of the model named, whose layers, widths and parameter count are the same", None),
        ("quantization of", "the value of the model named, of which this is a quantized copy", None),
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
    return key in fields.get(owner, ()) if key else owner in fields and owner != "capabilities"
