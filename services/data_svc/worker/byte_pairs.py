"""Byte-pair encoding of whole batches, for tokenizers that cut text as GPT-2 does, with digits apart or not.

Text is cut into pieces that merges never cross, and most pieces have been seen before: their ids are kept in a table
of bounded size, and only a new piece is merged. Where an English word ends, a register of eight bytes says.
Sources: Radford et al. 2019, section 2.2 (pieces); Sennrich, Haddow and Birch 2016, section 3.2 (merges); Lamport
1975, multiple byte processing with full-word instructions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from data_svc.domain.byte_alphabet import ALPHABET, letters_of
from data_svc.worker import byte_pair_kernel as kernel
from data_svc.worker.hashing import Bytes
from data_svc.worker.pretokens import LETTER, NUMBER, OTHER, SPACE, classes_of_letters
from data_svc.worker.tokenizer_file import splits_digits

__all__ = ["BytePairs", "UnknownLetter"]

_SLOTS = 1 << 20


class UnknownLetter(Exception):
    """The library treats a letter as this module cannot."""


class BytePairs:
    """Encodes texts as `library` does, special tokens in a text as ordinary text."""

    def __init__(self, library: Tokenizer, eos_id: int | None, slots: int = _SLOTS) -> None:
        self._library = library
        file = json.loads(library.to_str())
        vocabulary, merges = file["model"]["vocab"], file["model"]["merges"]
        ranked = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges]
        byte_ids = np.array([vocabulary.get(letter, -1) for letter in ALPHABET], np.int32)
        pairs = kernel.pair_table(np.array(ranked, np.int64).reshape(-1, 3))
        self._classes = classes_of_letters().copy()
        self._splits_digits = bool(splits_digits(file))
        table, sizes = np.zeros((slots, kernel.SLOT_BYTES // 8), np.uint64), np.zeros(3, np.int64)
        data, ids = np.empty(kernel.SLOT_DATA * slots, np.uint8), np.empty(kernel.SLOT_IDS * slots, np.int32)
        merged, ranks = np.empty(kernel.MERGED_BYTES_MAX, np.int32), np.empty(kernel.MERGED_BYTES_MAX, np.uint64)
        self._kept = (byte_ids, pairs, table, data, ids, sizes, merged, ranks)  # what the addresses lie in
        self._rules = kernel.Rules(
            self._classes.ctypes.data,
            self._splits_digits,
            byte_ids.ctypes.data,
            pairs.ctypes.data,
            np.uint64(len(pairs) - 1),
            -1 if eos_id is None else eos_id,
        )
        self._seen = kernel.Seen(table.ctypes.data, data.ctypes.data, ids.ctypes.data, sizes.ctypes.data, slots - 1)
        self._room = kernel.Room(merged.ctypes.data, ranks.ctypes.data)

    @staticmethod
    def knows(library: Tokenizer) -> bool:
        """Say whether a tokenizer is one of those that this module encodes for."""
        file: dict[str, Any] = json.loads(library.to_str())
        model = file["model"]
        odd = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback")
        if model["type"] != "BPE" or any(model.get(key) for key in (*odd, "ignore_merges")):
            return False
        merges = {tuple(pair) for pair in model["merges"]}
        return (
            splits_digits(file) is not None
            and all(token["special"] for token in file["added_tokens"])
            and len(merges) == len(model["merges"])
            and max(model["vocab"].values(), default=0) <= kernel.ID_MAX
        )

    def encode(self, texts: Sequence[bytes]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the ids of texts of UTF-8 in a row, ends of text included, and where each begins.

        Shapes: ids [tokens]; offsets [texts + 1].
        Raises: UnicodeDecodeError; UnknownLetter.
        """
        for text in texts:
            if not text.isascii():
                text.decode()
        data = np.frombuffer(b"".join([*texts, bytes(kernel.SLACK)]), np.uint8)
        bounds = np.cumsum([0, *map(len, texts)], dtype=np.int64)
        ids = np.empty(int(bounds[-1]) + len(texts) + kernel.IDS_INSIDE, np.int32)
        offsets = np.zeros(len(texts) + 1, np.int64)
        at = np.zeros(4, np.int64)  # text, place in the data, ids so far, and what stopped it
        while (
            why := kernel.encode_batch((data, bounds), (ids, offsets), at, self._rules, (self._seen, self._room))
        ) != kernel.DONE:
            if why == kernel.LONG:
                self._encode_long(data, ids, at)
            else:
                self._classify(int(at[3]))
        return ids[: offsets[-1]], offsets

    def _encode_long(self, data: Bytes, ids: npt.NDArray[np.int32], at: npt.NDArray[np.int64]) -> None:
        _, begin, size, end = at.tolist()
        found = [token.id for token in self._library.model.tokenize(letters_of(data[begin:end].tobytes()))]
        ids[size : size + len(found)] = found
        at[1], at[2] = end, size + len(found)

    def _classify(self, point: int) -> None:
        """Ask the library about a letter that Python's Unicode does not know."""
        letter = chr(point)
        probes = {LETTER: f"a{letter}", NUMBER: f"1{letter}", OTHER: f"!{letter}", SPACE: f"\n{letter}"}
        split = self._library.pre_tokenizer.pre_tokenize_str
        kinds = [kind for kind, probe in probes.items() if len(split(probe)) == 1]
        if not kinds and self._splits_digits and len(split(letter * 2)) == 2:
            kinds = [NUMBER]
        if len(kinds) != 1:
            raise UnknownLetter(f"U+{point:04X}")
        self._classes[point] = kinds[0]
