"""A clause of a license, quoted where a fact was read, and whether the stored text has those words. Pure.

A text that is kept is compared word for word. Of a text that is not kept only the hashes of its runs of five words are
known, in their order (`fingerprints.KnownRuns`): a quotation is proved where its own runs stand there one after the
other.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from modelpick.licensing.fingerprints import words_of


@dataclass(frozen=True, slots=True)
class Quote:
    """The words of a license that a fact stands on.

    `section`: where they stand in the text, as the text numbers its parts. `text`: the stored text they are from, if
    it is another than the license itself ("llama4.use_policy": a policy that the license makes part of itself).
    """

    section: str
    words: str
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """A quote as evidence: of which license, where the text was read, and on which day.

    `link`: an address where the publisher shows the license, if one is known.
    """

    license: str
    section: str
    words: str
    source: str
    read_on: str
    link: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """The `clause` of a reason or an obligation."""
        return {
            "license": self.license, "section": self.section, "words": self.words, "source": self.source,
            "read_on": self.read_on, "link": self.link,
        }  # fmt: skip


def plain(text: str) -> str:
    """A text with one blank where it has white space of any kind."""
    return " ".join(text.split())


def packed(runs: Sequence[int]) -> str:
    """Runs as one line of text."""
    return b64encode(b"".join(run.to_bytes(4, "little") for run in runs)).decode() + "\n"


def unpacked(line: str) -> tuple[int, ...]:
    """The runs of `packed`."""
    data = b64decode(line)
    return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))


def stands_in(words: str, runs: Sequence[int]) -> bool:
    """Whether a quotation is a passage of the text with these runs. Fewer than five words prove nothing."""
    wanted = words_of(words).hashes
    if not wanted:
        return False
    starts = (at for at, run in enumerate(runs) if run == wanted[0])
    return any(tuple(runs[at : at + len(wanted)]) == wanted for at in starts)
