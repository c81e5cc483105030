"""Memory and time of imports that are hostile by their size: a 64 MB text, a line of 1 GB, 100,000 empty files.

Memory is the peak of one process, per sort of process: the worker, those that read partitions, and the parsers in
their sandboxes. Cost is in CPU seconds of all processes together. No peer: others have no sandbox to compare with.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services")]

from bessemer.artifacts.blobs import Blobs  # noqa: E402
from bessemer.svckit.objects_files import FileObjects  # noqa: E402
from data_svc.domain.recipes import Recipe  # noqa: E402
from data_svc.worker.curate import curate  # noqa: E402
from data_svc.worker.heap import give_memory_back  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

LIMIT_MB = 450
SORTS = ("worker", "bessemer.jobs.element", "parser_child")
SAMPLE_S = 0.2
EMPTY_FILES = 100_000


class Peaks:
    """The peak memory of this process and of all below it, sampled; MB by sort."""

    def __init__(self) -> None:
        self.mb: Counter[str] = Counter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(SAMPLE_S):
            for process in _below(os.getpid()):
                self._sample(process)

    def _sample(self, process: int) -> None:
        try:
            command = Path(f"/proc/{process}/cmdline").read_text()
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            return
        sort = next((name for name in SORTS[1:] if name in command), SORTS[0])
        peak = status.partition("VmHWM:")[2].split(maxsplit=1)
        if peak:
            self.mb[sort] = max(self.mb[sort], int(peak[0]) // 1000)


def _below(process: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def main() -> None:
    """Measure, print the table, write `build/bench/bad_input.json`."""
    rows = []
    for name, make in (("64 MB text and a line of 1 GB", large), ("100,000 empty files", empty)):
        with tempfile.TemporaryDirectory() as folder:
            source = make(Path(folder))
            cpu, peaks, reasons = run(source, Path(folder))
        print(f"{name}: {reasons}")
        rows.append({"metric": f"{name}, CPU-s", "ours": round(cpu, 1), "peer": None, "goal": None})
        for sort in SORTS:
            label = {"bessemer.jobs.element": "reader of a partition", "parser_child": "parser"}.get(sort, sort)
            goal = f"<= {LIMIT_MB}" if sort != "parser_child" else None
            rows.append({"metric": f"{name}, peak MB of {label}", "ours": peaks[sort], "peer": None, "goal": goal})
    out = ROOT / "build" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "bad_input.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['metric']:60} {row['ours']:>8} {row.get('goal') or ''}")


def run(source: Path, folder: Path) -> tuple[float, Counter[str], dict[str, int]]:
    """Return CPU seconds, peaks in MB and what became of the documents."""
    give_memory_back()  # as the worker's entry does
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    sentence = _sentences(7)
    tokenizer.train_from_iterator([sentence() for _ in range(2000)], trainer)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    recipe = Recipe(heldout_fraction=0.3)
    blobs = Blobs(FileObjects(folder / "objects"), "p")
    before = _cpu()
    with Peaks() as peaks:
        result = curate([source], recipe, folder / "tokenizer.json", blobs, workers=2)
    return _cpu() - before, peaks.mb, {count.reason: count.documents for count in result.reasons}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def large(folder: Path) -> Path:
    """Write a text of 64 MB, a line of 1 GB between two others, and enough good documents."""
    source = folder / "large"
    source.mkdir()
    sentence = _sentences(7)
    with (source / "text.txt").open("w") as file:
        while file.tell() < 64_000_000:
            file.write(sentence())
    with (source / "line.txt").open("wb") as file:
        file.write(sentence().encode() * 5 + b"\n")
        for _ in range(1000):
            file.write(b"steel " * 166_667)
        file.write(b"\n" + sentence().encode() * 5)
    _good(source)
    return source


def empty(folder: Path) -> Path:
    """Write an archive of empty files, as the command packs a folder, beside good documents."""
    source = folder / "empty"
    source.mkdir()
    with tarfile.open(source / "empty.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for number in range(EMPTY_FILES):
            archive.addfile(tarfile.TarInfo(f"folder/{number % 100}/{number}.txt"))
    _good(source)
    return source


def _good(source: Path) -> None:
    for number in range(20):
        sentence = _sentences(number + 100)
        (source / f"good-{number}.txt").write_text("".join(sentence() for _ in range(20)))


def _sentences(seed: int) -> Callable[[], str]:
    chance = random.Random(seed)
    words = ["".join(chance.choices("abcdefghiklmnoprstuvw", k=chance.randrange(2, 11))) for _ in range(50_000)]
    return lambda: " ".join(chance.choices(words, k=chance.randrange(5, 25))).capitalize() + ".\n"


if __name__ == "__main__":
    main()
