"""A model of a given shape with weights drawn at random, to pre-train."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

from bessemer.api.train.v1.training_job_pb2 import PretrainMethod
from bessemer.modeling.initialise import SPREAD, initialise
from bessemer.modeling.language_model import read_config
from bessemer.modeling.load import read_json, save_model

from train_svc.worker.model_folder import TOKENIZER_FILES

__all__ = ["draw_model"]

_KEYS = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
}


def draw_model(base: Path, shape: PretrainMethod, folder: Path, *, seed: int) -> Path:
    """Write a model folder with the tokenizer of `base`, its shape but for what `shape` says, and new weights.

    Weights are drawn by `bessemer.modeling.initialise`. Their variance goes with one over the width, since a narrow
    model with the spread of a wide one learns little more in a hundred steps than how frequent tokens are.
    Source: Yang et al. 2022 (muP), table 8.
    Raises: InvalidRequest if widths and heads do not fit together.
    """
    raw = read_json(base / "config.json")
    text = raw.setdefault("text_config", {}) if "text_config" in raw else raw
    changed = {key: getattr(shape, name) for name, key in _KEYS.items() if shape.HasField(name)}
    if {"hidden_size", "num_attention_heads"} & set(changed):
        text.pop("head_dim", None)
    if "hidden_size" in changed and "hidden_size" in text:
        spread = float(text.get("initializer_range", SPREAD))
        text["initializer_range"] = spread * math.sqrt(text["hidden_size"] / changed["hidden_size"])
    text.update(changed)
    save_model(initialise(read_config(raw), seed), folder)
    for name in TOKENIZER_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return folder
