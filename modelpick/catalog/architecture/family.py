"""The traits of a model_type: what its config.json leaves out. Pure.

The rows are in families.py (decoders), encoder_families.py and translator_families.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modelpick.catalog.architecture.fields import Config
from modelpick.catalog.architecture.shape import Kind, LayerGroup, Norm


@dataclass(frozen=True, slots=True)
class LayerNames:
    """Module names of the linear layers. One `qkv` name means a fused projection; likewise for gate and up."""

    qkv: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    up: tuple[str, ...] = ("gate_proj", "up_proj")
    down: str = "down_proj"


@dataclass(frozen=True, slots=True)
class Extra:
    """Parameters of one family in addition to the common ones: in each layer, once, and in embeddings."""

    layer: int = 0
    once: int = 0
    embedding: int = 0


Planned = tuple[tuple[LayerGroup, ...], int]  # layers, and parameters that are there once


@dataclass(frozen=True, slots=True)
class Family:
    """Traits of a model_type. Flags are defaults: the config's own key wins where it exists."""

    kind: Kind = "decoder"
    names: LayerNames = LayerNames()
    gated: bool = True
    norm: Norm = "rms"
    norms: int = 2  # per layer
    norm_bias: bool = False  # LayerNorm has a bias as well as a weight
    norm_weight: bool = True
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: Literal["", "head", "full", "bare"] = ""  # a norm over each head, over all of them, or without weights
    tied: bool = False
    head_bias: bool = False
    parallel: bool = False
    positions: int | None = None  # learned position embeddings: rows beyond the context; None: none learned
    padded_positions: int = 0  # of those, rows that no token takes: RoBERTa counts on from the padding index
    window: Literal["", "all", "even", "pattern"] = ""  # which layers `sliding_window` binds, without layer_types
    pattern: int = 0  # every n-th layer is global, the others are local
    width: float = 0  # MLP width over hidden size, where the config leaves it out
    sinks: bool = False  # one learned attention sink per head
    embedding_norm: bool = False
    rotary: bool = True
    sdpa: bool = True  # its transformers class has a path through scaled_dot_product_attention
    caps_scores: bool = False  # attn_logit_softcapping is set by default
    caps_logits: bool = False  # final_logit_softcapping is set by default
    upcasts_logits: bool = True  # transformers loss_utils.py does; a repository's own modeling file may not
    hybrid: bool = False  # only some layers attend: a config that does not say which cannot be read
    head_gate: bool = False  # latent attention whose heads are gated by a projection of their own
    routed: bool = False  # always a mixture of experts: a config without their number cannot be read
    unfused_activation: bool = False  # gelu_new (transformers activations.py NewGELUActivation): not one kernel
    counted: bool = False  # tests/catalog checks its parameter counts exactly against published models
    output_gate: Literal["", "head", "full", "fused"] = ""  # of attention: one a head, one a channel, within q_proj
    shared_experts: int = 0  # where the config does not say how many
    dense_beside_experts: bool = False  # gemma 4: a layer with experts has its dense MLP as well
    adjusts_width: bool = False  # lfm2: the MLP is two thirds as wide as intermediate_size says
    doubles_window_keys: bool = False  # mimo_v2_flash: layers with a window have twice the heads of keys
    sinks_in_windows: bool = False  # sinks in layers with a window alone
    # What only one or a few families do, each by the key of its own config.json.
    parallel_key: str = ""  # says whether attention and MLP read the same normed input (default: they do)
    new_decoder: bool = False  # falcon: `new_decoder_architecture` switches heads, norms and the parallel reading
    one_key_by: str = ""  # a true `multi_query` (the default) means one head of keys and values for all queries
    all_keys_unless: str = ""  # a false `multi_query_attention` means a head of keys and values for each query
    unrepeated_key: bool = (
        False  # its one key head is neither repeated nor passed to sdpa as grouped (modeling_falcon.py)
    )
    width_of_both: bool = False  # intermediate_size counts the gate and the up projection together (Qwen-1)
    shared_gate: bool = False  # the shared expert has a gate of its own
    score_correction: bool = False  # the router has an e_score_correction_bias
    expert_biases: bool = False  # the router and the experts have biases
    bias_in_each_layer: bool = False  # umt5: a relative bias in every layer, not one a stack
    mamba: Literal["", "1", "2", "with_attention"] = (
        ""  # all layers are Mamba of this version, or each layer has Mamba and attention
    )
    first_mamba: bool = False  # the recurrent layers of this hybrid are Mamba-1, with norms of its own
    one_part_layers: bool = False  # a layer is a mixer or an MLP, as `hybrid_override_pattern` says
    convolutions: bool = False  # layers that do not attend are short convolutions
    kimi_delta: bool = False  # layers that do not attend are Kimi Delta Attention
    low_rank_gates: bool = False  # its gates are of two matrices each
    lightning: bool = False  # layers that do not attend are lightning attention
    ungated_norm: bool = False  # no norm after the state space, unless `mamba_rms_norm` says so
    bound_by_attention: bool = False  # a config that does not list its layers is read as all attention: an upper bound
    sees: bool = False  # has a vision tower, also where config.json does not describe it
    vocabulary: int | None = None  # the configuration class's default, where published configs leave it out
    score_bias: Literal["", "shared", "layers"] = ""  # relative positions: a bias on the scores of each head
    extra: Callable[[Config, int], Extra] | None = None  # of a config and its hidden size: what no trait above tells
    plan: Callable[[Config, "Family", int], Planned] | None = None  # layers that are like no other family's
    untrained: str = ""  # why what its layers keep for a backward pass is not known

    def extra_of(self, config: Config, hidden: int) -> Extra:
        """What the family has in addition to attention, MLP, experts, mixers and norms."""
        return self.extra(config, hidden) if self.extra else Extra()
