"""GET requests to the Hub through huggingface_hub's own session: with retries, within a fixed time limit.

Endpoint, token, proxies and certificates are huggingface_hub's business (HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE,
HTTPS_PROXY, SSL_CERT_FILE); this module adds the limits: how long, how much, how often again.
"""

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote, urlsplit

from modelpick import __version__
from modelpick.catalog import card
from modelpick.errors import UsageError, first_line
from modelpick.settings import hub_endpoint

DATASETS = "datasets/"
"""What the id of a data set begins with, as in the Hub's own addresses."""
COMMIT = re.compile(r"[0-9a-f]{40}")
PUBLIC_HUB = "https://huggingface.co"
PATIENCE = 15.0  # seconds one look-up waits in all, and bulk work without a single answer (docs/contracts.md)
LONGEST_PAUSE = 310.0  # seconds thorough bulk work pauses when the Hub states it: its rate windows are 5 minutes long
ATTEMPTS = 2  # more of them after a broken answer or a 5xx; one where there is no connection at all
_NO_CONNECTION = "no connection"
LONGEST_CONNECT = 4.0  # seconds of them to open a connection
LARGEST_ANSWER = 64_000_000  # bytes of one API answer: 1,000 listed models with their file names are some 5 MB


def endpoint_in_force() -> str:
    """The Hub's address without a trailing slash: HF_ENDPOINT, or the public Hub where that is unset or empty.

    Read when asked; huggingface_hub reads it once, when it is imported. The address may hold credentials: print it
    through `errors.address`. Raises UsageError(code="bad_endpoint") for what is not a web address.
    """
    return hub_endpoint() or PUBLIC_HUB


Params = list[tuple[str, str | int | float | bool | None]]


class HubDownError(Exception):
    """The Hub cannot answer now, nor soon: unreachable, silent, broken, or refusing until later."""


class UntrustedHubError(HubDownError):
    """What answers is not the Hub that was asked, or not the commit: another host, another sha."""


class NotOnHubError(Exception):
    """The Hub answers, and has no such repository, revision or file (`code` says which, `status` its HTTP status)."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.code, self.status = code, status


class GatedError(Exception):
    """The file is behind a gate that this token (or none) does not open."""


class _ElsewhereError(Exception):
    """The API redirects to another host."""


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """Status, headers in lower case, the body (at most as much as was requested), and whether more was left unread."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool


class Patience:
    """How much longer to wait. One look-up: 15 s in all. Bulk: 15 s since the last answer, and the pauses the Hub
    states as long as each of them (at most `longest_pause` seconds) is followed by an answer.
    """

    def __init__(self, *, bulk: bool, longest_pause: float = 0.0, seconds: float = PATIENCE) -> None:
        self._bulk, self._seconds, self._longest_pause = bulk, seconds, longest_pause
        self._since: float | None = None
        self._resume: float | None = None  # the end of a stated pause that no answer has followed yet
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds until giving up, counted from the first call."""
        with self._lock:
            return self._left(time.monotonic())

    def answered(self) -> None:
        """An answer came: bulk work advances, so its clock starts anew."""
        with self._lock:
            self._resume = None
            if self._bulk:
                self._since = time.monotonic()

    def pause(self, seconds: float) -> bool:
        """Waits as the Hub asks; False, at once, where that is longer than agreed."""
        with self._lock:
            now = time.monotonic()
            if self._resume is not None and now < self._resume:
                seconds = self._resume - now  # all threads resume together
            elif seconds >= self._left(now):
                if self._resume is not None or not self._bulk or seconds > self._longest_pause:
                    return False
                self._resume = self._since = now + seconds
        time.sleep(seconds)
        return True

    def _left(self, now: float) -> float:
        if self._since is None:
            self._since = now
        return self._seconds - (now - self._since)


class Client:
    """One endpoint, one token, one patience, shared by all threads of a look-up."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._down: str | None = None
        self._failures = 0

    @cached_property
    def endpoint(self) -> str:
        """The Hub's address. Raises UsageError(code="bad_endpoint") for what is not one."""
        return endpoint_in_force()

    @cached_property
    def has_token(self) -> bool:
        """Whether requests carry a token."""
        return "authorization" in self._headers

    @cached_property
    def _headers(self) -> dict[str, str]:
        # Not build_hf_headers: its user agent is telemetry, and finding out what to put there costs a call of its own.
        from huggingface_hub import __version__ as client_version
        from huggingface_hub import constants, get_token

        token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
        agent = {"user-agent": f"modelpick/{__version__}; hf_hub/{client_version}"}
        return agent | ({"authorization": f"Bearer {token}"} if token else {})

    def model(self, id: str, revision: str | None, expand: tuple[str, ...]) -> dict[str, object]:
        """The API's record of a model, or of the data set `datasets/org/name`.

        Raises HubDownError, NotOnHubError, GatedError.
        """
        path = f"/api/{id if id.startswith(DATASETS) else f'models/{id}'}" + (
            f"/revision/{quote(revision, safe='')}" if revision else ""
        )
        answer = self._get(path, params=[("expand", name) for name in expand])
        if answer.status == 400:  # an endpoint that does not know one of the properties: ask for its default view
            answer = self._get(path, params=[])
        value = self._json(answer)
        if (
            revision
            and COMMIT.fullmatch(revision)
            and isinstance(value, dict)
            and value.get("sha", revision) != revision
        ):
            raise UntrustedHubError("it describes another commit than the one requested")
        if not isinstance(value, dict) or not isinstance(value.get("id") or value.get("modelId"), str):
            raise self._broken("its answer is not a model")
        return value

    def pages(self, params: Params) -> Iterator[list[dict[str, object]]]:
        """Pages of the list of models. Raises HubDownError."""
        target, query = "/api/models", params
        while target:
            answer = self._get(target, params=query)
            value = self._json(answer)
            if not isinstance(value, list):
                raise self._broken("its answer is not a list")
            yield [row for row in value if isinstance(row, dict) and isinstance(row.get("id"), str)]
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', answer.headers.get("link", ""))
            target, query = (following[1] if following else ""), []
            if target and not target.startswith((self.endpoint + "/", "/")):
                raise self._broken("its next page is on another host")

    def tree(self, id: str, revision: str) -> list[str]:
        """Names of the files of a repository, for endpoints whose model answer lists none."""
        path = f"/api/models/{id}/tree/{quote(revision, safe='')}"
        value = self._json(self._get(path, params=[("recursive", True)]))
        rows = value if isinstance(value, list) else []
        return [row["path"] for row in rows if isinstance(row, dict) and isinstance(row.get("path"), str)]

    def file(self, id: str, revision: str, name: str, *, largest: int, first: int = 0) -> HubAnswer:
        """At most `largest` bytes of a file from byte `first` on. Raises HubDownError, NotOnHubError, GatedError."""
        path = f"/{id}/resolve/{quote(revision, safe='')}/{quote(name)}"
        partial = {"Range": f"bytes={first}-{first + largest - 1}"} if first or name.endswith(_RANGED) else {}
        answer = self._get(path, params=[], largest=largest, extra=partial)
        if answer.status not in (200, 206):  # 400, and what else is not the file: its body is the error's
            raise NotOnHubError("EntryNotFound", answer.status)
        commit = answer.headers.get("x-repo-commit")
        if commit is not None and COMMIT.fullmatch(revision) and commit != revision:
            raise self._broken(f"it gives {name} from another commit than the one requested")
        if first and answer.status != 206:
            raise self._broken(f"it does not serve parts of {name}")
        return answer

    def _get(
        self, target: str, *, params: Params, largest: int = LARGEST_ANSWER, extra: Mapping[str, str] = {}
    ) -> HubAnswer:
        url = target if target.startswith("http") else self.endpoint + target
        why = ""
        for attempt in range(1_000):
            if self._down:
                raise HubDownError(self._down)
            left = self._patience.left()
            if left <= 0:
                raise self._broken(why or "no answer in time")
            try:
                answer = _within(left, partial(self._once, url, params, largest, extra, left))
            except _ElsewhereError:
                raise UntrustedHubError("it redirects to another host, which is not trusted") from None
            except transport_errors() as error:
                why = _why(error)
                tries = 1 if _NO_CONNECTION in why else ATTEMPTS
                if attempt >= tries or not self._patience.pause(0.1 * 2**attempt):
                    raise self._broken(why) from error
                continue
            if answer.status == 429:
                why = "it limits the rate of requests (429)"
                stated = _stated_pause(answer.headers)
                if not self._patience.pause(min(2.0**attempt, 8) if stated is None else stated):
                    wait = "" if stated is None else f" and asks to wait {stated:.0f} s"
                    raise self._broken(why + wait)
                continue
            if answer.status >= 500:
                why = f"it answers with error {answer.status}"
                if attempt >= ATTEMPTS or not self._patience.pause(0.1 * 2**attempt):
                    raise self._broken(why)
                continue
            if not _is_the_hubs(answer):
                raise self._broken(f"another server answered in its place: error {answer.status}")
            self._patience.answered()
            self._failures = 0
            return _raised(answer)
        raise HubDownError(why)

    def _once(self, url: str, params: Params, largest: int, extra: Mapping[str, str], left: float) -> HubAnswer:
        import httpx2
        from huggingface_hub import get_session

        ends = time.monotonic() + left
        connect = min(left, LONGEST_CONNECT)
        timeout = httpx2.Timeout(max(left - connect, 0.5), connect=connect)
        headers = {**self._headers, **extra}
        body, cut = bytearray(), False
        try:
            session = get_session()
        except (ValueError, ImportError) as error:  # made from the proxy variables
            raise UsageError(
                f"the address in a proxy variable cannot be used: {first_line(error)}",
                fix="correct or unset HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
                code="bad_endpoint",
            ) from None
        with session.stream("GET", url, params=params or None, headers=headers, timeout=timeout) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > largest:
                    cut = True
                    break
                if time.monotonic() > ends:
                    raise TimeoutError
            # Only files may be redirected to another host, where large ones are kept; what the Hub says of them counts.
            if urlsplit(url).path.startswith("/api/") and not _same_host(url, str(response.url)):
                raise _ElsewhereError
            names = {
                name.lower(): value for step in (*response.history, response) for name, value in step.headers.items()
            }
            return HubAnswer(response.status_code, names, bytes(body[:largest]), cut)

    def _json(self, answer: HubAnswer) -> Any:
        try:
            value = json.loads(answer.body)
            return card.without_surrogates(value) if b"\\ud" in answer.body.lower() else value
        except (ValueError, RecursionError) as error:
            kind = "a web page" if answer.body.lstrip()[:1] == b"<" else "something that is not JSON"
            raise self._broken(f"it answers with {kind}") from error

    def _broken(self, why: str) -> HubDownError:
        """The error; after five in a row, or once patience ran out, nobody asks this endpoint again."""
        self._failures += 1
        if self._failures >= 5 or self._patience.left() <= 0 or _NO_CONNECTION in why:
            self._down = why
        return HubDownError(why)


def _within(seconds: float, work: Callable[[], HubAnswer]) -> HubAnswer:
    """The result of `work`, or TimeoutError after `seconds`: name resolution and headers that drip obey no time-out."""
    done: queue.SimpleQueue[HubAnswer | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(work())
        except BaseException as error:
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        result = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(result, BaseException):
        raise result
    return result


_RANGED = (".safetensors", ".gguf")


def _is_the_hubs(answer: HubAnswer) -> bool:
    """Whether an error comes from a Hub: it has an error code, or is JSON. A blocking proxy answers with a web page."""
    if answer.status < 400 or any(name in answer.headers for name in ("x-error-code", "x-error-message")):
        return True
    return answer.body.lstrip()[:1] == b"{" and answer.status != 407


def _raised(answer: HubAnswer) -> HubAnswer:
    """The answer, or the exception its status and X-Error-Code mean."""
    if answer.status < 400 or answer.status == 400:
        return answer
    code = answer.headers.get("x-error-code", "")
    if code == "GatedRepo":
        raise GatedError
    if code in ("RevisionNotFound", "EntryNotFound"):
        raise NotOnHubError(code, answer.status)
    if "Invalid credentials" in answer.headers.get("x-error-message", ""):
        raise NotOnHubError("BadToken", answer.status)
    if "is disabled" in answer.headers.get("x-error-message", ""):
        raise NotOnHubError("Disabled", answer.status)
    raise NotOnHubError("RepoNotFound", answer.status)


def _same_host(asked: str, answering: str) -> bool:
    """Whether both addresses are of one host and port; a step from http to https on it is fine."""
    one, other = urlsplit(asked), urlsplit(answering)
    upgraded = (one.scheme, other.scheme) == ("http", "https") and one.port is None and other.port is None
    return one.hostname == other.hostname and (
        upgraded or (one.scheme, one.port, one.hostname) == (other.scheme, other.port, other.hostname)
    )


def _stated_pause(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `RateLimit: "api";r=0;t=55` (IETF draft ratelimit-headers-09), or Retry-After."""
    found = re.search(r"\bt\s*=\s*(\d{1,6})", headers.get("ratelimit", ""))
    if found is None:
        found = re.fullmatch(r"\s*(\d{1,6})\s*", headers.get("retry-after", ""))
    return None if found is None else max(float(found[1]), 0.1)


def transport_errors() -> tuple[type[BaseException], ...]:
    """What a request that gets no whole answer can raise."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    return (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, HfHubHTTPError, OSError, UnicodeError)


def _why(error: BaseException) -> str:
    name = type(error).__name__
    if "Timeout" in name:
        return "no answer in time"
    if name in ("ConnectError", "ConnectionError", "ProxyError") or isinstance(error, ConnectionRefusedError):
        return _NO_CONNECTION
    if name == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE forbids it, no connection"
    if name in ("TooManyRedirects", "UnsupportedProtocol", "InvalidURL"):
        return f"its address does not work ({name}), no connection"
    return (
        "the token contains characters that an HTTP header cannot carry"
        if isinstance(error, UnicodeError)
        else "its answer was cut off"
    )
