"""How much memory each stack (the software that runs the model) uses. Pure.

Versions read: NEWEST, and peft 0.21.2, bitsandbytes 0.50.2, unsloth-zoo 2026.8.13; what older ones do otherwise: OLDER.
"Traced" means: the stack's own code run on fake tensors, every tensor saved for the backward pass listed with its size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from modelpick.workload import KBIT_METHODS, Workload, version_of


@dataclass(frozen=True, slots=True)
class Stack:
    """Properties of a stack that affect memory."""

    name: str
    # Bytes per LoRA parameter: peft keeps them in fp32 (mapping_func.py, autocast_adapter_dtype); litgpt and torchtune
    # in the model's own type.
    adapter_bytes: float = 4.0
    # ... over quantized weights, where that differs: trl sft_trainer.py casts trainable parameters to bf16.
    quantized_adapter_bytes: float | None = None
    # peft tuners/lora/layer.py casts each adapted input to the adapter's type: one more copy an adapter, in the compute
    # type under autocast. Over quantized layers (tuners/lora/bnb.py) it does not under autocast.
    casts_adapter_input: bool = True
    # Trained under torch.autocast when the workload does not say: adapters over plain weights, and over quantized.
    # trl sft_config.py: bf16 is True by default. Loops of one's own over a model in bf16, as peft's comparison has
    # them, use none; over quantized weights Trainer(bf16=True) is taken.
    autocasts_plain: bool = False
    autocasts_quantized: bool = False
    # litgpt finetune/lora.py: lora_dropout 0.05 by default: mask and output of every dropout are saved.
    dropout: bool = False
    # Loss, per logit. transformers loss_utils.py upcasts: log-softmax 4, its gradient 4, the gradient's scatter 4
    # (traced). litgpt's Fabric casts the logits to fp32 on the way out (lightning fabric/wrappers.py, convert_output):
    # over whole sequences the same 12 (traced). torchtune ce_chunked_output_loss.py: logits 2, fp32 log-softmax 4, an
    # eighth of 8 at a time.
    loss_bytes: float = 12.0
    # litgpt finetune/lora.py runs the output matrix over 128 tokens of each sequence at a time (lm_head_chunk_size):
    # logits 4 and log-softmax 4 of all pieces stay, and when a piece goes backward two more of its size are alive
    # (traced: 8 bytes per logit, and 8 per logit of one piece). 0: no such pieces.
    loss_chunk_tokens: int = 0
    loss_chunk_bytes: float = 8.0
    # Whether the loss is taken over pieces where the workload does not say.
    chunks_loss: bool = False
    # With a loss over pieces (loss_chunking), this much remains, per logit; None: Liger's, which never holds more
    # logits than the hidden states have elements (liger_kernel ops/fused_linear_cross_entropy.py: T*h/V tokens each).
    chunked_loss_bytes: float | None = None
    # ... and this many bytes at most, however many logits there are: unsloth_zoo fused_losses/cross_entropy_loss.py
    # cuts its pieces to half of the GPU's free memory, 4 GiB at most. It runs with less than that: 1 GiB is counted.
    chunked_loss_limit: float | None = None
    # trl trainer/utils.py add_fused_lm_head: logits exist a tile at a time, forward and backward.
    fused_head: bool = False
    # transformers before 4.50 (loss_utils.py): logits in the compute type, in fp32, shifted into a copy unless the
    # batch is one sequence, and log-softmax, all alive at the end of the forward pass.
    copies_shifted_logits: bool = False
    # litgpt/model.py: q, k, v are views of one tensor that stays alive together with the rotated q and k.
    keeps_fused_qkv: bool = False
    # Keys and values are repeated to all heads before attention (litgpt always; transformers when a padding mask keeps
    # sdpa from its grouped kernel: integrations/sdpa_attention.py use_gqa_in_sdpa).
    repeats_kv: bool = False
    # bitsandbytes 0.41 and 0.42 (which litgpt pins) save the input of every 4-bit layer as an attribute of its node
    # (autograd/_functions.py MatMul4Bit, ctx.tensors); 0.50 does not.
    saves_quantized_inputs: bool = False
    # ... and such attributes live as long as the graph, not until its backward pass: finetune/lora.py still holds the
    # loss and the logits of the batch before while the next one goes forward. How many tokens a sequence of that batch
    # has for each sequence in it, at most the context, when batches are padded to their longest and are not packed:
    # fitted on litgpt's 12 figures at 512 tokens (residual 3 % median, 5 % at most); its 8 figures at 1034 to 1304
    # tokens, left out of the fit, are then estimated within 6 % (median), 11 % at most.
    kept_tokens: int = 0
    # litgpt replaces the embedding by bitsandbytes' StableEmbedding, after freezing: its gradient is kept.
    trains_quantized_embedding: bool = False
    # NF4's scales are quantized too (bnb_4bit_use_double_quant) where the workload does not say.
    double_quantization: bool = False
    # peft's prepare_model_for_kbit_training is called where the workload does not say, and leaves norms in fp32 ...
    kbit_prepared: bool = False
    # ... and, with these methods, embeddings and head too. trl before 0.27 casts those of 4-bit models back to bf16
    # (models/utils.py, peft_module_casting_to_bf16); llama-factory's upcast_layernorm takes norms alone.
    prepares_embeddings: tuple[str, ...] = KBIT_METHODS
    # A layer's LoRA products in one autograd function (unsloth kernels/fast_lora.py): it saves its input, gate and up.
    fused_lora: bool = False
    # Checkpoints go to the CPU's memory where the workload does not say (unsloth_zoo gradient_checkpointing.py).
    offloads_checkpoints: bool = False
    # Words of the workload that the stack has a switch for; the others are refused (see stack_words.py).
    words: frozenset[str] = frozenset()
    # Whether bitsandbytes reaches the experts (transformers fuses them into 3-D tensors that it skips) and the head.
    quantizes_experts: bool = False
    quantizes_head: bool = False
    # Bytes per element while the largest 4-bit matrix is rebuilt (litgpt: in fp16, then cast to bf16).
    dequantized_bytes: float = 2.0
    # Bytes per parameter that full fine-tuning holds; None: of the compute type. llama-factory model/adapter.py
    # casts trainable parameters to fp32 unless pure_bf16.
    full_bytes: float | None = None
    # ... under FSDP: accelerate's prepare_model upcasts trainable flat parameters to fp32 (accelerator.py).
    fsdp_bytes: float | None = 4.0
    # Gradients stay through the next forward pass, because a step takes several micro-batches by default: litgpt
    # args.py global_batch_size 16, micro_batch_size 1.
    accumulates: bool = False
    # litgpt finetune/lora.py and full.py checkpoint activations only in the strategy for several GPUs.
    checkpoints_alone: bool = True
    # torch.utils.checkpoint with use_reentrant: its first forward makes no graph. Without it (the default of
    # transformers 5, modeling_utils.py), what nodes keep as attributes is kept despite checkpointing.
    reentrant: bool = False
    # Each gradient is freed at once where the workload does not say: torchtune full_finetune_single_device.py,
    # optimizer_in_bwd.
    steps_in_backward: bool = False
    # litgpt/model.py makes lm_head and wte two matrices, also where the checkpoint ties them.
    duplicates_tied_head: bool = False
    # litgpt/generate/tp.py splits attention and MLP, not the embedding nor the output matrix.
    splits_embeddings: bool = True
    # litgpt finetune/lora.py accumulates under no_backward_sync: FSDP then keeps the gradients of its flat parameters
    # unsharded, frozen weights included: the whole model once more, in addition to the shard, as ten published figures
    # show (litgpt's own tutorials, LoRA on 2 and 4 GPUs: 1.9 % median, 11.5 % at most; without it 31 % too little).
    keeps_unsharded_gradients: bool = False
    # Checkpointed LoRA under FSDP: the gradient of every layer's input stays until the backward pass ends. Fitted: on
    # 55 figures of fms-acceleration (2 and 4 GPUs) 2 % median residual with it, 24 % without; full fine-tuning there
    # shows nothing of it, nor does one GPU.
    keeps_input_gradients: bool = True
    # Whether transformers' own model classes run, with their choice of attention kernels.
    transformers_models: bool = True
    # transformers before 4.45: the whole prompt's logits in the compute type and in fp32, and a table of cosines and
    # sines of all positions in every layer (modeling_qwen2.py of 4.42: logits.float(), Qwen2RotaryEmbedding). Before 5
    # experts were linear layers, which bitsandbytes reaches.
    all_logits: bool = False
    rotary_tables: bool = False
    # vLLM: pages of keys and values, a latent for MLA, only the last logits.
    paged_cache: bool = False
    # transformers cache_utils.py DynamicCache: torch.cat at every token. litgpt and torchtune allocate it whole.
    grows_cache: bool = True
    # transformers before 4.36: each layer's torch.cat goes into a new tuple, while the caller holds the old one.
    returns_new_cache: bool = False

    # What an engine's kernels make of the weights (kernels.py). vLLM and SGLang pad the vocabulary to a multiple of 64
    # (layers/vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE).
    vocabulary_multiple: int = 1
    # vLLM quantization/mxfp4.py: the Marlin kernels, which all GPUs but B200 and B300 run without FlashInfer, round the
    # hidden size up to 256 and each GPU's expert width to 128; SGLang's layouts are no smaller.
    pads_experts: bool = False
    # vLLM v1/attention/backends/mla/common.py, SGLang models/deepseek_v2.py: the two halves of kv_b_proj once more,
    # transposed and in the compute type, beside the matrix itself. Their a-projections are not split.
    absorbs_latent: bool = False
    # Formats whose packed weights the stack rebuilds in the compute type. transformers 5.23 quantizer_mxfp4.py: without
    # triton 3.4 and the package kernels, which its own requirements do not bring, `dequantize` is set.
    rebuilds_formats: frozenset[str] = frozenset()
    # Tokens of a prompt that go through the layers at a time. vLLM engine/arg_utils.py: max_num_batched_tokens is 8192
    # on GPUs of 70 GiB and more, 2048 below; SGLang server_args.py: chunked_prefill_size, at most 8192 on one GPU of
    # 80 GB; TGI launcher: max_batch_prefill_tokens 4096. The larger is taken. 0: the whole prompt.
    prefill_tokens: int = 0
    # Bytes a logit while the next token is drawn, besides the logits themselves: in fp32; in vLLM v1/sample/ops/
    # topk_topp_sampler.py also sorted (4), their indices (8), probabilities, their sum and what is scattered back (4
    # each). SGLang samples with FlashInfer: logits and probabilities in fp32.
    sampling_bytes: float = 4.0

    def rebuilds(self, format_name: str) -> bool:
        """Whether weights of this format are held in the compute type."""
        return format_name in self.rebuilds_formats

    def autocasts(self, workload: Workload) -> bool:
        """Whether training computes under torch.autocast in the compute type; DeepSpeed's engine casts by itself."""
        if workload.task == "serve" or workload.dtype == "fp32" or workload.sharding in DEEPSPEED:
            return False
        if workload.autocast is not None:
            return workload.autocast
        if workload.method == "lora":
            return self.autocasts_plain
        return workload.method != "full" and self.autocasts_quantized

    def holds_wide(self, workload: Workload) -> tuple[bool, bool]:
        """Whether a settled workload holds norms, and embeddings with the output matrix, in fp32 over quantized layers.

        Norms in fp32 give fp32, so that the residuals and all that quantized layers give are fp32 as well.
        """
        prepared = bool(workload.kbit_prepared)
        return prepared, prepared and workload.method in self.prepares_embeddings

    def trained_bytes(self, workload: Workload, compute_bytes: float) -> float:
        """Bytes of a trainable parameter as the model holds it. DeepSpeed casts the whole model to the compute type
        (runtime/engine.py, _configure_distributed_model)."""
        if workload.sharding in DEEPSPEED:
            return compute_bytes
        if workload.method in KBIT_METHODS and self.quantized_adapter_bytes is not None:
            return self.quantized_adapter_bytes
        if workload.method != "full":
            return self.adapter_bytes
        wide = self.fsdp_bytes if workload.sharding == "fsdp" else None
        return max(wide or 0.0, self.full_bytes or 0.0, compute_bytes)


DEEPSPEED = frozenset({"zero2", "zero3"})

_TRAINER = frozenset(
    {"kbit_prepared", "double_quantization", "compile", "loss_chunking", "optimizer_offload", "parameter_offload",
     "optimizer_in_backward", "prompt-tuning"}
)  # fmt: skip
_OFFLOAD = frozenset({"activation_offload"})

STACKS: dict[str, Stack] = {
    # training/train.py, loading/: SFTTrainer's fused matrix for decoders on a GPU, autocast, adapters in fp32, NF4 with
    # double quantization, no prepare_model_for_kbit_training.
    "modelpick": Stack(
        "modelpick",
        autocasts_plain=True,
        autocasts_quantized=True,
        double_quantization=True,
        fused_head=True,
        chunks_loss=True,
        words=frozenset({"loss_chunking", "prompt-tuning", "objective"}),
    ),
    # Trainer over a model that its user loaded: as peft's documentation has it, prepared where it is quantized.
    # compile: TrainingArguments.torch_compile; optimizer_in_backward: its optim "lomo".
    "transformers": Stack(
        "transformers",
        autocasts_quantized=True,
        kbit_prepared=True,
        rebuilds_formats=frozenset({"mxfp4"}),
        words=_TRAINER,
    ),
    "trl": Stack(
        "trl",
        autocasts_plain=True,
        autocasts_quantized=True,
        quantized_adapter_bytes=2.0,
        fused_head=True,
        chunks_loss=True,
        words=_TRAINER | _OFFLOAD | {"objective"},
    ),
    # axolotl loaders/model.py calls prepare_model_for_kbit_training and then casts norms and embeddings back to the
    # compute type (_convert_embedding_modules_dtype, for any adapter); bnb_4bit_use_double_quant: True;
    # activation_offloading is trl's.
    "axolotl": Stack(
        "axolotl",
        autocasts_plain=True,
        autocasts_quantized=True,
        double_quantization=True,
        words=(_TRAINER | _OFFLOAD) - {"kbit_prepared"},
    ),
    # llamafactory hparams/model_args.py: double_quantization = True, use_reentrant_gc = True, upcast_layernorm = False,
    # use_unsloth_gc (checkpoints go to the CPU); model/adapter.py: what is trained in fp32.
    "llama-factory": Stack(
        "llama-factory",
        autocasts_plain=True,
        autocasts_quantized=True,
        double_quantization=True,
        full_bytes=4.0,
        reentrant=True,
        prepares_embeddings=(),
        words=_TRAINER | _OFFLOAD,
    ),
    # unsloth models/llama.py: bnb_4bit_use_double_quant = True; its prepare_model_for_kbit_training (models/_utils.py)
    # is unsloth_zoo's prepare_model_for_training, which casts what is trained alone. One GPU.
    "unsloth": Stack(
        "unsloth",
        autocasts_plain=True,
        autocasts_quantized=True,
        double_quantization=True,
        full_bytes=4.0,
        reentrant=True,
        casts_adapter_input=False,
        fused_lora=True,
        offloads_checkpoints=True,
        chunks_loss=True,
        chunked_loss_bytes=8.0,
        chunked_loss_limit=2.0**30,
        words=frozenset({"double_quantization", "activation_offload"}),
    ),
    "litgpt": Stack(
        "litgpt",
        adapter_bytes=2.0,
        casts_adapter_input=False,
        dropout=True,
        loss_chunk_tokens=128,
        chunks_loss=True,
        chunked_loss_bytes=8.0,
        words=frozenset({"double_quantization", "loss_chunking"}),
        keeps_fused_qkv=True,
        repeats_kv=True,
        saves_quantized_inputs=True,
        kept_tokens=160,
        trains_quantized_embedding=True,
        quantizes_experts=True,
        quantizes_head=True,
        dequantized_bytes=4.0,
        duplicates_tied_head=True,
        splits_embeddings=False,
        transformers_models=False,
        grows_cache=False,
        keeps_unsharded_gradients=True,
        accumulates=True,
        checkpoints_alone=False,
        keeps_input_gradients=False,
        fsdp_bytes=None,
    ),
    # torchtune modules/loss/cross_entropy_loss.py LinearCrossEntropyLoss: an eighth of the tokens at a time goes
    # through the output matrix; the fp32 log-softmax of all stays (4), one piece goes backward (10/8). Without pieces
    # modules/transformer.py upcasts: logits 4, log-softmax 4, the gradients of both.
    "torchtune": Stack(
        "torchtune",
        adapter_bytes=2.0,
        casts_adapter_input=False,
        loss_bytes=16.0,
        chunks_loss=True,
        chunked_loss_bytes=5.25,
        words=frozenset(
            {
                "compile",
                "activation_offload",
                "loss_chunking",
                "optimizer_in_backward",
                "optimizer_offload",
                "parameter_offload",
            }
        ),
        repeats_kv=True,
        double_quantization=True,
        steps_in_backward=True,
        keeps_input_gradients=False,
        fsdp_bytes=None,
        transformers_models=False,
        grows_cache=False,
    ),
    "vllm": Stack(
        "vllm",
        adapter_bytes=2.0,
        casts_adapter_input=False,
        quantizes_experts=True,
        paged_cache=True,
        transformers_models=False,
        grows_cache=False,
        vocabulary_multiple=64,
        pads_experts=True,
        absorbs_latent=True,
        prefill_tokens=8192,
        sampling_bytes=28.0,
    ),
}
STACKS["sglang"] = replace(STACKS["vllm"], name="sglang", sampling_bytes=8.0)
STACKS["tgi"] = replace(STACKS["vllm"], name="tgi", vocabulary_multiple=1, prefill_tokens=4096)
STACKS["llama.cpp"] = replace(
    STACKS["vllm"], name="llama.cpp", paged_cache=False, vocabulary_multiple=1, pads_experts=False,
    absorbs_latent=False, prefill_tokens=512,
)  # fmt: skip


# The versions whose code was read; of transformers, what its releases changed is known down to 4.42.
NEWEST: Mapping[str, tuple[int, ...]] = {
    "transformers": (5, 23), "trl": (1, 16), "axolotl": (0, 18), "llama-factory": (0, 9, 6), "unsloth": (2026, 8),
    "litgpt": (0, 5, 13), "torchtune": (0, 7), "vllm": (0, 32), "sglang": (0, 5), "tgi": (3, 3),
}  # fmt: skip
# What a version below one did otherwise, the newest change first. Stacks over transformers: by the one that they pin
# (axolotl and llama-factory: requirements.txt and pyproject.toml of each tag).
_UNFUSED_EXPERTS: Mapping[str, Any] = {"quantizes_experts": True}
_COPIED_LOGITS: Mapping[str, Any] = {"copies_shifted_logits": True}
OLDER: Mapping[str, tuple[tuple[tuple[int, ...], Mapping[str, Any]], ...]] = {
    "transformers": (
        ((5,), _UNFUSED_EXPERTS),
        ((4, 50), _COPIED_LOGITS),
        ((4, 45), {"all_logits": True, "rotary_tables": True}),
        ((4, 36), {"returns_new_cache": True}),
    ),
    "trl": (
        ((1, 16), {"fused_head": False, "chunks_loss": False}),
        ((0, 27), {"kbit_prepared": True, "prepares_embeddings": ("lora-int8",), **_UNFUSED_EXPERTS}),
        ((0, 16), _COPIED_LOGITS),  # it came out when transformers 4.50 did
    ),
    "axolotl": (((0, 14), _UNFUSED_EXPERTS), ((0, 8), _COPIED_LOGITS)),
    "llama-factory": (((0, 9, 5), _UNFUSED_EXPERTS), ((0, 9, 3), _COPIED_LOGITS)),
    "unsloth": (((2025, 12), _UNFUSED_EXPERTS),),
    "torchtune": (
        # CEWithChunkedOutputLoss: logits 2 and log-softmax 4 of all pieces, an eighth of 8 at a time.
        ((0, 7), {"chunked_loss_bytes": 7.0}),
        # recipes/configs: torch.nn.CrossEntropyLoss, over a shifted copy of fp32 logits.
        ((0, 3), {"chunks_loss": False, "loss_bytes": 20.0}),
    ),
}
# A stack whose version is not named is the newest, but for trl, of whose versions the one that holds more is counted.
_UNNAMED: Mapping[str, Mapping[str, Any]] = {
    "trl": {"fused_head": False, "chunks_loss": False, "kbit_prepared": True},
}


def is_unread(workload: Workload) -> bool:
    """Whether the workload names a version above the newest that was read."""
    named, newest = version_of(workload.stack_version), NEWEST.get(workload.stack)
    return newest is not None and named[: len(newest)] > newest


@lru_cache(maxsize=256)
def _at(name: str, version: tuple[int, ...]) -> Stack:
    stack = STACKS[name]
    if not version:
        return replace(stack, **_UNNAMED.get(name, {}))
    for below, changes in OLDER.get(name, ()):
        if version < below:
            stack = replace(stack, **changes)
    return stack


def stack_of(workload: Workload) -> Stack:
    """The habits of the workload's stack, at the version it names; a version from the future has the newest known."""
    return _at(named_stack(workload), version_of(workload.stack_version))


def named_stack(workload: Workload) -> str:
    """The stack's name. `auto` is our own loop where that runs the workload, and llama.cpp for GGUF; transformers does
    the rest."""
    if workload.method == "gguf" and workload.stack in ("auto", "transformers"):  # as older plans name its engine
        return "llama.cpp"
    if workload.stack != "auto":
        return workload.stack
    ours = workload.task == "finetune" and workload.gpus == 1 and workload.sharding == "none"
    return "modelpick" if ours else "transformers"
