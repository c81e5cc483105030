"""What the server and an engine say to each other: one JSON object a line over a socket pair.

Server to engine: Load (first), Generate, Count, Tokenize, Detokenize, Score, Embed, LoadAdapter, UnloadAdapter, Abort,
Ping. Engine to server: Ready, Piece, Counted, Tokenized, Detokenized, Scored, Embedded, AdapterChanged, Pong, Failed.
Standard library only, because the server imports it too.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from bessemer.kernel.errors import BessemerError, error_class

from serve_svc.engine.revive import revive

__all__ = [
    "LINE_BYTES_MAX",
    "Abort",
    "AdapterChanged",
    "Alternative",
    "Constraint",
    "Count",
    "Counted",
    "Detokenize",
    "Detokenized",
    "Embed",
    "Embedded",
    "Failed",
    "Generate",
    "Load",
    "LoadAdapter",
    "Message",
    "Piece",
    "Ping",
    "Pong",
    "Prompt",
    "Ready",
    "Sampling",
    "Score",
    "Scored",
    "TokenLogprob",
    "Tokenize",
    "Tokenized",
    "Tool",
    "ToolCall",
    "Turn",
    "UnloadAdapter",
    "decode",
    "encode",
    "failure",
]

LINE_BYTES_MAX = 32 << 20  # a 4 MiB prompt grows at most sixfold when JSON escapes it


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the assistant made; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the assistant may call; `parameters` is the text of a JSON schema."""

    name: str
    description: str = ""
    parameters: str = "{}"


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation; a turn of role `tool` answers the call `tool_call_id`."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation or, without turns, plain text to continue; `tools` may be called in the answer."""

    turns: tuple[Turn, ...] = ()
    text: str = ""
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the answer must be, whatever the model would rather say.

    `kind` and `value`: `json_schema` and the schema's text; `json_object` and nothing; `regex` and the expression;
    `grammar` and Lark text; `choices` and a JSON list of texts; `tool_calls` and JSON such as
    `{"names": ["weather"], "parallel": true, "optional": false}`: one of these tools of the prompt must be called, or
    several; if optional, text may stand before or instead, but what is called fits its schema.
    """

    kind: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose tokens, validated; `max_tokens` None means what fits, at most the default.

    `logprobs` asks for the log-probability of each token and of so many alternatives; None asks for nothing.
    """

    max_tokens: int | None = None
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Loads the model; the limits hold for the life of the engine.

    `num_slots` answers run together where each has room for a whole conversation, `num_sequences` where they share
    blocks. `precision` is fp32, bf16 or int8; empty takes what suits model and processor.
    """

    folder: str
    threads: int
    num_slots: int
    num_waiting_max: int
    kv_bytes_max: int
    prefill_tokens_max: int
    num_sequences: int = 32
    precision: str = ""


@dataclass(frozen=True, slots=True)
class Generate:
    """Asks for an answer, which comes as Pieces with the same id."""

    id: str
    prompt: Prompt
    sampling: Sampling
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class LoadAdapter:
    """Loads low-rank adapters in PEFT format, which Generate names afterwards; one of the same name is replaced."""

    id: str
    name: str
    folder: str


@dataclass(frozen=True, slots=True)
class UnloadAdapter:
    """Forgets an adapter; a name that is not loaded is ignored."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AdapterChanged:
    """An adapter is loaded or forgotten."""

    id: str


@dataclass(frozen=True, slots=True)
class Count:
    """Asks for the number of tokens of a prompt."""

    id: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Tokenize:
    """Asks for the tokens of a prompt, as Generate would read them."""

    id: str
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Detokenize:
    """Asks for the text of tokens."""

    id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Asks how likely each continuation is after the prompt; continuations are tokenised on their own.

    Without any prompt the first token of a continuation is read and not scored. `logprobs` as in Sampling.
    """

    id: str
    prompt: Prompt
    continuations: tuple[str, ...]
    logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Embed:
    """Asks for one vector per text."""

    id: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Abort:
    """Ends a request, whose last Piece then finishes with `abort`; unknown ids are ignored: it may have ended."""

    id: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks whether the loop still turns."""

    id: str


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded; `tool_format` is how it writes calls of tools, a name of `engine.tools.FORMATS`.

    `engine` and `precision` say what computes; `note` why not what was asked for, if so.
    """

    context_length: int
    tool_format: str = "hermes"
    engine: str = ""
    precision: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have been chosen: its bytes in hex, its log-probability in nats."""

    token_id: int
    hex: str
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, its bytes in hex, its log-probability in nats before any sampling setting, and the likeliest ones."""

    token_id: int
    hex: str
    logprob: float | None
    top: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What became certain since the last piece; `finish` is `stop`, `length` or `abort` in the last one.

    `logprobs` holds one entry for each of `token_ids` if asked for; the last piece tells for how long it was queued.
    """

    id: str
    text: str
    token_ids: tuple[int, ...]
    finish: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    queued_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Counted:
    """Number of tokens of a prompt."""

    id: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Tokenized:
    """The tokens of a prompt, and the bytes of each in hex."""

    id: str
    token_ids: tuple[int, ...]
    hexes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detokenized:
    """The text of tokens."""

    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Scored:
    """The tokens of each continuation with their log-probabilities."""

    id: str
    prompt_tokens: int
    continuations: tuple[tuple[TokenLogprob, ...], ...]


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector per text: float32, little endian, base64."""

    id: str
    vectors: tuple[str, ...]
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


Message: TypeAlias = (
    Load
    | Generate
    | Count
    | Tokenize
    | Detokenize
    | Score
    | Embed
    | Abort
    | Ping
    | Ready
    | Piece
    | Counted
    | Tokenized
    | Detokenized
    | Scored
    | Embedded
    | Pong
    | Failed
    | LoadAdapter
    | UnloadAdapter
    | AdapterChanged
)
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in typing.get_args(Message)}


def failure(request_id: str, error: BessemerError) -> Failed:
    """Return the message that carries an error."""
    return Failed(request_id, error.code, error.reason, error.message, error.fields)


def encode(message: Message) -> bytes:
    """Return one line."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line; both ends are ours, so a malformed one is a defect and raises."""
    values = json.loads(line)
    message: Message = revive(_KINDS[values.pop("kind")], values)
    return message
