"""tiktoken over given texts, in its own environment. Usage: peer_tokenize.py GIVEN.json TAKEN.npz."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import tiktoken


def main() -> None:
    """Encode all texts twice, keep the time and the ids of the second pass."""
    given = json.loads(Path(sys.argv[1]).read_text())
    settings = json.loads(Path(given["tokenizer"]).read_text())
    special = {token["content"]: token["id"] for token in settings["added_tokens"]}
    letters = byte_letters()
    ranks = {
        bytes(letters[letter] for letter in token): number
        for token, number in settings["model"]["vocab"].items()
        if token not in special
    }
    encoding = tiktoken.Encoding("x", pat_str=given["words"], mergeable_ranks=ranks, special_tokens=special)
    for _ in range(2):
        begin = time.process_time()
        ids = [encoding.encode_to_numpy(text, disallowed_special=()) for text in given["texts"]]
        seconds = time.process_time() - begin
    offsets = np.cumsum([0, *map(len, ids)])
    np.savez(sys.argv[2], seconds=seconds, ids=np.concatenate(ids), offsets=offsets)


def byte_letters() -> dict[str, int]:
    """Return which byte each letter of a byte-level vocabulary stands for (Radford et al. 2019)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


if __name__ == "__main__":
    main()
