"""The files of a Hub repository on this disk, from huggingface_hub's cache or fetched into it. I/O."""

from collections.abc import Sequence
from pathlib import Path

from modelpick.errors import RemoteError

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
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                id,
                revision=revision,
                allow_patterns=[*SAFE_FILES, *also],
                ignore_patterns=["*/*", "consolidated*.safetensors"],
                local_files_only=offline,
            )
        )
    except GatedRepoError:
        raise RemoteError(
            f"{id} is behind a gate that this token does not open",
            fix=f"accept its terms on the page of {id} on the Hub, then set HF_TOKEN",
            code="gated",
        ) from None
    except LocalEntryNotFoundError:
        fix = "drop --offline, or name a folder" if offline else "check the network, or name a folder"
        raise RemoteError(f"{id} is not on this machine and cannot be fetched", fix=fix, code="no_weights") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise RemoteError(
            f"{id} cannot be fetched: {str(error).splitlines()[0][:200]}",
            fix="check the id and HF_TOKEN",
            code="no_weights",
        ) from None
