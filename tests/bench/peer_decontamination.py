"""Run the n-gram decontamination filter of datatrove; started by `bench_decontamination.py` with the peer's own Python.

Arguments: JSON Lines of `{"text"}` of cases, the same of documents, and the file for `{"seconds", "found"}`.
The indexer is passed over, because it asks for lighteval; it would hash the same runs of words in the same way.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.decont import NGramsDecontConfig, NGramsDecontFilter
from datatrove.utils.text import ngrams, simplify_text

WORDS = 13


def main() -> None:
    """Filter every document, and write the CPU seconds that took and which were found."""
    cases, documents = (
        [json.loads(line)["text"] for line in Path(path).read_text().splitlines()] for path in sys.argv[1:3]
    )
    chosen = NGramsDecontFilter(str(Path(sys.argv[3]).parent), config=NGramsDecontConfig(n_grams=WORDS))
    chosen._index_hashes = {}
    for case in cases:
        tokens = chosen.tokenizer.word_tokenize(simplify_text(case, chosen.config.norm_config))
        for run in ngrams(tokens, WORDS):
            chosen._index_hashes[chosen.hash_func(" ".join(run))] = "suite"
    begin = time.process_time()
    found = [chosen.filter(Document(text=text, id="")) is not True for text in documents]
    Path(sys.argv[3]).write_text(json.dumps({"seconds": time.process_time() - begin, "found": found}))


if __name__ == "__main__":
    main()
