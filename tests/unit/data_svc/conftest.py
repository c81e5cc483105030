from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from bessemer.artifacts.blobs import Blobs
from bessemer.svckit.objects_files import FileObjects
from data_svc.domain.recipes import Recipe
from data_svc.worker.batches import batches, write_table
from data_svc.worker.documents import Documents
from data_svc.worker.operators import annotate, operators_of
from data_svc.worker.sandbox import ParsedDocument
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = ("steel", "iron", "furnace", "slag", "blast", "pig", "coke", "ore", "lime", "heat")
WORDS += ("rail", "beam", "plate", "forge", "melt", "cast", "pour", "ladle", "vessel", "air")


def prose(seed: int, words: int = 120) -> str:
    """Text that no other seed makes, with sentences and paragraphs."""
    rng = random.Random(seed)
    sentences = []
    while sum(map(len, sentences)) < words * 6:
        body = " ".join(f"{rng.choice(WORDS)}{rng.randrange(100) if rng.random() < 0.3 else ''}" for _ in range(9))
        sentences.append(body.capitalize() + ".")
    return "\n\n".join(" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4))


def metadata(number: int) -> str:
    licenses = ("MIT", "Apache-2.0", "BSD-3-Clause", "MPL-2.0")
    return (
        f"Metadata-Version: 2.4\nName: package-{number}\nVersion: {number}.{number % 7}.1\n"
        f"Summary: Tool number {number} for {WORDS[number % 20]} and {WORDS[number % 13]}\n"
        f"License: {licenses[number % 4]}\nRequires-Python: >=3.{number % 6 + 7}\n"
        f"Project-URL: Homepage, https://example.org/{number}\nClassifier: A\nClassifier: B\n\n{prose(number)}\n"
    )


def documents_of(texts: list[str], folder: Path) -> Documents:
    """The texts as one partition, with their numbers as sources."""
    folder.mkdir(parents=True, exist_ok=True)
    items = ((n, ParsedDocument(f"{n}", "text", text.encode(), len(text), 0)) for n, text in enumerate(texts))
    if texts:
        annotated = (annotate(batch, operators_of(Recipe())) for batch in batches(items))
        write_table(folder / "0.arrow", annotated)
    return Documents.of([folder / "0.arrow"][: len(texts)], [np.arange(len(texts))][: len(texts)])


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|im_end|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([prose(seed) for seed in range(20)], trainer)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(FileObjects(tmp_path / "objects"), "p")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A folder of forty good documents of several formats."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for number in range(40):
        ending = ("md", "txt", "rst", "html")[number % 4]
        text = prose(number)
        if ending == "html":
            text = "<html><body><h1>T</h1>" + "".join(f"<p>{p}</p>" for p in text.split("\n\n")) + "</body></html>"
        (folder / f"{number:02d}.{ending}").write_text(text)
    return folder
