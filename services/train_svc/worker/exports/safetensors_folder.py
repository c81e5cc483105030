"""A model folder as everybody loads it, in the number format that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from bessemer.modeling.load import REWARD_HEAD, hf_tensors, load_model, read_json
from safetensors.torch import save_file

from train_svc.worker.exports.weights import weight_error
from train_svc.worker.model_folder import TOKENIZER_FILES

__all__ = ["DTYPES", "weight_errors", "write_folder"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def write_folder(folder: Path, target: Path, precision: str) -> Path:
    """Write configuration, weights and tokenizer into `target`; vectors are rounded like the rest."""
    dtype = DTYPES[precision]
    tensors = {name: tensor.to(dtype) for name, tensor in hf_tensors(load_model(folder)).items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = {**read_json(folder / "config.json"), "dtype": str(dtype).removeprefix("torch.")}
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in (*TOKENIZER_FILES, REWARD_HEAD):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    return target


def weight_errors(folder: Path, target: Path, precision: str) -> dict[str, float]:
    """Return the error of each tensor."""
    was, now = (hf_tensors(load_model(each)) for each in (folder, target))
    return {name: weight_error(was[name].numpy(), now[name].numpy(), precision) for name in was}
