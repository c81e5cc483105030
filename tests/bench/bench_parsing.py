"""Documents through the sandboxed parsers, beside the bare libraries and the tools that people use for them.

Cost is in CPU seconds of this process and its children, the start of the children included. The peers run in an
environment of their own under `build/peers`. HTML is compared by words with the reST sources of the same pages; Word
files are made of such sources with python-docx.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import html_to_markdown
import pypdfium2
from bench_curation import ROOT, row
from data_svc.domain.formats import Format
from data_svc.worker.archives import SourceFile
from data_svc.worker.sandbox import ParsedDocument, Sandbox

PEERS = {
    "trafilatura": "trafilatura==2.3.1",
    "python-docx": "python-docx==1.2.0",
    "markitdown": "markitdown[docx]==0.1.9",
}
PACKAGES = "r-doc-pdf texlive-latex-base-doc python3.11-doc linux-doc-6.1 debian-policy debian-handbook"
PDF_FOLDERS = [Path("/usr/share/doc") / name for name in ("r-doc-pdf", "texlive-doc", "debian-policy")]
HTML_FOLDERS = [Path("/usr/share/doc") / name for name in ("python3.11", "linux-doc-6.1", "debian-handbook")]
SOURCES = Path("/usr/share/doc/python3.11/html/_sources")
FOLDER = ROOT / "build" / "peers" / "parsing"
BYTES_MIN, SMALL_BYTES = 100_000_000, 2_000
NUM_PEER, NUM_WORD = 150, 150
ROUNDS = 3
# What is markup and no word of the text, in Markdown and in reST.
NO_WORDS = re.compile(r"\]\([^)]*\)|<[^>]+>|^---\n.*?\n---\n|^\.\. .*$|^ +:[\w-]+:.*$|:[\w:]+:(?=`)", re.MULTILINE)


def main() -> None:
    """Measure, print the table, write `build/bench/parsing.json`."""
    missing = [str(folder) for folder in (*PDF_FOLDERS, *HTML_FOLDERS, SOURCES) if not folder.exists()]
    if missing:
        sys.exit(f"missing {', '.join(missing)}; apt-get install --no-install-recommends {PACKAGES}")
    rows = [*pdf_rows(), *html_rows(), *word_rows()]
    path = ROOT / "build" / "bench" / "parsing.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


def pdf_rows() -> list[dict[str, object]]:
    files = found(PDF_FOLDERS, ".pdf")
    ours, bare, num_pages = [], [], 0
    for _ in range(ROUNDS):
        begin = cpu()
        num_pages = sum(map(bare_pdf, files))
        bare.append(num_pages / (cpu() - begin))
        seconds, texts = run(files, Format.PDF)
        assert sum(map(bool, texts)) > 0.95 * len(files), "nearly every file gives a text; a few are pictures"
        ours.append(num_pages / seconds)
    what = f"PDF pages per CPU second in the sandbox, {len(files)} files, {num_pages:,} pages"
    mine, peer = statistics.median(ours), statistics.median(bare)
    return [row(f"{what}, against bare pypdfium2 {pypdfium2.PYPDFIUM_INFO}", mine, peer, peer, 0.9)]


def bare_pdf(file: Path) -> int:
    """Read all text of a file as the library's own example does, and return its pages."""
    document = pypdfium2.PdfDocument(file)
    for number in range(len(document)):
        page = document[number]
        text_page = page.get_textpage()
        text_page.get_text_range()
        text_page.close()
        page.close()
    num_pages = len(document)
    document.close()
    return num_pages


def html_rows() -> list[dict[str, object]]:
    files = some(found(HTML_FOLDERS, ".html"))
    size = sum(file.stat().st_size for file in files) / 1e6
    pairs = [(SOURCES.parent / f"{name}.html", source) for name, source in sources().items()]
    pages = [page for page, _ in pairs][:NUM_PEER]
    pages_size = sum(page.stat().st_size for page in pages) / 1e6
    full, bare, ours, peer = [], [], [], []
    for _ in range(ROUNDS):
        begin = cpu()
        for file in files:
            html_to_markdown.convert(file.read_bytes().decode(errors="replace"))
        bare.append(size / (cpu() - begin))
        full.append(size / run(files, Format.HTML)[0])
        seconds, texts = run(pages, Format.HTML)
        ours.append(pages_size / seconds)
        seconds, theirs = run_peer("trafilatura", pages)
        peer.append(pages_size / seconds)
    references = [words(source.read_text()) for _, source in pairs[:NUM_PEER]]
    mine, limit = statistics.median(full), statistics.median(bare)
    what = "HTML to Markdown, MB per CPU second in the sandbox"
    return [
        row(f"{what}, {len(files):,} pages, {size:.0f} MB; limit: bare html-to-markdown", mine, None, limit, 18),
        row(f"{what}, {len(pages)} pages, {pages_size:.1f} MB, against {PEERS['trafilatura']}",
            statistics.median(ours), statistics.median(peer), None, 12),
        row(f"word F1 with the reST source of {len(pages)} pages, against {PEERS['trafilatura']}",
            f1(texts, references), f1(theirs, references), 1.0, None),
        row(f"word recall of the reST source of {len(pages)} pages, against {PEERS['trafilatura']}",
            recall(texts, references), recall(theirs, references), 1.0, None),
    ]  # fmt: skip


def word_rows() -> list[dict[str, object]]:
    texts = list(sources().values())[:NUM_WORD]
    folder = FOLDER / "docx"
    folder.mkdir(parents=True, exist_ok=True)
    run_peer("write", texts)
    files = [folder / f"{number}.docx" for number in range(len(texts))]
    references = [words("\n".join(paragraphs(text.read_text()))) for text in texts]
    rates: dict[str, list[float]] = {"ours": [], "python-docx": [], "markitdown": []}
    quality = {}
    for _ in range(ROUNDS):
        for name, measured in rates.items():
            seconds, got = run(files, Format.DOCX) if name == "ours" else run_peer(name, files)
            measured.append(len(files) / seconds)
            quality[name] = f1(got, references)
    rows = []
    for name in ("python-docx", "markitdown"):
        what = f"{len(files)} Word files, against {PEERS[name]}"
        mine, peer = statistics.median(rates["ours"]), statistics.median(rates[name])
        rows += [
            row(f"Word files per CPU second in the sandbox, {what}", mine, peer, None, None),
            row(f"word F1 with what the files were made of, {what}", quality["ours"], quality[name], 1.0, None),
        ]
    return rows


def found(folders: Iterable[Path], suffix: str) -> list[Path]:
    """Return each file of a kind once."""
    paths = {path.resolve() for folder in folders for path in folder.resolve().rglob(f"*{suffix}")}
    return sorted(path for path in paths if path.is_file() and path.stat().st_size > SMALL_BYTES)


def some(files: list[Path]) -> list[Path]:
    """Return every so-manieth file, so that they have `BYTES_MIN` bytes or a little more."""
    every = max(1, sum(file.stat().st_size for file in files) // BYTES_MIN)
    return files[::every]


def sources() -> dict[str, Path]:
    """Return the reST sources by the name of their page."""
    paths = {
        str(path.relative_to(SOURCES)).removesuffix(".rst.txt"): path for path in sorted(SOURCES.rglob("*.rst.txt"))
    }
    return {name: path for name, path in paths.items() if name.startswith(("library/", "howto/"))}


def paragraphs(text: str) -> list[str]:
    return [" ".join(block.split()) for block in re.split(r"\n\s*\n", text)]


def run(files: list[Path], kind: Format) -> tuple[float, list[str]]:
    """Return the CPU seconds of the sandbox over files, and the text of each."""
    begin, texts = cpu(), []
    with tempfile.TemporaryDirectory() as scratch:
        with Sandbox(Path(scratch)) as sandbox:
            for file in files:
                parts = list(sandbox.parse(SourceFile(file.name, file, file.stat().st_size, kind)))
                texts.append(b"".join(part.text for part in parts if isinstance(part, ParsedDocument)))
        seconds = cpu() - begin  # the child is counted once it has ended
    return seconds, [text.decode() for text in texts]


def run_peer(name: str, files: list[Path]) -> tuple[float, list[str]]:
    given, taken = FOLDER / "files.json", FOLDER / "texts.json"
    python = peer_environment()
    given.write_text(json.dumps([str(file) for file in files]))
    script = Path(__file__).with_name("peer_parsing.py")
    subprocess.run([str(python), str(script), name, str(given), str(taken)], check=True)
    answer = json.loads(taken.read_text())
    return answer["seconds"], answer["texts"]


def peer_environment() -> Path:
    """Return the peers' Python, in an environment that is made when it is missing."""
    python = FOLDER / "bin" / "python"
    if not (FOLDER / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
        packages = [*PEERS.values(), "lxml_html_clean"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
        (FOLDER / ".ready").touch()
    return python


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", NO_WORDS.sub(" ", text).lower()))


def f1(texts: list[str], references: list[Counter[str]]) -> float:
    """Return the mean F1 of the words, as bags."""
    return statistics.mean(
        2 * (mine & reference).total() / (mine.total() + reference.total())
        for mine, reference in zip(map(words, texts), references, strict=True)
    )


def recall(texts: list[str], references: list[Counter[str]]) -> float:
    return statistics.mean(
        (mine & reference).total() / reference.total()
        for mine, reference in zip(map(words, texts), references, strict=True)
    )


def cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
