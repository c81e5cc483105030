"""The peers of `bench_near_duplicates.py`, run in an environment that has them: prints CPU seconds and groups.

Words are split at blanks, as in the peers' examples; runs of five and 14 bands of 8 are the defaults of datatrove.
Neither peer verifies what its bands find.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

BANDS, BAND_ROWS = 14, 8
RUN_WORDS = 5


def main() -> None:
    """Group the texts of a file, one JSON string a line."""
    name, path = sys.argv[1:]
    texts = [json.loads(line) for line in Path(path).read_text().split("\n")]
    method = {"datasketch": datasketch_groups, "rensa": rensa_groups}[name]
    method(texts[:20])  # first calls import and warm up
    begin = time.process_time()
    groups = method(texts)
    print(json.dumps([time.process_time() - begin, groups]))


def runs(text: str) -> list[str]:
    """Return the runs of five words."""
    words = text.lower().split()
    return [" ".join(words[at : at + RUN_WORDS]) for at in range(max(1, len(words) - RUN_WORDS + 1))]


def datasketch_groups(texts: list[str]) -> list[int]:
    """Group with datasketch's index."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * BAND_ROWS, params=(BANDS, BAND_ROWS))
    parents = list(range(len(texts)))
    for number, text in enumerate(texts):
        signature = MinHash(num_perm=BANDS * BAND_ROWS)
        signature.update_batch([run.encode() for run in runs(text)])
        for other in index.query(signature):
            join(parents, number, other)
        index.insert(number, signature, check_duplication=False)
    return [find(parents, number) for number in range(len(texts))]


def rensa_groups(texts: list[str]) -> list[int]:
    """Group with rensa's signatures, and bands in numpy."""
    from rensa import RMinHash

    matrix = RMinHash.digest_matrix_from_token_sets([runs(text) for text in texts], BANDS * BAND_ROWS, 42)
    signatures = np.asarray(matrix.to_rows(), np.uint64)
    parents = list(range(len(texts)))
    for band in range(BANDS):
        keys = np.zeros(len(texts), np.uint64)
        for row in range(BAND_ROWS):
            keys = (keys ^ signatures[:, band * BAND_ROWS + row]) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        order = np.argsort(keys, kind="stable")
        for place in np.flatnonzero(np.diff(keys[order]) == 0).tolist():
            join(parents, int(order[place]), int(order[place + 1]))
    return [find(parents, number) for number in range(len(texts))]


def find(parents: list[int], number: int) -> int:
    """Return the root of a group."""
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number


def join(parents: list[int], first: int, second: int) -> None:
    """Join two groups."""
    parents[find(parents, first)] = find(parents, second)


if __name__ == "__main__":
    main()
