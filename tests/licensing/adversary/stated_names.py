"""What a card calls its license: a new name is a new license, whoever the publisher is."""

from collections.abc import Iterator

from tests.licensing.adversary import Case, harmless, kind, misleading
from tests.licensing.adversary.texts import APACHE

_NEW = (
    ("google/gemma-9", "gemma-9-research-only"), ("meta-llama/Llama-5-8B", "llama5"),
    ("meta-llama/Llama-3.3-9B", "llama-3.3-research"), ("Qwen/Qwen9-72B", "qwen-9-noncommercial"),
    ("mistralai/Mistral-9", "mistral-paid"), ("deepseek-ai/DeepSeek-V9", "deepseek-v9-license"),
    ("tiiuae/falcon-9-7B", "falcon-9-research"), ("stabilityai/stablelm-9", "stability-ai-paid"),
    ("nvidia/Nemotron-9", "nvidia-evaluation"), ("CohereLabs/command-z", "cohere-paid"),
    ("LGAI-EXAONE/EXAONE-9", "exaone-9-nc"), ("tencent/Hunyuan-9", "tencent-hunyuan-9-research"),
)  # fmt: skip


@kind("a publisher's new license name", "a name binds to a known license only when it is that license's")
def new_names() -> Iterator[Case]:
    for number, (id, name) in enumerate(_NEW):
        yield misleading(f"{id}-{number}", f"license: other\nlicense_name: {name}")
    yield misleading("google/gemma-9-it", "license: gemma-9-research-only")
    known = "license: other\nlicense_name: gemma-terms-of-use"
    yield harmless("google/gemma-3-9b", known, expect="conditions", only="hub")
    yield harmless("google/gemma-3-8b", "license: gemma", expect="conditions")


@kind("a tag beside another license name", "every field that a card states is weighed")
def beside() -> Iterator[Case]:
    yield misleading("acme/named", "license: apache-2.0\nlicense_name: qwen-research")
    yield misleading("acme/named-unknown", "license: mit\nlicense_name: acme-research-only")
    yield misleading("acme/with", "license: Apache-2.0 WITH Commons-Clause")
    yield harmless("acme/same", "license: apache-2.0\nlicense_name: Apache License 2.0", {"LICENSE": APACHE})
