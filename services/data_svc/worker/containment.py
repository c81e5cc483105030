"""Documents that lie in longer ones, such as a chapter in its manual, whatever the format: they belong to one family.

Every document brings a sample of its runs of three words, the same ones in all documents. Documents that share enough
of their samples are compared exactly, by all their runs of five words; so no search is quadratic.
Memory: 8 bytes per sampled run of a pass, and the runs of `_BATCH_BYTES` of text; the samples lie in a file.

Source: Broder 1997, "On the resemblance and containment of documents", section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import njit

from data_svc.worker import families, minhash
from data_svc.worker.hashing import S32, Hashes
from data_svc.worker.slices import Numbers, Slices

__all__ = ["CONTAINED_SHARE", "HOLDERS_MAX", "candidates", "join_contained"]

CONTAINED_SHARE = 0.5  # of the smaller document's runs of five words
HOLDERS_MAX = 20  # a run that more documents hold is boilerplate, and says nothing about any two of them
_RUN_WORDS = 5  # fives see through stock phrases
_SAMPLE_SHARE = 0.35  # below the exact limit by three deviations of a sample of a hundred
_TELLING_SHARE = 0.25  # a document that is boilerplate for the rest lies in none
_PASS_ENTRIES = 1 << 21
_READ_ENTRIES = 1 << 18
_BATCH_BYTES = 1 << 20
_LOW = np.uint64(0xFFFFFFFF)


def join_contained(
    texts: Slices,
    samples: Slices,
    alive: Numbers,
    parents: Numbers,
    *,
    scratch: Path,
    tick: Callable[[str, float], None],
) -> None:
    """Join the families of documents that hold half of one another, the smaller's half, in `parents`.

    Shapes: texts and samples [documents], the latter uint32 as of `minhash.sampled`; alive the numbers of those to
    compare; parents [documents] as of `families.roots`.
    """
    values = np.memmap(scratch / "samples.bin", np.uint32, "w+", shape=(int(samples.sizes[alive].sum()) // 4 + 1,))
    counts, at = samples.sizes[alive] // 4, 0
    for batch in samples.batches(alive):
        found = b"".join(samples.read(batch))
        values[at : at + len(found) // 4] = np.frombuffer(found, np.uint32)
        at += len(found) // 4
    pairs = alive[candidates(values[:at], counts)]
    pairs = pairs[parents[pairs[:, 0]] != parents[pairs[:, 1]]]
    # Grouped by the longer one, whose runs go into a table once.
    longer = np.where(texts.sizes[pairs[:, 0]] >= texts.sizes[pairs[:, 1]], 0, 1)
    rows = np.arange(len(pairs))
    pairs = np.stack([pairs[rows, longer], pairs[rows, 1 - longer]], axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    start = 0
    for end in families.batch_ends(pairs, texts.sizes, _BATCH_BYTES).tolist():
        tick(f"looking for {len(pairs)} documents inside others", start / len(pairs))
        members, places = np.unique(pairs[start:end], return_inverse=True)
        data = texts.read(members)
        offsets = np.cumsum([0, *map(len, data)])
        words = minhash.words(np.frombuffer(b"".join(data), np.uint8), offsets, minhash.fold_table())
        sets = families.distinct(*minhash.shingles(*words, _RUN_WORDS))
        families.join_contained(places.reshape(-1, 2), members, sets, parents, CONTAINED_SHARE)
        start = end
    families.roots(parents, np.empty((0, 2), np.int64))


def candidates(values: npt.NDArray[np.uint32], counts: Numbers) -> Numbers:
    """Return the pairs of documents of which the one with fewer samples shares enough of them with the other.

    Shapes: values [samples], distinct within a document; counts [documents] of them; returns [pairs, 2], sorted.
    """
    ends = np.cumsum(counts)
    telling = np.zeros(len(counts), np.int64)
    passes = -(-len(values) // _PASS_ENTRIES) or 1
    pairs, shared = np.empty(0, np.uint64), np.empty(0, np.int64)
    for number in range(passes):  # a value meets its equals in one pass
        keys = np.concatenate([*_keys(values, ends, number, passes)])
        keys.sort()
        new, times = np.unique(_holding(keys, telling), return_counts=True)
        both, place = np.unique(np.concatenate([pairs, new]), return_inverse=True)
        pairs, shared = both, np.bincount(place, np.concatenate([shared, times]), len(both)).astype(np.int64)
    found = np.stack([pairs >> S32, pairs & _LOW], axis=1).astype(np.int64)
    smaller = np.where(counts[found[:, 0]] <= counts[found[:, 1]], found[:, 0], found[:, 1])
    enough = shared >= _SAMPLE_SHARE * telling[smaller]
    return found[enough & (telling[smaller] >= _TELLING_SHARE * counts[smaller])]


def _keys(values: npt.NDArray[np.uint32], ends: Numbers, number: int, passes: int) -> Iterator[Hashes]:
    """Yield the values of a pass, each above the number of its document; they are read a few at a time."""
    yield np.empty(0, np.uint64)
    for start in range(0, len(values), _READ_ENTRIES):
        read = np.asarray(values[start : start + _READ_ENTRIES])
        mine = np.flatnonzero(read % np.uint32(passes) == number)
        owners = np.searchsorted(ends, start + mine, side="right").astype(np.uint64)
        yield read[mine].astype(np.uint64) << S32 | owners


@njit(cache=True, nogil=True)
def _holding(keys: Hashes, telling: Numbers) -> Hashes:
    """Return each pair of documents once for every value that both hold, and count in `telling` whose values tell.

    `keys` are sorted, with the value in the high half and the document in the low one.
    """
    found = np.empty(1024, np.uint64)
    count = start = 0
    for end in range(1, keys.size + 1):
        if end < keys.size and keys[end] >> S32 == keys[start] >> S32:
            continue
        if end - start <= HOLDERS_MAX:
            for left in range(start, end):
                first = keys[left] & _LOW
                telling[first] += 1
                for right in range(left + 1, end):
                    if count == found.size:
                        found = np.concatenate((found, np.empty_like(found)))
                    found[count] = first << S32 | (keys[right] & _LOW)
                    count += 1
        start = end
    return found[:count]
