"""The optional packages of this program's extras, and the install line for one that is missing."""

from importlib.util import find_spec

from modelpick.errors import UsageError

_TRAIN = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes")


def require_train() -> None:
    """Raise UsageError(code="missing_extra") unless the extra `train` is installed."""
    require("train", *_TRAIN)


def require(extra: str, *modules: str) -> None:
    """Raise UsageError(code="missing_extra") naming the extra's install line unless all `modules` can be imported."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"this needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            fix=f"pip install 'modelpick[{extra}]'",
            code="missing_extra",
        )
