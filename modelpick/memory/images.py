"""What images take: their tokens in the prompt, and the vision tower at work. Pure."""

from modelpick.catalog.architecture import Architecture
from modelpick.errors import CannotTellError
from modelpick.memory.stacks import Stack
from modelpick.workload import Workload


def tokens_each(architecture: Architecture) -> int:
    """The most tokens that one image becomes. Raises CannotTellError where the config describes no vision tower."""
    if architecture.tower is None:
        raise CannotTellError(
            f"what an image takes cannot be estimated: the config of this {architecture.model_type} describes no tower",
            fix="leave out --images, or name a model whose config.json has a vision_config",
            code="no_vision_tower",
        )
    return architecture.tower.tokens


def encoding_bytes(architecture: Architecture, workload: Workload, stack: Stack, b: float) -> float:
    """Bytes while the tower works: its widest layer over the patches, as `activations.transient_bytes` counts one.

    Servers encode as many tokens at a time as a prefill chunk has, or one image (vLLM v1/core/encoder_cache_manager.py,
    compute_encoder_budget); transformers all images of the batch.
    """
    tower = architecture.tower
    if tower is None or not workload.images:
        return 0.0
    tokens = float(workload.images * workload.batch * tower.tokens)
    if stack.prefill_tokens:
        tokens = min(tokens, float(max(stack.prefill_tokens, tower.tokens)))
    layer = 4 * tower.hidden + (3 if tower.gated else 2) * tower.width
    return tokens * (tower.merged * layer + architecture.hidden) * b
