"""One parser over files, in its own environment. Usage: peer_parsing.py NAME FILES.json TAKEN.json."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    """Parse every file and keep the time and the texts; the first file is parsed once before."""
    name, given, taken = sys.argv[1:]
    files = [Path(file) for file in json.loads(Path(given).read_text())]
    if name == "write":
        write(files, Path(taken).parent / "docx")
        return
    parse = {"trafilatura": web, "python-docx": paragraphs, "markitdown": markdown}[name]()
    parse(files[0])
    begin = time.process_time()
    texts = [parse(file) for file in files]
    Path(taken).write_text(json.dumps({"seconds": time.process_time() - begin, "texts": texts}))


def web() -> Callable[[Path], str]:
    import trafilatura

    return lambda file: trafilatura.extract(file.read_bytes(), output_format="markdown", include_tables=True) or ""


def paragraphs() -> Callable[[Path], str]:
    import docx

    return lambda file: "\n\n".join(paragraph.text for paragraph in docx.Document(str(file)).paragraphs)


def markdown() -> Callable[[Path], str]:
    from markitdown import MarkItDown

    converter = MarkItDown(enable_plugins=False)
    return lambda file: converter.convert(str(file)).text_content


def write(files: list[Path], folder: Path) -> None:
    """Make a Word file of each text: a heading where a line is underlined, paragraphs else."""
    import docx

    for number, file in enumerate(files):
        document = docx.Document()
        for block in re.split(r"\n\s*\n", file.read_text()):
            heading = re.search(r"\n([=*\-~^])\1{2,}\s*$", block)
            text = " ".join(block.split())
            document.add_heading(text, 2) if heading else document.add_paragraph(text)
        document.save(str(folder / f"{number}.docx"))
    Path(sys.argv[3]).write_text(json.dumps({"seconds": 0.0, "texts": []}))


if __name__ == "__main__":
    main()
