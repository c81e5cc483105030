"""Read interleaved sources with Hugging Face datasets; started by `bench_mixture.py` with the peer's own Python.

Arguments: a JSON file of `{"shares", "rows", "seed"}`, and the file for the list of the sources of all rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from datasets import IterableDataset, interleave_datasets


def main() -> None:
    """Read as many rows as asked, and write where they came from."""
    task = json.loads(Path(sys.argv[1]).read_text())
    parts = [
        IterableDataset.from_generator(numbers, gen_kwargs={"source": source, "rows": task["rows"]})
        for source in range(len(task["shares"]))
    ]
    mixed = interleave_datasets(parts, probabilities=task["shares"], seed=task["seed"])
    Path(sys.argv[2]).write_text(json.dumps([row["source"] for row in islice(mixed, task["rows"])]))


def numbers(source: int, rows: int) -> Iterator[dict[str, int]]:
    """Yield rows that say where they come from."""
    for row in range(rows):
        yield {"source": source, "row": row}


if __name__ == "__main__":
    main()
