"""Rows in a fixed order: a pure function of the datasets' digests, the seed and one integer, the position.

Text is streamed in windows of shards; conversations and pairs are read at the start and permuted as a whole.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from bessemer.artifacts.manifest import Manifest
from bessemer.artifacts.shard import split_shards, split_tokens
from bessemer.artifacts.shard_files import ShardFiles
from bessemer.artifacts.stream import Sample, TextStream
from bessemer.kernel.errors import FailedPrecondition, InvalidRequest
from bessemer.modeling.chat import Message
from bessemer.modeling.tokenizer import Tokenizer
from bessemer.modeling.transformers_config import ImageInput

from train_svc.worker.images import Images, has_images
from train_svc.worker.rows import Document, Image, Opinion, Pair, Row, pack

__all__ = [
    "ChatFeed",
    "Feed",
    "OpinionFeed",
    "PreferenceFeed",
    "TextFeed",
    "heldout_pairs",
    "open_feed",
    "read_conversations",
]


class Feed(ABC):
    """All rows of one pass, and their order in every pass."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows in a pass."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Tokens of a pass."""

    @abstractmethod
    def take(self, position: int, count: int) -> list[Row]:
        """Return the rows at `position` and after; every pass has an order of its own."""

    def rows_per_step(self, tokens_per_step: int) -> int:
        """Return how many rows come closest to the wanted tokens; at least one, at most a whole pass."""
        return min(len(self), max(1, round(tokens_per_step * len(self) / self.num_tokens)))


class TextFeed(Feed):
    """Packed token rows as the data service wrote them."""

    def __init__(self, stream: TextStream, num_tokens: int) -> None:
        self._stream = stream
        self._num_tokens = num_tokens

    def __len__(self) -> int:
        return len(self._stream)

    @property
    def num_tokens(self) -> int:
        """Tokens of a pass."""
        return self._num_tokens

    def take(self, position: int, count: int) -> list[Row]:
        """Return rows with the pieces of documents in them; padding is left out."""
        return [_row(sample) for sample in self._stream.take(position, count)]


class _PackedFeed(Feed):
    def __init__(self, sizes: Sequence[int], capacity: int, *, digest: str, seed: int) -> None:
        self._digest = digest
        self._seed = seed
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        self._bins = pack(sizes, capacity)
        self._num_tokens = sum(sizes)

    def __len__(self) -> int:
        return len(self._bins)

    @property
    def num_tokens(self) -> int:
        """Tokens of a pass."""
        return self._num_tokens

    @abstractmethod
    def row(self, index: int) -> Row:
        """Return a row by its number."""

    def take(self, position: int, count: int) -> list[Row]:
        """Return the rows at `position` and after."""
        return [self.row(self._index(p)) for p in range(position, position + count)]

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self))
        if self._order[0] != epoch:
            seed = hashlib.sha256(f"{self._digest}/{self._seed}/{epoch}".encode()).digest()
            generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed[:16], "little")))
            self._order = epoch, generator.permutation(len(self))
        return int(self._order[1][place])


class ChatFeed(_PackedFeed):
    """Conversations, packed; only the assistant's tokens count."""

    def __init__(self, documents: Sequence[Document], *, sequence_length: int, digest: str, seed: int) -> None:
        super().__init__([len(d.ids) for d in documents], sequence_length, digest=digest, seed=seed)
        self._documents = documents

    def row(self, index: int) -> Row:
        """Return the conversations of a row."""
        return Row(tuple(self._documents[i] for i in self._bins[index]))


class PreferenceFeed(_PackedFeed):
    """Pairs, packed so that both answers of a pair share a row; `reference` has to be set before the first row."""

    def __init__(
        self, pairs: Sequence[tuple[Document, Document]], *, sequence_length: int, digest: str, seed: int
    ) -> None:
        super().__init__([len(c.ids) + len(r.ids) for c, r in pairs], 2 * sequence_length, digest=digest, seed=seed)
        self.pairs = pairs
        # Log-probabilities of both answers under the reference model, [pairs, 2].
        self.reference: npt.NDArray[np.float32] | None = None

    def pairs_before(self, position: int) -> list[int]:
        """Return the numbers of the pairs that rows before `position` hold, each once."""
        bins = {self._index(p) for p in range(min(position, len(self)))} if position < len(self) else range(len(self))
        return sorted({i for number in bins for i in self._bins[number]})

    def row(self, index: int) -> Row:
        """Return the pairs of a row, chosen before rejected; only chosen answers carry weight."""
        assert self.reference is not None
        documents: list[Document] = []
        pairs = []
        for i in self._bins[index]:
            chosen, rejected = (float(x) for x in self.reference[i])
            pairs.append(Pair(len(documents), len(documents) + 1, chosen, rejected))
            documents += self.pairs[i]
        return Row(tuple(documents), tuple(pairs))


class OpinionFeed(PreferenceFeed):
    """Answers that were liked or not, each beside its contrast: the same prompt with the answer to the next one."""

    def __init__(
        self, answers: Sequence[tuple[Document, bool]], *, sequence_length: int, digest: str, seed: int
    ) -> None:
        documents = [document for document, _ in answers]
        others = [*documents[1:], *documents[:1]]
        pairs = [(a, _contrast(a, b, sequence_length)) for a, b in zip(documents, others, strict=True)]
        super().__init__(pairs, sequence_length=sequence_length, digest=digest, seed=seed)
        self._is_desirable = [label for _, label in answers]

    def row(self, index: int) -> Row:
        """Return the answers of a row."""
        assert self.reference is not None
        opinions = []
        for place, i in enumerate(self._bins[index]):
            answer, contrast = (float(x) for x in self.reference[i])
            opinions.append(Opinion(place, self._is_desirable[i], answer, self.pairs[i][1], contrast))
        return Row(tuple(self.pairs[i][0] for i in self._bins[index]), opinions=tuple(opinions))


def open_feed(
    method: str,
    datasets: Sequence[tuple[Path, Manifest]],
    tokenizer: Tokenizer,
    *,
    shard_files: ShardFiles,
    sequence_length: int,
    digest: str,
    seed: int,
    image: ImageInput | None = None,
) -> Feed:
    """Open the training split of all datasets as one feed; text comes from `shard_files`, rows from the folders.

    `image` says how the model takes images, if it does.

    Raises: InvalidRequest for rows of the wrong form, FailedPrecondition DATASET_EMPTY, DataLoss.
    """
    feed: Feed
    if method in {"cpt", "pretrain"}:
        shards = [shard for _, manifest in datasets for shard in split_shards(manifest, "train")]
        stream = TextStream(shards, shard_files, digest=digest, seed=seed)
        feed = TextFeed(stream, sum(split_tokens(manifest, "train") for _, manifest in datasets))
    elif method in {"sft", "distill"}:
        documents = []
        for folder, _ in datasets:
            images = Images(folder, image, tokenizer) if image else None
            for number, row in enumerate(_read_rows(folder / "train" / "rows.jsonl")):
                document = _conversation(row, number, tokenizer, sequence_length, images)
                documents += [document] if document else []
        feed = ChatFeed(documents, sequence_length=sequence_length, digest=digest, seed=seed)
    elif method == "kto":
        rows = _all_rows(datasets)
        answers = [a for n, row in enumerate(rows) for a in _opinions(row, n, tokenizer, sequence_length)]
        feed = OpinionFeed(answers, sequence_length=sequence_length, digest=digest, seed=seed)
    else:
        rows = _all_rows(datasets)
        pairs = [p for n, row in enumerate(rows) if (p := _pair(row, n, tokenizer, sequence_length))]
        feed = PreferenceFeed(pairs, sequence_length=sequence_length, digest=digest, seed=seed)
    if not len(feed):
        raise FailedPrecondition(
            f"no row of the datasets can be learned from within {sequence_length} tokens; "
            "curate more documents or raise recipe.sequence_length",
            reason="DATASET_EMPTY",
        )
    return feed


def heldout_pairs(folders: Sequence[Path], tokenizer: Tokenizer, *, sequence_length: int) -> list[Row]:
    """Return the pairs that were held out, one a row, without reference.

    Raises: InvalidRequest for rows of another form.
    """
    rows = [row for folder in folders for row in _read_rows(folder / "heldout" / "rows.jsonl")]
    pairs = [p for n, row in enumerate(rows) if (p := _pair(row, n, tokenizer, sequence_length))]
    return [Row(pair, (Pair(0, 1, 0.0, 0.0),)) for pair in pairs]


def read_conversations(folders: Sequence[Path]) -> list[list[Message]]:
    """Return the conversations of the training splits, in order.

    Raises: InvalidRequest for rows of another form.
    """
    rows = [row for folder in folders for row in _read_rows(folder / "train" / "rows.jsonl")]
    return [_messages(row, number) for number, row in enumerate(rows)]


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise InvalidRequest(f"{path.name} line {number} is not a JSON object", reason="SOURCE_INVALID")
            yield row


def _all_rows(datasets: Sequence[tuple[Path, Manifest]]) -> list[dict[str, Any]]:
    return [row for folder, _ in datasets for row in _read_rows(folder / "train" / "rows.jsonl")]


def _conversation(
    row: dict[str, Any], number: int, tokenizer: Tokenizer, limit: int, images: Images | None
) -> Document | None:
    """Return a conversation cut to the limit; None if nothing of it is left to learn, or an image would be cut.

    A row may say with `weight` how much it counts, 1 if it does not.
    """
    messages = _messages(row, number)
    places: tuple[Image, ...] = ()
    if images is not None:
        messages, files = images.write_out(messages)
    elif has_images(messages):
        raise InvalidRequest("the rows hold images, and the model takes none", reason="SOURCE_INVALID")
    ids, mask = tokenizer.render_chat_with_mask(messages)
    if images is not None:
        places = images.place(np.array(ids, np.int64), files)
    weights = np.array(mask[:limit], np.float32) * np.float32(row.get("weight", 1.0))
    weights[:1] = 0  # nothing comes before the first token
    is_whole = all(image.end <= limit for image in places)
    return Document(np.array(ids[:limit], np.int64), weights, places) if weights.any() and is_whole else None


def _pair(row: dict[str, Any], number: int, tokenizer: Tokenizer, limit: int) -> tuple[Document, Document] | None:
    """Return both conversations; None if one is too long, since a cut answer is not the one that was judged."""
    prompt, answers = row.get("prompt"), (row.get("chosen"), row.get("rejected"))
    if not _are_messages(prompt) or not all(isinstance(a, str) for a in answers):
        raise _wrong_form(number, "must hold the list `prompt` and the texts `chosen` and `rejected`")
    chosen, rejected = (_answer(prompt, str(answer), tokenizer) for answer in answers)
    return (chosen, rejected) if _fits(chosen, limit) and _fits(rejected, limit) else None


def _opinions(row: dict[str, Any], number: int, tokenizer: Tokenizer, limit: int) -> list[tuple[Document, bool]]:
    """Return the judged answers of a row: one with its label, or both of a pair; too long ones are left out."""
    prompt, label = row.get("prompt"), row.get("label")
    judged = [(row.get("chosen"), True), (row.get("rejected"), False)]
    if "completion" in row:
        judged = [(row["completion"], label)] if isinstance(label, bool) else [(None, False)]
    if not _are_messages(prompt) or not all(isinstance(answer, str) for answer, _ in judged):
        form = "`completion` and its truth value `label`, or `chosen` and `rejected`"
        raise _wrong_form(number, f"must hold the list `prompt` and either {form}")
    documents = [(_answer(prompt, str(answer), tokenizer), liked) for answer, liked in judged]
    return [(document, liked) for document, liked in documents if _fits(document, limit)]


def _answer(prompt: list[Message], answer: str, tokenizer: Tokenizer) -> Document:
    """Return a conversation of which the last answer counts; earlier turns of the assistant are part of the prompt."""
    ids, mask = tokenizer.render_chat_with_mask([*prompt, {"role": "assistant", "content": answer}])
    weights = np.array(mask, np.float32)
    weights[: len(tokenizer.render_chat(prompt, add_generation_prompt=True))] = 0
    return Document(np.array(ids, np.int64), weights)


def _fits(document: Document, limit: int) -> bool:
    return len(document.ids) <= limit and bool(document.weights.any())


def _contrast(prompt: Document, answer: Document, limit: int) -> Document:
    """Return the prompt of one document with the answer of another, cut to the limit."""
    opening, start = int(prompt.weights.argmax()), int(answer.weights.argmax())
    ids = np.concatenate((prompt.ids[:opening], answer.ids[start:]))
    weights = np.concatenate((prompt.weights[:opening], answer.weights[start:]))
    return Document(ids[:limit], weights[:limit])


def _messages(row: dict[str, Any], number: int) -> list[Message]:
    messages = row.get("messages")
    if not _are_messages(messages):
        raise _wrong_form(number, "lacks the list `messages`")
    return messages


def _wrong_form(number: int, what: str) -> InvalidRequest:
    return InvalidRequest(f"row {number} {what}", reason="SOURCE_INVALID", field=f"rows[{number}]")


def _are_messages(value: object) -> TypeGuard[list[Message]]:
    return isinstance(value, list) and all(isinstance(message, dict) and "role" in message for message in value)


def _row(sample: Sample) -> Row:
    tokens, pieces = sample.tokens.astype(np.int64), sample.pieces
    weights = np.ones(len(tokens), np.float32)
    weights[pieces[:, 0]] = 0  # nothing comes before the first token of a piece
    ends = [(offset, offset + length) for offset, length in pieces.tolist()]
    return Row(tuple([Document(tokens[start:end], weights[start:end]) for start, end in ends]))
