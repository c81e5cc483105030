"""Text to token ids: fastokens for speed, Hugging Face's tokenizers as oracle and fallback."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
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

# Two steps, digits one by one and then the words of GPT-2 (Radford et al. 2019, section 2.2), are slow in the fast
# engine. One expression cuts alike: a digit takes no blank before it, and blanks before a digit stay together.
_DIGITS_THEN_WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
# U+180E is a blank to this engine's expressions, and none in Unicode since 6.3.
_WORDS = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+|\p{N}| ?(?:[^\s\p{L}\p{N}]|\x{180e})+"
_WORDS += r"|[^\S\x{180e}]+(?![^\s\p{N}]|\x{180e})|[^\S\x{180e}]+"
_DIGITS_AND_WORDS = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}


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
        """Return the ids of each text, the end-of-text token included; views of one array."""
        ids, offsets = self.encode_flat(texts)
        ends = offsets.tolist()
        return [ids[first:last] for first, last in pairwise(ends)]

    def encode_flat(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.unsignedinteger], npt.NDArray[np.int64]]:
        """Return the ids of all texts in a row, and where each begins.

        Shapes: ids [tokens], ends of text included; offsets [texts + 1].
        """
        found = self._encode_fast(texts) if self._fast is not None else None
        found = found or self._encode_slow(texts)
        if self.eos is None:
            return found.ids.astype(self.dtype), found.offsets
        offsets = found.offsets + np.arange(len(found.offsets))
        ids = np.empty(offsets[-1], self.dtype)
        is_text = np.ones(len(ids), bool)
        is_text[offsets[1:] - 1] = False
        ids[is_text] = found.ids
        ids[offsets[1:] - 1] = self.eos[1]
        return ids, offsets

    def _encode_fast(self, texts: Sequence[str]) -> _Ids | None:
        assert self._fast is not None
        try:
            flat, offsets = self._fast.encode_batch_flat(
                list(texts), add_special_tokens=False, split_special_tokens=True
            )
            found = _Ids(np.frombuffer(flat, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64))
        except Exception as error:  # noqa: BLE001 - any defect of the fast engine has the same remedy
            _log.warning("the fast tokenizer refuses a batch: %s", error)  # a byte that the vocabulary lacks
            return None
        for number in range(-self._num_encoded % _CHECK_EVERY, len(texts), _CHECK_EVERY):
            text, ids = texts[number], found.ids[found.offsets[number] : found.offsets[number + 1]]
            checked = len(text) <= _CHECK_CHARACTERS_MAX
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

    settings = json.loads(path.read_text())
    if settings.get("pre_tokenizer") == _DIGITS_THEN_WORDS:
        settings["pre_tokenizer"] = _DIGITS_AND_WORDS
    try:
        return fastokens.Tokenizer.from_json_str(json.dumps(settings))
    except Exception as error:  # noqa: BLE001 - models it cannot load are the oracle's
        _log.warning("the fast tokenizer is not used: %s", error)
        return None
