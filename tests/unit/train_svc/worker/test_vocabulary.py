from __future__ import annotations

import json

import pytest
import torch
from bessemer.api.train.v1.model_pb2 import ExtendVocabularyTask, ModelJob
from bessemer.artifacts.blobs import sha256_of
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from train_svc.worker import models
from train_svc.worker.model_folder import store_model
from train_svc.worker.vocabulary import add_tokens

from tests.fixtures.tiny_model import make_tiny_model
from tests.fixtures.training import SENTENCES, Bench

# New tokens made of old ones, as pairs of letters of byte-level tokens.
PAIRS = [("Ġ", "Q"), ("ĠQ", "x"), ("ĠQx", "v")]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def extended_tokenizer(bench) -> tuple[bytes, list[list[object]]]:
    file = json.loads((bench.base / "tokenizer.json").read_text())
    vocab = file["model"]["vocab"]
    first = len(vocab)
    parts: dict[str, list[int]] = {}
    for number, (left, right) in enumerate(PAIRS):
        file["model"]["merges"].append([left, right])
        vocab[left + right] = first + number
        parts[left + right] = [*parts.get(left, [vocab[left]]), vocab[right]]
    return json.dumps(file).encode(), [[vocab[token], old] for token, old in parts.items()]


def extend(bench, tokenizer: bytes, table, **changes):
    ref = bench.blobs.put_bytes(tokenizer, "application/json")
    given = {
        "base_sha256": sha256_of(bench.base / "tokenizer.json"),
        "tokenizer_sha256": ref.sha256,
        "tokens": table,
        "probe": [f"{text} Qxv Qx" for text in SENTENCES],
        **changes,
    }
    initialisation = bench.blobs.put_bytes(json.dumps(given).encode(), "application/json")
    task = ExtendVocabularyTask(tokenizer=ref, initialisation=initialisation)
    job = ModelJob(name="projects/p/modelJobs/j", extend_vocabulary=task)
    job.inputs.model_manifest.CopyFrom(bench.model)
    return models.run(bench.context(job, kind="modelJobs")[0])


@pytest.mark.parametrize("tied", [True, False])
def test_extended_model_computes_as_before_and_new_rows_are_means(bench, tmp_path, tied):
    bench.base = make_tiny_model(tmp_path / "own", tie_word_embeddings=tied)
    bench.model = store_model(bench.blobs, bench.base, {"license": "MIT"}).manifest
    tokenizer, tokens = extended_tokenizer(bench)
    result = extend(bench, tokenizer, tokens).result
    manifest = read_manifest(bench.blobs, result.manifest)
    folder = fetch(bench.blobs, manifest, tmp_path / "out")
    old, new = load_model(bench.base), load_model(folder)

    assert manifest.facts["license"] == "MIT"
    assert manifest.facts["added_tokens"] == 3
    assert 0 < manifest.facts["bits_per_byte_after"] < manifest.facts["bits_per_byte_before"] * 1.25
    size = old.config.vocab_size
    assert new.config.vocab_size == size + 3
    assert result.parameters == new.config.num_parameters > old.config.num_parameters
    for before, after in ((old.embedding, new.embedding), (old.head, new.head)):
        assert torch.equal(after[:size], before)
        for number, parts in tokens:
            torch.testing.assert_close(after[number], before[parts].mean(0))
    ids = Tokenizer.from_folder(bench.base).encode(SENTENCES[0])
    with torch.inference_mode():
        logits = [m.logits(m(torch.tensor(ids), torch.arange(len(ids)), [len(ids)])) for m in (old, new)]
    torch.testing.assert_close(logits[1][:, :size], logits[0], atol=1e-5, rtol=0)
    assert tokens[2][0] in Tokenizer.from_folder(folder).encode("the Qxv")


def test_unused_rows_of_a_model_are_taken_first(tmp_path):
    model = load_model(make_tiny_model(tmp_path, vocab_size=520))
    grown = add_tokens(model, {512: [3, 4], 513: [5, 6]})
    assert grown.config.vocab_size == 520
    torch.testing.assert_close(grown.embedding[513], model.embedding[[5, 6]].mean(0))


@pytest.mark.parametrize(
    "changes",
    [
        {"base_sha256": "0" * 64},
        {"tokenizer_sha256": "0" * 64},
        {"tokens": [[512, [3, 4]], [513, [5, 6]], [514, [7, 8]]]},
        {"tokens": [[512, [600]]]},
        {"tokens": [[512, []]]},
        {"tokens": [[513, [3]]]},
        {"tokens": "x"},
        {"probe": 3},
    ],
)
def test_initialisation_that_does_not_fit_is_refused(bench, changes):
    tokenizer, tokens = extended_tokenizer(bench)
    with pytest.raises(InvalidRequest):
        extend(bench, tokenizer, tokens, **changes)
