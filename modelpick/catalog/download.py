"""The files of a Hub repository on this disk, from huggingface_hub's cache or fetched into it. I/O."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelpick.errors import RemoteError, first_line
from modelpick.settings import hub_endpoint

# What loading needs and what its license owes; never pickles and never code unless they are added by name.
SAFE_FILES = (
    "*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "README.md",
    "LICENSE*", "LICENCE*", "COPYING*", "NOTICE*", "USE_POLICY*",
)  # fmt: skip


def repository(id: str, revision: str | None = None, *, offline: bool = False, also: Sequence[str] = ()) -> Path:
    """The folder of `org/name` at a revision (a commit, branch or tag; None: main), SAFE_FILES and `also` of it.

    Sub-folders are left: they hold other formats of the same weights. Raises RemoteError: code "gated" where the terms
    were not accepted or the token opens nothing, "no_weights" for everything else that keeps the files away.
    """
    # Read when asked, as modelpick's own look-ups do; the library reads it once, when it is imported.
    endpoint = hub_endpoint()
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True  # also spares a request that asks what programs to report
    home = os.environ.get("HF_HOME")
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                id,
                revision=revision,
                allow_patterns=[*SAFE_FILES, *also],
                ignore_patterns=["*/*", "consolidated*.safetensors"],
                local_files_only=offline,
                endpoint=endpoint,
                cache_dir=os.environ.get("HF_HUB_CACHE") or (f"{home}/hub" if home else None),
            )
        )
    except GatedRepoError:
        raise RemoteError(
            f"{id} is behind a gate that this token does not open",
            fix=f"accept its terms on the page of {id} on the Hub, then set HF_TOKEN",
            code="gated",
        ) from None
    except LocalEntryNotFoundError as error:
        why = f": {first_line(error.__cause__)}" if error.__cause__ else ""
        fix = "drop --offline, or name a folder" if offline else "check the network, or name a folder"
        message = f"{id} is not on this machine and cannot be fetched{why}"
        raise RemoteError(message, fix=fix, code="no_weights") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise RemoteError(
            f"{id} cannot be fetched: {first_line(error)}",
            fix="check the id and HF_TOKEN",
            code="no_weights",
        ) from None
