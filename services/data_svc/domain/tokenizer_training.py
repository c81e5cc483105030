"""Which documents a tokenizer learns from, and whether extending one is worth it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "SAMPLE_BYTES_MAX",
    "SAVING_MIN",
    "SPECIAL_TOKENS",
    "TOKENS_MIN",
    "Listed",
    "Verdict",
    "choose_sample",
    "judge_extension",
    "source_group",
]

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SAMPLE_BYTES_MAX = 256_000_000  # the merges of more text differ little, and its distinct pieces take memory
# An extension costs embeddings that must be learned: below these it is judged to lose more than it saves.
SAVING_MIN = 0.10
TOKENS_MIN = 50_000_000


@dataclass(frozen=True)
class Listed:
    """A document of a version: its id, SHA-256, source and size in characters."""

    id: str
    sha256: str
    source: str
    characters: int


@dataclass(frozen=True)
class Verdict:
    """Whether an extension is worth it; `saving` is a share of the base's tokens."""

    worth_it: bool
    saving: float
    tokens: int
    reason: str


def source_group(source: str) -> str:
    """Return the group of a source: the first folder of its path, `files` for what lies in none."""
    folder, slash, _ = source.lstrip("/").partition("/")
    return folder if slash else "files"


def choose_sample(documents: Sequence[Listed], size_max: int) -> set[str]:
    """Return the ids of documents of about `size_max` characters, each source group by its share of all.

    Within a group the documents with the lowest digests are taken, at least one; so a choice depends on the documents
    alone, and a document more changes little.
    """
    total = sum(document.characters for document in documents)
    if total <= size_max:
        return {document.id for document in documents}
    groups: dict[str, list[Listed]] = defaultdict(list)
    for document in documents:
        groups[source_group(document.source)].append(document)
    chosen = set()
    for group in groups.values():
        room = sum(document.characters for document in group) * size_max / total
        for number, document in enumerate(sorted(group, key=lambda one: (one.sha256, one.id))):
            room -= document.characters
            if room < 0 and number:
                break
            chosen.add(document.id)
    return chosen


def judge_extension(base_tokens: int, new_tokens: int, train_tokens: int) -> Verdict:
    """Judge an extension by its saving on text it did not learn from, and by how much there is to learn it from."""
    least = f"{TOKENS_MIN / 1e6:.0f} M"
    saving = 1 - new_tokens / base_tokens if base_tokens else 0.0
    saves, enough = saving >= SAVING_MIN, train_tokens >= TOKENS_MIN
    found = f"it saves {saving:.1%} of the tokens"
    have = f"the version has {train_tokens / 1e6:.1f} M tokens"
    if saves and enough:
        reason = f"{found} and {have}; below {SAVING_MIN:.0%}, or {least}, it would not be worth it"
    elif saves:
        reason = f"{found}, but {have}; from {least} on it would be worth it"
    elif enough:
        reason = f"{have}, but {found}; from {SAVING_MIN:.0%} on it would be worth it"
    else:
        reason = f"{found} and {have}; it takes both {SAVING_MIN:.0%} and {least}"
    return Verdict(saves and enough, saving, train_tokens, reason)
