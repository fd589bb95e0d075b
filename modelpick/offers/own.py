"""A card of one's own: `RTX 4090`, `2x RTX 3090`, `24GiB`, an Apple chip with its memory. It has no price.

The cards are facts/own_gpus.csv and the rented ones of gpus.json. Read once a process; the rest is pure.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import Any

from modelpick.errors import UsageError
from modelpick.files import data_file, read_text
from modelpick.offers import embedded
from modelpick.offers.instance import Gpu, InstanceType
from modelpick.offers.price import Offer

# What of a card's memory a model may take, by form: less a display's own (nvidia-smi prints 0.5 and 0.7 GiB in use on
# idle RTX 4090s that drive one, and 24,564 MiB of 24 GiB in all); on a server card less what error correction takes
# (22.35 of an L4's and an A10G's 24 GiB: gpus.toml).
_DISPLAY_GIB = 0.71
_SERVER_SHARE = 0.931
# Metal lets the GPU have 65 to 75 % of the memory it shares with the CPU (sgl-project/sglang, pull request 29949; an M3
# with 16 GB had 11.84: AlexsJones/llmfit, pull request 754): the lower end, for what else shares memory, too.
SHARED_SHARE = 0.65
MOST_CARDS = 16
_SHARED = "unified"
# What a machine of one's own is taken to have where nobody says: a fine-tuning there has a download, an offload a RAM.
_NETWORK_GBPS = 0.1
_EXAMPLES = '"RTX 4090", "2x RTX 3090", H100x2, or the memory of a card: 24GiB'

_ASSUMED: Mapping[str, str] = {
    "desktop": "your own card: nothing runs on it but the model and a display",
    "server": "your own card: nothing runs on it but the model, and error correction is on",
    _SHARED: f"memory shared with the CPU: its GPU may have {100 * SHARED_SHARE:.0f} % of it, macOS's least",
}
_ONLY_MEMORY = "only its memory was named: taken for the slowest NVIDIA card of that size from Ampere (2020) on"
_ONLY_SHARED = "only its memory was named: taken for the slowest chip that is known to share it"


@dataclass(frozen=True, slots=True)
class OwnGpu:
    """A card that can be owned; `gib` as it is sold (None: memory that is shared with the CPU, in many sizes)."""

    gpu: Gpu
    form: str
    gib: float | None

    @property
    def words(self) -> frozenset[str]:
        """The words of its name, its memory left out."""
        return _words(_without_memory(self.gpu.name)[0])


@cache
def cards() -> tuple[OwnGpu, ...]:
    """Every card that can be owned, those that are rented as well first."""
    rented = tuple(OwnGpu(gpu, "rented", gpu.memory_usable_gib) for gpu in embedded.gpus().values())
    rows = read_text(data_file("offers", "own_gpus.jsonl"), code="broken_installation").splitlines()
    return rented + tuple(_card(json.loads(row)) for row in rows)


def _card(row: Mapping[str, Any]) -> OwnGpu:
    gib, form, capability = row["memory_gib"], row["form"], row["compute_capability"] or ""
    generation = float(capability) if capability and form != _SHARED else 0.0
    gpu = Gpu(
        name=row["gpu"],
        architecture=row["maker"],
        compute_capability=capability if generation else "",
        memory_usable_gib=_usable(gib, form) if gib is not None else 0.0,
        bandwidth_gbs=row["bandwidth_gbs"],
        fp16_tflops=row["tflops"],
        gemm_fp16_tflops=None,
        gemm_bf16_tflops=None,
        bf16=generation >= 8.0,
        fp8=generation >= 8.9,
        sources={"all": row["source"]},
    )
    return OwnGpu(gpu, form, gib)


def _usable(gib: float, form: str) -> float:
    if form == _SHARED:
        return gib * SHARED_SHARE
    return gib * _SERVER_SHARE if form == "server" else gib - _DISPLAY_GIB


def own_offer(gpu: str | None = None, memory: str | None = None) -> Offer:
    """What a user has: `gpu` names a card, several (`2x RTX 3090`) or a card's memory (`24GiB`); `memory` is that of a
    machine whose GPU shares it with the CPU, of a chip that `gpu` names or of an unknown one.

    Raises UsageError for a card that nobody knows (naming the nearest), for a name that several have, and for what
    contradicts itself.
    """
    if gpu is None:
        if memory is None:
            raise UsageError("no card is named", fix=f"give {_EXAMPLES}", code="unknown_gpu")
        return _offer(_slowest(_shared(), _gib("--memory", memory), "shared memory", _SHARED), 1)
    name, count = _counted(gpu)
    sized = _MEMORY.fullmatch(name)
    if sized is not None:
        if memory is not None:
            raise UsageError("--gpu and --memory both name a memory", fix="give one of them", code="contradiction")
        discrete = [card for card in cards() if card.gib is not None and card.gpu.bf16]
        return _offer(_slowest(discrete, _gib("--gpu", name), "card", "desktop"), count)
    card = _named(name)
    if card.gib is None:
        if memory is None:
            raise UsageError(
                f"{card.gpu.name} is sold with several sizes of memory", fix="add it: --memory 32GiB", code="no_memory"
            )
        gib = _gib("--memory", memory)
        shared = replace(card.gpu, memory_usable_gib=_usable(gib, _SHARED))
        return _offer(OwnGpu(shared, _SHARED, gib), count)
    if memory is not None:
        raise UsageError(
            f"{card.gpu.name} has its own {card.gib:g} GiB", fix="leave out --memory", code="contradiction"
        )
    return _offer(card, count)


def _offer(card: OwnGpu, count: int) -> Offer:
    form = {"laptop": "desktop", "workstation": "desktop", "rented": "server"}.get(card.form, card.form)
    sources = "; ".join(card.gpu.sources.values())
    machine = InstanceType(
        name=card.gpu.name if count == 1 else f"{count}x {card.gpu.name}",
        gpu=card.gpu,
        gpu_count=count,
        gpu_fraction=1.0,
        usable_memory_gib=card.gpu.memory_usable_gib,
        vcpus=0,
        ram_gib=(card.gib or 0.0) * count,
        nvme_gb=0.0,
        network_gbps=_NETWORK_GBPS,
        cpu="x86_64",
        gpu_link="pcie",
        spot=None,
        source=sources,
    )
    assumed = (_ASSUMED[form], *((card.gpu.note,) if card.gpu.note in (_ONLY_MEMORY, _ONLY_SHARED) else ()))
    return Offer(machine, "", "own", None, sources, None, availability="offered", assumed=assumed)


def _slowest(known: Iterable[OwnGpu], gib: float, what: str, form: str) -> OwnGpu:
    """A card of `gib` GiB that nobody named: the least of what those of about that size have."""
    known = list(known)
    alike = [card for card in known if card.gib is not None and 0.8 * gib <= card.gib <= 1.25 * gib] or known
    slowest = min(alike, key=lambda card: card.gpu.bandwidth_gbs).gpu
    capability = min((card.gpu.compute_capability for card in alike), key=lambda one: float(one or 0))
    gpu = Gpu(
        name=f"{what} of {gib:g} GiB",
        architecture="unknown",
        compute_capability=capability,
        memory_usable_gib=_usable(gib, form),
        bandwidth_gbs=slowest.bandwidth_gbs,
        fp16_tflops=min(card.gpu.fp16_tflops for card in alike),
        gemm_fp16_tflops=None,
        gemm_bf16_tflops=None,
        bf16=all(card.gpu.bf16 for card in alike),
        fp8=all(card.gpu.fp8 for card in alike),
        note=_ONLY_SHARED if form == _SHARED else _ONLY_MEMORY,
        sources={"bandwidth": f"as {slowest.name}"},
    )
    return OwnGpu(gpu, form, gib)


def _shared() -> list[OwnGpu]:
    return [card for card in cards() if card.form == _SHARED]


_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gib|gb|g)", re.IGNORECASE)
_COUNT = re.compile(
    r"(?:(?P<before>\d{1,3})\s*[x×*](?:\s+|(?=[a-z])))?(?P<name>.*?)(?:\s*[x×*]\s*(?P<after>\d{1,3}))?", re.IGNORECASE
)
# Words that say nothing where they are left out, and must be right where they are typed.
_OPTIONAL = frozenset(("geforce", "rtx", "gtx", "tesla", "quadro", "radeon", "rx", "apple", "generation", "blackwell"))
_NOISE = frozenset(("nvidia", "amd", "gpu", "card", "graphics", "edition", "chip"))


def _counted(typed: str) -> tuple[str, int]:
    """`2x RTX 3090`, `RTX 3090 x2` or `RTX 3090x2` as name and number. Raises UsageError."""
    found = _COUNT.fullmatch(typed.strip())
    name = found["name"].strip() if found else ""
    number = (found["before"] or found["after"] or "1") if found else "1"
    if not name or not 1 <= int(number) <= MOST_CARDS:
        raise UsageError(f"--gpu is {typed!r}", fix=f"give {_EXAMPLES}; at most {MOST_CARDS} cards", code="bad_gpu")
    return name, int(number)


def _gib(flag: str, typed: str) -> float:
    found = _MEMORY.fullmatch(typed.strip()) or re.fullmatch(r"(\d+(?:\.\d+)?)", typed.strip())
    if found is None or not 0 < float(found[1]) <= 100_000:
        raise UsageError(f"{flag} is {typed!r}", fix="give a memory such as 24GiB", code="bad_memory")
    return float(found[1])


def _without_memory(name: str) -> tuple[str, float | None]:
    """A name without its memory, and the memory in GiB where it names one."""
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)[ -]?g(?:i?b)?\b", name, re.IGNORECASE)
    if found is None:
        return name, None
    return f"{name[: found.start()]} {name[found.end() :]}", float(found[1])


def _words(name: str) -> frozenset[str]:
    """`RTX4090ti`, `RTX 4090 Laptop GPU`, `A100-SXM4` as words."""
    text = re.sub(r"\b(rtx|gtx|rx)(?=\d)", r"\1 ", name.lower())
    text = re.sub(r"(?<=\d)(ti|super|xtx|xt|laptop|mobile|pro|max|ultra)", r" \1", text)
    text = re.sub(r"(?<=[a-z])(super|laptop|mobile)\b", r" \1", text)
    words = (word.replace("laptop", "mobile") for word in re.split(r"[^a-z0-9]+", text) if word)
    return frozenset(words) - _NOISE


def _named(typed: str) -> OwnGpu:
    """The card that a name means. Raises UsageError for none, and for several."""
    name, gib = _without_memory(typed)
    words = _words(name)
    named = [card for card in cards() if words and words - _OPTIONAL <= card.words and _spelt(words, card)]
    of_size = [card for card in named if gib is None or _is_of(card, gib)]
    exact = [card for card in of_size if not card.words - words - _OPTIONAL]
    for found in (exact, of_size):
        rented = [card for card in found if card.form == "rented"]
        if len(rented) == 1 or len(found) == 1:
            return (rented or found)[0]
        if found:
            raise _ambiguous(typed, found)
    if named and named[0].gib:
        sold = f"{named[0].gpu.name} has {named[0].gib:g} GiB; "
    else:
        short = {_plain(card.gpu.name): card.gpu.name for card in reversed(cards())}
        sold = " or ".join(short[one] for one in get_close_matches(_plain(typed), short, n=3, cutoff=0.6))
        sold = f"did you mean {sold}? Else " if sold else ""
    raise UsageError(
        f"unknown GPU {typed!r}",
        fix=f"{sold}name its memory: --gpu 24GiB" if sold else "name its memory: --gpu 24GiB",
        code="unknown_gpu",
    )


def _spelt(words: frozenset[str], card: OwnGpu) -> bool:
    """Whether the optional words that were typed are of the card."""
    return words & _OPTIONAL <= card.words | {"rtx", "gtx", "geforce"} if card.form == "rented" else words <= card.words


def _is_of(card: OwnGpu, gib: float) -> bool:
    """Whether a card is sold with `gib` GiB; a rented one is known by what its driver shows, which is less."""
    return card.gib is None or (0.9 * gib <= card.gib <= gib if card.form == "rented" else card.gib == gib)


def _plain(name: str) -> str:
    return " ".join(sorted(_words(name) - _OPTIONAL))


def _ambiguous(typed: str, found: list[OwnGpu]) -> UsageError:
    shown = [_full_name(card) for card in found[:6]]
    return UsageError(
        f"{typed!r} may be several cards", fix=f"name one: {', '.join(dict.fromkeys(shown))}", code="ambiguous_gpu"
    )


def _full_name(card: OwnGpu) -> str:
    if card.gib is None or card.form == "rented" or _without_memory(card.gpu.name)[1] is not None:
        return card.gpu.name
    return f"{card.gpu.name} {card.gib:g} GB"
