"""A card of one's own is known by its names, has no price, and is never taken for more than it is."""

import pytest

from modelpick.errors import UsageError
from modelpick.offers import embedded
from modelpick.offers.own import MOST_CARDS, cards, own_offer


@pytest.mark.parametrize(
    ("typed", "name", "count"),
    [
        ("RTX 4090", "GeForce RTX 4090", 1),
        ("rtx4090", "GeForce RTX 4090", 1),
        ("4090", "GeForce RTX 4090", 1),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090", 1),
        ("RTX 4090 Laptop GPU", "GeForce RTX 4090 Mobile", 1),
        ("rtx4070tisuper", "GeForce RTX 4070 Ti SUPER", 1),
        ("RTX 3060 12GB", "GeForce RTX 3060 12 GB", 1),
        ("3080 10GB", "GeForce RTX 3080", 1),
        ("2x RTX 3090", "GeForce RTX 3090", 2),
        ("2 x 3090", "GeForce RTX 3090", 2),
        ("RTX 3090 x2", "GeForce RTX 3090", 2),
        ("H100x2", "H100-80GB", 2),
        ("H100 x2", "H100-80GB", 2),
        ("H100 PCIe 80GB", "H100 PCIe 80 GB", 1),
        ("A100 80GB", "A100-80GB", 1),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB", 1),
        ("L4", "L4", 1),
        ("T4", "T4", 1),
        ("a10", "A10 PCIe", 1),
        ("RTX 6000 Ada", "RTX 6000 Ada Generation", 1),
        ("rx 7900 xtx", "Radeon RX 7900 XTX", 1),
    ],
)
def test_a_card_is_known_by_its_names(typed: str, name: str, count: int) -> None:
    offer = own_offer(typed)
    assert (offer.instance.gpu.name, offer.instance.gpu_count) == (name, count)
    assert (offer.usd_per_hour, offer.market, offer.region) == (None, "own", "")
    assert offer.source
    assert offer.assumed


def test_every_card_is_known_by_its_full_name() -> None:
    for card in cards():
        memory = "64GiB" if card.gib is None else None
        size = "" if card.gib is None or card.form == "rented" else f" {card.gib:g} GB"
        for typed in {card.gpu.name, card.gpu.name + ("" if "GB" in card.gpu.name else size)}:
            alike = [one for one in cards() if one.words == card.words]
            if typed == card.gpu.name and "GB" not in typed and len(alike) > 1 and card.form != "rented":
                continue  # sold with several memories: with one of them it is named
            assert own_offer(typed, memory).instance.gpu.name == card.gpu.name


@pytest.mark.parametrize(
    ("typed", "memory", "code", "fix"),
    [
        ("RTX 4095", None, "unknown_gpu", "GeForce RTX 40"),
        ("GTX 1080 Ti", None, "unknown_gpu", "--gpu 24GiB"),
        ("RTX 4090 48GB", None, "unknown_gpu", "24 GiB"),
        ("A100", None, "ambiguous_gpu", "A100-80GB, A100-40GB"),
        ("3060", None, "ambiguous_gpu", "RTX 3060 12 GB"),
        ("4060 Ti", None, "ambiguous_gpu", "16 GB"),
        ("x2", None, "bad_gpu", "RTX 4090"),
        ("", None, "bad_gpu", "RTX 4090"),
        ("RTX 4090 x0", None, "bad_gpu", "at most"),
        (f"{MOST_CARDS + 1}x RTX 4090", None, "bad_gpu", "at most"),
        ("M3 Max", None, "no_memory", "--memory"),
        ("RTX 4090", "24GiB", "contradiction", "--memory"),
        ("24GiB", "24GiB", "contradiction", "one of them"),
        ("0GiB", None, "bad_memory", "24GiB"),
        (None, "nan", "bad_memory", "24GiB"),
        (None, "-5GiB", "bad_memory", "24GiB"),
        (None, "lots", "bad_memory", "24GiB"),
        (None, "9999999GiB", "bad_memory", "24GiB"),
    ],
)
def test_what_cannot_be_meant_names_what_can(typed: str | None, memory: str | None, code: str, fix: str) -> None:
    with pytest.raises(UsageError) as refused:
        own_offer(typed, memory)
    assert refused.value.code == code
    assert fix in (refused.value.fix or "")


def test_no_card_has_more_than_it_is_sold_with() -> None:
    for card in cards():
        if card.gib is not None and card.form != "rented":
            assert 0 < card.gpu.memory_usable_gib < card.gib, card.gpu.name
        assert card.gpu.bandwidth_gbs > 0
        assert card.gpu.fp16_tflops > 0
        assert card.gpu.sources


def test_shared_memory_is_not_all_the_gpus() -> None:
    for offer in (own_offer("m3max", "36 GB"), own_offer(None, "36")):
        assert offer.instance.usable_memory_gib == pytest.approx(0.65 * 36)
        assert not offer.instance.gpu.cuda
    assert own_offer(None, "36").instance.gpu.bandwidth_gbs <= own_offer("m3max", "36").instance.gpu.bandwidth_gbs


@pytest.mark.parametrize("gib", [8, 12, 16, 24, 48, 80])
def test_a_card_named_by_its_memory_is_no_better_than_any_of_that_size(gib: int) -> None:
    unnamed = own_offer(f"{gib}GiB").instance.gpu
    alike = [card.gpu for card in cards() if card.gib == gib and card.gpu.bf16]
    assert alike
    for gpu in alike:
        assert unnamed.bandwidth_gbs <= gpu.bandwidth_gbs
        assert unnamed.fp16_tflops <= gpu.fp16_tflops
        assert float(unnamed.compute_capability) <= float(gpu.compute_capability)
        assert gpu.bf16 or not unnamed.bf16
        assert gpu.fp8 or not unnamed.fp8


def test_tflops_are_those_that_are_published() -> None:
    """The figures that the rule of scripts/gather_own_gpus.py was taken from, and those measured for rented GPUs."""
    by_name = {card.gpu.name: card.gpu for card in cards() if card.form != "rented"}
    published = {
        "GeForce RTX 4090": 165.2, "GeForce RTX 5090": 209.5, "GeForce RTX 3070": 40.6, "GeForce RTX 2080 Ti": 53.8,
        "A100 SXM4 80 GB": 312, "H100 SXM5 80 GB": 989.4,
    }  # fmt: skip
    for name, tflops in published.items():
        assert by_name[name].fp16_tflops == pytest.approx(tflops, rel=0.01)
    for name, rented in embedded.gpus().items():
        same = by_name.get(name) or by_name.get(f"Tesla {name}")
        if same is not None:
            assert same.fp16_tflops <= 1.05 * rented.fp16_tflops, "nothing is guessed upward"
            assert same.memory_usable_gib <= 1.001 * rented.memory_usable_gib
