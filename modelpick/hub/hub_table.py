"""The public dump of the Hub (hub-stats, models.parquet) as a table: what it must have, what it may lack. I/O.

Columns of one meaning come in several types: a card as JSON text or as a struct, `gated` as text or as a boolean. What
is needed and absent is refused by name; an optional column may be absent, and the answer says what is then not judged.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelpick.catalog.card import MEANT_KEYS
from modelpick.errors import UsageError, first_line, printable
from modelpick.extras import require

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CODE = "bad_hub_file"
_FIX = "give models.parquet of the data set hub-stats: https://huggingface.co/datasets/cfahlgren1/hub-stats"
MEMORY = "1000MB"
"""What DuckDB may hold before it spills to disk; Python and what DuckDB does not count come on top."""
THREADS = 2
NEEDED = ("id", "tags")
# Optional columns, and what is not judged without them.
OPTIONAL: Mapping[str, str] = {
    "cardData": "license_name and license_link are not known, so `license: other` stays a question",
    "baseModels": "parents are those that the tags name",
    "gated": "whether a model is gated is not known",
    "pipeline_tag": "whether a model takes more than text is not known",
    "library_name": "adapters are known by their names and tags",
    "downloads": "nothing is ordered by downloads",
    "sha": "commits are not known, so no approval holds",
}
_TEXT = ("VARCHAR", "JSON")
_OF_THE_CARD = (
    "license", "license_name", "license_link", "base_model", "base_model_relation", "datasets", "pipeline_tag",
    "library_name",
)  # fmt: skip
_SIMPLE = r'null|false|"[^"\\]{0,300}"|\[("[^"\\]{0,300}",?)*\]'
"""JSON of a field of ids that every reader understands: nothing, a text, a list of texts."""
_MANY = 60  # ids of a field; a longer list is read with the rare cards


@dataclass(frozen=True, slots=True)
class HubTable:
    """A dump that can be judged: the query that reads it in one shape, how many rows, and what it lacks.

    The query's columns: row, id, tags (a list of texts), bases (of baseModels and the card), license, license_name
    and license_link (JSON of the card), gated (text), pipeline_tag, library_name, downloads, sha, datasets (of the
    card), rare (the card as JSON, where it is one of the few that state something in other fields or forms).
    """

    query: str
    rows: int
    missing: tuple[str, ...]

    @property
    def not_judged(self) -> tuple[str, ...]:
        """A sentence for each column that is missing."""
        return tuple(f"the file has no readable column {name}: {OPTIONAL[name]}" for name in self.missing)


@contextmanager
def connected() -> "Iterator[DuckDBPyConnection]":
    """A database in memory within MEMORY and THREADS, whose spill folder is gone afterwards.

    Raises UsageError(code="missing_extra") without DuckDB, and for a query that runs out of memory or disk.
    """
    require("scale", "duckdb")
    import duckdb

    with tempfile.TemporaryDirectory(prefix="modelpick-hub-") as spill:
        limits: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY,
            "threads": str(THREADS),
            "temp_directory": spill,
        }
        with duckdb.connect(config=limits) as connection:
            connection.execute("SET preserve_insertion_order = false")
            connection.execute("SET autoinstall_known_extensions = false")
            try:
                yield connection
            except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
                raise UsageError(
                    f"the audit did not finish: {printable(first_line(error))}",
                    fix=f"free some memory or disk space: {Path(spill).parent} takes what does not fit into memory",
                    code="no_room",
                ) from None


def hub_table(connection: "DuckDBPyConnection", path: Path) -> HubTable:
    """Looks at a dump without reading its rows.

    Raises UsageError(code="bad_hub_file") for what is not a parquet file on this disk, and for another schema.
    """
    checked_path(path)
    import duckdb

    source = f"read_parquet({quoted(str(path))}, file_row_number = true)"
    try:
        described = connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        (rows,) = connection.execute(f"SELECT count(*) FROM {source}").fetchone() or (0,)
    except duckdb.Error as error:
        raise _refused(path, f"cannot be read as parquet: {printable(first_line(error))[:200]}") from None
    types = {str(name): str(kind) for name, kind, *_ in described if name != "file_row_number"}
    absent = [name for name in NEEDED if name not in types]
    if absent:
        has = ", ".join(printable(name) for name in list(types)[:12])
        raise _refused(path, f"has no column {' and no column '.join(absent)}; its columns are {has}")
    readers = {"id": _text("id", types), "tags": _tags(types)}
    for name in NEEDED:
        if readers[name] is None:
            raise _refused(path, f"has a column {name} of type {printable(types[name])[:80]}, which is not understood")
    readers |= _optional(types)
    missing = tuple(name for name in OPTIONAL if readers.get(name, "") is None)
    if (sets := _card("datasets", types)) is not None:
        simple = f"regexp_full_match({sets}, {quoted(_SIMPLE)})"
        readers["datasets"] = f"CASE WHEN {simple} THEN {_listed(sets)} ELSE [] END"
    if (named := _card("base_model", types)) is not None:
        readers["baseModels"] = f"list_concat({readers['baseModels'] or '[]'}, {_listed(named)})"
        for name in ("pipeline_tag", "library_name"):
            readers[name] = f"coalesce({readers[name] or 'NULL'}, {_word_of(_card(name, types))})"
    columns = ", ".join(f"{reader or empty} AS {name}" for name, (reader, empty) in _columns(readers).items())
    if types.get("cardData", "") in _TEXT:
        # A card is parsed once, whatever is read of it.
        paths = ", ".join(quoted(f"$.{field}") for field in _OF_THE_CARD)
        source = f"""(SELECT *, TRY(json_extract("cardData", [{paths}])) AS read_of_card FROM {source})"""
        # As columns, since the database evaluates again what stands in several branches of a CASE.
        fields = ", ".join(
            f"nullif(CAST(read_of_card[{number}] AS VARCHAR), 'null') AS card_{field}"
            for number, field in enumerate(_OF_THE_CARD, 1)
        )
        source = f"(SELECT *, {fields} FROM {source})"
    columns += f", {_rare(types) or 'CAST(NULL AS VARCHAR)'} AS rare"
    return HubTable(f"SELECT file_row_number AS row, {columns} FROM {source}", rows, missing)


def checked_path(path: Path) -> None:
    """Raises UsageError(code="bad_hub_file") for what is not a file on this disk."""
    if "://" in str(path) or ":/" in str(path)[2:]:
        raise UsageError(f"{printable(str(path))} is an address, not a file", fix="download it first", code=CODE)
    if path.is_dir():
        raise _refused(path, "is a folder")
    if not path.is_file():
        raise _refused(path, "does not exist, or is not a regular file")


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def quoted_list(texts: Iterable[str]) -> str:
    """Texts as SQL writes what stands in IN (...); one that nothing equals where there are none."""
    return ", ".join(quoted(text) for text in sorted(texts)) or "''"


def _refused(path: Path, what: str) -> UsageError:
    return UsageError(f"{printable(str(path))} {what}", fix=_FIX, code=CODE)


def _optional(types: Mapping[str, str]) -> dict[str, str | None]:
    """How each optional column is read; None where it is absent or of a type that is not understood."""
    downloads = types.get("downloads", "")
    is_number = downloads.rstrip("0123456789").startswith(
        ("BIGINT", "INT", "HUGEINT", "UBIGINT", "UINT", "DOUBLE", "FLOAT")
    )
    gated = types.get("gated", "")
    return {
        "cardData": _card("license", types),
        "license_name": _card("license_name", types),
        "license_link": _card("license_link", types),
        "baseModels": _bases(types),
        "gated": "lower(CAST(gated AS VARCHAR))" if gated in (*_TEXT, "BOOLEAN") else None,
        "pipeline_tag": _text("pipeline_tag", types),
        "library_name": _text("library_name", types),
        "downloads": "CAST(downloads AS BIGINT)" if is_number else None,
        "sha": _text("sha", types),
    }


def _columns(readers: Mapping[str, str | None]) -> dict[str, tuple[str | None, str]]:
    """Our columns in order, with their readers and what stands there where a column is absent."""
    none, no_list = "CAST(NULL AS VARCHAR)", "CAST([] AS VARCHAR[])"
    return {
        "id": (readers["id"], none), "tags": (readers["tags"], no_list), "bases": (readers["baseModels"], no_list),
        "license": (readers["cardData"], none), "license_name": (readers["license_name"], none),
        "license_link": (readers["license_link"], none), "gated": (readers["gated"], none),
        "pipeline_tag": (readers["pipeline_tag"], none), "library_name": (readers["library_name"], none),
        "downloads": (readers["downloads"], "0"), "sha": (readers["sha"], none),
        "datasets": (readers.get("datasets"), no_list),
    }  # fmt: skip


def _text(name: str, types: Mapping[str, str]) -> str | None:
    return f'"{name}"' if types.get(name) in _TEXT else None


def _tags(types: Mapping[str, str]) -> str | None:
    kind = types["tags"]
    if kind == "VARCHAR[]":
        return "coalesce(tags, [])"
    return "coalesce(TRY(CAST(CAST(tags AS JSON) AS VARCHAR[])), [])" if kind in _TEXT else None


def _bases(types: Mapping[str, str]) -> str | None:
    kind = types.get("baseModels", "")
    if kind in _TEXT:
        ids = """TRY(json_extract_string("baseModels", '$.models[*].id'))"""
        return f"coalesce({ids}, [])"
    if kind.startswith("STRUCT(") and "models STRUCT(" in kind and "id VARCHAR" in kind and ")[]" in kind:
        return """coalesce(list_transform("baseModels".models, lambda one: one.id), [])"""
    return None


def _listed(field: str) -> str:
    """The texts of a card's field that holds one or several; anything else stands as JSON, a question."""
    several = f"WHEN json_type({field}) = 'ARRAY' THEN json_extract_string({field}, '$[*]')"
    none = f"WHEN {field} IS NULL OR {field} = 'false' THEN CAST([] AS VARCHAR[])"
    return f"CASE {none} {several} ELSE [json_extract_string({field}, '$')] END"


def _word_of(field: str | None) -> str:
    """A field of the card where it is a text with something in it."""
    text = f"nullif(trim(json_extract_string({field}, '$')), '')"
    return f"CASE WHEN json_type({field}) = 'VARCHAR' THEN {text} END"


def _rare(types: Mapping[str, str]) -> str | None:
    """The card as JSON, where it has a key that means license, parents, data or a gate, or a usual one in another form;
    else NULL. None where there are no cards."""
    kind = types.get("cardData", "")
    text = 'CAST("cardData" AS VARCHAR)'
    if kind.startswith("STRUCT("):
        text = """CAST(json_merge_patch('{}', to_json("cardData")) AS VARCHAR)"""  # without the fields that are null
    elif kind not in _TEXT:
        return None
    meant = ", ".join(quoted(key) for key in sorted(MEANT_KEYS))
    known = "'license', 'license_name', 'license_link', 'base_model', 'datasets', 'tags', 'language', 'pipeline_tag'"
    # A CASE, since AND and OR in a lambda evaluate both sides for every key.
    tells = (
        f"CASE WHEN key IN ({known}) THEN false WHEN starts_with(key, 'extra_gated_') THEN true "
        f"ELSE regexp_matches(key, '(?i)licen[cs]e') OR regexp_replace(lower(key), '[^a-z]', '', 'g') IN ({meant}) END"
    )
    odd = [f"len(list_filter(TRY(json_keys({text})), lambda key: {tells})) > 0"]
    relation, parents = _card("base_model_relation", types), _card("base_model", types)
    odd.append(f"{relation} IS NOT NULL AND NOT contains(coalesce({parents}, ''), '/')")  # made from nothing named
    for field in ("base_model", "datasets"):
        value = _card(field, types)
        odd.append(f"NOT regexp_full_match({value}, {quoted(_SIMPLE)}) OR json_array_length({value}) > {_MANY}")
    return f"CASE WHEN {' OR '.join(odd)} THEN {text} END"


def _card(field: str, types: Mapping[str, str]) -> str | None:
    """A field of the card as JSON text; NULL where the card has none."""
    kind = types.get("cardData", "")
    if kind in _TEXT:
        return f"card_{field}"
    if kind.startswith("STRUCT("):
        known = f"{field} " in kind.replace('"', "").replace("(", " ").replace(",", " ")
        return f"""CAST(to_json("cardData".{field}) AS VARCHAR)""" if known else "CAST(NULL AS VARCHAR)"
    return None
