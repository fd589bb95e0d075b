"""Looks models up on the live Hub: one API call each, or one for a thousand, then only the files that say something.

A model's facts are its API record, its card, its terms files, its configs and the headers of its weights, all at one
commit, which is the `revision` of the Model. Gated files are listed, never guessed. When the Hub does not
answer, the embedded catalog does, and the Model's notes say so.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelpick.catalog import hub_cache, hub_files
from modelpick.catalog.folder import is_read
from modelpick.catalog.hub_client import (
    COMMIT,
    DATASETS,
    LONGEST_PAUSE,
    PATIENCE,
    Client,
    GatedError,
    HubDownError,
    NotOnHubError,
    Params,
    Patience,
)
from modelpick.catalog.hub_record import catalog_completes, merged
from modelpick.catalog.index import Catalog
from modelpick.catalog.model import Model
from modelpick.errors import ModelpickError, RemoteError, UsageError, address

OF_THE_RECORD = (
    "cardData", "baseModels", "gated", "tags", "sha", "disabled", "private", "library_name", "pipeline_tag",
    "downloads", "likes", "createdAt",
)  # fmt: skip
"""The fields of a record of the Hub that are read of every model, live or by an update."""
EXPAND = (*OF_THE_RECORD, "siblings", "safetensors")
DATA_EXPAND = ("cardData", "tags", "sha", "siblings", "gated", "disabled")
THREADS = 16
BULK = 100  # ids from which on the list endpoint is asked first: a page of 1,000 models costs one call
WORTH_A_PAGE = 3  # requested models that a page must contain before the next page is fetched
MOST_ANCESTORS = 1000  # fetched beforehand of one generation; the verdict follows no more (licensing.lineage)
DEEPEST_ANCESTRY = 30  # generations (docs/contracts.md); the verdict says `review` beyond
# org/name or one of the few legacy names, as huggingface_hub validates them (utils/_validators.py).
_ID = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9_][\w.-]{0,95})?", re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,255}", re.ASCII)

Found = Model | ModelpickError


@dataclass(frozen=True, slots=True)
class LookUp:
    """One result for each id asked, in that order, and `find` for their ancestors (fetched once for all of them).

    `find` also gives the card and terms of the data set `datasets/org/name`, as a Model of that id.
    """

    results: tuple[Found, ...]
    find: Callable[[str], Model | None]


def look_up(
    ids: Sequence[str],
    *,
    offline: bool,
    catalog: Catalog,
    cache: Path | None = None,
    ancestors: bool = True,
    patience: float = PATIENCE,
) -> LookUp:
    """Models called `ids` (`org/name` or `org/name@revision`), live unless `offline` or the Hub did not answer.

    Errors come as results: UsageError `bad_model_id`; RemoteError `model_unknown` (not in the catalog, no Hub),
    `model_not_found`, `revision_unknown`, `bad_token`, `model_disabled`, `gated`. With `ancestors`, the parents of all
    results are fetched beforehand, generation by generation, each once. `cache` is a folder (default: the user's);
    `patience` the seconds one look-up waits in all, and a batch without any answer.
    """
    folder = cache or hub_cache.default_folder()
    session = _Session(catalog, offline=offline, many=len(set(ids)), cache=folder, seconds=patience)
    results = session.all(list(ids))
    if ancestors and not offline:
        session.prefetch_ancestors(result for result in results if isinstance(result, Model))
    if session.kept_more:
        hub_cache.trim(folder)
    return LookUp(tuple(results), session.find)


def split_revision(text: str) -> tuple[str, str | None]:
    """`org/name@revision` -> id and revision (None where none is given). Raises UsageError(code="bad_model_id")."""
    id, at, revision = text.strip().partition("@")
    if _ID.fullmatch(id) is None or (at and (_REVISION.fullmatch(revision) is None or ".." in revision)):
        shown = text if len(text) <= 100 else f"{text[:97]}..."
        raise UsageError(f"{shown!r} is not a model id", fix="give org/name or org/name@revision", code="bad_model_id")
    return id, revision or None


_FEW = 10  # ids that a person types at once; more come from a program


class _Session:
    """What one look-up has found so far. Each repository is requested once."""

    def __init__(self, catalog: Catalog, *, offline: bool, many: int, cache: Path | None, seconds: float) -> None:
        pause = LONGEST_PAUSE if many >= BULK else 0.0
        self._client = Client(Patience(bulk=many > 1, longest_pause=pause, seconds=seconds))
        self._catalog, self._offline, self._cache = catalog, offline, cache
        self._bulk = many >= BULK
        self._known: dict[str, Found] = {}
        self._typed: frozenset[str] = frozenset()  # ids that a person typed, who can use a suggestion
        self.kept_more = False  # whether the cache grew

    def all(self, asked: list[str]) -> list[Found]:
        """A result for each of `asked`."""
        wanted = list(dict.fromkeys(text.strip() for text in asked))
        self._typed = frozenset() if len(wanted) > _FEW else frozenset(text.partition("@")[0] for text in wanted)
        records = {} if self._offline or not self._bulk else listed(self._client, wanted)
        self._fetch(wanted, records)
        return [self._known[_key(text)] for text in asked]

    def find(self, id: str) -> Model | None:
        """The model called `id`, or None: a bad id, a path, a missing repository, or a Hub that does not answer."""
        if _key(id) not in self._known:
            self._known[_key(id)] = self._data_set(id) if id.startswith(DATASETS) else self._ancestor(id)
        found = self._known[_key(id)]
        return found if isinstance(found, Model) else None

    def prefetch_ancestors(self, models: Iterable[Model]) -> None:
        """Fetches parents, then theirs, concurrently, until there are none that are not known."""
        level = list(models)
        for _ in range(DEEPEST_ANCESTRY):
            named = dict.fromkeys(base.id for model in level for base in model.base_models)
            wanted = [id for id in named if _key(id) not in self._known][:MOST_ANCESTORS]
            if not wanted:
                return
            for id, found in zip(wanted, self._spread(self._ancestor, wanted), strict=True):
                self._known[_key(id)] = found
            level = [found for id in wanted if isinstance(found := self._known[_key(id)], Model)]

    def _fetch(self, wanted: list[str], records: Mapping[str, Mapping[str, object]]) -> None:
        def one(text: str) -> Found:
            return self._one(text, records.get(_key(text)))

        for text, found in zip(wanted, self._spread(one, wanted), strict=True):
            self._known[_key(text)] = found

    def _spread(self, work: Callable[[str], Found], items: list[str]) -> list[Found]:
        if len(items) < 2 or self._offline:
            return [work(item) for item in items]
        pool = ThreadPoolExecutor(min(THREADS, len(items)))
        try:
            return list(pool.map(work, items))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, text: str, record: Mapping[str, object] | None = None) -> Found:
        try:
            id, revision = split_revision(text)
        except UsageError as error:
            return error
        kept = self._kept(id, revision)
        if kept is not None:
            return kept
        if self._offline:
            return self._from_catalog(id, revision, None)
        try:
            return self._live(id, revision, record)
        except HubDownError as error:
            return self._from_catalog(id, revision, str(error))
        except NotOnHubError as error:
            return self._not_found(id, revision, error)
        except GatedError:
            return RemoteError(
                f"{id} is gated: nothing can be read without access",
                fix=f"request access on the page of {id} on the Hub, then set HF_TOKEN",
                code="gated",
            )

    def _ancestor(self, id: str) -> Found:
        """A parent: like any model, but for one that the Hub no longer has the catalog's facts are used."""
        found = self._one(id)
        if isinstance(found, RemoteError) and found.code == "model_not_found" and "@" not in id:
            known = self._catalog.find(id)
            if known is not None:
                note = f"the Hub no longer has {known.id}: these are the facts of the catalog of {self._catalog.as_of}"
                return replace(known, notes=(note, *known.notes))
        return found

    def _data_set(self, id: str) -> Found:
        """Card and terms of a data set, never its data; an error where they cannot be read."""
        if self._offline or _ID.fullmatch(id.removeprefix(DATASETS)) is None:
            return UsageError(f"{id} is not to be asked for", fix="ask a live Hub", code="bad_model_id")
        try:
            record = self._client.model(id, None, DATA_EXPAND)
            names = [name for name in _siblings(record) or () if is_read(name)]
            sha = record.get("sha")
            sha = sha if isinstance(sha, str) and COMMIT.fullmatch(sha) else None
            parts = hub_files.load(self._cache, address(self._client.endpoint), id, sha)
            if parts is None:
                parts, whole = hub_files.fetch(self._client, id, sha or "main", sha, names, {}, self._bulk)
                if whole:
                    hub_files.save(self._cache, address(self._client.endpoint), parts)
                    self.kept_more = True
            return merged(parts, record, asked=id)
        except (HubDownError, NotOnHubError, GatedError):
            return RemoteError(f"{id} cannot be read", fix="read its card on the Hub", code="model_not_found")

    def _live(self, id: str, revision: str | None, record: Mapping[str, object] | None) -> Model:
        record = record or self._client.model(id, revision, EXPAND)
        canonical = str(record.get("id") or record["modelId"])
        sha = record.get("sha")
        if not isinstance(sha, str) or COMMIT.fullmatch(sha) is None:
            sha = revision if revision and COMMIT.fullmatch(revision) else None
        if _ID.fullmatch(canonical) is None:
            raise HubDownError("it names a model with an impossible id")
        parts = hub_files.load(self._cache, address(self._client.endpoint), canonical, sha)
        if parts is None:
            names = _siblings(record)
            if names is None:
                names = self._client.tree(canonical, sha or revision or "main")
            at = sha or revision or "main"
            parts, whole = hub_files.fetch(self._client, canonical, at, sha, names, record, self._bulk)
            if whole:
                hub_files.save(self._cache, address(self._client.endpoint), parts)
                self.kept_more = True
        model = merged(parts, record, asked=id)
        known = self._catalog.find(canonical) or self._catalog.find(id)
        return model if known is None else catalog_completes(model, known, self._catalog.as_of)

    def _kept(self, id: str, revision: str | None) -> Model | None:
        """A commit that was read before, asked for by its sha where no call may be made: commits do not change."""
        if not self._offline or not revision or COMMIT.fullmatch(revision) is None:
            return None
        parts = hub_files.load(self._cache, address(self._client.endpoint), id, revision)
        return None if parts is None else merged(parts, {}, asked=id)

    def _from_catalog(self, id: str, revision: str | None, why: str | None) -> Found:
        """The catalog's row, with a note where it stands in for a Hub that does not answer."""
        known = self._catalog.find(id)
        reason = "--offline" if why is None else f"the Hub did not answer: {why}"
        if known is not None and revision is None:
            if why is None:
                return known
            note = f"the Hub did not answer ({why}): from the embedded catalog of {self._catalog.as_of}"
            return replace(known, notes=(note, *known.notes))
        if known is not None:
            message = f"{id} is in the embedded catalog, but its revision {revision} is not ({reason})"
            return RemoteError(message, fix=f"leave out the revision: {known.id}", code="revision_unknown")
        guess = self._nearest(id)
        endpoint = address(self._client.endpoint)
        advice = "leave out --offline" if why is None else f"try again when {endpoint} answers (HF_ENDPOINT)"
        return RemoteError(
            f"{id} is not in the embedded catalog ({reason})",
            fix=f"{f'{guess} Otherwise ' if guess else ''}{advice}, or give a local folder of its files",
            code="model_unknown",
        )

    def _nearest(self, id: str) -> str:
        """What a person may have meant; nothing for an ancestor, or one of many ids: each takes some 20 ms."""
        return self._catalog.nearest(id) if id in self._typed else ""

    def _not_found(self, id: str, revision: str | None, error: NotOnHubError) -> RemoteError:
        if error.code == "RevisionNotFound":
            return RemoteError(
                f"{id} has no revision {revision}",
                fix=f"leave it out, or take one of {id}'s commits",
                code="revision_unknown",
            )
        if error.code == "BadToken":
            return RemoteError("the Hub rejects the token", fix="renew HF_TOKEN, or unset it", code="bad_token")
        if error.code == "Disabled":
            return RemoteError(f"{id} is disabled on the Hub", fix="choose another model", code="model_disabled")
        guess = "" if self._catalog.find(id) else self._nearest(id)
        hint = "" if self._client.has_token else " If it is private, set HF_TOKEN"
        return RemoteError(
            f"the Hub has no model {id}, or it is private",
            fix=f"{guess or 'check the name.'}{hint}".strip(),
            code="model_not_found",
        )


def listed(client: Client, wanted: Iterable[str], expand: Sequence[str] = EXPAND) -> dict[str, Mapping[str, object]]:
    """Records of requested models from list pages, where that saves calls: most downloaded first, then by owner.

    By lower-case id. What the lists do not bring is left to be asked one by one, and reported there.
    """
    missing = {_key(text) for text in wanted if "@" not in text and _ID.fullmatch(text)}
    records: dict[str, Mapping[str, object]] = {}

    def read(params: Params, prefix: str = "") -> None:
        fields: Params = [("limit", "1000"), *(("expand", name) for name in expand)]
        for page in client.pages([*params, *fields]):
            hits = {key: row for row in page if (key := _key(str(row["id"]))) in missing}
            records.update(hits)
            missing.difference_update(hits)
            if len(hits) < WORTH_A_PAGE or not any(key.startswith(prefix) for key in missing):
                return

    with suppress(HubDownError, NotOnHubError, GatedError):
        read([("sort", "downloads"), ("direction", "-1")])
        authors = Counter(key.partition("/")[0] for key in missing if "/" in key)
        for author, count in authors.most_common():
            if count < WORTH_A_PAGE:
                break
            read([("author", author)], f"{author}/")
    return records


def _siblings(record: Mapping[str, object]) -> list[str] | None:
    """Names of the repository's files, where the record lists them."""
    rows = record.get("siblings")
    if not isinstance(rows, list):
        return None
    return [row["rfilename"] for row in rows if isinstance(row, dict) and isinstance(row.get("rfilename"), str)]


def _key(text: str) -> str:
    id, at, revision = text.strip().partition("@")
    return f"{id.lower()}{at}{revision}"
