"""`python -m modelpick.serving.gateway`: started by `modelpick serve` in its state folder, its settings by stdin."""

import logging
import os
import sys
from pathlib import Path

from modelpick.serving.gateway.app import Gateway
from modelpick.serving.gateway.config import KEY_VARIABLE, settings_from
from modelpick.serving.gateway.prompts import PromptTokens
from modelpick.serving.gateway.running import DrainingServer


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    key = os.environ.pop(KEY_VARIABLE)
    settings = settings_from(sys.stdin.read())
    # Its tokenizers need no torch, and transformers goes without where there is none: 119 MiB in place of 389.
    sys.modules["torch"] = None  # type: ignore[assignment]
    prompts = PromptTokens(settings.tokenizers) if settings.tokenizers else None
    os.umask(0o077)
    DrainingServer(Gateway(settings, key, Path.cwd(), prompts)).run()


if __name__ == "__main__":
    main()
