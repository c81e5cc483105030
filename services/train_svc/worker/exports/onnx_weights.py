"""The weights of a written ONNX file, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from bessemer.modeling.load import load_decoder
from onnx import numpy_helper

from train_svc.worker.exports.onnx_file import BLOCK, dequantised
from train_svc.worker.exports.weights import weight_error

__all__ = ["weight_errors"]

Array = npt.NDArray[np.float32]


def weight_errors(folder: Path, path: Path, precision: str) -> dict[str, float]:
    """Return the error of each parameter; infinite for one that is not there."""
    stored = {each.name: each for each in onnx.load(path, load_external_data=False).graph.initializer}
    errors = {}
    for name, parameter in load_decoder(folder).named_parameters():
        was = parameter.detach().numpy()
        now = _weight(stored, path.parent, name.removesuffix(".weight").replace("untied_head", "head"), was.shape)
        errors[name] = float("inf") if now is None else weight_error(was, now, precision, BLOCK)
    return errors


def _weight(stored: dict[str, onnx.TensorProto], home: Path, name: str, shape: tuple[int, ...]) -> Array | None:
    if name.endswith(".bias"):
        return _array(stored[name], home) if name in stored else None
    if f"{name}.weight" in stored:
        values = _array(stored[f"{name}.weight"], home)
        return values if values.shape == shape and not _is_transposed(name) else values.T
    if f"{name}.q" not in stored:
        return None
    integers, scales = (_array(stored[f"{name}.{part}"], home) for part in ("q", "scale"))
    return dequantised(integers, scales, 8 * integers.shape[-1] // BLOCK, shape[-1])


def _is_transposed(name: str) -> bool:
    return name != "embedding" and not name.endswith("norm")


def _array(tensor: onnx.TensorProto, home: Path) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = numpy_helper.to_array(tensor, str(home))
    return values
