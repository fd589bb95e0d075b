"""How alike texts are: near-duplicates found exactly, and a spread-out selection. Pure, in plain Python.

Near-duplicates are pairs whose sets of word triples have a Jaccard similarity of at least a threshold. They are found
without comparing all pairs by prefix filtering (Bayardo, Ma, Srikant: Scaling Up All Pairs Similarity Search, WWW 2007;
Xiao et al.: PPJoin, WWW 2008): two such sets must share one of their rarest elements. Unlike MinHash it misses none.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

# Broder (1997) calls documents "roughly the same" by the resemblance of their shingles; 0.8 is the threshold that
# web-scale corpora use (e.g. FineWeb 0.75, RefinedWeb 0.8).
NEAR = 0.8
_WORDS = re.compile(r"\w+")
_COMMON = 0.2  # a term in over a fifth of the texts tells them little apart


def normalized(text: str) -> str:
    """Lower case, words only: equal here means an exact duplicate."""
    return " ".join(_WORDS.findall(text.lower()))


def shingles(text: str, size: int = 3) -> frozenset[tuple[str, ...]]:
    """The set of word triples; a shorter text is one shingle."""
    words = _WORDS.findall(text.lower())
    return frozenset(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[tuple[int, int, float]]:
    """Every pair (earlier, later, similarity) of texts at or above the threshold, exact duplicates included."""
    sets = [shingles(text) for text in texts]
    rarity = Counter(shingle for one in sets for shingle in one)
    ordered = [sorted(one, key=lambda shingle: (rarity[shingle], shingle)) for one in sets]
    index: dict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs = []
    for later, elements in enumerate(ordered):
        prefix = elements[: len(elements) - math.ceil(threshold * len(elements)) + 1]
        candidates = {earlier for shingle in prefix for earlier in index[shingle]}
        for earlier in sorted(candidates):
            small, large = sorted((len(sets[earlier]), len(sets[later])))
            if small < threshold * large:
                continue
            shared = len(sets[earlier] & sets[later])
            similarity = shared / (small + large - shared)
            if similarity >= threshold:
                pairs.append((earlier, later, similarity))
        for shingle in prefix:
            index[shingle].append(later)
    return pairs


def groups(count: int, pairs: Iterable[tuple[int, int, float]]) -> list[list[int]]:
    """The groups that pairs connect, each sorted; texts that are alone are left out."""
    parent = list(range(count))

    def root(one: int) -> int:
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = parent[one]
        return one

    for left, right, _ in pairs:
        parent[max(root(left), root(right))] = min(root(left), root(right))
    found: dict[int, list[int]] = defaultdict(list)
    for one in range(count):
        found[root(one)].append(one)
    return [members for members in found.values() if len(members) > 1]


Vector = dict[str, float]


def tfidf(texts: Sequence[str]) -> list[Vector]:
    """A unit vector of tf-idf weights for each text (Salton & Buckley 1988: log tf, log idf, cosine normalisation)."""
    counts = [Counter(_WORDS.findall(text.lower())) for text in texts]
    documents = Counter(term for one in counts for term in one)
    total = len(texts)
    vectors = []
    for one in counts:
        weights = {
            term: (1 + math.log(count)) * math.log(total / documents[term])
            for term, count in one.items()
            if documents[term] <= max(1, _COMMON * total) or total < 10
        }
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        vectors.append({term: weight / length for term, weight in weights.items()} if length else {})
    return vectors


def spread(vectors: Sequence[Vector], wanted: int, worth: Sequence[float], known: Sequence[Vector] = ()) -> list[int]:
    """Indices of `wanted` vectors, far from each other and from `known`, weighted by their worth.

    Greedy k-center (Gonzalez 1985; for active learning Sener & Savarese, arXiv 1708.00489): each time the one with the
    largest distance x worth is taken. The first is the worthiest. Distances are 1 - cosine.
    """
    postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for number, vector in enumerate(vectors):
        for term, weight in vector.items():
            postings[term].append((number, weight))
    nearest = [0.0] * len(vectors)  # the highest cosine with anything chosen or known

    def take_note(vector: Vector) -> None:
        cosines: dict[int, float] = defaultdict(float)
        for term, weight in vector.items():
            for number, other in postings[term]:
                cosines[number] += weight * other
        for number, cosine in cosines.items():
            nearest[number] = max(nearest[number], cosine)

    for vector in known:
        take_note(vector)
    chosen: list[int] = []
    left = set(range(len(vectors)))
    while left and len(chosen) < wanted:
        best = max(left, key=lambda number: ((1 - nearest[number]) * worth[number], -number))
        chosen.append(best)
        left.discard(best)
        take_note(vectors[best])
    return chosen
