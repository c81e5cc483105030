"""An ONNX decoder as ONNX Runtime runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from bessemer.kernel.errors import FailedPrecondition
from bessemer.modeling.parity.compare import Array
from bessemer.modeling.parity.subjects import FolderText

__all__ = ["OnnxSubject"]


class OnnxSubject(FolderText):
    """The folder's tokenizer with `model.onnx` in ONNX Runtime."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        super().__init__(folder)
        self.runtime = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        try:
            self._session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - it has a class of its own for each of its error codes
            raise FailedPrecondition(f"ONNX Runtime does not load the model: {error}", reason="PARITY_FAILED") from None
        shapes = {each.name: each.shape for each in self._session.get_inputs()}
        self._empty = {
            name: np.zeros((1, shape[1], 0, shape[3]), np.float32)
            for name, shape in shapes.items()
            if name.startswith("past_key_values.")
        }

    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits after each token, [T, V]."""
        return self._step(ids, self._empty, 0)[0]

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Return the greedy continuation, one cached step a token."""
        logits, cache = self._step(ids, self._empty, 0)
        written: list[int] = []
        while True:
            written.append(int(logits[-1].argmax()))
            if len(written) == new_tokens or written[-1] in self.tokenizer.eos_ids:
                return written
            logits, cache = self._step(written[-1:], cache, len(ids) + len(written) - 1)

    def _step(self, ids: Sequence[int], cache: dict[str, Array], begin: int) -> tuple[Array, dict[str, Array]]:
        end = begin + len(ids)
        feeds = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(begin, end, dtype=np.int64)[None],
            **cache,
        }
        names = [each.name for each in self._session.get_outputs()]
        values = dict(zip(names, self._session.run(names, feeds), strict=True))
        logits = values.pop("logits")[0]
        return logits, {name.replace("present.", "past_key_values."): value for name, value in values.items()}
