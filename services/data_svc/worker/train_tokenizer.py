"""A tokenizer trained on a version, or one continued, with its fertility and what its new tokens stand for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bessemer.api.common.v1.artifact_pb2 import ArtifactRef
from bessemer.api.data.v1.dataset_job_pb2 import (
    DatasetJob,
    DatasetJobResult,
    ExtensionVerdict,
    FertilityRow,
    TrainedTokenizer,
)
from bessemer.artifacts.blobs import Blobs, sha256_of
from bessemer.artifacts.manifest import JSON, canonical_json, fetch, read_manifest
from bessemer.artifacts.texts import is_text_part, read_texts
from bessemer.jobs.worker import Done, TaskContext
from tokenizers import Tokenizer

from data_svc.domain.splitting import HELDOUT, TRAIN
from data_svc.domain.tokenizer_training import SAVING_MIN, TOKENS_MIN, Listed, choose_sample, judge_extension
from data_svc.worker.fertility import fertility_page, measure
from data_svc.worker.merges import learn
from data_svc.worker.pretokens import PieceCounter
from data_svc.worker.tokenizer_file import (
    BaseTokenizer,
    Extension,
    extend_tokenizer,
    new_start,
    new_tokenizer,
    read_base,
)

__all__ = ["extend", "train", "train_tokenizer"]

_REPORT_EVERY_BYTES = 10_000_000
_EXAMPLES_OF, _EXAMPLES = 1000, 40
# Held-out texts that go with the new tokens, so that a model can be measured before and after it gets them.
_PROBE_TEXTS, _PROBE_CHARACTERS = 24, 800


def train_tokenizer(context: TaskContext, job: DatasetJob, blobs: Blobs) -> Done:
    """Train what the job asks for on its version's train split and measure it on what was held out."""
    task = job.train_tokenizer
    folder = context.workdir / "tokenizer"
    shutil.rmtree(folder, ignore_errors=True)
    context.report(stage="fetching", fraction=0.05)
    manifest = read_manifest(blobs, job.inputs.manifest)
    wanted = [e.path for e in manifest.files if e.path == "documents.jsonl" or is_text_part(e.path)]
    source = fetch(blobs, manifest, folder / "source", wanted)
    base = read_base(blobs.get_file(task.base, folder / "base.json")) if task.HasField("base") else None
    sample = _Sample(context, source, task.sample_bytes_max)
    if base is None:
        made = Extension(train(sample, task.vocabulary_size, task.special_tokens), {})
    else:
        made = extend(sample, base, task.added_tokens)
    path = folder / "tokenizer.json"
    path.write_text(made.text, encoding="utf-8")

    context.report(stage="measuring", fraction=0.6)
    tokenizers = {"new": path, **({"base": base.path} if base else {})}
    for number, other in enumerate(task.others):
        tokenizers[other.label] = blobs.get_file(other.tokenizer, folder / f"other-{number}.json")
    split = HELDOUT if any(record["split"] == HELDOUT for record in sample.records.values()) else TRAIN
    result = TrainedTokenizer(
        tokenizer=blobs.put_file(path, "application/json"),
        vocabulary_size=Tokenizer.from_file(str(path)).get_vocab_size(),
        added_tokens=len(made.stands_for),
        sample_bytes=sample.size_bytes,
        measured_split=split,
        rows=measure(_texts(source, split), sample.records, tokenizers),
    )
    if base is not None:
        result.verdict.CopyFrom(_verdict(result.rows[0], sample.train_bytes))
        probe = [text[:_PROBE_CHARACTERS] for text in _first_texts(source, split)]
        result.initialisation.CopyFrom(_initialisation(blobs, made, base, path, probe))
    page = fertility_page(result, _examples(path, base))
    result.report.CopyFrom(blobs.put_bytes(page.encode(), "text/html"))
    artifacts = [result.tokenizer, result.report, *([result.initialisation] if base else [])]
    shutil.rmtree(folder)
    return Done(DatasetJobResult(trained_tokenizer=result), artifacts)


def train(texts: Iterable[str], vocabulary_size: int, special_tokens: Sequence[str]) -> str:
    """Return a new `tokenizer.json` of at most `vocabulary_size` tokens; equal texts make equal files."""
    start = new_start(special_tokens)
    counter = PieceCounter(splits_digits=True)
    for text in texts:
        counter.add(text)
    pairs = learn(counter.result(), start, max(0, vocabulary_size - start.next_id))
    return new_tokenizer(special_tokens, pairs)


def extend(texts: Iterable[str], base: BaseTokenizer, num_new: int) -> Extension:
    """Return the base with at most `num_new` tokens more; no text has more tokens under it than under the base."""
    counter = base.counter()
    for text in texts:
        counter.add(text)
    return extend_tokenizer(base, learn(counter.result(), base.start, num_new))


class _Sample:
    """The texts of the train split to learn from; counts their bytes and reports how far it is."""

    def __init__(self, context: TaskContext, source: Path, size_max: int) -> None:
        self._context, self._source = context, source
        self.records: dict[str, dict[str, Any]] = {r["id"]: r for r in _lines(source / "documents.jsonl")}
        listed = [
            Listed(name, record["sha256"], record["source"], record["characters"])
            for name, record in self.records.items()
            if record["split"] == TRAIN
        ]
        self._chosen = choose_sample(listed, size_max)
        self._characters = sum(document.characters for document in listed)
        self._chosen_characters = sum(document.characters for document in listed if document.id in self._chosen)
        self.size_bytes = 0

    def __iter__(self) -> Iterator[str]:
        reported = -_REPORT_EVERY_BYTES
        for name, text in _texts(self._source, TRAIN):
            if name not in self._chosen:
                continue
            self.size_bytes += len(text.encode())
            yield text
            if self.size_bytes - reported >= _REPORT_EVERY_BYTES:
                reported = self.size_bytes
                self._context.check()
                share = self.size_bytes / max(self._chosen_characters, 1)
                self._context.report(stage="counting pieces of text", fraction=0.1 + 0.3 * min(share, 1.0))
        self._context.report(stage="learning merges", fraction=0.4)

    @property
    def train_bytes(self) -> int:
        """Bytes of the whole train split, estimated from those that were read."""
        return round(self._characters * self.size_bytes / max(self._chosen_characters, 1))


def _verdict(everything: FertilityRow, train_bytes: int) -> ExtensionVerdict:
    new, base = everything.tokenizers[:2]
    assert new.tokens <= base.tokens
    verdict = judge_extension(base.tokens, new.tokens, round(train_bytes / max(base.bytes_per_token, 1e-9)))
    return ExtensionVerdict(
        worth_it=verdict.worth_it,
        saving=verdict.saving,
        saving_min=SAVING_MIN,
        tokens=verdict.tokens,
        tokens_min=TOKENS_MIN,
        reason=verdict.reason,
    )


def _initialisation(
    blobs: Blobs, made: Extension, base: BaseTokenizer, path: Path, probe: Sequence[str]
) -> ArtifactRef:
    """Store which old tokens each new one stands for, between which tokenizers, and held-out texts to measure on."""
    value: dict[str, JSON] = {
        "base_sha256": sha256_of(base.path),
        "tokenizer_sha256": sha256_of(path),
        "tokens": [[new, old] for new, old in made.stands_for.items()],
        "probe": list(probe),
    }
    return blobs.put_bytes(canonical_json(value), "application/json")


def _examples(path: Path, base: BaseTokenizer | None) -> list[str]:
    """Return the longest of the first tokens that were learned."""
    tokenizer = Tokenizer.from_file(str(path))
    first = base.start.next_id if base else 256
    last = min(first + _EXAMPLES_OF, tokenizer.get_vocab_size())
    found = [tokenizer.decode([number]) for number in range(first, last)]
    return sorted({token.strip() for token in found}, key=lambda token: (-len(token), token))[:_EXAMPLES]


def _first_texts(source: Path, split: str) -> list[str]:
    return [text for (_, text), _ in zip(_texts(source, split), range(_PROBE_TEXTS), strict=False)]


def _texts(source: Path, split: str) -> Iterator[tuple[str, str]]:
    """Yield id and text of each document of a split, in the version's order."""
    for record in read_texts(source, split):
        yield record["id"], record["text"]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        for line in lines:
            yield json.loads(line)
