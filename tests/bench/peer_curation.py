"""Run the filters of datatrove over documents; started by `bench_curation.py` with the peer's own Python.

Arguments: JSON Lines of `{"text"}`, and the file for `{"seconds", "verdicts", "gates"}`: an empty verdict keeps;
`gates` has one verdict of every filter by itself, FineWeb over what C4 leaves.
The filters are called as the FineWeb pipeline does, in its order, without executor, readers or language filter.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)


def main() -> None:
    """Filter every document, and write the CPU seconds that took and the verdicts."""
    texts = [json.loads(line)["text"] for line in Path(sys.argv[1]).read_text().splitlines()]
    filters = [
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
    ]
    warm = Document(text="The cat sat on the mat. " * 30, id="warm")
    for chosen in filters:
        chosen.filter(warm)
    begin = time.process_time()
    verdicts = [verdict(text, filters) for text in texts]
    seconds = time.process_time() - begin
    gates = [[verdict(text, [chosen]) for chosen in filters[:3]] for text in texts]
    for text, found in zip(texts, gates, strict=True):
        found.append(verdict(text, filters[2:]) if not found[2] else "")  # FineWeb reads what C4 leaves
    Path(sys.argv[2]).write_text(json.dumps({"seconds": seconds, "verdicts": verdicts, "gates": gates}))


def verdict(text: str, filters: list) -> str:
    document = Document(text=text, id="")
    for chosen in filters:
        found = chosen.filter(document)
        if found is not True:
            return found[1] if isinstance(found, tuple) else type(chosen).__name__
    return ""


if __name__ == "__main__":
    main()
