"""What this machine offers a server: GPU memory and its users, RAM, ports, programs, and the API key. I/O."""

import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from modelpick import files
from modelpick.errors import UsageError

_MIB_PER_GIB = 1024.0
_VLLM_PACKAGE = re.compile(r"vllm(?:_cpu)?-(\d[^-]*)\.dist-info")


@dataclass(frozen=True, slots=True)
class LocalGpu:
    """The GPU as nvidia-smi shows it, memory in GiB."""

    name: str
    total_gib: float
    free_gib: float
    compute_capability: float

    @property
    def dtype(self) -> str:
        """bf16 from compute capability 8.0 (Ampere) on, fp16 before: older GPUs emulate bf16."""
        return "bf16" if self.compute_capability >= 8.0 else "fp16"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that uses GPU memory."""

    pid: int
    name: str
    gib: float


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """`gpu` None: no NVIDIA GPU, the server runs on the CPU. `ram_gib` is what programs may still take, of
    `ram_total_gib`; None where it cannot be read."""

    gpu: LocalGpu | None
    holders: tuple[Holder, ...]
    ram_gib: float | None
    ram_total_gib: float | None = None


def look() -> LocalMachine:
    """This machine now. Several GPUs: the one with the least free memory, since shards are of one size."""
    gpus = [gpu for line in _smi("gpu", "name,memory.total,memory.free,compute_cap") if (gpu := _gpu(line))]
    holders = [holder for line in _smi("compute-apps", "pid,process_name,used_memory") if (holder := _holder(line))]
    return LocalMachine(min(gpus, key=lambda gpu: gpu.free_gib, default=None), tuple(holders), *_ram())


def _smi(what: str, fields: str) -> list[list[str]]:
    """Rows of an nvidia-smi query; none where there is no driver."""
    if shutil.which("nvidia-smi") is None:
        return []
    words = ["nvidia-smi", f"--query-{what}={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def _gpu(row: list[str]) -> LocalGpu | None:
    try:
        name, total, free, capability = row
        return LocalGpu(name, float(total) / _MIB_PER_GIB, float(free) / _MIB_PER_GIB, float(capability))
    except ValueError:
        return None


def _holder(row: list[str]) -> Holder | None:
    try:
        pid, *name, used = row
        return Holder(int(pid), ",".join(name), float(used) / _MIB_PER_GIB)
    except ValueError:
        return None


def _ram() -> tuple[float | None, float | None]:
    """GiB that programs may still take, and in all."""
    lines = _lines(Path("/proc/meminfo"))
    memory = {name: int(rest.split()[0]) / _MIB_PER_GIB**2 for name, _, rest in (line.partition(":") for line in lines)}
    return memory.get("MemAvailable"), memory.get("MemTotal")


def program(name: str) -> str | None:
    """A program of this environment, else of PATH; vLLM, which needs its own environment, from MODELPICK_VLLM."""
    if name == "vllm" and (configured := os.environ.get("MODELPICK_VLLM")):
        return configured if os.access(configured, os.X_OK) else None
    sibling = Path(sys.executable).parent / name
    return str(sibling) if os.access(sibling, os.X_OK) else shutil.which(name)


def vllm_version(program: str | None) -> str | None:
    """The version of the vLLM whose `program` this is, by the package it belongs to; None where that cannot be read.

    `vllm --version` would say it too, after loading torch. The CPU build is a package of another name.
    """
    if program is None:
        return None
    found = Path(program).resolve().parent.parent.glob("lib/python3*/site-packages/vllm*-*.dist-info")
    spans = [_VLLM_PACKAGE.fullmatch(folder.name) for folder in found]
    return next((match[1] for match in spans if match), None)


def port_in_use(host: str, port: int) -> bool:
    """Whether something already listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError:
            return True
    return False


def port_holder(port: int) -> str | None:
    """`python3 (pid 4711)`, which listens on a port; None where this user or this system does not show it.

    /proc/net/tcp (proc_pid_net(5)): local address in hex, state 0A for listening, the socket's inode.
    """
    rows = [line.split() for name in ("tcp", "tcp6") for line in _lines(Path("/proc/net") / name)[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    for process in Path("/proc").glob("[0-9]*") if sockets else ():
        try:
            if any(os.readlink(handle) in sockets for handle in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # of another user, or ended meanwhile
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def free_port(host: str) -> int:
    """A port nobody listens on, for a server behind the gateway."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


_SHORTEST = 16  # characters; what is made here has 43 of base64: 256 bits


def new_key() -> str:
    """A key of 256 random bits, with a prefix by which secret scanners recognize it."""
    return f"mp-{secrets.token_urlsafe(32)}"


def key_in(path: Path) -> str:
    """The key in `path`, made there first if there is none. Raises UsageError for a file others can read."""
    if not path.exists():
        keep_key(path, new_key())
    return read_key(path)


def keep_key(path: Path, key: str) -> None:
    """Put `key` into a file that only its owner can read, at every instant, whatever was there before.

    Raises UsageError when it cannot be written.
    """
    fix = "name another file with --key-file"
    files.make_folder(path.parent, private=True, code="no_key", fix=fix)
    files.write_atomically(path, f"{key}\n", private=True, code="no_key", fix=fix)


def read_key(path: Path) -> str:
    """The key in an existing file.

    Raises UsageError: `key_file_open` when group or others may read it, `bad_key` when it contains no usable key.
    """
    text = files.read_text(path, code="no_key", fix="name a file that contains the key").strip()
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(f"other users can read {path}", fix=f"chmod 600 {path}", code="key_file_open")
    # A space would split a header, and a quote a line of another program's settings.
    if len(text) < _SHORTEST or not all(sign.isascii() and (sign.isalnum() or sign in "-_.~+/=") for sign in text):
        raise UsageError(
            f"{path} contains no usable key",
            fix=f"at least {_SHORTEST} letters, digits and -_.~+/=, or delete the file to get a new key",
            code="bad_key",
        )
    return text
