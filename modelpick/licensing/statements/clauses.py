"""A sentence as clauses, and what each clause is about. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from modelpick.licensing.license import License
from modelpick.licensing.statements.vocabulary import FoundWord, Token

Subject = Literal["weights", "code", "data", "demo", "paper", "base", "others"]

_ENDS = frozenset(",;()[]|!?…、。।")
_NEAR = 4  # tokens between two things of which one belongs to the other ("the demo of this model")
_OF = frozenset(
    [
        "of",
        "for",
        "behind",
        "to",
        "used",
        "describing",
        "von",
        "fur",
        "zum",
        "zur",
        "zu",
        "des",
        "der",
        "de",
        "du",
        "des",
        "del",
        "della",
        "di",
        "do",
        "da",
        "per",
        "para",
        "pour",
        "van",
        "voor",
        "for",
        "av",
        "af",
        "til",
        "till",
        "для",
        "к",
        "dla",
        "do",
        "untuk",
        "dari",
        "bagi",
        "cua",
        "cho",
        "ل",
        "لـ",
        "के",
        "की",
        "का",
        "द्वारा",
        "的",
        "の",
        "의",
        "ของ",
    ]
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A license that is named, and the token at which its name begins and ends."""

    license: License
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Part:
    """A clause: its words and the licenses it names. `attached`: it is about what was named last."""

    words: tuple[FoundWord, ...]
    mentions: tuple[Mention, ...]
    first: int
    last: int
    attached: bool = False


def parts(
    tokens: Sequence[Token], words: Sequence[FoundWord], mentions: Sequence[Mention], head_last: bool
) -> Iterator[Part]:
    """The clauses of a sentence: cut at marks, before a "but", and before a "which".

    `head_last`: what is compared stands before the word that compares, which then ends a clause.
    """
    within = {at for mention in mentions for at in range(mention.first, mention.last + 1)}
    cuts = {at for at, token in enumerate(tokens) if at not in within and _is_end(tokens, at)}
    begins = {word.first for word in words if word.concept == "but" and word.first not in within}
    named = {word.last for word in words if word.concept in _THINGS or word.concept == "family"}
    relatives = {word.first for word in words if word.concept == "relative"}
    begins |= {at for at in relatives if at - 1 in named}
    if head_last:
        begins |= {word.last + 1 for word in words if word.concept == "compare"}
    bounds = sorted(cuts | begins | {0, len(tokens)})
    for start, end in pairwise(bounds):
        inside = tuple(word for word in words if start <= word.first < end)
        licenses = tuple(mention for mention in mentions if start <= mention.first < end)
        if inside or licenses:
            opens = start in cuts and tokens[start].text in "(["
            attached = opens or any(at in relatives for at in (start, start + 1, start + 2))
            yield Part(inside, licenses, start, end - 1, attached)


def _is_end(tokens: Sequence[Token], at: int) -> bool:
    """Whether a mark ends a clause; a dot does where a space follows ("example.org" is one word)."""
    text = tokens[at].text
    if text == ".":
        return at + 1 == len(tokens) or tokens[at + 1].start > tokens[at].end
    return text in _ENDS or text == " - "


_THINGS: frozenset[str] = frozenset(get_args(Subject))


class Subjects:
    """What a sentence has named so far."""

    def __init__(self, tokens: Sequence[Token], context: Subject | None, head_last: bool) -> None:
        self._tokens, self._context, self._head_last = tokens, context, head_last
        self._named: list[Subject] = []
        self._last: Subject | None = None
        self._compared = False  # whether a clause compared: the next is about these weights again

    def of(self, part: Part, first: int, last: int, ours_follows: bool = False) -> Subject:
        """What the words from token `first` to `last` of a clause are about.

        `ours_follows`: a later clause is about these weights, so that after "unlike X," this one is still about X.

        Nothing said is about the weights. A clause without a thing of its own is about all that the sentence named
        before; one that begins with "which", or stands in parentheses, about the last. Where it could be the weights or
        something else, it is the weights.
        """
        own = self._own(part)
        if self._compares(part):
            return "others"
        if own:
            before = [(word, name) for word, name in own if word.first <= last]
            return self._nearest(part, before) if before else own[0][1]
        if self._last is not None and (part.attached or (self._compared and ours_follows)):
            return self._last
        if self._named:
            return self._named[0] if len(set(self._named)) == 1 and not self._compared else "weights"
        return self._context or "weights"

    def add(self, part: Part) -> None:
        """Remember what a clause names."""
        self._compared = self._compared or self._compares(part)
        names: list[Subject] = ["others"] if self._compares(part) else [name for _, name in self._own(part)]
        if names:
            self._last = names[-1]
        if not (part.attached and self._named):
            self._named += names

    def _compares(self, part: Part) -> bool:
        """Whether a clause is about a model that this one is compared with."""
        concepts = {word.concept for word in part.words}
        return "compare" in concepts and "ours" not in concepts

    def _own(self, part: Part) -> list[tuple[FoundWord, Subject]]:
        """The things a clause names. A model's name is another model, or, after "based on", the base."""
        found: list[tuple[FoundWord, Subject]] = []
        things = [word for word in part.words if word.concept in ("weights", "ours", "base")]
        derived = [word.last for word in part.words if word.concept == "derived"]
        for word in part.words:
            if word.concept == "ours":
                found.append((word, "weights"))
            elif word.concept in _THINGS:
                found.append((word, subject(word.concept)))
            elif word.concept == "family":
                if any(at < word.first for at in derived):
                    found.append((word, "base"))
                elif not things:
                    found.append((word, "others"))
                elif all(thing.concept == "weights" for thing in things) and any(
                    _side_by_side(word, t) for t in things
                ):
                    found = [(word, "others")]  # "the LLaMA weights"
                    break
        return found

    def _nearest(self, part: Part, named: Sequence[tuple[FoundWord, Subject]]) -> Subject:
        """Of things named side by side the weights count; of one that belongs to another, the one it is said of."""
        chain = [named[-1]]
        for word, name in reversed(named[:-1]):
            between = [token.text for token in self._tokens[word.last + 1 : chain[0][0].first]]
            if len(between) > _NEAR:
                break
            if not between or any(text in _OF for text in between):
                if self._head_last:
                    continue
                chain[0] = (word, name)
            else:
                chain.insert(0, (word, name))
        names = [name for _, name in chain]
        kinds = {name for _, name in named}
        if "weights" in names:
            return "weights"
        if "weights" in kinds and len(chain) == 1 and len(named) > 1 and not _follows_training(part, named):
            belonging = len(named) == 2 and self._belongs(named[0][0], named[1][0])
            return names[-1] if belonging else "weights"
        return names[-1]

    def _belongs(self, one: FoundWord, other: FoundWord) -> bool:
        between = [token.text for token in self._tokens[one.last + 1 : other.first]]
        return len(between) <= _NEAR and (not between or any(text in _OF for text in between))


def _side_by_side(one: FoundWord, other: FoundWord) -> bool:
    return one.first == other.last + 1 or other.first == one.last + 1


def _follows_training(part: Part, named: Sequence[tuple[FoundWord, Subject]]) -> bool:
    """Whether the last thing is data that the weights were only "trained on"."""
    word, name = named[-1]
    return name == "data" and any(other.concept == "trained" and other.first <= word.last for other in part.words)


def subject(concept: str) -> Subject:
    """The subject of the same name as a concept."""
    return next(one for one in get_args(Subject) if one == concept)
