"""`tokenizer.json`: what a base one says, and the files that learned merges make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bessemer.kernel.errors import InvalidRequest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from data_svc.domain.byte_alphabet import ALPHABET, bytes_of
from data_svc.worker.merges import Start
from data_svc.worker.pretokens import PieceCounter

__all__ = [
    "BaseTokenizer",
    "Extension",
    "extend_tokenizer",
    "new_start",
    "new_tokenizer",
    "old_tokens",
    "read_base",
    "splits_digits",
]

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}


@dataclass(frozen=True)
class BaseTokenizer:
    """A byte-level BPE tokenizer as its file says it, with its merges as ids."""

    path: Path
    file: dict[str, Any]
    start: Start

    def counter(self) -> PieceCounter:
        """Return a counter of the pieces that this tokenizer makes of texts."""
        digits_apart = splits_digits(self.file)
        if digits_apart is not None:
            return PieceCounter(splits_digits=digits_apart)
        return PieceCounter(splits_digits=False, library=Tokenizer.from_file(str(self.path)))


@dataclass(frozen=True)
class Extension:
    """An extended file, and for each new id the old ids that it stands for."""

    text: str
    stands_for: dict[int, list[int]]


def read_base(path: Path) -> BaseTokenizer:
    """Read a tokenizer to extend.

    Raises: InvalidRequest if it is not byte-level BPE, or its merges do not fit its vocabulary.
    """
    field = "dataset_job.train_tokenizer.base"
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise InvalidRequest(f"base is not a tokenizer.json: {error}"[:500], field=field) from error
    file = json.loads(path.read_text(encoding="utf-8"))
    model = file["model"]
    odd = [
        key for key in ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "dropout") if model.get(key)
    ]
    if model.get("type") != "BPE" or odd or "ByteLevel" not in json.dumps(file.get("pre_tokenizer")):
        raise InvalidRequest(
            f"base must be byte-level BPE to be extended; it is {model.get('type')} {' '.join(odd)}".rstrip(),
            field=field,
        )
    vocabulary = {**{entry["content"]: entry["id"] for entry in file["added_tokens"]}, **model["vocab"]}
    merges = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"]]
    try:
        ranked = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges]
    except (KeyError, ValueError) as error:
        raise InvalidRequest(f"base has a merge whose tokens it lacks: {error}", field=field) from error
    start = Start(
        byte_ids=[vocabulary.get(letter, -1) for letter in ALPHABET],
        merges=ranked,
        taken=[_bytes(token) for token in vocabulary],
        next_id=max(vocabulary.values()) + 1,
    )
    return BaseTokenizer(path, file, start)


def splits_digits(file: dict[str, Any]) -> bool | None:
    """Say whether a tokenizer sets digits apart before it cuts text as GPT-2 does; None if it cuts in another way."""
    split = _without_offsets(file.get("pre_tokenizer"))
    if file.get("normalizer") is not None:
        return None
    if split == _BYTE_LEVEL:
        return False
    return True if split == {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTE_LEVEL]} else None


def new_start(special_tokens: Sequence[str]) -> Start:
    """Return where a new tokenizer begins: special tokens first, then the bytes in the order of their letters."""
    first = len(special_tokens)
    order = sorted(ALPHABET)
    return Start(
        byte_ids=[first + order.index(letter) for letter in ALPHABET],
        merges=(),
        taken=[token.encode() for token in special_tokens],
        next_id=first + len(ALPHABET),
    )


def new_tokenizer(special_tokens: Sequence[str], pairs: Sequence[tuple[int, int]]) -> str:
    """Return the file of a new tokenizer: digits apart, GPT-2's pieces, byte-level."""
    names = [*special_tokens, *sorted(ALPHABET)]
    merges = _named(pairs, names)
    tokenizer = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=merges))
    digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special_tokens))
    return str(tokenizer.to_str(pretty=True))


def extend_tokenizer(base: BaseTokenizer, pairs: Sequence[tuple[int, int]]) -> Extension:
    """Return the base's file with new merges after its own; old ids stay as they are."""
    file = json.loads(json.dumps(base.file))
    model = file["model"]
    # Added tokens beyond the vocabulary get the ids after it, unless it names them.
    vocabulary = {**model["vocab"], **{entry["content"]: entry["id"] for entry in file["added_tokens"]}}
    names = [""] * base.start.next_id
    for name, number in vocabulary.items():
        names[number] = name
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    merges = _named(pairs, names)
    model["merges"] += [" ".join(pair) for pair in merges] if as_text else [list(pair) for pair in merges]
    for number in range(base.start.next_id, len(names)):
        vocabulary[names[number]] = number
    model["vocab"] = vocabulary
    return Extension(json.dumps(file, ensure_ascii=False, indent=2), old_tokens(base.start.next_id, pairs))


def old_tokens(next_id: int, pairs: Sequence[tuple[int, int]]) -> dict[int, list[int]]:
    """Return for each new id the ids below `next_id` that it is made of, in order."""
    parts: dict[int, list[int]] = {}
    for number, pair in enumerate(pairs):
        parts[next_id + number] = [old for half in pair for old in parts.get(half, [half])]
    return parts


def _named(pairs: Sequence[tuple[int, int]], names: list[str]) -> list[tuple[str, str]]:
    """Return pairs of ids by name; the tokens that they make are added to `names`."""
    merges = []
    for left, right in pairs:
        merges.append((names[left], names[right]))
        names.append(names[left] + names[right])
    return merges


def _bytes(token: str) -> bytes:
    """Return the bytes of a token: of letters, or of an added token in plain text."""
    try:
        return bytes_of(token)
    except KeyError:
        return token.encode()


def _without_offsets(value: Any) -> Any:
    """Return a part of the file without `trim_offsets`, which changes no token."""
    if isinstance(value, dict):
        return {key: _without_offsets(part) for key, part in value.items() if key != "trim_offsets"}
    return [_without_offsets(part) for part in value] if isinstance(value, list) else value
