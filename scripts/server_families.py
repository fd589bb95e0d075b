"""The model_types a server lists, for [families] in compatibility.toml: python scripts/server_families.py SERVER

Run it where the server is installed: vllm in vLLM's environment, transformers and llama.cpp (by its package gguf) in
modelpick's. Prints TOML. Not needed at run time; run it again for a new version, and change the rules' sources too.
"""

import importlib
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> None:
    """Print the lists of one server."""
    server = sys.argv[1] if len(sys.argv) == 2 else ""
    listed = {"vllm": vllm, "transformers": transformers, "llama.cpp": llama_cpp}.get(server)
    if listed is None:
        raise SystemExit(__doc__)
    for name, families in listed().items():
        words = ", ".join(f'"{family}"' for family in sorted(families))
        print(f"{name} = [")
        for line in re.findall(r".{1,112}(?:, |$)", words):
            print(f"    {line.strip().rstrip(',')},")
        print("]")


def vllm() -> dict[str, set[str]]:
    """vllm/model_executor/models/registry.py, by the class that transformers makes of each model_type."""
    registry = importlib.import_module("vllm.model_executor.models.registry")
    print(f"# vllm {version('vllm')}, transformers {version('transformers')}")
    classes: dict[str, tuple[str, str]] = {
        **registry._TEXT_GENERATION_MODELS, **registry._MULTIMODAL_MODELS, **registry._TRANSFORMERS_SUPPORTED_MODELS
    }  # fmt: skip
    auto = _auto()
    made = {**auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, **auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES}
    served = {family: made[family] for family in made if made[family] in classes}
    adapter = {family for family, name in served.items() if _takes_adapters(*classes[name])}
    return {"vllm": set(served), "vllm_adapter": adapter}


def _takes_adapters(module: str, name: str) -> bool:
    """Whether the class supports LoRA; read from its source where it cannot be imported on this machine."""
    interfaces = importlib.import_module("vllm.model_executor.models.interfaces")
    try:
        found = getattr(importlib.import_module(f"vllm.model_executor.models.{module}"), name)
        return bool(interfaces.supports_lora(found))
    except Exception:  # whatever a module without its GPU raises
        file = Path(str(interfaces.__file__)).parent / f"{module.replace('.', '/')}.py"
        bases = re.search(rf"class {name}\(([^)]*)\)", file.read_text() if file.is_file() else "")
        return bases is not None and "SupportsLoRA" in bases[1]


def transformers() -> dict[str, set[str]]:
    """transformers/models/auto/modeling_auto.py: causal models, and text-to-text ones."""
    print(f"# transformers {version('transformers')}")
    auto = _auto()
    texts = set(auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES) - set(auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES)
    texts -= set(auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES) - set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    return {"transformers": set(auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) | texts}


def llama_cpp() -> dict[str, set[str]]:
    """gguf-py/gguf/constants.py: what `general.architecture` of a GGUF file may be."""
    print(f"# gguf {version('gguf')}")
    return {"llama_cpp": set(importlib.import_module("gguf.constants").MODEL_ARCH_NAMES.values())}


def _auto() -> Any:
    return importlib.import_module("transformers.models.auto.modeling_auto")


if __name__ == "__main__":
    main()
