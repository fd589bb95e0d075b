"""What a gateway did, for Prometheus. Pure."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from modelpick.serving.gateway.waiting import WaitingLine


class RequestCounts:
    """Requests by path and status, and the seconds that they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[str] = Counter()

    @contextmanager
    def one(self, path: str) -> Iterator[Callable[[int], None]]:
        """Counts one request; what it gives takes the status."""
        status, began = [0], time.perf_counter()
        try:
            yield lambda code: status.__setitem__(0, code)
        finally:
            self._requests[path, status[0]] += 1
            self._seconds[path] += time.perf_counter() - began  # type: ignore[assignment]

    def text(self, line: WaitingLine) -> str:
        """The text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
        rows = ["# TYPE modelpick_requests_total counter"]
        rows += [
            f'modelpick_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self._requests.items())
        ]
        rows.append("# TYPE modelpick_request_seconds_total counter")
        rows += [
            f'modelpick_request_seconds_total{{path="{path}"}} {seconds:.6f}'
            for path, seconds in sorted(self._seconds.items())
        ]
        for name, value in (("at_work", line.at_work), ("waiting", line.waiting)):
            rows += [f"# TYPE modelpick_requests_{name} gauge", f"modelpick_requests_{name} {value}"]
        return "\n".join(rows) + "\n"
