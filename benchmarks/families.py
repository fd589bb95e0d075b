"""Which families of transformers are told, how exactly, and which are refused: `python benchmarks/families.py`.

Of every model_type whose class writes or reads text or speech, the default configuration's count is held against the
parameters of its class on torch's device "meta". tests/catalog/test_families.py states the rule; this prints the table.
"""

import json
import warnings
from collections import defaultdict
from typing import Any

from modelpick.catalog import architecture
from modelpick.errors import CannotTellError

KINDS = (
    "IMAGE_TEXT_TO_TEXT", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "CAUSAL_LM", "CTC", "TEXT_ENCODING",
)  # fmt: skip


def classes() -> dict[str, str]:
    """The class of each model_type that is looked at."""
    from transformers.models.auto import modeling_auto

    found: dict[str, str] = {}
    for kind in KINDS:
        for model_type, name in getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES").items():
            found.setdefault(model_type, name if isinstance(name, str) else name[0])
    return found


def outcome(model_type: str, name: str) -> tuple[str, str]:
    """A heading, and what is said of the family under it."""
    import torch
    import transformers
    from transformers.models.auto import configuration_auto

    try:
        config: Any = configuration_auto.CONFIG_MAPPING[model_type]()
        told = {**json.loads(config.to_json_string()), "architectures": [name]}
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            true = sum(p.numel() for p in getattr(transformers, name)(config).parameters())
    except Exception:
        return "its own class does not build its default configuration", model_type
    try:
        shape = architecture.read(told)
    except CannotTellError:
        return "refused by name", model_type
    if shape.uncounted:
        return "refused by name", f"{model_type} ({shape.uncounted})"
    off = (shape.parameters - true) / true
    if off == 0:
        return "equal", model_type
    near = "within 0.1 %" if abs(off) <= 0.001 else "within 5 %, and says so" if abs(off) <= 0.05 else "WRONG"
    return near, f"{model_type} {off:+.2%}"


def main() -> None:
    """Print the table."""
    table: dict[str, list[str]] = defaultdict(list)
    for model_type, name in sorted(classes().items()):
        heading, line = outcome(model_type, name)
        table[heading].append(line)
    for heading, lines in sorted(table.items(), key=lambda row: -len(row[1])):
        print(f"{heading}: {len(lines)}\n  {', '.join(lines)}\n")


if __name__ == "__main__":
    main()
