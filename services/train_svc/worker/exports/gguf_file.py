"""A model folder as one GGUF file for llama.cpp: weights, tokenizer, chat template and special tokens.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.load import hf_tensors, load_decoder
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformer import inverse_frequencies
from gguf import GGMLQuantizationType as Kind
from gguf import LlamaFileType as FileType

from train_svc.worker.exports.weights import weight_error
from train_svc.worker.gguf_folder import GLOBAL_NAMES, LAYER_NAMES, QWEN_WORDS

__all__ = ["PRECISIONS", "weight_errors", "write_gguf"]

_ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "olmoe": "olmoe",
}
# Number format to the type of large matrices and the type that the whole file is said to have.
PRECISIONS = {
    "fp32": (Kind.F32, FileType.ALL_F32),
    "fp16": (Kind.F16, FileType.MOSTLY_F16),
    "bf16": (Kind.BF16, FileType.MOSTLY_BF16),
    "int8": (Kind.Q8_0, FileType.MOSTLY_Q8_0),
    "int4": (Kind.Q4_0, FileType.MOSTLY_Q4_0),
}
_GLOBALS = {theirs: ours for ours, theirs in GLOBAL_NAMES.items()}
_LAYERS = {theirs: ours for ours, theirs in LAYER_NAMES.items()} | {
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp",
}
_EXPERT = re.compile(r"model\.layers\.(\d+)\.(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.weight")
_EXPERT_PARTS = {"w1": "gate", "w3": "up", "w2": "down", "gate_proj": "gate", "up_proj": "up", "down_proj": "down"}
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{"
    r"1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLOCK = 32  # weights that share a scale
_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5
Array = npt.NDArray[np.float32]


def write_gguf(folder: Path, target: Path, precision: str, facts: Mapping[str, str]) -> Path:
    """Write `target`; vectors and routers stay fp32, and rows that do not divide into blocks of 32 fp16.

    With int4 the vocabulary is int8: a wrong digit there costs every token.
    Raises: FailedPrecondition for architectures and tokenizers that llama.cpp does not have.
    """
    model, tokenizer = load_decoder(folder), Tokenizer.from_folder(folder)
    config = model.config
    architecture = _architecture(config)
    writer = gguf.GGUFWriter(target, architecture)
    for name, value in facts.items():
        writer.add_string(f"general.{name}", value)
    _add_shape(writer, config)
    _add_tokenizer(writer, tokenizer, config)
    kind, file_type = PRECISIONS[precision]
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, values in _tensors(config, {k: t.numpy() for k, t in hf_tensors(model).items()}):
        chosen = _kind_of(name, values, kind)
        writer.add_tensor(name, gguf.quants.quantize(values, chosen), raw_dtype=chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def weight_errors(folder: Path, path: Path, precision: str) -> dict[str, float]:
    """Return the error of each tensor of the file, read back and dequantised."""
    model = load_decoder(folder)
    wanted = dict(_tensors(model.config, {k: t.numpy() for k, t in hf_tensors(model).items()}))
    found = {each.name: each for each in gguf.GGUFReader(path).tensors}
    errors = {name: float("inf") for name in wanted.keys() ^ found.keys()}
    for name in wanted.keys() & found.keys():
        stored = gguf.quants.dequantize(found[name].data, found[name].tensor_type).reshape(wanted[name].shape)
        errors[name] = weight_error(wanted[name], stored, precision, _BLOCK)
    return errors


def _architecture(config: ModelConfig) -> str:
    experts = config.experts
    if config.model_type == "qwen3_moe" and experts is not None:
        everywhere = len(experts.layers) == config.num_layers
        if not (experts.normalises and everywhere):
            raise _refused("llama.cpp has qwen3_moe only with experts in every layer and norm_topk_prob")
    if config.model_type == "olmoe" and experts is not None:
        alike = config.num_heads == config.num_kv_heads
        if experts.normalises or not alike:
            raise _refused("llama.cpp has olmoe only without norm_topk_prob, and with a key head for every query head")
    if config.model_type not in _ARCHITECTURES:
        raise _refused(f"llama.cpp reads {', '.join(_ARCHITECTURES)}; this is a {config.model_type} model")
    return _ARCHITECTURES[config.model_type]


def _add_shape(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if config.experts is not None:
        writer.add_expert_count(config.experts.num_experts)
        writer.add_expert_used_count(config.experts.num_chosen)
        writer.add_expert_feed_forward_length(config.experts.intermediate_size)


def _tensors(config: ModelConfig, weights: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    """Yield the tensors under llama.cpp's names and in its order of rows; experts of a layer are stacked."""
    experts: dict[str, list[Array]] = {}
    for name, values in weights.items():
        found = _EXPERT.fullmatch(name)
        if found:
            layer, _, part = found.groups()
            experts.setdefault(f"blk.{layer}.ffn_{_EXPERT_PARTS[part]}_exps.weight", []).append(values)
        elif name in _GLOBALS:
            yield _GLOBALS[name], values
        else:
            _, _, layer, *inner, kind = name.split(".")
            part = _LAYERS[".".join(inner)]
            if _ARCHITECTURES[config.model_type] == "llama" and part in ("attn_q", "attn_k"):
                values = _join_pairs(values, config.num_heads if part == "attn_q" else config.num_kv_heads)  # noqa: PLW2901
            yield f"blk.{layer}.{part}.{kind}", values
    for name, parts in experts.items():
        yield name, np.stack(parts)
    if config.model_type == "olmoe" and config.tie_embeddings:
        yield "output.weight", weights["model.embed_tokens.weight"]  # llama.cpp does not tie this one
    if config.rope_scaling is not None:
        exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim
        plain = 1.0 / np.float32(config.rope_theta) ** exponents
        yield "rope_freqs.weight", (plain / inverse_frequencies(config).numpy()).astype(np.float32)


def _join_pairs(values: Array, heads: int) -> Array:
    # llama.cpp wants the two numbers that rotate together side by side; Hugging Face has them half a head apart.
    return values.reshape(heads, 2, -1, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _kind_of(name: str, values: Array, kind: Kind) -> Kind:
    if values.ndim == 1 or name.endswith("ffn_gate_inp.weight"):
        return Kind.F32
    if kind in (Kind.Q8_0, Kind.Q4_0) and values.shape[-1] % _BLOCK:
        return Kind.F16
    return Kind.Q8_0 if kind is Kind.Q4_0 and name in ("token_embd.weight", "output.weight") else kind


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, config: ModelConfig) -> None:
    file = json.loads(tokenizer.backend.to_str())
    if file["model"]["type"] != "BPE":
        raise _refused(f"only byte-level BPE tokenizers go into GGUF; this one is {file['model']['type']}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(file.get("pre_tokenizer")))
    added = tokenizer.backend.get_added_tokens_decoder()
    tokens, types = [], []
    for i in range(config.vocab_size):
        token = tokenizer.backend.id_to_token(i)
        tokens.append(f"[unused {i}]" if token is None else token)
        special = _CONTROL if i in added and added[i].special else _USER_DEFINED if i in added else _NORMAL
        types.append(_UNUSED if token is None else special)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = file["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    # llama.cpp puts begin tokens before conversations too, where the template has them already if it wants them.
    writer.add_add_bos_token(tokenizer.template is None and tokenizer.encode("", special=True) != [])
    writer.add_add_eos_token(False)
    ends = _ends(tokenizer, config)
    for add, i in zip((writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id), ends, strict=False):
        add(i)
    if tokenizer.begin_id is not None:
        writer.add_bos_token_id(tokenizer.begin_id)
    if tokenizer.template is not None:
        writer.add_chat_template(tokenizer.template.source)


def _ends(tokenizer: Tokenizer, config: ModelConfig) -> list[int]:
    """Return the ids that end a turn, the one that config.json names first in front."""
    ends = sorted(tokenizer.eos_ids, key=lambda i: (i not in config.eos_ids, i))
    if len(ends) > 3:
        raise _refused(f"GGUF has room for three tokens that end a turn; the model has {len(ends)}")
    return ends


def _pre_tokenizer(given: Any) -> str:
    """Return llama.cpp's name for how text is cut before merges.

    Raises: FailedPrecondition if it has none.
    """
    parts = given.get("pretokenizers", [given]) if isinstance(given, dict) else []
    last = parts[-1] if parts else {}
    if last.get("type") == "ByteLevel" and not last.get("add_prefix_space"):
        words = [_rule(part) for part in parts[:-1]]
        name = _PRE_TOKENIZERS.get((*words, last.get("use_regex", True)))
        if name is not None:
            return name
    raise _refused("llama.cpp has no name for this tokenizer's way of cutting text; export to onnx or openvino")


def _rule(part: Mapping[str, Any]) -> str:
    if part.get("type") == "Digits" and part.get("individual_digits"):
        return "digits"
    isolates = part.get("behavior") == "Isolated" and not part.get("invert")
    return str(part.get("pattern", {}).get("Regex", "")) if part.get("type") == "Split" and isolates else ""


_PRE_TOKENIZERS = {
    (True,): "gpt-2",
    ("digits", True): "smollm",
    (QWEN_WORDS, False): "qwen2",
    (_LLAMA3_WORDS, False): "llama-bpe",
}


def _refused(message: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="FIELD_INVALID", field="export.format")
