"""A model of a given shape with weights drawn at random, to pre-train."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from bessemer.api.train.v1.training_job_pb2 import PretrainMethod
from bessemer.modeling.config import ModelConfig
from bessemer.modeling.load import read_json, save_model
from bessemer.modeling.transformer import Transformer

from train_svc.worker.model_folder import TOKENIZER_FILES

__all__ = ["draw_model"]

_STD = 0.02
_KEYS = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
}
# Maps back into the residual stream, which sums two of them per layer.
_RESIDUAL = ("output.weight", "down.weight")


def draw_model(base: Path, shape: PretrainMethod, folder: Path, *, seed: int) -> Path:
    """Write a model folder with the tokenizer of `base`, its shape but for what `shape` says, and new weights.

    Weights are normal with standard deviation 0.02, those that write into the residual stream divided by
    sqrt(2 * layers) (Radford et al. 2019, section 2.3); norms are one, biases zero.
    Raises: InvalidRequest if widths and heads do not fit together.
    """
    raw = read_json(base / "config.json")
    changed = {key: getattr(shape, name) for name, key in _KEYS.items() if shape.HasField(name)}
    if {"hidden_size", "num_attention_heads"} & set(changed):
        raw.pop("head_dim", None)
    model = Transformer(ModelConfig.from_json({**raw, **changed}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1:
                scale = 1 / math.sqrt(2 * model.config.num_layers) if name.endswith(_RESIDUAL) else 1.0
                parameter.normal_(std=_STD * scale, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
    save_model(model, folder)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return folder
