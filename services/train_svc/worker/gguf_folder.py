"""A GGUF file turned into a model folder: weights dequantised to fp32, tokenizer rebuilt.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import tokenizers
import torch
from bessemer.kernel.errors import InvalidRequest
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from torch import Tensor

__all__ = ["GLOBAL_NAMES", "LAYER_NAMES", "QWEN_WORDS", "expand_gguf"]

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
GLOBAL_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTROL, _USER_DEFINED = 3, 4


def expand_gguf(path: Path, folder: Path) -> Path:
    """Write `config.json`, `model.safetensors` and the tokenizer's files into `folder`.

    Raises: InvalidRequest for damaged files and for architectures or tokenizers that are not supported.
    """
    try:
        reader = gguf.GGUFReader(path)
        facts = {name: field.contents() for name, field in reader.fields.items()}
    except Exception as error:  # noqa: BLE001 - the reader raises whatever its parsing runs into
        raise _invalid(f"{path.name} is not a readable GGUF file: {error}") from None
    architecture = facts.get("general.architecture")
    if architecture not in _ARCHITECTURES:
        raise _invalid(f"GGUF architecture must be llama or qwen2; got {architecture!r}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        config = _config(facts, {tensor.name for tensor in reader.tensors})
        _write(folder / "config.json", config)
        _write_tokenizer(facts, folder)
    except KeyError as error:
        raise _invalid(f"{path.name} lacks the entry {error}") from None
    tensors = dict(_tensor(tensor, config) for tensor in reader.tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(facts: Mapping[str, Any], tensors: set[str]) -> dict[str, Any]:
    kind = facts["general.architecture"]
    heads, width = facts[f"{kind}.attention.head_count"], facts[f"{kind}.embedding_length"]
    return {
        "architectures": [_ARCHITECTURES[kind]],
        "model_type": kind,
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": facts[f"{kind}.feed_forward_length"],
        "num_hidden_layers": facts[f"{kind}.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts.get(f"{kind}.attention.head_count_kv", heads),
        "head_dim": facts.get(f"{kind}.attention.key_length", width // heads),
        "max_position_embeddings": facts[f"{kind}.context_length"],
        # Stored as fp32; the nearest short decimal is what was meant.
        "rms_norm_eps": float(f"{facts[f'{kind}.attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": float(f"{facts.get(f'{kind}.rope.freq_base', 10_000.0):.6g}"),
        "tie_word_embeddings": "output.weight" not in tensors,
        "hidden_act": "silu",
        "dtype": "float32",
        **{f"{name}_token_id": i for name, i in _special_ids(facts).items() if name != "unk"},
    }


def _tensor(tensor: Any, config: Mapping[str, Any]) -> tuple[str, Tensor]:
    name = GLOBAL_NAMES.get(tensor.name)
    parts = tensor.name.split(".")
    if name is None and len(parts) == 4 and parts[0] == "blk" and parts[2] in LAYER_NAMES:
        name = f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.{parts[3]}"
    if name is None:
        raise _invalid(f"GGUF tensor {tensor.name} is not part of a plain {config['model_type']} model")
    try:
        values = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    except (NotImplementedError, ValueError) as error:
        raise _invalid(f"GGUF tensor {tensor.name} cannot be dequantised: {error}") from None
    if config["model_type"] == "llama" and parts[2:3] in (["attn_q"], ["attn_k"]):
        key = "num_attention_heads" if parts[2] == "attn_q" else "num_key_value_heads"
        values = _split_pairs(values, config[key])
    return name, torch.from_numpy(values.copy())


def _split_pairs(values: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    # llama.cpp stores the two numbers that rotate together side by side, Hugging Face half a head apart.
    if values.shape[0] % (2 * heads):
        raise _invalid(f"a GGUF query or key matrix has {values.shape[0]} rows, which {heads} heads cannot share")
    return values.reshape(heads, -1, 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def _write_tokenizer(facts: Mapping[str, Any], folder: Path) -> None:
    tokens, kind = facts["tokenizer.ggml.tokens"], facts.get("tokenizer.ggml.pre", "default")
    if facts["tokenizer.ggml.model"] != "gpt2":
        raise _invalid(f"GGUF tokenizer must be byte-level BPE (gpt2); got {facts['tokenizer.ggml.model']!r}")
    merges = [tuple(merge.split(" ", 1)) for merge in facts["tokenizer.ggml.merges"]]
    backend = tokenizers.Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if kind in {"gpt-2", "gpt2", "default"}:
        backend.pre_tokenizer = whole
    elif kind == "smollm":
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
    elif kind == "qwen2":
        backend.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated")
        rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, rest])
    else:
        raise _invalid(f"GGUF pre-tokenizer must be smollm, gpt-2 or qwen2; got {kind!r}; upload safetensors instead")
    backend.decoder = decoders.ByteLevel()
    types = facts.get("tokenizer.ggml.token_type", [])
    for token, type_ in zip(tokens, types, strict=False):
        if type_ in {_CONTROL, _USER_DEFINED}:
            backend.add_tokens([AddedToken(token, special=type_ == _CONTROL, normalized=False)])
    backend.save(str(folder / "tokenizer.json"))
    ids = _special_ids(facts)
    settings: dict[str, Any] = {f"{name}_token": tokens[i] for name, i in ids.items()}
    if "tokenizer.chat_template" in facts:
        settings["chat_template"] = facts["tokenizer.chat_template"]
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    _write(folder / "tokenizer_config.json", settings)
    _write(folder / "generation_config.json", {f"{n}_token_id": i for n, i in ids.items() if n != "unk"})


def _special_ids(facts: Mapping[str, Any]) -> dict[str, int]:
    keys = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}
    found = {name: facts.get(f"tokenizer.ggml.{key}_token_id") for name, key in keys.items()}
    return {name: i for name, i in found.items() if i is not None}


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID")
