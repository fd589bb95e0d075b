"""The files of a repository that say something: card, terms, configs, headers of weights. Never the weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from modelpick.catalog import card, headers, hub_cache, terms
from modelpick.catalog import folder as snapshot
from modelpick.catalog.hub_client import Client, GatedError, HubDownError, NotOnHubError
from modelpick.catalog.parts import NO_CONFIG, RepositoryParts
from modelpick.errors import UsageError
from modelpick.schema import read, to_json

MOST_TERMS = 12  # terms files read of one repository; the most seen in one is 5
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
    of_terms = [name for name in sorted(names) if terms.kind_of(name)]
    for name in [*(name for name in top if name.lower() == "readme.md"), *of_terms[:MOST_TERMS]]:
        if not terms.is_plain_text(name):
            reading.notes.append(f"{name} is not plain text: not read")
            continue
        text = reading.text(name)
        if text is not None:
            texts[name] = text
    if len(of_terms) > MOST_TERMS:
        reading.notes.append(f"{len(of_terms)} files carry terms: {len(of_terms) - MOST_TERMS} were not read")
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
        self.gated: list[str] = []
        self.whole = True

    def text(self, name: str) -> str | None:
        """The text of a file, cut at the longest that is read, or None."""
        got = self._bytes(name, snapshot.LARGEST_TEXT)
        if got is None:
            return None
        data, cut = got
        if cut:
            self.notes.append(f"{name} is longer than {snapshot.LARGEST_TEXT:,} bytes: only its beginning was read")
        if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            self.notes.append(f"{name} is not text: not read")
            return None
        text, remarks = card.decode(data)
        self.notes += [f"{name}: {remark}" for remark in remarks]
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
