"""A model folder as everybody loads it, in the number format that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from bessemer.modeling.load import REWARD_HEAD, read_json, read_tensors
from safetensors.torch import save_file

from train_svc.worker.exports.weights import weight_error
from train_svc.worker.model_folder import TOKENIZER_FILES

__all__ = ["DTYPES", "weight_errors", "write_folder"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def write_folder(folder: Path, target: Path, precision: str) -> Path:
    """Write configuration, weights and tokenizer into `target`; vectors are rounded like the rest."""
    dtype = DTYPES[precision]
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in read_tensors(folder).items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    config = {**read_json(folder / "config.json"), "dtype": str(dtype).removeprefix("torch.")}
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in (*TOKENIZER_FILES, REWARD_HEAD):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, target / name)
    return target


def weight_errors(folder: Path, target: Path, precision: str) -> dict[str, float]:
    """Return the error of each tensor."""
    was, now = (read_tensors(each) for each in (folder, target))
    missing = {name: float("inf") for name in was.keys() ^ now.keys()}
    both = was.keys() & now.keys()
    return missing | {n: weight_error(was[n].float().numpy(), now[n].float().numpy(), precision) for n in both}
