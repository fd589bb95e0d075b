"""How alike texts are: near-duplicates found exactly, and a spread-out selection. Pure, in plain Python.

Near-duplicates are pairs whose sets of word triples have a Jaccard similarity of at least a threshold. They are found
without comparing all pairs by prefix filtering (Bayardo, Ma, Srikant: Scaling Up All Pairs Similarity Search, WWW 2007;
Xiao et al.: PPJoin, WWW 2008): two such sets must share one of their rarest elements. Unlike MinHash it misses none.
"""

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush, nsmallest

# Broder (1997) calls documents "roughly the same" by the resemblance of their shingles; 0.8 is the threshold that
# web-scale corpora use (e.g. FineWeb 0.75, RefinedWeb 0.8).
NEAR = 0.8
_WORDS = re.compile(r"\w+")
_BUCKET_BITS = 22  # four million buckets of four bytes
_BUCKETS = (1 << _BUCKET_BITS) - 1
_COMMON = 0.2  # a term in over a fifth of the texts tells them little apart


def normalized(text: str) -> str:
    """Lower case, words only: equal here means an exact duplicate."""
    return " ".join(_WORDS.findall(text.lower()))


def shingles(text: str, size: int = 3) -> frozenset[tuple[str, ...]]:
    """The set of word triples; a shorter text is one shingle."""
    words = _WORDS.findall(text.lower())
    return frozenset(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1)))


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[tuple[int, int, float]]:
    """Every pair (earlier, later, similarity) of texts at or above the threshold, exact duplicates included.

    Shingles are held as 64-bit hashes, eight bytes each, so that 100,000 texts fit in a few hundred megabytes; that two
    of ten million shingles share one has a chance of 3 in a million. Their rarity is counted in buckets: it only orders
    the elements, and any order is exact.
    """
    sets = [array("q", {hash(shingle) for shingle in shingles(text)}) for text in texts]
    counts = array("I", bytes(4 << _BUCKET_BITS))
    for one in sets:
        for shingle in one:
            counts[shingle & _BUCKETS] += 1
    index: dict[int, list[int]] = defaultdict(list)
    pairs = []
    for later, elements in enumerate(sets):
        mine = set(elements)
        wanted = len(elements) - math.ceil(threshold * len(elements)) + 1
        prefix = nsmallest(wanted, elements, key=lambda shingle: (counts[shingle & _BUCKETS], shingle))
        candidates = {earlier for shingle in prefix for earlier in index.get(shingle, ())}
        for earlier in sorted(candidates):
            small, large = sorted((len(sets[earlier]), len(elements)))
            if small < threshold * large:
                continue
            shared = sum(shingle in mine for shingle in sets[earlier])
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


def spread(
    vectors: Sequence[Vector], wanted: int, worth: Sequence[float], known: Sequence[Vector] = ()
) -> tuple[list[int], list[float]]:
    """Indices of `wanted` vectors, far from each other and from `known`, weighted by their worth.

    And for every vector the highest cosine with anything chosen or known: how well the choice stands for it.

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

    # A score only falls as more is chosen, so the top of the heap is the best as soon as its score is up to date.
    def score(number: int) -> float:
        return -(1 - nearest[number]) * worth[number]

    heap = [(score(number), number) for number in range(len(vectors))]
    heapify(heap)
    chosen: list[int] = []
    while heap and len(chosen) < wanted:
        kept, number = heappop(heap)
        if score(number) > kept:
            heappush(heap, (score(number), number))
            continue
        chosen.append(number)
        take_note(vectors[number])
    return chosen, nearest
