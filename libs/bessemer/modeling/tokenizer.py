"""Text to token ids and back, for one model folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers.decoders import DecodeStream

from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import ChatTemplate, Message
from bessemer.modeling.config import ids_of
from bessemer.modeling.load import read_json

__all__ = ["TextStream", "Tokenizer"]


class TextStream:
    """Turns tokens into text as they come; holds back bytes of unfinished characters."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        self._stream = DecodeStream(skip_special_tokens=True)

    def feed(self, token: int) -> str:
        """Return the text that `token` completes; often a word, sometimes empty."""
        return self._stream.step(self._backend, token) or ""


class Tokenizer:
    """A fast tokenizer with the chat template and the end-of-turn tokens of its model.

    `sha256` is the digest of `tokenizer.json`; `begin_id` the token that may begin a text.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        eos_ids: Iterable[int],
        template: ChatTemplate | None,
        begin_id: int | None = None,
        sha256: str = "",
    ) -> None:
        self._backend = backend
        self._template = template
        self.begin_id = begin_id
        self.eos_ids = frozenset(eos_ids)
        self.vocab_size: int = backend.get_vocab_size()
        self.sha256 = sha256
        added = backend.get_added_tokens_decoder()
        self._special = {token.content: token_id for token_id, token in added.items() if token.special}
        self._byte_level = "ByteLevel" in repr(backend.decoder)

    @staticmethod
    def from_folder(folder: Path) -> Tokenizer:
        """Read `tokenizer.json`, and what is there of `tokenizer_config.json`, `generation_config.json`, `config.json`.

        Raises: InvalidRequest if the tokenizer or its template is not valid.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise InvalidRequest("tokenizer.json is missing from the model folder", reason="SOURCE_INVALID")
        data = path.read_bytes()
        try:
            backend = tokenizers.Tokenizer.from_buffer(data)
        except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
            raise InvalidRequest(f"tokenizer.json is not valid: {error}", reason="SOURCE_INVALID") from None
        backend.no_truncation()
        backend.no_padding()
        names = ("tokenizer_config.json", "generation_config.json", "config.json")
        settings, generation, config = (read_json(folder / n) if (folder / n).is_file() else {} for n in names)
        special = {
            key: text
            for key, value in settings.items()
            if key.endswith("_token") and (text := value.get("content") if isinstance(value, dict) else value)
            if isinstance(text, str)
        }
        source = _template_source(folder, settings)
        eos = ids_of(generation.get("eos_token_id")) or ids_of(config.get("eos_token_id"))
        named = backend.token_to_id(special["eos_token"]) if "eos_token" in special else None
        return Tokenizer(
            backend,
            eos_ids=eos if named is None else eos | {named},
            template=None if source is None else ChatTemplate(source, special),
            begin_id=backend.token_to_id(special["bos_token"]) if "bos_token" in special else None,
            sha256=hashlib.sha256(data).hexdigest(),
        )

    @property
    def backend(self) -> tokenizers.Tokenizer:
        """The tokenizer of the tokenizers library, for grammars and the like."""
        return self._backend

    @property
    def template(self) -> ChatTemplate | None:
        """The chat template; None when there is none."""
        return self._template

    @property
    def has_chat_template(self) -> bool:
        """Whether conversations can be rendered."""
        return self._template is not None

    def encode(self, text: str, special: bool = False) -> list[int]:  # noqa: FBT001, FBT002 - agreed signature
        """Return the ids of a text; `special` adds what the tokenizer puts around texts."""
        return list(self._backend.encode(text, add_special_tokens=special).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, in parallel."""
        return [list(e.ids) for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return str(self._backend.decode(list(ids), skip_special_tokens=True))

    def stream(self) -> TextStream:
        """Return a decoder for tokens that come one by one."""
        return TextStream(self._backend)

    def special_among(self, texts: Iterable[str]) -> dict[int, str]:
        """Return those of some texts that are special tokens, by id."""
        return {self._special[text]: text for text in texts if text in self._special}

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes that a token stands for; those of its name if it is a special one."""
        name = self._backend.id_to_token(token) or ""
        if name in self._special:
            return name.encode()
        if self._byte_level:
            return bytes(_BYTES[char] for char in name if char in _BYTES)
        # A character more in front shows the space that a word begins with.
        mark = self._backend.encode("a", add_special_tokens=False).ids
        return self.decode([*mark, token]).removeprefix(self.decode(mark)).encode()

    def render_chat(
        self,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,  # noqa: FBT001, FBT002
        *,
        tools: Sequence[Message] = (),
    ) -> list[int]:
        """Return the ids of a conversation, with the opening of the assistant's turn if asked for.

        Raises: InvalidRequest if the template refuses it; FailedPrecondition without a template.
        """
        return self.encode(self._chat().render(messages, add_generation_prompt=add_generation_prompt, tools=tools))

    def render_chat_with_mask(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Return the ids of a conversation and, for each, whether the assistant has to produce it.

        Raises: as `render_chat`.
        """
        marks = [mark for i in sorted(self.eos_ids) if (mark := self._backend.id_to_token(i)) is not None]
        text, spans = self._chat().assistant_spans(messages, marks)
        encoding = self._backend.encode(text, add_special_tokens=False)
        mask = [any(start <= first < end for start, end in spans) for first, _ in encoding.offsets]
        return list(encoding.ids), mask

    def _chat(self) -> ChatTemplate:
        if self._template is None:
            raise FailedPrecondition(
                "the model has no chat template; train it on text, or import a chat model", reason="FIELD_INVALID"
            )
        return self._template


def _template_source(folder: Path, settings: dict[str, Any]) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    source = settings.get("chat_template")
    if isinstance(source, list):  # several named ones
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    return source if isinstance(source, str) else None


def _byte_characters() -> dict[str, int]:
    """Return the bytes that the characters of byte-level vocabularies stand for.

    Source: GPT-2 (Radford et al. 2019, section 2.2), as its published vocabulary writes bytes.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTES = _byte_characters()
