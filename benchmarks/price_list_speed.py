"""How long it takes to read a price list of AWS's size, and how much memory: a made-up one, streamed.

    python benchmarks/price_list_speed.py [MEGABYTES]

The list has the columns of 2025-09 and, beside each price on demand, the reserved ones, a fifth of them for Linux. It
is made while it is read, so the time of making it is measured alone and taken off.
"""

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from modelpick.offers import embedded
from modelpick.offers.price_sources import read_price_list

_HEAD = (
    '"FormatVersion","v1.0"\n"Disclaimer","made up"\n"Publication Date","2026-11-20T00:00:00Z"\n"Version","1"\n'
    '"OfferCode","AmazonEC2"\n'
)
_COLUMNS = (
    "SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "Unit", "PricePerUnit",
    "Currency", "Location Type", "Instance Type", "Tenancy", "Operating System", "CapacityStatus", "MarketOption",
    "Pre Installed S/W", "Region Code", *(f"Attribute {number}" for number in range(70)),
)  # fmt: skip
_OTHERS = 400  # rows that are no price on demand of Linux, for each that is one


def made_up(megabytes: float) -> Iterator[bytes]:
    """The list in chunks of 64 KiB or so."""
    yield (_HEAD + ",".join(f'"{name}"' for name in _COLUMNS) + "\n").encode()
    names, written, number = list(embedded.instances()), 0, 0
    while written < megabytes * 1e6:
        lines = []
        for _ in range(64):
            number += 1
            asked = number % _OTHERS == 0
            term = "OnDemand" if asked else "Reserved"
            system = "Linux" if number % 5 == 0 else "Windows"
            name = names[number // _OTHERS % len(names)]
            usd = f"{1 + names.index(name)}.0"
            cells: tuple[str, ...] = (
                "S",
                "T",
                "R",
                term,
                "x" * 60,
                "2026-11-20",
                "Hrs",
                usd,
                "USD",
                "AWS Region",
                name,
            )
            cells += ("Shared", system, "Used", "OnDemand", "NA", "us-east-1", *("some text",) * 70)
            lines.append(",".join(f'"{cell}"' for cell in cells))
        chunk = ("\n".join(lines) + "\n").encode()
        written += len(chunk)
        yield chunk


def main() -> None:
    """Print the CPU seconds, the megabytes a second and the peak of memory."""
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 200.0
    before = time.process_time()
    for _ in made_up(megabytes):
        pass
    making = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before = time.process_time()
    read = read_price_list(made_up(megabytes), region="us-east-1", types=embedded.instances(), source="a list")
    seconds = time.process_time() - before - making
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024
    print(f"{megabytes:.0f} MB, {len(read.rows)} prices: {seconds:.1f} s of CPU, {megabytes / seconds:.0f} MB/s,")
    print(f"{more:.1f} MiB more at the peak than making the list takes")


if __name__ == "__main__":
    main()
