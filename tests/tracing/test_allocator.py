"""The replay of torch's caching allocator: rounding, reuse, splitting, joining, and laws that always hold."""

from hypothesis import given
from hypothesis import strategies as st

from modelpick.tracing.allocator import CachingAllocator

MIB = 1 << 20


def test_small_requests_share_a_segment_of_two_mib() -> None:
    allocator = CachingAllocator()
    for key in range(4):
        allocator.allocate(key, 1000)
    assert (allocator.allocated, allocator.reserved) == (4 * 1024, 2 * MIB)


def test_middle_requests_are_cut_from_twenty_mib_and_large_ones_get_their_own() -> None:
    allocator = CachingAllocator()
    allocator.allocate(1, 5 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.allocate(2, 15 * MIB)  # fits the rest of the first segment exactly
    assert allocator.reserved == 20 * MIB
    allocator.allocate(3, 11 * MIB + 1)
    assert allocator.reserved == 32 * MIB


def test_what_is_freed_is_joined_and_used_again() -> None:
    allocator = CachingAllocator()
    allocator.allocate(1, 4 * MIB)
    allocator.allocate(2, 4 * MIB)
    allocator.release(1)
    allocator.release(2)
    allocator.allocate(3, 20 * MIB)
    assert allocator.reserved == 20 * MIB


def test_fragments_force_a_new_segment() -> None:
    allocator = CachingAllocator()
    for key in range(4):
        allocator.allocate(key, 5 * MIB)
    allocator.release(0)
    allocator.release(2)
    allocator.allocate(9, 10 * MIB)
    assert allocator.reserved == 30 * MIB


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40 * MIB)), max_size=80))
def test_reserved_covers_allocated_and_all_can_be_freed(requests: list[tuple[int, int]]) -> None:
    allocator = CachingAllocator()
    held: dict[int, int] = {}
    for key, size in requests:
        if key in held:
            allocator.release(key)
            del held[key]
        else:
            allocator.allocate(key, size)
            held[key] = size
        assert sum(held.values()) <= allocator.allocated <= allocator.reserved <= allocator.peak_reserved
    for key in held:
        allocator.release(key)
    assert allocator.allocated == 0
