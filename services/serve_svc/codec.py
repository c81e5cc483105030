"""Messages of the API to what an engine understands, and back."""

from __future__ import annotations

import json

from bessemer.api.serve.v1 import deployment_pb2
from bessemer.api.serve.v1 import inference_service_pb2 as api
from bessemer.kernel.errors import InvalidRequest

from serve_svc.engine.protocol import Prompt, Sampling, Turn

__all__ = ["finish_reason", "precision_name", "prompt_json", "to_precision", "to_prompt", "to_sampling"]

PROMPT_BYTES_MAX = 3 << 20  # the transport takes messages of 4 MiB; no context of today is as long
STOP_LENGTH_MAX = 256
_FINISH = {"stop": api.FINISH_REASON_STOP, "length": api.FINISH_REASON_LENGTH, "": api.FINISH_REASON_UNSPECIFIED}


def precision_name(precision: deployment_pb2.Precision) -> str:
    """Return a number format as engines call it; empty if that is left to them."""
    name = deployment_pb2.Precision.Name(precision).removeprefix("PRECISION_")
    return "" if name == "UNSPECIFIED" else name.lower()


def to_precision(name: str) -> deployment_pb2.Precision:
    """Return the number format that an engine calls so."""
    return {
        "fp32": deployment_pb2.PRECISION_FP32,
        "bf16": deployment_pb2.PRECISION_BF16,
        "int8": deployment_pb2.PRECISION_INT8,
    }[name]


def to_prompt(message: api.Prompt) -> Prompt:
    """Read a prompt.

    Raises: InvalidRequest if it is empty, has both forms, or is too large.
    """
    if bool(message.messages) == bool(message.text):
        raise InvalidRequest("prompt must hold either messages or text", field="prompt")
    size = message.ByteSize()
    if size > PROMPT_BYTES_MAX:
        raise InvalidRequest(f"prompt may have at most {PROMPT_BYTES_MAX} bytes; got {size}", field="prompt")
    return Prompt(tuple(Turn(turn.role, turn.content) for turn in message.messages), message.text)


def to_sampling(message: api.SamplingParams) -> Sampling:
    """Read sampling parameters whose ranges the field rules have checked; unset ones get their defaults.

    Raises: InvalidRequest for an empty stop string.
    """
    if not all(message.stop):
        raise InvalidRequest("sampling.stop must not hold empty strings", field="sampling.stop")
    return Sampling(
        max_tokens=message.max_tokens if message.HasField("max_tokens") else None,
        temperature=message.temperature if message.HasField("temperature") else 0.7,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        top_k=message.top_k,
        seed=message.seed if message.HasField("seed") else None,
        stop=tuple(message.stop),
    )


def finish_reason(finish: str) -> api.FinishReason:
    """Return why an answer ended."""
    return _FINISH[finish]


def prompt_json(prompt: Prompt) -> str:
    """Return a prompt as feedback records keep it; plain text counts as a user's turn."""
    turns = prompt.turns or (Turn("user", prompt.text),)
    return json.dumps([{"role": turn.role, "content": turn.content} for turn in turns], ensure_ascii=False)
