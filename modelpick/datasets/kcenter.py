"""A spread-out selection of texts: tf-idf vectors and greedy k-center, with scikit-learn and scipy (extra `data`)."""

from collections.abc import Sequence
from typing import Any

from modelpick.datasets.similarity import Tell, words
from modelpick.extras import require

# Among so many texts a term in over a fifth tells them little apart, and such terms are most of the work.
_MANY, _COMMON = 10_000, 0.2


def vectors(texts: Sequence[str]) -> Any:
    """A sparse matrix with a unit row of tf-idf weights for each text.

    Salton & Buckley 1988: log tf, log idf, cosine normalisation. A text without a telling word has an empty row.
    """
    require("data", "sklearn")
    import numpy
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    for common in (_COMMON, 1.0) if len(texts) >= _MANY else (1.0,):
        try:
            weigh = TfidfVectorizer(analyzer=words, sublinear_tf=True, max_df=common, dtype=numpy.float32)
            return weigh.fit_transform(texts)
        except ValueError:  # no term is left: all of them are common, or there are none
            continue
    return csr_matrix((len(texts), 1), dtype=numpy.float32)


def spread(
    rows: Any, wanted: int, worth: Sequence[float], known: Any = None, tell: Tell | None = None
) -> tuple[list[int], Any]:
    """Numbers of `wanted` rows, far from each other and from the rows of `known`, weighted by their worth.

    And for every row the highest cosine with anything chosen or known: how well the choice stands for it.

    Greedy k-center (Gonzalez 1985; for active learning Sener & Savarese, arXiv 1708.00489): each time the one with the
    largest distance x worth is taken, the first of equals. The first is the worthiest. Distances are 1 - cosine. One
    sparse product a pick; a row without a telling word has no place and comes last.
    """
    import numpy

    worths = numpy.asarray(worth, dtype=numpy.float32)
    nearest = numpy.zeros(rows.shape[0], dtype=numpy.float32)
    columns = rows.T.tocsr()
    nearest[rows.getnnz(axis=1) == 0] = 1

    def take_note(row: Any) -> None:
        near = row @ columns
        nearest[near.indices] = numpy.maximum(nearest[near.indices], near.data)

    for number in range(0 if known is None else known.shape[0]):
        if tell and number % 100 == 0:
            tell("comparing with what is known", number, known.shape[0])
        take_note(known[number])
    open_ = numpy.ones(rows.shape[0], dtype=bool)
    chosen: list[int] = []
    while len(chosen) < min(wanted, rows.shape[0]):
        if tell and len(chosen) % 20 == 0:
            tell("choosing", len(chosen), wanted)
        score = numpy.where(open_, numpy.maximum(1 - nearest, 0) * worths, -1)
        best = int(score.argmax())
        chosen.append(best)
        open_[best] = False
        take_note(rows[best])
    return chosen, nearest
