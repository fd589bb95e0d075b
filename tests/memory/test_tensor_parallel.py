"""Servers cut heads and blocks evenly over the GPUs, and stop at their start where they cannot."""

import pytest

from modelpick.catalog import architecture, index
from modelpick.errors import UsageError
from modelpick.memory.estimate import estimate, estimate_model
from modelpick.memory.tensor_parallel import split_problem
from modelpick.workload import workload_from
from tests.catalog.test_quantization import DENSE, EXPERTS

BLOCKS = {"quant_method": "fp8", "weight_block_size": [128, 128]}


@pytest.mark.parametrize("stack", ["vllm", "sglang", "tgi"])
@pytest.mark.parametrize(
    ("config", "gpus", "what", "instead"),
    [
        ({**DENSE, "num_attention_heads": 28, "num_key_value_heads": 4}, 8, "28 attention heads", "--gpus 4"),
        ({**DENSE, "num_attention_heads": 40, "num_key_value_heads": 10}, 4, "10 key and value heads", "--gpus 2"),
        ({**EXPERTS, "moe_intermediate_size": 1536, "quantization_config": BLOCKS}, 8, "1536 wide", "--gpus 4"),
    ],
    ids=["heads", "kv heads", "blocks"],
)
def test_an_uneven_split_is_refused(config: dict, gpus: int, what: str, instead: str, stack: str) -> None:
    shape = architecture.read(config)
    with pytest.raises(UsageError) as refused:
        estimate(shape, workload_from({"stack": stack, "gpus": gpus}))
    assert refused.value.code == "uneven_split"
    assert what in refused.value.message
    assert instead in str(refused.value.fix)


@pytest.mark.parametrize("gpus", [1, 2, 4, 8, 16])
def test_an_even_split_is_not(gpus: int) -> None:
    """Fewer heads of keys and values than GPUs are repeated; MLA has one latent for all of them."""
    for config in (DENSE, {**EXPERTS, "moe_intermediate_size": 2048, "quantization_config": BLOCKS}):
        assert split_problem(architecture.read(config), workload_from({"stack": "vllm", "gpus": gpus})) is None


def test_transformers_cuts_nothing() -> None:
    odd = architecture.read({**DENSE, "num_attention_heads": 28, "num_key_value_heads": 4})
    assert split_problem(odd, workload_from({"stack": "transformers", "gpus": 8})) is None


def test_blocks_of_a_known_checkpoint() -> None:
    """vLLM 0.25 stops at MiniMax-M2.5 on 8 GPUs: its experts are 192 wide there, in blocks of 128."""
    model = index.load().models["MiniMaxAI/MiniMax-M2.5"]
    with pytest.raises(UsageError, match="1536 wide"):
        estimate_model(model, workload_from({"stack": "vllm", "gpus": 8}))
    assert estimate_model(model, workload_from({"stack": "vllm", "gpus": 4})).parts.weights > 0
