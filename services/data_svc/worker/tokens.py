"""Text to token ids: fastokens for speed, Hugging Face's tokenizers as oracle and fallback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.blobs import sha256_of
from bessemer.artifacts.shard import token_dtype
from bessemer.kernel.errors import InvalidRequest
from tokenizers import Tokenizer

from data_svc.domain.end_of_text import end_of_text

__all__ = ["Encoder"]

_CHECK_EVERY = 1000
_CHECK_CHARACTERS_MAX = 100_000  # the oracle is slow and leaks on long strings without spaces
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ids:
    ids: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]


class Encoder:
    """Encodes documents and ends each with the end-of-text token.

    Special tokens spelled out in a document are ordinary text: a document must not be able to end itself.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._oracle = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing more precise
            raise InvalidRequest(
                f"tokenizer is not a tokenizer.json: {error}"[:500], field="curation_job.tokenizer"
            ) from error
        self._oracle.no_padding()
        self._oracle.no_truncation()
        self._oracle.encode_special_tokens = True
        self.sha256 = sha256_of(path)
        added = {token.content: number for number, token in self._oracle.get_added_tokens_decoder().items()}
        self.eos = end_of_text(added)
        self.dtype = token_dtype(max(self._oracle.get_vocab(with_added_tokens=True).values(), default=0) + 1)
        self._path = path
        self._num_encoded = 0

    @cached_property
    def _fast(self):  # type: ignore[no-untyped-def] # noqa: ANN202 - untyped package
        return _open_fast(self._path)

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.unsignedinteger]]:
        """Return the ids of each text, the end-of-text token included."""
        found = self._encode_fast(texts) if self._fast is not None else None
        found = found or self._encode_slow(texts)
        end = np.array([self.eos[1]] if self.eos else [], self.dtype)
        pieces = (found.ids[first:last] for first, last in zip(found.offsets[:-1], found.offsets[1:], strict=True))
        return [np.concatenate([piece.astype(self.dtype), end]) for piece in pieces]

    def _encode_fast(self, texts: Sequence[str]) -> _Ids | None:
        assert self._fast is not None
        try:
            flat, offsets = self._fast.encode_batch_flat(
                list(texts), add_special_tokens=False, split_special_tokens=True
            )
            found = _Ids(np.frombuffer(flat, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64))
        except Exception as error:  # noqa: BLE001 - any defect of the fast engine has the same remedy
            self._give_up(str(error))
            return None
        for number, text in enumerate(texts):
            checked = (self._num_encoded + number) % _CHECK_EVERY == 0 and len(text) <= _CHECK_CHARACTERS_MAX
            ids = found.ids[found.offsets[number] : found.offsets[number + 1]]
            if checked and self._oracle.encode(text, add_special_tokens=False).ids != ids.tolist():
                self._give_up("it disagrees with the reference")
                return None
        self._num_encoded += len(texts)
        return found

    def _give_up(self, why: str) -> None:
        _log.warning("the fast tokenizer is not used: %s", why)
        self._fast = None

    def _encode_slow(self, texts: Sequence[str]) -> _Ids:
        encodings = [self._oracle.encode(text, add_special_tokens=False).ids for text in texts]
        offsets = np.cumsum([0, *map(len, encodings)], dtype=np.int64)
        return _Ids(np.array([number for ids in encodings for number in ids], np.uint32), offsets)


def _open_fast(path: Path):  # type: ignore[no-untyped-def] # noqa: ANN202 - untyped package
    import fastokens

    try:
        return fastokens.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - models it cannot load are the oracle's
        _log.warning("the fast tokenizer is not used: %s", error)
        return None
