"""The key is nobody else's; the machine is read as it is."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from modelpick.errors import UsageError
from modelpick.serving import machine


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "state" / "key"
    before = os.umask(0)
    try:
        first = machine.key_in(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert machine.key_in(file) == first
    assert machine.key_in(tmp_path / "other") != first


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    file.write_text("mp-0123456789abcdef0123")
    file.chmod(mode)
    with pytest.raises(UsageError) as refused:
        machine.read_key(file)
    assert refused.value.code == "key_file_open"
    assert "chmod 600" in refused.value.fix


@pytest.mark.parametrize(
    "text", ["", "short", "has a space in it, long", "wild*card0123456789", "{env.HOME}0123456789"]
)
def test_a_key_that_means_something_to_a_proxy_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UsageError) as refused:
        machine.read_key(file)
    assert refused.value.code == "bad_key"
    assert text == "" or text not in refused.value.message + refused.value.fix


def test_the_gpu_and_who_holds_it(fake_nvidia_smi: Callable[[str, str], None]) -> None:
    fake_nvidia_smi("NVIDIA A10G, 23028, 3072, 8.6\\n", "4711, /usr/bin/python3, 19456\\n[N/A]\\n")
    seen = machine.look()
    assert seen.gpu is not None
    assert (seen.gpu.name, round(seen.gpu.free_gib, 1), seen.gpu.dtype) == ("NVIDIA A10G", 3.0, "bf16")
    assert [(holder.pid, holder.gib) for holder in seen.holders] == [(4711, 19.0)]


def test_of_several_gpus_the_fullest_counts(fake_nvidia_smi: Callable[[str, str], None]) -> None:
    fake_nvidia_smi("NVIDIA T4, 15360, 15000, 7.5\\nNVIDIA T4, 15360, 2048, 7.5\\n", "")
    seen = machine.look()
    assert seen.gpu is not None
    assert (seen.gpu.free_gib, seen.gpu.dtype) == (2.0, "fp16")


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.look().gpu is None


def test_a_port_in_use_is_seen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert machine.port_in_use("127.0.0.1", taken.getsockname()[1])
    assert not machine.port_in_use("127.0.0.1", machine.free_port("127.0.0.1"))
