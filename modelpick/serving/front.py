"""What stands before a model server: the gateway, which decides, and Caddy, which listens. As child processes. I/O."""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from modelpick.catalog.lookup import is_folder
from modelpick.errors import UsageError
from modelpick.serving import machine, proxy
from modelpick.serving.command import Served
from modelpick.serving.engines import Engine
from modelpick.serving.gateway import config
from modelpick.serving.gateway.config import GatewaySettings, ServedTask
from modelpick.serving.process import ManagedProcess
from modelpick.serving.sizing import Sizing

# Nothing of this machine's folders may pass for a package, and nothing is fetched: the tokenizers are on disk.
_ENVIRONMENT = {"PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def require_programs() -> None:
    """Raises UsageError(code="proxy_absent") where Caddy or uvicorn is not installed."""
    absent = [
        name for name, there in (("Caddy", machine.program("caddy")), ("uvicorn", find_spec("uvicorn"))) if not there
    ]
    if absent:
        raise UsageError(
            f"{' and '.join(absent)}, which protects every path with an API key, is not installed",
            fix="pip install 'modelpick[serve]'",
            code="proxy_absent",
        )


def asked_names(asked: str, served: Served) -> dict[str, str]:
    """Every name that a client may use, and the server's own: the served ones, and the Hub id as it was asked for."""
    names = {name: name for name in served.names}
    if not is_folder(asked) and served.name in names:
        names |= {asked: served.name, asked.partition("@")[0]: served.name}
    return names


def gateway_settings(
    engine: Engine,
    upstream: str,
    asked: str,
    served: Served,
    sizing: Sizing,
    *,
    models: Path,
    streams_only: bool,
    refused: Mapping[str, str],
    task: ServedTask = "generate",
) -> GatewaySettings:
    """The settings of the gateway. `models`: a folder with a model folder of each name. `refused`: parameters that this
    model cannot do, and why."""
    counted = {} if engine.counts_tokens else {name: str(models / name) for name in served.names}
    return GatewaySettings(
        engine=engine.name,
        upstream=upstream,
        models=asked_names(asked, served),
        listed=served.names,
        tokens=sizing.tokens,
        prompt_tokens=sizing.tokens - (task == "generate") if engine.counts_tokens else sizing.workload.context,
        at_once=None if engine.several_at_once else sizing.concurrency,
        own_metrics=engine.name != "transformers",
        streams_only=streams_only,
        task=task,
        tokenizers=counted,
        refused=refused,
    )


def gateway(settings: GatewaySettings, key: str, state: Path) -> ManagedProcess:
    """The gateway, on its socket in the state folder, which only this user reaches."""
    return ManagedProcess(
        [sys.executable, "-m", "modelpick.serving.gateway"],
        {**_ENVIRONMENT, config.KEY_VARIABLE: key},
        state,
        fresh(state / "gateway.log"),
        feed=config.settings_text(settings),
        leaves=state / settings.socket,
    )


def caddy(host: str, port: int, state: Path) -> ManagedProcess:
    """Caddy, which listens for clients. Its configuration goes in by standard input."""
    guard = proxy.Guard(host, port, f"unix/{config.SOCKET}", state / "requests.jsonl")
    return ManagedProcess(
        [machine.program("caddy") or "caddy", "run", "--config", "-"],
        {},
        state,
        fresh(state / "proxy.log"),
        feed=json.dumps(proxy.configuration(guard)),
    )


def fresh(log: Path) -> Path:
    """`log`, without what an earlier start left in it."""
    log.unlink(missing_ok=True)
    return log
