"""What the server and an engine say to each other: one JSON object a line over a socket pair.

Server to engine: Load (first), Generate, Count, Abort, Ping. Engine to server: Ready, Piece, Counted, Pong, Failed.
Standard library only, because the server imports it too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bessemer.kernel.errors import BessemerError, error_class

__all__ = [
    "LINE_BYTES_MAX",
    "Abort",
    "Count",
    "Counted",
    "Failed",
    "Generate",
    "Load",
    "Message",
    "Piece",
    "Ping",
    "Pong",
    "Prompt",
    "Ready",
    "Sampling",
    "Turn",
    "decode",
    "encode",
    "failure",
]

LINE_BYTES_MAX = 32 << 20  # a 4 MiB prompt grows at most sixfold when JSON escapes it


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation or, without turns, plain text to continue."""

    turns: tuple[Turn, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens, validated; `max_tokens` None means what fits, at most the default."""

    max_tokens: int | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Loads the model; the limits hold for the life of the engine."""

    folder: str
    threads: int
    num_slots: int
    num_waiting_max: int
    kv_bytes_max: int
    prefill_tokens_max: int


@dataclass(frozen=True, slots=True)
class Generate:
    """Asks for an answer, which comes as Pieces with the same id."""

    id: str
    prompt: Prompt
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Count:
    """Asks for the number of tokens of a prompt."""

    id: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Abort:
    """Frees the slot of a request; unknown ids are ignored, because the answer may have ended meanwhile."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the loop still turns."""

    id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    context_length: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What became certain since the last piece; `finish` is `stop` or `length` in the last one."""

    id: str
    text: str
    token_ids: tuple[int, ...]
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """Number of tokens of a prompt."""

    id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The loop turns."""

    id: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A request failed, or the load when `id` is empty."""

    id: str
    code: str
    reason: str
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)

    def error(self) -> BessemerError:
        """Return the error to raise on the other side."""
        return error_class(self.code)(self.message, reason=self.reason, **self.fields)


Message = Load | Generate | Count | Abort | Ping | Ready | Piece | Counted | Pong | Failed
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Load, Generate, Count, Abort, Ping, Ready, Piece, Counted, Pong, Failed)
}


def failure(request_id: str, error: BessemerError) -> Failed:
    """Return the message that carries an error."""
    return Failed(request_id, error.code, error.reason, error.message, error.fields)


def encode(message: Message) -> bytes:
    """Return one line."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line; both ends are ours, so a malformed one is a defect and raises."""
    values = json.loads(line)
    kind = _KINDS[values.pop("kind")]
    if "prompt" in values:
        prompt = values["prompt"]
        values["prompt"] = Prompt(tuple(Turn(**turn) for turn in prompt["turns"]), prompt["text"])
    if "sampling" in values:
        sampling = values["sampling"]
        values["sampling"] = Sampling(**{**sampling, "stop": tuple(sampling["stop"])})
    if "token_ids" in values:
        values["token_ids"] = tuple(values["token_ids"])
    message: Message = kind(**values)
    return message
