"""The shape of a transformer: runs of alike layers, made of linear projections. Pure, counts of elements, no bytes."""

import sys
from dataclasses import dataclass
from typing import Final, Literal

UNLIMITED: Final = sys.maxsize  # tokens: what `Architecture.longest` answers where nothing bounds a sequence
Kind = Literal["decoder", "encoder-decoder", "encoder"]
Norm = Literal["rms", "layer", "t5"]  # t5: an RMS norm that keeps its input in both types (modeling_t5.py T5LayerNorm)
Role = Literal["qkv", "query", "key", "value", "output", "gate_up", "gate", "up", "down", "other"]


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear layer: the module's own name, its role, and its sizes."""

    name: str
    role: Role
    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Elements of the weight matrix, without the bias."""
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True)
class Attention:
    """What attention keeps and makes per token. `latent` is the compressed width of MLA (0: none)."""

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None  # tokens a layer looks back; None: all
    latent: int = 0  # MLA: kv_lora_rank + qk_rope_head_dim (arXiv 2405.04434, section 2.1)
    rotates_fused: bool = False  # q and k are rotated copies, in addition to the fused tensor that v is a view of
    normed: bool = False  # queries and keys go through norms of their own
    # A single head of keys and values reaches scaled_dot_product_attention unrepeated, with many query heads: CUDA's
    # fused kernels refuse that (sdp_utils_cpp.h check_batch_size_and_num_heads_dense), and plain products in fp32
    # remain.
    unfused: bool = False
    shares_keys: bool = False  # the keys and values are an earlier layer's: it has no projection of them, and no cache
    of_images: bool = False  # reads the keys and values of an image alone, none of a text
    keys_are_values: bool = False  # one projection makes both (both are cached: one is rotated)
    indexed: int = 0  # a key of this width picks the tokens to attend to (DeepSeek's indexer), and is kept as well
    picked: int | None = None  # tokens that the indexer picks at most; None: all are attended to

    @property
    def query_width(self) -> int:
        """Elements of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def output_width(self) -> int:
        """Elements of the attention output of a token."""
        return self.heads * self.value_dim

    @property
    def kv_width(self) -> int:
        """Elements of the keys and the values of a token, heads expanded (also for MLA)."""
        return self.kv_heads * (self.head_dim + self.value_dim)


@dataclass(frozen=True, slots=True)
class FeedForward:
    """A dense MLP: `gated` ones have gate and up projections of `width`, others one.

    `unfused_activation`: it is made of elementary operations, each of which saves a tensor for the backward pass.
    """

    width: int
    gated: bool = True
    unfused_activation: bool = False


@dataclass(frozen=True, slots=True)
class Experts:
    """Experts: `count` MLPs of `width`, `per_token` of them used, plus `shared_width` channels that all tokens use."""

    count: int
    per_token: int
    width: int
    gated: bool = True
    shared_width: int = 0
    weights: int = 0  # elements of the routed experts of one layer


@dataclass(frozen=True, slots=True)
class Mixer:
    """A recurrent or convolutional mixer: `width` inner channels, states that do not grow with the context.

    `plain`: bytes per channel and token that transformers' plain PyTorch path keeps in fp32 on top of what its kernels
    keep.
    """

    width: int
    state: int  # elements kept per sequence, fp32 (mamba_ssm and transformers keep the recurrent state in fp32)
    convolution: int  # elements of the convolution's window per sequence, in the compute type
    plain: float = 0.0


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """A run of `count` alike layers. `projections` are the linear layers outside the routed experts."""

    count: int
    projections: tuple[Projection, ...]
    attention: Attention | None = None
    cross_attention: bool = False
    feed_forward: FeedForward | None = None
    experts: Experts | None = None
    mixer: Mixer | None = None
    other_parameters: int = 0  # norms, biases, routers, convolutions: never quantized
    norms: int = 2
    linear_weights: int = 0  # elements of `projections`, summed once
    linear_outputs: int = 0  # output rows of `projections`, summed once
    sets: int | None = None  # sets of weights, where several layers share one (ALBERT, Zamba); None: one for each

    @property
    def held(self) -> int:
        """Layers' worth of weights that there are."""
        return self.count if self.sets is None else self.sets

    @property
    def parameters(self) -> int:
        """Parameters of one layer."""
        routed = self.experts.weights if self.experts else 0
        return self.linear_weights + routed + self.other_parameters


@dataclass(frozen=True, slots=True)
class Tower:
    """A vision tower and its projection: `tokens` is the most that one image becomes, `merged` the patches of a token;
    `hidden` and `width` are those of its layers."""

    parameters: int
    tokens: int
    merged: int
    hidden: int
    width: int
    gated: bool = False


EXPERTS_STORED: Final = "experts"  # `Stored.name` of the routed experts


@dataclass(frozen=True, slots=True)
class Stored:
    """How the weights of one module name are stored, over all layers: the quantized share, and its bits a weight with
    scales and zero points."""

    name: str
    share: float
    bits: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weight format of the repository, from `quantization_config`; `stored` tells it for each module name."""

    method: str  # gptq, awq, fp8, mxfp4, nvfp4, compressed-tensors, bitsandbytes
    bits: int
    group: int  # weights that share a scale; 0: a whole row
    stored: tuple[Stored, ...] = ()
    file: tuple[tuple[str, int], ...] = ()  # bytes of a GGUF file's parts, from its own table


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's shape. Parameter counts are elements; `exact` says whether `parameters` is."""

    model_type: str
    kind: Kind
    hidden: int
    vocabulary: int
    layers: tuple[LayerGroup, ...]  # the decoder; of an encoder-only model, the encoder
    encoder: tuple[LayerGroup, ...]  # the encoder of an encoder-decoder, else empty
    embedding_parameters: int  # token, position and type embeddings, their projections
    head_parameters: int  # the output matrix, also when it is tied
    tied: bool
    other_parameters: int  # final norms, poolers, towers beyond the text
    norm: Norm
    parallel: bool  # attention and MLP read the same normed input
    context: int | None  # tokens there are positions for, as config.json states them
    dtype: str | None
    checkpoint: Checkpoint | None
    exact: bool  # whether `parameters` is known to count the whole repository
    assumptions: tuple[str, ...]
    # The types of its layers are not known or not stated: an upper bound when serving; training is refused, for
    # which recurrent layers keep more than attention does.
    guessed: bool = False
    sdpa: bool = True  # transformers can run it through scaled_dot_product_attention
    caps_scores: bool = False  # tanh over the attention scores: no fused kernel outside flash attention takes it
    caps_logits: bool = False  # tanh over the logits
    # Positions are a bias on the attention scores, a mask for every head: one that all layers share, or one in each.
    score_bias: Literal["", "shared", "layers"] = ""
    dropout: bool = False  # trained with dropout after each block, as its config has it by default
    rotary: bool = False  # positions are rotations of queries and keys
    upcasts_logits: bool = True  # the loss is taken over fp32 logits also without autocast
    stated_context: int | None = None  # the longest context its makers state, where more than config.json was read
    padded_positions: int = 0  # positions that no token can take: RoBERTa's begin after the padding index
    relative_positions: bool = False  # attention knows distances alone, for any number of tokens
    heard: int | None = None  # positions that the encoder reads whatever is asked: Whisper's half minute of sound
    labels: int = 0  # classes of an encoder's classifier
    uncounted: str = ""  # a part that config.json describes and that `parameters` lacks: a tower of sound, say
    untrained: str = ""  # why what its layers keep for a backward pass is not known: training is refused
    front: int = 0  # elements per token that a front end of convolutions holds at its widest
    tower: Tower | None = None  # of images; its parameters are among `other_parameters`

    @property
    def longest(self) -> int | None:
        """The most tokens that one sequence may have, prompt and answer together; the same for every task.

        The smaller of what the makers state and what config.json has positions for, which both must allow. UNLIMITED
        for relative positions (T5's buckets, arXiv 1910.10683 section 2.1: `n_positions` is not read by the model) and
        for layers that all recur and state no bound. None: unknown, which is not the same.
        """
        if self.relative_positions:
            return UNLIMITED
        positions = None if self.context is None else max(self.context - self.padded_positions, 1)
        known = [limit for limit in (self.stated_context, positions) if limit is not None]
        if known:
            return min(known)
        return None if any(group.attention for group in self.layers + self.encoder) else UNLIMITED

    @property
    def parameters(self) -> int:
        """Parameters, a tied output matrix counted once."""
        layers = sum(run.held * run.parameters for run in self.layers + self.encoder)
        head = 0 if self.tied else self.head_parameters
        return layers + self.embedding_parameters + head + self.other_parameters

    @property
    def linear_weights(self) -> int:
        """Elements in linear layers outside the routed experts and the output matrix: what int8 and NF4 cover."""
        return sum(run.held * run.linear_weights for run in self.layers + self.encoder)

    @property
    def expert_weights(self) -> int:
        """Elements in routed experts."""
        return sum(run.held * run.experts.weights for run in self.layers + self.encoder if run.experts)

    @property
    def depth(self) -> int:
        """Layers, encoder and decoder together."""
        return sum(run.count for run in self.layers + self.encoder)
