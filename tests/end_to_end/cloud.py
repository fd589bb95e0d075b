"""What moto does not do: launched machines boot, ended ones lose their power, and sessions reach their ports."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.end_to_end.machine import RentedMachine
from tests.stand_ins.aws_account import Aws

# Session Manager's plugin as the AWS CLI calls it: the answer, region, operation, profile, the request, endpoint.
_PLUGIN = """#!{python}
import json, pathlib, signal, socket, sys, threading

if sys.argv[1:] == ["--version"]:
    sys.exit(print("1.2.496.0"))
asked = json.loads(sys.argv[5])
ours = int(asked["Parameters"]["localPortNumber"][0])
assert asked["Parameters"]["portNumber"] == ["8000"], "the machine serves on 8000"
theirs = int((pathlib.Path({ports!r}) / asked["Target"]).read_text())
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))

def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

server = socket.create_server(("127.0.0.1", ours))
print(f"Port {{ours}} opened for sessionId stand-in.", flush=True)
while True:
    client, _ = server.accept()
    machine = socket.create_connection(("127.0.0.1", theirs))
    for pair in ((client, machine), (machine, client)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


class Cloud:
    """Boots what the account launches. `make(root)` is a machine that is not booted yet."""

    def __init__(self, aws: Aws, folder: Path, make: Callable[[Path], RentedMachine]) -> None:
        self.machines: dict[str, RentedMachine] = {}
        self._aws, self._folder, self._make = aws, folder, make
        self._off: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.programs, self._ports = folder / "programs", folder / "ports"

    def __enter__(self) -> "Cloud":
        self.programs.mkdir(parents=True)
        self._ports.mkdir()
        plugin = self.programs / "session-manager-plugin"
        plugin.write_text(_PLUGIN.format(python=sys.executable, ports=str(self._ports)))
        plugin.chmod(0o755)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for name in list(self.machines):
            self._power_off(name)

    def cut(self, name: str) -> None:
        """A machine dies without a word: its power is gone, and AWS sees that it is."""
        self._power_off(name)
        self._aws.power_off(name)

    @property
    def works(self) -> bool:
        """Whether it has not broken."""
        return self._thread.is_alive()

    def logs(self) -> str:
        """What every machine that is still there said."""
        return "\n".join(
            f"{name}: {machine.logs()}\n{machine.job_log()}"
            for name, machine in self.machines.items()
            if name not in self._off
        )

    def _run(self) -> None:
        while not self._stop.wait(0.5):
            try:
                running = self._aws.state()["machines"]
            except OSError:  # busy: the account answers one request at a time
                continue
            for name in running:
                if name not in self.machines:
                    machine = self.machines[name] = self._make(self._folder / name)
                    (self._ports / name).write_text(str(machine.port))
                    threading.Thread(target=machine.boot, daemon=True).start()
            for name in set(self.machines) - set(running):
                self._power_off(name)

    def _power_off(self, name: str) -> None:
        if name not in self._off:
            self._off.add(name)
            self.machines[name].off()
