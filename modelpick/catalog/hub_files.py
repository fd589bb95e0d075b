"""The files of a repository that say something: card, terms, configs, headers of weights. Never the weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modelpick.catalog import card, headers, hub_cache, parents, spdx_document, terms
from modelpick.catalog import folder as snapshot
from modelpick.catalog.hub_client import Client, GatedError, HubDownError, NotOnHubError
from modelpick.catalog.model import Unread
from modelpick.catalog.parts import NO_CONFIG, RepositoryParts
from modelpick.errors import UsageError
from modelpick.schema import read, to_json

MOST_TERMS = 40  # terms files read of one repository; the most seen in one is 5
MOST_DOCUMENTS = 12  # other documents read of one repository
GGUF_START = 1 << 16  # bytes read of one GGUF file: its general.* keys stand first
MOST_SHARDS = 300  # safetensors files whose headers are read; the largest known repository has 191
_CONFIGS = ("config.json", "adapter_config.json")


def fetch(
    client: Client, id: str, at: str, sha: str | None, names: Sequence[str], record: Mapping[str, object], bulk: bool
) -> tuple[RepositoryParts, bool]:
    """Reads the files of `names` that matter, at revision `at`, and says whether that is all there is to read.

    A gate, or a file that is listed and not there, is a note. Raises HubDownError.
    """
    reading = _Reading(client, id, at)
    top = sorted(name for name in names if "/" not in name)
    texts: dict[str, str] = {}
    for name in reading.of_terms(names):
        text = reading.text(name)
        if text is not None:
            texts[name] = text
    configs = {name: reading.json(name) if name in top else None for name in _CONFIGS}
    ggufs = [name for name in sorted(names) if name.lower().endswith(".gguf")]
    gguf = reading.gguf(ggufs[0]) if ggufs else None
    counts = _counted_by_hub(record)
    if not counts and not bulk and not reading.gated:
        counts = reading.counts(top)
    if configs["config.json"] is None and configs["adapter_config.json"] is None and not reading.gated:
        reading.notes.append(NO_CONFIG)
    if reading.gated:
        reading.notes.insert(0, f"gated, not read: {', '.join(reading.gated)}")
    parts = RepositoryParts(
        id=id,
        origin="hub",
        revision=sha,
        files=tuple(sorted(names)),
        texts=texts,
        config=configs["config.json"],
        adapter_config=configs["adapter_config.json"],
        gguf=gguf,
        parameters_by_dtype=counts,
        notes=tuple(reading.notes),
        unread=tuple(reading.unread),
    )
    return parts, reading.whole and not reading.gated


def load(folder: Path | None, endpoint: str, id: str, sha: str | None) -> RepositoryParts | None:
    """The parts of this commit that were kept, or None: a file of another shape is as good as none."""
    kept = hub_cache.load(folder, endpoint, id, sha) if sha else None
    if kept is None:
        return None
    try:
        parts = read(RepositoryParts, card.without_surrogates(kept), code="bad_cache")
    except UsageError:
        return None
    return parts if (parts.id, parts.origin, parts.revision) == (id, "hub", sha) else None


def save(folder: Path | None, endpoint: str, parts: RepositoryParts) -> None:
    """Keeps the parts of a commit; without its sha there is nothing to keep them by."""
    if parts.revision:
        hub_cache.save(folder, endpoint, parts.id, parts.revision, to_json(parts))


class _Reading:
    """The files of one revision, and what went wrong with them so far."""

    def __init__(self, client: Client, id: str, at: str) -> None:
        self._client, self._id, self._at = client, id, at
        self.notes: list[str] = []
        self.unread: list[Unread] = []
        self.gated: list[str] = []
        self.whole = True

    def of_terms(self, names: Sequence[str]) -> list[str]:
        """The names of what is read: card, recipes, SPDX documents, terms, documents; what is too many is noted."""
        of_terms = [name for name in sorted(names) if terms.kind_of(name)]
        documents = sorted(filter(terms.is_document, names), key=lambda name: (not terms.hints_at_terms(name), name))
        if len(of_terms) > MOST_TERMS:
            for name in of_terms[MOST_TERMS:]:
                self.unread.append(Unread(name, f"it is one of {len(of_terms)} files of terms: too many"))
        for name in documents[MOST_DOCUMENTS:]:
            if terms.hints_at_terms(name):
                self.unread.append(Unread(name, f"it is one of {len(documents)} documents: too many"))
        cards = sorted(name for name in names if name.lower() == "readme.md")
        recipes = sorted(name for name in names if parents.is_recipe(name) or spdx_document.is_spdx(name))[:MOST_TERMS]
        return [*cards, *recipes, *of_terms[:MOST_TERMS], *documents[:MOST_DOCUMENTS]]

    def text(self, name: str) -> str | None:
        """The text of a file, as far as it was read, or None. What was not read is kept in `unread`."""
        gated_before = len(self.gated)
        got = self._bytes(name, snapshot.longest_read(name))
        if got is None:
            gated = len(self.gated) > gated_before
            if name.lower() == "readme.md" or terms.hints_at_terms(name):
                why = "it is behind the gate" if gated else "the Hub lists it and did not return it"
                self.unread.append(Unread(name, why, gated))
            return None
        text, unread = snapshot.text_of(name, got[0], not got[1], self.notes)
        if unread is not None:
            self.unread.append(unread)
        return text

    def json(self, name: str, largest: int = snapshot.LARGEST_JSON) -> dict[str, object] | None:
        """A JSON object, or None and a note."""
        got = self._bytes(name, largest)
        if got is None:
            return None
        try:
            return snapshot.parse_json(got[0], name)
        except UsageError as error:
            self.notes.append(error.message)
            return None

    def gguf(self, name: str) -> dict[str, object] | None:
        """The general.* keys of a GGUF file, or None and a note."""
        got = self._bytes(name, GGUF_START)
        if got is None:
            return None
        try:
            return headers.gguf_general(got[0])
        except ValueError as error:
            self.notes.append(f"{name}: {error}")
            return None

    def counts(self, names: Sequence[str]) -> dict[str, int]:
        """Parameters by dtype from the safetensors headers, by two range reads a file; empty if any is unread."""
        index_name = "model.safetensors.index.json"
        index = self.json(index_name, snapshot.LARGEST_INDEX) if index_name in names else None
        files = headers.weight_files(names, index)
        if (index_name in names and index is None) or not set(files) <= set(names) or len(files) > MOST_SHARDS:
            return {}
        counts = []
        for name in files:
            try:
                start = self._client.file(self._id, self._at, name, largest=8).body
                length = headers.safetensors_header_length(start)
                answer = self._client.file(self._id, self._at, name, largest=length, first=8)
                counts.append(headers.parameters_by_dtype(answer.body))
            except (GatedError, NotOnHubError, HubDownError, ValueError) as error:
                self.notes.append(f"{name}: {str(error) or 'behind a gate'}: parameters not counted")
                self.whole = False
                return {}
        return headers.added(counts)

    def _bytes(self, name: str, largest: int) -> tuple[bytes, bool] | None:
        if self.gated and name.lower() != "readme.md":
            self.gated.append(name)  # one gate is in front of all files: no need to knock at each
            return None
        try:
            answer = self._client.file(self._id, self._at, name, largest=largest)
        except GatedError:
            self.gated.append(name)
            return None
        except NotOnHubError as error:
            if error.status in (401, 403):
                self.gated.append(name)
                return None
            self.whole = False
            self.notes.append(f"{name} is listed, but the Hub did not return it ({error.status})")
            return None
        return answer.body, answer.cut


def _counted_by_hub(record: Mapping[str, object]) -> dict[str, int]:
    """Parameters by dtype as the Hub itself counted them from the same headers (`safetensors.parameters`)."""
    stated = record.get("safetensors")
    counts = stated.get("parameters") if isinstance(stated, Mapping) else None
    if not isinstance(counts, Mapping):
        return {}
    known = {
        str(dtype): count
        for dtype, count in counts.items()
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**60
    }
    return dict(sorted(known.items())) if len(known) == len(counts) else {}
