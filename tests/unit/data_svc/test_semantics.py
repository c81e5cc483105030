from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from data_svc.domain.recipes import Recipe
from data_svc.worker import semantics
from data_svc.worker.curate import curate

from tests.unit.data_svc.conftest import prose


def topical(number: int, chance: random.Random) -> list[str]:
    """A text about one of ten subjects, each with words of its own."""
    return [f"{chance.choice('abcdefghij')}{number % 10}{chance.choice('klmnopq')}{number % 7}" for _ in range(400)]


def edited(words: list[str], chance: random.Random, share: float) -> str:
    return " ".join(f"o{chance.randrange(40)}" if chance.random() < share else word for word in words)


def test_vectors_of_edited_copies_lie_close_and_those_of_other_subjects_do_not() -> None:
    chance = random.Random(1)
    originals = [topical(number, chance) for number in range(70)]
    texts = [" ".join(words).encode() for words in originals]
    copies = [edited(words, chance, 0.1).encode() for words in originals]
    vectors = semantics.Basis.fit(texts).vectors([*texts, *copies])
    assert vectors.shape == (140, semantics.DIMENSIONS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    cosines = vectors[:70] @ vectors[70:].T
    assert (np.diag(cosines) > 0.95).mean() > 0.9
    others = cosines[~np.eye(70, dtype=bool)]
    assert (others > 0.95).mean() < 0.01


@pytest.mark.parametrize("exact", [10, 10_000])
def test_similar_pairs_are_all_pairs_of_a_small_group_and_nearly_all_of_a_large_one(exact: int, monkeypatch) -> None:
    monkeypatch.setattr(semantics, "_EXACT_MAX", exact)
    monkeypatch.setattr(semantics, "_BLOCK", 64)
    chance = np.random.default_rng(0)
    base = chance.standard_normal((200, 32))
    rows = np.concatenate([base, base + chance.standard_normal((200, 32)) * 0.2]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = {(a, b) for a in range(400) for b in range(a + 1, 400) if rows[a] @ rows[b] >= 0.95}
    found = set(map(tuple, semantics.similar_pairs(rows, 0.95).tolist()))
    assert found <= expected
    assert len(found) >= (1 if exact > 400 else 0.97) * len(expected)
    assert len(expected) > 150


def test_version_drops_semantic_duplicates_within_a_source_only_when_asked(
    tokenizer_path: Path, blobs: Blobs, tmp_path: Path
) -> None:
    chance = random.Random(2)
    for folder in ("a", "b"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    for number in range(30):
        (tmp_path / "in/a" / f"{number}.txt").write_text(prose(number, 300))
    words = [" ".join(topical(number, chance)).split() for number in range(2)]
    for number in range(2):
        (tmp_path / "in/a" / f"topic{number}.txt").write_text(" ".join(words[number]) + " the end")
    (tmp_path / "in/a/rewritten.txt").write_text(edited(words[0], chance, 0.12))
    (tmp_path / "in/b/elsewhere.txt").write_text(edited(words[1], chance, 0.12))
    recipe = Recipe(sequence_length=64)
    plain = curate([tmp_path / "in"], recipe, tokenizer_path, blobs)
    assert [(count.reason, count.documents) for count in plain.reasons] == [("kept", 34)]
    result = curate([tmp_path / "in"], replace(recipe, semantic_duplicate_threshold=0.9), tokenizer_path, blobs)
    folder = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "version")
    rejected = [json.loads(line) for line in (folder / "rejections.jsonl").read_text().splitlines()]
    found = {record["source"]: (record["reason"], record["detail"].split(", ")[0]) for record in rejected}
    assert found["a/rewritten.txt"] == ("SEMANTIC_DUPLICATE", "says the same as a/topic0.txt")
    assert "b/elsewhere.txt" not in found
