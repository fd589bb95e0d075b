"""How many servers a load needs: limits are kept, more load needs no fewer servers, a full queue has no wait."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpick.catalog.architecture import read
from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.planning.engines import speed_as_served
from modelpick.planning.load import LoadLimits, carried_load
from modelpick.speed import calibration
from modelpick.speed.shape import shape_of
from modelpick.workload import Workload, workload_from
from tests.speed.test_roofline import LLAMA_2_7B, MIXTRAL

SHAPES = {"dense": shape_of(read(LLAMA_2_7B)), "experts": shape_of(read(MIXTRAL))}
KINDS = st.sampled_from(["g6e.xlarge", "g7e.2xlarge", "p4de.24xlarge", "p5.48xlarge"])


def served(batch: int, stack: str = "vllm", method: str = "fp8") -> Workload:
    asked = {"method": method, "stack": stack, "batch": batch, "context": 1000, "generate": 200}
    return workload_from(asked)


@settings(max_examples=40, deadline=None)
@given(
    KINDS,
    st.sampled_from(sorted(SHAPES)),
    st.integers(1, 400),
    st.none() | st.floats(0.02, 20),
    st.none() | st.floats(1, 200),
)
def test_each_server_keeps_the_limits_with_its_part(
    name: str, shape: str, batch: int, first: float | None, each: float | None
) -> None:
    kind, work, limits = embedded.instances()[name], served(batch), LoadLimits(first, each)
    by = calibration.serving("vllm", "fp8")
    found = carried_load(SHAPES[shape], kind, by, work, limits)
    if found.servers is None:
        assert not limits.met_by(speed_as_served(SHAPES[shape], kind, by, replace(work, batch=1)))
        return
    assert found.at_once * found.servers >= batch
    assert found.speed is not None
    assert limits.met_by(found.speed)
    more = carried_load(SHAPES[shape], kind, by, replace(work, batch=batch + 50), limits)
    assert more.servers is not None
    assert more.servers >= found.servers


@settings(max_examples=30, deadline=None)
@given(KINDS, st.floats(0.01, 500))
def test_a_rate_above_what_one_server_finishes_is_said_to_saturate_it(name: str, rate: float) -> None:
    kind, by = embedded.instances()[name], calibration.serving("vllm", "fp8")
    found = carried_load(SHAPES["dense"], kind, by, served(1), LoadLimits(requests_per_s=rate))
    assert found.servers is not None
    assert found.servers * found.requests_per_s >= rate * (1 - 1e-9)
    assert not found.saturated or found.servers > 1
    if found.servers > 1:
        assert rate > found.requests_per_s * (found.servers - 1)


def test_more_requests_than_the_cache_holds_have_no_time_to_the_first_token() -> None:
    kind, by = embedded.instances()["g6e.xlarge"], calibration.serving("vllm", "fp8")
    waits = [
        speed_as_served(SHAPES["dense"], kind, by, replace(served(batch), generate=4000)).first_token
        for batch in (1, 4, 500)
    ]
    assert waits[0] is not None
    assert waits[1] is not None
    assert waits[0].likely < waits[1].likely
    assert waits[2] is None
    one_by_one = calibration.serving("transformers", "bf16")
    assert speed_as_served(SHAPES["dense"], kind, one_by_one, served(2, "transformers", "bf16")).first_token is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["max_first_token_s", "min_tokens_per_s", "requests_per_s"])
def test_a_limit_is_a_number_above_0(name: str, wrong: float) -> None:
    with pytest.raises(UsageError) as refused:
        LoadLimits(**{name: wrong})
    assert refused.value.code == f"bad_{name}"
