"""The documentation and metadata inside the installed packages: real, licensed, and on every machine."""

from __future__ import annotations

import json
import sysconfig
import tarfile
from pathlib import Path

import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.artifacts.manifest import fetch, read_manifest
from data_svc.domain.recipes import Recipe
from data_svc.worker.curate import curate

FORMATS = {".md", ".rst", ".txt", ".html"}


@pytest.mark.slow
def test_installed_documentation_becomes_texts_and_questions(
    tmp_path: Path, tokenizer_path: Path, blobs: Blobs
) -> None:
    packages = Path(sysconfig.get_paths()["purelib"])
    archive = tmp_path / "docs.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        for path in sorted(packages.rglob("*")):
            if path.is_file() and (path.suffix in FORMATS or path.name == "METADATA"):
                target.add(path, str(path.relative_to(packages)))
    result = curate([archive], Recipe(), tokenizer_path, blobs)
    counts = {count.reason: count.documents for count in result.reasons}
    assert counts["kept"] > 150
    assert counts["kept"] + counts["TOO_SHORT"] + counts["EXACT_DUPLICATE"] + counts["NEAR_DUPLICATE"] > 0.98 * sum(
        counts.values()
    ), "the default profile keeps real documents"
    texts = fetch(blobs, read_manifest(blobs, result.manifest), tmp_path / "texts")
    chat = curate([], Recipe(kind="CHAT"), None, blobs, texts=texts)
    folder = fetch(blobs, read_manifest(blobs, chat.manifest), tmp_path / "chat")
    questions = [json.loads(line) for line in (folder / "heldout/questions.jsonl").read_text().splitlines()]
    assert len(questions) > 50
    assert {"version", "license", "summary"} <= {question["attribute"] for question in questions}
