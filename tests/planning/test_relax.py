"""Where nothing passes, the filter that does it is named, with the nearest that would pass: and that does pass."""

import re
import shlex
from typing import Any

import pytest

from modelpick import api
from modelpick.planning.filters import Filters
from modelpick.planning.load import LoadLimits
from modelpick.planning.relax import relaxations
from modelpick.workload import Workload

_FEW: dict[str, Any] = {"publishers": ("HuggingFaceTB",), "use_case": "chat"}


def answer(**wanted: Any) -> api.RecommendAnswer:
    work = wanted.pop("work", {"context": 1024, "generate": 128})
    return api.recommend(workload=work, filters=Filters(**{**_FEW, **wanted}), finetune_rows=1)


@pytest.mark.parametrize(
    ("field", "asked", "flag"),
    [
        ("max_usd_per_hour", 0.01, "--max-usd-per-hour"),
        ("max_usd_per_month", 5.0, "--max-usd-per-month"),
        ("min_score", 99.0, "--min-score"),
        ("max_parameters", 1000, "--max-params"),
        ("min_parameters", 10**14, "--min-params"),
    ],
)
def test_the_nearest_that_would_pass_passes(field: str, asked: float, flag: str) -> None:
    empty = answer(**{field: asked})
    assert not empty.recommendations.passed
    (said,) = [one for one in empty.emptied_by if one.filter.startswith(flag)]
    assert said.passes > 0
    assert said.nearest is not None
    value = re.search(rf"{flag} to ([\d.]+)([BM]?)$", said.nearest)
    assert value is not None, said.nearest
    number = float(value[1]) * {"": 1, "M": 1e6, "B": 1e9}[value[2]]
    assert answer(**{field: number if isinstance(asked, float) else int(number)}).recommendations.passed
    assert {"filter", "passes_without", "nearest"} == set(empty.as_json()["emptied_by"][0])  # type: ignore[index]


def test_an_answer_that_is_not_empty_is_not_searched_again() -> None:
    found = answer()
    assert found.recommendations.passed
    assert found.emptied_by == ()


def test_every_filter_that_was_asked_for_is_left_out_once() -> None:
    filters = Filters(
        use_case="chat", strict=True, languages=("de",), publishers=("a",), min_parameters=1, max_parameters=2,
        min_score=3.0, instances=("g5.xlarge",), max_usd_per_hour=4.0, max_usd_per_month=5.0,
        limits=LoadLimits(6.0, 7.0, 8.0),
    )  # fmt: skip
    work = Workload(method="nf4", stack="vllm", gpus=2, sharding="tensor-parallel", context=100_000)
    tried: list[tuple[Filters, Workload]] = []

    def search(filters: Filters, work: Workload) -> list[Any]:
        tried.append((filters, work))
        return []

    assert relaxations(filters, work, search) == ()
    assert len(set(tried)) == len(tried) == 17
    assert (filters, work) not in tried
    found = relaxations(filters, work, lambda filters, work: [object()] if not filters.strict else [])  # type: ignore[list-item]
    assert [shlex.split(one.filter) for one in found] == [["--strict"]]
