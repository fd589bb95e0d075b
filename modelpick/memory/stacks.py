"""How much memory each stack (the software that runs the model) uses. Pure.

Versions read: transformers 5.23.0, peft 0.21.2, bitsandbytes 0.50.2, trl 1.16.0, litgpt 0.5.13, torchtune 0.6.1.
"Traced" means: the stack's own code run on fake tensors, every tensor saved for the backward pass listed with its size.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from modelpick.workload import Workload


@dataclass(frozen=True, slots=True)
class Stack:
    """Properties of a stack that affect memory."""

    name: str
    # Bytes per LoRA parameter: peft keeps them in fp32 (mapping_func.py, autocast_adapter_dtype); litgpt and torchtune
    # in the model's own type.
    adapter_bytes: float = 4.0
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
    # With a loss over pieces (loss_chunking), this much remains, per logit; None: Liger's, which never holds more
    # logits than the hidden states have elements (liger_kernel ops/fused_linear_cross_entropy.py: T*h/V tokens each).
    chunked_loss_bytes: float | None = None
    # trl trainer/utils.py add_fused_lm_head, from 1.16 on: logits exist a tile at a time, forward and backward. A
    # version that is not named is assumed to be older, which holds more.
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
    # The serialization of NF4's scales in 8 bits is on by default.
    double_quantization: bool = False
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
    # torchtune full_finetune_single_device.py: optimizer_in_bwd frees each gradient at once.
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

    def trained_bytes(self, workload: Workload, compute_bytes: float) -> float:
        """Bytes of a trainable parameter as the model holds it. DeepSpeed casts the whole model to the compute type
        (runtime/engine.py, _configure_distributed_model)."""
        if workload.sharding in DEEPSPEED:
            return compute_bytes
        if workload.method != "full":
            return self.adapter_bytes
        wide = self.fsdp_bytes if workload.sharding == "fsdp" else None
        return max(wide or 0.0, self.full_bytes or 0.0, compute_bytes)


DEEPSPEED = frozenset({"zero2", "zero3"})

STACKS: dict[str, Stack] = {
    "transformers": Stack("transformers", autocasts_quantized=True, rebuilds_formats=frozenset({"mxfp4"})),
    # trl sft_trainer.py casts adapters of quantized models to bf16: counted in fp32, which `modelpick finetune` makes
    # of them again.
    "trl": Stack("trl", autocasts_plain=True, autocasts_quantized=True),
    # llamafactory hparams/model_args.py: double_quantization = True, use_reentrant_gc = True
    "llama-factory": Stack(
        "llama-factory", autocasts_quantized=True, double_quantization=True, full_bytes=4.0, reentrant=True
    ),
    "litgpt": Stack(
        "litgpt",
        adapter_bytes=2.0,
        casts_adapter_input=False,
        dropout=True,
        loss_chunk_tokens=128,
        chunked_loss_bytes=8.0,
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
    "torchtune": Stack(
        "torchtune",
        adapter_bytes=2.0,
        casts_adapter_input=False,
        loss_bytes=7.0,
        chunked_loss_bytes=7.0,
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
    ),
}
STACKS["sglang"] = replace(STACKS["vllm"], name="sglang")
STACKS["tgi"] = replace(STACKS["vllm"], name="tgi", vocabulary_multiple=1, prefill_tokens=4096)
STACKS["llama.cpp"] = replace(
    STACKS["vllm"], name="llama.cpp", paged_cache=False, vocabulary_multiple=1, pads_experts=False,
    absorbs_latent=False, prefill_tokens=512,
)  # fmt: skip


@lru_cache(maxsize=256)  # a file of cases repeats its few workloads: a look-up takes a fifth of `replace`
def settled(workload: Workload) -> Workload:
    """The workload with a stack's name: `auto`, where planning/engines.py has not chosen one, means transformers, or
    llama.cpp for GGUF."""
    if workload.method == "gguf" and workload.stack in ("auto", "transformers"):  # as older plans name its engine
        return replace(workload, stack="llama.cpp")
    return replace(workload, stack="transformers") if workload.stack == "auto" else workload


def stack_of(workload: Workload) -> Stack:
    """The habits of the workload's stack, at the version it names."""
    stack = STACKS["transformers" if workload.stack == "auto" else workload.stack]
    version = tuple(int(part) for part in (workload.stack_version or "").split(".") if part)
    if workload.stack == "trl":
        return replace(stack, fused_head=version >= (1, 16))
    if workload.stack == "transformers" and version:
        old = version < (4, 45)
        return replace(
            stack, all_logits=old, rotary_tables=old, copies_shifted_logits=version < (4, 50),
            quantizes_experts=version < (5,),
        )  # fmt: skip
    return stack
