"""An exported folder as OpenVINO runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import Message
from bessemer.modeling.parity.compare import Array
from bessemer.modeling.parity.subjects import FolderText

__all__ = ["OpenVinoSubject"]


class OpenVinoSubject(FolderText):
    """The folder in OpenVINO: its converted tokenizer and template by OpenVINO GenAI, its graph with growing state."""

    def __init__(self, folder: Path, precision: str, *, threads: int = 1) -> None:
        super().__init__(folder)
        self.runtime = f"openvino {openvino.__version__.partition('-')[0]}"
        settings: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if precision == "fp32":  # where a processor has bf16, OpenVINO would take it unasked
            settings |= {"INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}
        try:
            self._reader = openvino_genai.Tokenizer(str(folder))
            self._request = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", settings)
        except RuntimeError as error:
            raise FailedPrecondition(f"OpenVINO does not load the model: {error}", reason="PARITY_FAILED") from None
        self._request = self._request.create_infer_request()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text and nothing around it."""
        return self._ids(text, around=False)

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text with what the tokenizer puts around texts."""
        return self._ids(text, around=True)

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        """Return the ids of a conversation.

        Raises: InvalidRequest if the template refuses it.
        """
        try:
            text = self._reader.apply_chat_template([dict(turn) for turn in messages], add_generation_prompt)
        except RuntimeError as error:
            raise InvalidRequest(f"the chat template refuses these messages: {error}", field="messages") from None
        return self._ids(text, around=False)

    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits after each token, [T, V]."""
        self._request.reset_state()
        return self._step(ids, 0)

    def generate(self, ids: Sequence[int], new_tokens: int) -> list[int]:
        """Return the greedy continuation, one step a token."""
        logits = self.logits(ids)
        written: list[int] = []
        while True:
            written.append(int(logits[-1].argmax()))
            if len(written) == new_tokens or written[-1] in self.tokenizer.eos_ids:
                return written
            logits = self._step(written[-1:], len(ids) + len(written) - 1)

    def _step(self, ids: Sequence[int], begin: int) -> Array:
        end = begin + len(ids)
        feeds = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, end), np.int64),
            "position_ids": np.arange(begin, end, dtype=np.int64)[None],
            "beam_idx": np.zeros(1, np.int32),
        }
        return np.array(self._request.infer(feeds)["logits"][0])

    def _ids(self, text: str, *, around: bool) -> list[int]:
        if not text:
            return []
        return [int(i) for i in self._reader.encode(text, add_special_tokens=around).input_ids.data[0]]
