"""A model folder or Hub id becomes a model and a tokenizer that can be trained. Imports torch inside functions."""

import pickle
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelpick import files
from modelpick.catalog import lookup
from modelpick.catalog.architecture import Kind, longest_of
from modelpick.errors import CannotTellError, ModelpickError, UsageError, first_line
from modelpick.loading import quantized

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


_AUTO: dict[Kind, str] = {
    "decoder": "AutoModelForCausalLM",
    "encoder-decoder": "AutoModelForSeq2SeqLM",
    "encoder": "AutoModelForSequenceClassification",
}
_BITS: dict[str, quantized.Bits] = {"lora-int8": "int8", "qlora": "nf4"}
# A plain template for base models without one: the shape of a transcript, which every language model has seen.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'assistant' %}Answer: {{ message.content }}{{ eos_token }}\n"
    "{% elif message.role == 'system' %}{{ message.content }}\n\n"
    "{% else %}Question: {{ message.content }}\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a base model is brought into memory.

    `trust_remote_code` and `allow_pickles` run code that came with the weights, so both are off unless enabled
    explicitly.
    """

    method: str = "lora"  # full, lora, lora-int8, qlora
    dtype: str = "fp32"  # the compute type: bf16, fp16, fp32
    attention: str = "sdpa"
    revision: str | None = None
    trust_remote_code: bool = False
    allow_pickles: bool = False
    labels: tuple[str, ...] = ()  # class names, for an encoder
    offline: bool = False  # take a Hub id from the cache only


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its tokenizer, its kind, what was quantized, and what had to be supplied."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    kind: Kind
    layers: quantized.QuantizedLayers | None
    notes: tuple[str, ...]
    fresh: tuple[str, ...] = ()  # modules that the checkpoint has no weights for: made at random, to be trained in full


def torch_dtype(name: str) -> Any:
    """The torch dtype of a workload's dtype name."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]


def kind_of(config: Any) -> Kind:
    """What a transformers config describes, in the words of `Architecture.kind`.

    An encoder is recognized by the auto-model table: a class for masked words and no decoder.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    if config.model_type in MASKED and not getattr(config, "is_decoder", False):
        names = tuple(getattr(config, "architectures", None) or ())
        if not any(name.endswith(("CausalLM", "LMHeadModel")) for name in names):
            return "encoder"
    if config.model_type in CAUSAL:
        return "decoder"
    brought: dict[str, str] = getattr(config, "auto_map", None) or {}  # classes of the model's own code, once trusted
    for kind, auto in _AUTO.items():
        if auto in brought:
            return kind
    raise CannotTellError(
        f"transformers has no text model for model_type {config.model_type!r}",
        fix="upgrade transformers, or pick a decoder, encoder-decoder or encoder text model",
        code="unknown_architecture",
    )


def check_folder(path: Path, *, allow_pickles: bool = False) -> None:
    """Refuse a model folder that cannot be loaded safely, before anything heavy is imported.

    Raises UsageError: no_config, broken_config, no_weights, pickle_weights, remote code is left to transformers' flag.
    """
    config = path / "config.json"
    if (path / "adapter_config.json").exists() and not config.exists():
        raise UsageError(
            f"{path} holds an adapter, not a base model",
            fix=f"give the base it was made for ({_base_of(path)}); probe and serve take both with --adapter",
            code="adapter_not_base",
        )
    if not config.exists():
        raise UsageError(f"{path} has no config.json", fix="give a model folder, or a Hub id", code="no_config")
    files.read_json(config, code="broken_config", fix="fetch the file again", allow_nan=True)
    if any(path.glob("*.safetensors")):
        return
    pickles = sorted([*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")])
    if pickles and allow_pickles:
        return
    if pickles:
        raise UsageError(
            f"{path} has its weights only as pickles ({pickles[0].name}), which can run code when loaded",
            fix="convert them to safetensors, or pass --allow-pickles if you trust their author",
            code="pickle_weights",
        )
    raise UsageError(f"{path} has no weights", fix="fetch the *.safetensors files too", code="no_weights")


def _base_of(adapter: Path) -> str:
    try:
        config = files.read_json(adapter / "adapter_config.json", code="broken_config", allow_nan=True)
        return str(config["base_model_name_or_path"])
    except (UsageError, KeyError, TypeError):
        return "see adapter_config.json"


def folder_of(model: str, options: LoadOptions) -> Path:
    """The folder that `model` names, or that its Hub repository is fetched into; checked to be safe to load.

    Raises UsageError as `check_folder` does, RemoteError where the Hub keeps the files.
    """
    if Path(model).is_dir():
        folder = Path(model)
    else:
        pickles = ("*.bin", "*.pt", "*.pth") if options.allow_pickles else ()
        code = ("*.py",) if options.trust_remote_code else ()
        folder = lookup.download(model, options.revision, offline=options.offline, also=(*pickles, *code))
        if not any(any(folder.glob(f"*.{suffix}")) for suffix in ("safetensors", "bin", "pt", "pth")):
            raise UsageError(
                f"{model} has no safetensors on the Hub, and pickles can run code when loaded",
                fix="pick a repository with safetensors, or pass --allow-pickles if you trust its author",
                code="pickle_weights",
            )
    check_folder(folder, allow_pickles=options.allow_pickles)
    return folder


def load_config(model: str, options: LoadOptions) -> Any:
    """The transformers config of a folder or Hub id; typed errors instead of what transformers raises."""
    from transformers import AutoConfig

    folder = folder_of(model, options)
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
    except (OSError, ValueError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"{model} brings its own Python code, which would run here",
                fix="read that code, then pass --trust-remote-code",
                code="remote_code",
            ) from None
        raise UsageError(
            f"{model} cannot be loaded: {first_line(error)}", fix="check the id or the folder", code="cannot_load"
        ) from None


def longest_known(config: Any, kind: Kind) -> int | None:
    """The most tokens that one sequence may have (`Architecture.longest`); None where the config states no bound."""
    # Without how its weights are held: once loaded, a quantized model's config has bitsandbytes' own enums there.
    held = {key: value for key, value in config.to_dict().items() if key != "quantization_config"}
    return longest_of(held, encoder=kind == "encoder")


def load_tokenizer(model: str, options: LoadOptions, kind: Kind) -> tuple["PreTrainedTokenizerBase", tuple[str, ...]]:
    """The tokenizer, with a pad token and (decoders) a chat template added where the model has none."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder_of(model, options), trust_remote_code=options.trust_remote_code
        )
    except ModelpickError:
        raise
    except Exception as error:  # tokenizers raises bare Exception for a broken file
        raise UsageError(
            f"{model} has no tokenizer that can be loaded: {first_line(error)}",
            fix="put tokenizer.json and tokenizer_config.json next to the weights",
            code="no_tokenizer",
        ) from None
    notes = []
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
        if tokenizer.pad_token is None:
            raise UsageError(
                f"{model}'s tokenizer has no pad, end or unknown token",
                fix="set pad_token in tokenizer_config.json",
                code="no_pad_token",
            )
        notes.append(f"the tokenizer has no pad token: {tokenizer.pad_token!r} pads, and is masked")
    if kind == "decoder" and not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
        notes.append("the tokenizer has no chat template: the plain Question/Answer template is used and saved")
    return tokenizer, tuple(notes)


def load(model: str, options: LoadOptions) -> Loaded:
    """Load a base model for training, quantized as the method says and asserted to be so.

    Raises UsageError for a folder that cannot be loaded, CannotTellError for an unknown architecture or for layers
    that stayed unquantized.
    """
    import torch
    import transformers

    config = load_config(model, options)
    kind = kind_of(config)
    tokenizer, notes = load_tokenizer(model, options, kind)
    arguments: dict[str, object] = {
        "trust_remote_code": options.trust_remote_code,
        "dtype": torch_dtype(options.dtype),
        "use_safetensors": None if options.allow_pickles else True,
    }
    if kind == "encoder" and options.labels:  # without them a tuned classifier keeps its own
        config.num_labels = len(options.labels)
        config.id2label = dict(enumerate(options.labels))
        config.label2id = {name: number for number, name in enumerate(options.labels)}
    arguments["attn_implementation"] = {"flash": "flash_attention_2"}.get(options.attention, options.attention)
    auto = getattr(transformers, _AUTO[kind])
    folder = folder_of(model, options)
    keep: tuple[str, ...] = ()
    bits = _BITS.get(options.method)
    if bits:
        keep = _kept_modules(auto, config, options, model)
        if torch.cuda.is_available():
            arguments["device_map"] = {"": 0}  # bitsandbytes quantizes on the GPU as it loads
        arguments["quantization_config"] = quantized.quantization_config(bits, keep, arguments["dtype"])
    with quantized.plain_linear_layers(config.model_type if bits else ""):
        loaded, fresh = _from_pretrained(auto, folder, config, arguments, kind)
        if bits and not set(fresh) <= set(keep):  # what is made at random has nothing to compress
            keep = (*keep, *fresh)
            arguments["quantization_config"] = quantized.quantization_config(bits, keep, arguments["dtype"])
            loaded, fresh = _from_pretrained(auto, folder, config, arguments, kind)
    layers = None
    if bits:
        layers = quantized.assert_quantized(loaded, keep, model)
        quantized.fix_in_place_adds(loaded, config.model_type)
    repeat_single_key(loaded)
    loaded.config.pad_token_id = tokenizer.pad_token_id
    loaded.name_or_path = loaded.config._name_or_path = (
        model  # what an adapter says it was made for: not a cache folder
    )
    return Loaded(loaded, tokenizer, kind, layers, notes, fresh)


def _from_pretrained(
    auto: Any, model: Path, config: Any, arguments: dict[str, object], kind: Kind
) -> tuple[Any, tuple[str, ...]]:
    """The model, and the modules its checkpoint has no (or other) weights for.

    transformers fills those at random. For an encoder that is its new task head; anywhere else it is a damaged folder.
    """
    from safetensors import SafetensorError

    try:
        loaded, loading_info = auto.from_pretrained(
            model, config=config, output_loading_info=True, ignore_mismatched_sizes=kind == "encoder", **arguments
        )
    except ValueError as error:
        # Some families (MPT) have no sdpa path; transformers says so and names eager.
        if "attn_implementation" in str(error) and arguments["attn_implementation"] != "eager":
            return _from_pretrained(auto, model, config, {**arguments, "attn_implementation": "eager"}, kind)
        raise UsageError(
            f"{model} cannot be loaded: {first_line(error)}", fix="see the message", code="cannot_load"
        ) from None
    except pickle.UnpicklingError:
        raise UsageError(
            f"{model} has a pickle that contains more than tensors and would run code: it is not loaded",
            fix="ask its author for safetensors",
            code="pickle_weights",
        ) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{model}'s weights cannot be loaded: {first_line(error)}",
            fix="fetch the safetensors files again; pickles need --allow-pickles",
            code="cannot_load",
        ) from None
    # A mismatch is reported as (name, shape there, shape here).
    absent = {
        *loading_info["missing_keys"],
        *(key if isinstance(key, str) else key[0] for key in loading_info["mismatched_keys"]),
    }
    if absent and kind != "encoder":
        raise UsageError(
            f"{model} has no weights for {len(absent)} tensors of its architecture ({min(absent)}, ...)",
            fix="fetch the safetensors files again, all of them",
            code="weights_missing",
        )
    return loaded, _modules_of(loaded, absent)


def _modules_of(model: Any, absent: set[str]) -> tuple[str, ...]:
    """The outermost modules all of whose parameters are `absent`."""
    found: list[str] = []
    for name, module in model.named_modules():
        own = {f"{name}.{parameter}" for parameter, _ in module.named_parameters()}
        if name and own and own <= absent and not any(name.startswith(f"{outer}.") for outer in found):
            found.append(name)
    return tuple(found)


def _kept_modules(auto: Any, config: Any, options: LoadOptions, label: str) -> tuple[str, ...]:
    """What stays in full precision, by the skeleton of a model whose weights are not loaded yet.

    Raises CannotTellError(code="not_quantizable") for a model whose weights are not in linear layers.
    """
    import torch

    with torch.device("meta"):
        skeleton = auto.from_config(config, trust_remote_code=options.trust_remote_code)
    keep = quantized.kept_by_intent(skeleton)
    quantized.refuse_unquantizable(skeleton, keep, label)
    return keep


def repeat_single_key(model: "nn.Module") -> int:
    """While the model trains, show its one head of keys and values to every query head; returns the layers changed.

    The result is the same. Generation is left alone: its cache would be as many times larger.
    """
    changed = 0
    for module in model.modules():
        attention: Any = module
        if type(module).__name__ == "FalconAttention" and attention.num_kv_heads == 1 < attention.num_heads:
            attention._split_heads = partial(_split_heads, attention, attention._split_heads)
            attention.register_forward_pre_hook(_count_heads)
            changed += 1
    return changed


def _count_heads(attention: Any, inputs: object) -> None:
    attention.num_kv_heads = attention.num_heads if attention.training else 1


def _split_heads(attention: Any, split: Any, fused: "torch.Tensor") -> tuple["torch.Tensor", ...]:
    query, key, value = split(fused)
    if attention.training:
        key, value = key.expand_as(query), value.expand_as(query)
    return query, key, value
