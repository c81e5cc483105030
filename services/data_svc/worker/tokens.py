"""Text to token ids: own kernels or fastokens for speed, Hugging Face's tokenizers as oracle and fallback."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.blobs import sha256_of
from bessemer.artifacts.shard import token_dtype
from bessemer.kernel.errors import InvalidRequest
from tokenizers import Tokenizer

from data_svc.domain.end_of_text import end_of_text
from data_svc.worker.byte_pairs import BytePairs

__all__ = ["Encoder"]

_CHECK_EVERY = 1000
_CHECKED_BYTES_MAX = 100_000  # the oracle is slow and leaks on long strings without spaces
_log = logging.getLogger(__name__)
_Ids = npt.NDArray[np.integer[Any]]
_Offsets = npt.NDArray[np.int64]


class _Engine(Protocol):
    def encode(self, texts: Sequence[bytes]) -> tuple[_Ids, _Offsets]:
        """Return the ids of all texts in a row, ends of text included, and where each begins."""
        ...


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
    def _fast(self) -> _Engine | None:
        eos_id = None if self.eos is None else self.eos[1]
        return BytePairs(self._oracle, eos_id) if BytePairs.knows(self._oracle) else _open_fastokens(self._path, eos_id)

    def encode(self, texts: Sequence[bytes]) -> list[npt.NDArray[np.unsignedinteger]]:
        """Return the ids of each text of UTF-8, the end-of-text token included; views of one array."""
        ids, offsets = self.encode_flat(texts)
        ends = offsets.tolist()
        return [ids[first:last] for first, last in pairwise(ends)]

    def encode_flat(self, texts: Sequence[bytes]) -> tuple[npt.NDArray[np.unsignedinteger], _Offsets]:
        """Return the ids of all texts of UTF-8 in a row, and where each begins.

        Shapes: ids [tokens], ends of text included; offsets [texts + 1].
        Raises: UnicodeDecodeError.
        """
        found = self._encode_fast(texts) if self._fast is not None else None
        ids, offsets = found or self._encode_slow(texts)
        return ids.astype(self.dtype), offsets

    def _encode_fast(self, texts: Sequence[bytes]) -> tuple[_Ids, _Offsets] | None:
        assert self._fast is not None
        try:
            ids, offsets = self._fast.encode(texts)
        except UnicodeDecodeError:
            raise
        except Exception as error:  # noqa: BLE001 - any defect of a fast engine has the same remedy
            _log.warning("the fast tokenizer refuses a batch: %s", error)  # a byte that the vocabulary lacks
            return None
        for number in range(-self._num_encoded % _CHECK_EVERY, len(texts), _CHECK_EVERY):
            checked = len(texts[number]) <= _CHECKED_BYTES_MAX
            if checked and self._reference(texts[number]) != ids[offsets[number] : offsets[number + 1]].tolist():
                _log.warning("the fast tokenizer is not used: it disagrees with the reference")
                self._fast = None
                return None
        self._num_encoded += len(texts)
        return ids, offsets

    def _encode_slow(self, texts: Sequence[bytes]) -> tuple[_Ids, _Offsets]:
        encodings = [self._reference(text) for text in texts]
        offsets = np.cumsum([0, *map(len, encodings)], dtype=np.int64)
        return np.fromiter(chain.from_iterable(encodings), np.int64, int(offsets[-1])), offsets

    def _reference(self, text: bytes) -> list[int]:
        ids: list[int] = self._oracle.encode(text.decode(), add_special_tokens=False).ids
        return ids if self.eos is None else [*ids, self.eos[1]]


class _Fastokens:
    """The engine for all tokenizers but those of GPT-2's pieces."""

    def __init__(self, path: Path, eos_id: int | None) -> None:
        import fastokens

        self._tokenizer = fastokens.Tokenizer.from_file(str(path))
        self._eos_id = eos_id

    def encode(self, texts: Sequence[bytes]) -> tuple[_Ids, _Offsets]:
        flat, starts = self._tokenizer.encode_batch_flat(
            [text.decode() for text in texts], add_special_tokens=False, split_special_tokens=True
        )
        found, offsets = np.frombuffer(flat, "<u4"), np.frombuffer(starts, "<u8").astype(np.int64)
        if self._eos_id is None:
            return found, offsets
        offsets += np.arange(len(offsets))
        ids = np.empty(offsets[-1], np.uint32)
        is_text = np.ones(len(ids), bool)
        is_text[offsets[1:] - 1] = False
        ids[is_text] = found
        ids[offsets[1:] - 1] = self._eos_id
        return ids, offsets


def _open_fastokens(path: Path, eos_id: int | None) -> _Engine | None:
    try:
        return _Fastokens(path, eos_id)
    except Exception as error:  # noqa: BLE001 - models it cannot load are the oracle's
        _log.warning("the fast tokenizer is not used: %s", error)
        return None
