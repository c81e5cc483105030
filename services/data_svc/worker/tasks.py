"""What a process does with one partition. A task is JSON, `{"kind", "out", ...}`, and its result the file `out`.

`read`: `files` (path, file, bytes, format; or a rejection), `recipe` -> a partition file, see `batches`.
`tokenize`: `partition`, `rows` to encode, `tokenizer` -> a file of one column, `tokens`: the ids of each of these rows.
`score`: `partition`, `rows`, `weights` of a classifier -> a file of one column, `accept_probability` of these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from data_svc.domain.formats import Format
from data_svc.domain.reasons import Reason, Rejection
from data_svc.domain.recipes import Recipe
from data_svc.worker import classifier
from data_svc.worker.archives import SourceFile
from data_svc.worker.batches import Item, batches, places, write_table
from data_svc.worker.operators import annotate, operators_of
from data_svc.worker.sandbox import Sandbox
from data_svc.worker.slices import Numbers, Slices
from data_svc.worker.tokens import Encoder

__all__ = ["READ_VERSION", "SCORE_VERSION", "TOKENIZE_VERSION", "Tools"]

READ_VERSION = 3  # to be raised with every change of what parsers return
TOKENIZE_VERSION = 1
SCORE_VERSION = 1
_ENCODED_BYTES = 1 << 20  # of text at once; the ids of more would be most of the memory of a process
Say = Callable[[str], None]


class Tools:
    """What a process keeps from task to task: a parser in its sandbox, and a tokenizer."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._sandbox: Sandbox | None = None
        self._encoders: dict[str, Encoder] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sandbox is not None:
            self._sandbox.__exit__(kind, error, trace)

    def perform(self, task: Mapping[str, Any], say: Say) -> None:
        """Carry out a task; `say` hears where it is, often."""
        perform = {"read": self._read, "tokenize": self._tokenize, "score": _score}[task["kind"]]
        write_table(Path(task["out"]), perform(task, say))

    def _read(self, task: Mapping[str, Any], say: Say) -> Iterator[pa.RecordBatch]:
        recipe = Recipe(**{**task["recipe"], "redact": tuple(task["recipe"]["redact"])})
        if self._sandbox is None:
            self._sandbox = Sandbox(self._scratch, rows=recipe.kind != "TEXT")
        operators = operators_of(recipe)
        for batch in batches(_parsed(task["files"], self._sandbox, say)):
            yield annotate(batch, operators)

    def _tokenize(self, task: Mapping[str, Any], say: Say) -> Iterator[pa.RecordBatch]:
        path, name = Path(task["partition"]), task["tokenizer"]
        encoder = self._encoders.get(name) or self._encoders.setdefault(name, Encoder(Path(name)))
        rows = np.array(task["rows"], np.int64)
        texts = _texts(path, rows)
        for batch in texts.batches(np.arange(len(rows)), _ENCODED_BYTES):
            say(path.name)
            ids = [found.tobytes() for found in encoder.encode(texts.read(batch))]
            yield pa.RecordBatch.from_pydict({"tokens": pa.array(ids, pa.large_binary())})


def _score(task: Mapping[str, Any], say: Say) -> Iterator[pa.RecordBatch]:
    path, rows = Path(task["partition"]), np.array(task["rows"], np.int64)
    weights, texts = np.load(task["weights"]), _texts(path, rows)
    for batch in texts.batches(np.arange(len(rows))):
        say(path.name)
        found = classifier.score(*classifier.features(texts.read(batch)), weights)
        yield pa.RecordBatch.from_pydict({"accept_probability": pa.array(found)})


def _texts(path: Path, rows: Numbers) -> Slices:
    starts, sizes = (column[rows] for column in places(path, "text"))
    return Slices([path], np.zeros(len(rows), np.int64), starts, sizes)


def _parsed(files: list[list[Any]], sandbox: Sandbox, say: Say) -> Iterator[Item]:
    for number, (path, file, size_bytes, what, *detail) in enumerate(files):
        say(path)
        if detail:
            yield number, Rejection(path, Reason(what), detail[0], size_bytes)
        else:
            for item in sandbox.parse(SourceFile(path, Path(file), size_bytes, Format(what))):
                yield number, item
