"""How finely tokenizers cut the text of each format, language and source; as rows, and as a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from bessemer.api.data.v1.dataset_job_pb2 import Fertility, FertilityRow, TrainedTokenizer
from bessemer.artifacts.report import Report

from data_svc.domain.tokenizer_training import source_group
from data_svc.worker.tokens import Encoder

__all__ = ["fertility_page", "measure"]

_BATCH = 256
_ROWS_PER_GROUP_MAX = 20


def measure(
    texts: Iterable[tuple[str, str]], records: Mapping[str, Mapping[str, str]], tokenizers: Mapping[str, Path]
) -> list[FertilityRow]:
    """Return the fertility of each tokenizer, by label, on texts given as (document id, text).

    `records` holds each document's `format`, `language` and `source`. Special tokens are ordinary text.
    """
    encoders = [Encoder(path) for path in tokenizers.values()]
    sums: dict[tuple[str, str], npt.NDArray[np.int64]] = defaultdict(lambda: np.zeros(2 + len(encoders), np.int64))
    stream = iter(texts)
    while batch := list(islice(stream, _BATCH)):
        encoded = [text.encode() for _, text in batch]
        counts = [[len(ids) - bool(encoder.eos) for ids in encoder.encode(encoded)] for encoder in encoders]
        for number, (name, text) in enumerate(batch):
            one = np.array([len(encoded[number]), len(text.split()), *(column[number] for column in counts)])
            record = records[name]
            sums["all", ""] += one
            for group in ("format", "language"):
                sums[group, record[group]] += one
            sums["source", source_group(record["source"])] += one
    rows: dict[str, list[FertilityRow]] = defaultdict(list)
    for (group, value), total in sorted(sums.items(), key=lambda item: (-int(item[1][0]), item[0])):
        rows[group].append(_row(group, value, [int(n) for n in total], list(tokenizers)))
    groups = ("all", "format", "language", "source")
    return [row for group in groups for row in rows[group][:_ROWS_PER_GROUP_MAX]]


def _row(group: str, value: str, total: list[int], labels: list[str]) -> FertilityRow:
    size, words, *tokens = total
    return FertilityRow(
        group=group,
        value=value,
        bytes=size,
        words=words,
        tokenizers=[
            Fertility(
                label=label,
                tokens=count,
                bytes_per_token=size / max(count, 1),
                tokens_per_word=count / max(words, 1),
            )
            for label, count in zip(labels, tokens, strict=True)
        ],
    )


def fertility_page(result: TrainedTokenizer, examples: Sequence[str]) -> str:
    """Return the report; `examples` are tokens that were learned, as people read them."""
    report = Report("Tokenizer")
    report.numbers(
        {
            "tokens": result.vocabulary_size,
            "added": result.added_tokens or None,
            "bytes learned from": result.sample_bytes,
        }
    )
    if result.HasField("verdict"):
        report.heading("Is the extension worth it?")
        report.paragraph(f"{'Yes' if result.verdict.worth_it else 'No'}: {result.verdict.reason}.")
    report.heading(f"Fertility on the {result.measured_split} split")
    report.paragraph("More bytes for each token, and fewer tokens for each word, make texts shorter for the model.")
    for group in ("all", "format", "language", "source"):
        rows = [row for row in result.rows if row.group == group]
        if not rows:
            continue
        labels = [one.label for one in rows[0].tokenizers]
        report.heading("All text" if group == "all" else f"By {group}", 3)
        header = [group, "bytes"]
        header += [f"{label}: {unit}" for unit in ("bytes per token", "tokens per word") for label in labels]
        report.table(
            header,
            [
                (
                    row.value or "unknown" if group != "all" else "all",
                    row.bytes,
                    *(round(one.bytes_per_token, 3) for one in row.tokenizers),
                    *(round(one.tokens_per_word, 3) for one in row.tokenizers),
                )
                for row in rows
            ],
        )
    if examples:
        report.heading("Longest of the first tokens that were learned")
        report.quote("\n".join(examples))
    return report.html()
