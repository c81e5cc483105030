"""Models from and to folders in Hugging Face layout: `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.language_model import LanguageModel, read_config
from bessemer.modeling.transformer import Transformer, inverse_frequencies
from bessemer.modeling.transformers_config import TransformersConfig
from bessemer.modeling.transformers_model import TransformersModel

__all__ = ["REWARD_HEAD", "hf_tensors", "load_decoder", "load_model", "read_json", "read_tensors", "save_model"]


# Weights of a reward model's head, beside those of its decoder.
REWARD_HEAD = "reward_head.safetensors"


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """Read a model.

    Raises: InvalidRequest if the configuration is not supported or tensors are missing, extra or of another shape.
    """
    config = read_config(read_json(folder / "config.json"))
    if isinstance(config, TransformersConfig):
        return TransformersModel.load(folder, config, dtype)
    return _load_own(folder, config, dtype)


def load_decoder(folder: Path) -> Transformer:
    """Read a model that our own decoder computes, in fp32.

    Raises: FailedPrecondition for other architectures; InvalidRequest as `load_model`.
    """
    config = read_config(read_json(folder / "config.json"))
    if isinstance(config, TransformersConfig):
        raise FailedPrecondition(
            f"models of type {config.model_type} run by transformers only; export them to safetensors",
            reason="FIELD_INVALID",
            field="export.format",
        )
    return _load_own(folder, config, torch.float32)


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return the weights of a model folder by the names in its files.

    Raises: InvalidRequest if a file is damaged.
    """
    files = sorted(file for file in folder.glob("*.safetensors") if file.name != REWARD_HEAD)
    return {name: tensor for file in files for name, tensor in _tensors(file)}


def _load_own(folder: Path, config: ModelConfig, dtype: torch.dtype) -> Transformer:
    with torch.device("meta"):
        model = Transformer(config)
    state = {name: torch.empty(p.shape, dtype=dtype) for name, p in model.named_parameters()}
    slots = {slot.name: slot for slot in model.slots()}
    files = sorted(file for file in folder.glob("*.safetensors") if file.name != REWARD_HEAD)
    if not files:
        raise _invalid(f"{folder.name} holds no .safetensors file", folder / "model.safetensors")
    for file in files:
        for name, tensor in _tensors(file):
            if name == "lm_head.weight" and config.tie_embeddings:
                continue  # some exporters write the tied head twice
            if name.endswith("rotary_emb.inv_freq"):
                continue
            slot = slots.pop(name, None)
            if slot is None:
                raise _invalid(f"tensor {name} does not belong to a {config.model_type} model, or comes twice", file)
            target = state[slot.parameter][slot.start : slot.end]
            if tensor.shape != target.shape or not tensor.is_floating_point():
                want = f"floating point {tuple(target.shape)}"
                raise _invalid(f"tensor {name} is {tensor.dtype} {tuple(tensor.shape)}, config.json says {want}", file)
            target.copy_(tensor)
    if slots:
        raise _invalid(f"{len(slots)} tensors are missing, such as {next(iter(slots))}", files[0])
    model.load_state_dict(state, assign=True)
    model.inverse_frequencies = inverse_frequencies(config)  # was made on the meta device
    return model.eval()


def save_model(model: LanguageModel, folder: Path, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write what transformers loads, weights in fp32; `weights` by parameter name replace those of our own decoder."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, TransformersModel):
        model.save(folder)
    else:
        save_file(hf_tensors(model, weights), folder / "model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = {**model.config.raw, "dtype": "float32"}
    config.pop("torch_dtype", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def hf_tensors(model: Transformer, weights: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the weights under their Hugging Face names, in fp32."""
    own = dict(model.named_parameters()) if weights is None else weights
    return {s.name: own[s.parameter].detach()[s.start : s.end].float().contiguous() for s in model.slots()}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises: InvalidRequest if the file is missing or not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _invalid(f"{path.name} is missing from the model folder", path) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise _invalid(f"{path.name} is not valid JSON: {error}", path) from None
    if not isinstance(value, dict):
        raise _invalid(f"{path.name} must hold a JSON object; got {type(value).__name__}", path)
    return value


def _tensors(file: Path) -> Any:
    try:
        with safetensors.safe_open(file, framework="pt") as reader:
            for name in reader.keys():  # noqa: SIM118 - not a mapping
                yield name, reader.get_tensor(name)
    except safetensors.SafetensorError as error:
        raise _invalid(f"{file.name} is not a valid safetensors file: {error}", file) from None


def _invalid(message: str, file: Path) -> InvalidRequest:
    return InvalidRequest(message, reason="SOURCE_INVALID", file=file.name)
