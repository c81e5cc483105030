"""The search for shares of a mixture: how well its law ranks mixtures, what it costs, and whether the proposal helps.

Four kinds of real text: code of Python's library, the manual of the Linux kernel, licences, changelogs. 28 small models
and four pairs of larger ones go through the real worker, one thread. The peer is a line fitted in the same way, with
which regression on shares begins; both foretell every model of the swarm from the others. What the swarm costs is
counted in CPU seconds of this process. Needs `apt-get install linux-doc-6.1`; takes about five CPU minutes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef  # noqa: E402
from bessemer.api.data.v1.dataset_pb2 import DatasetKind  # noqa: E402
from bessemer.api.data.v1.mixture_pb2 import Mixture  # noqa: E402
from bessemer.api.train.v1.mixture_job_pb2 import (  # noqa: E402
    MixtureJob,
    MixtureJobInputs,
    MixtureRun,
    MixtureTarget,
    MixtureVerdict,
)
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe  # noqa: E402
from bessemer.artifacts.manifest import read_manifest  # noqa: E402
from bessemer.artifacts.mixture import write_mixture  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # noqa: E402
from train_svc.domain.mixture_law import left_out, rank_correlation  # noqa: E402
from train_svc.domain.mixture_proposal import summarise  # noqa: E402
from train_svc.domain.mixture_search import natural_shares, resolve_search  # noqa: E402
from train_svc.worker import mixture_search  # noqa: E402
from train_svc.worker.model_folder import store_model  # noqa: E402

from tests.fixtures.tiny_model import make_tiny_model  # noqa: E402
from tests.fixtures.training import Bench  # noqa: E402

DOCUMENTS = Path("/usr/share/doc")
CHARACTERS = {"code": 900_000, "manual": 600_000, "licences": 250_000, "changelogs": 250_000}
HELD_OUT = 60_000  # characters of each
DOCUMENT, ROW, VOCABULARY = 4_000, 256, 1024
PROXIES, PAIRS = 28, 4
RIDGE = 1e-2


def main() -> None:
    """Measure, print the table, write `build/bench/mixture_search.json`."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        texts = {kind: documents(kind) for kind in CHARACTERS}
        job, mixture = job_of(bench, texts)
        context, _ = bench.context(job, kind="mixtureJobs")
        context.check = lambda: None  # no service is there whose lease could lapse
        search = mixture_search._Search(context)
        begin = time.process_time()
        while (element := search.next_element()) is not None and element.role == mixture_search.PROXY:
            search.runs.append(search.train(element))
        spent = time.process_time() - begin
        print_runs(search.runs)
        while (element := search.next_element()) is not None:
            search.runs.append(search.train(element))
        print_runs(search.runs[PROXIES:])
    report(job, mixture, search.runs, spent)


def job_of(bench: Bench, texts: dict[str, tuple[list[str], list[str]]]) -> tuple[MixtureJob, Mixture]:
    """Store model, versions and mixture; return the job over them and the mixture, in natural shares."""
    bench.base = make_tiny_model(
        bench.folder / "base", vocab_size=VOCABULARY, max_position_embeddings=ROW, initializer_range=1 / 8
    )
    write_tokenizer(bench.base, texts)
    bench.model = store_model(bench.blobs, bench.base, {"license": "MIT"}).manifest
    refs = {kind: bench.text(train, ROW, heldout) for kind, (train, heldout) in texts.items()}
    counts = {kind: splits(bench, ref)["train"] for kind, ref in refs.items()}
    whole = sum(count["tokens"] for count in counts.values())
    mixture = Mixture(kind=DatasetKind.DATASET_KIND_TEXT, sequence_length=ROW)
    for kind, ref in refs.items():
        mixture.components.add(
            dataset_version=f"projects/p/datasets/{kind}/versions/v1", manifest=ref, epochs_max=4, **counts[kind]
        )
    mixture.phases.add(share=1, weights=[count["tokens"] / whole for count in counts.values()])
    targets = [MixtureTarget(dataset_version=component.dataset_version) for component in mixture.components]
    asked = MixtureJob(
        name="projects/p/mixtureJobs/bench", mixture="projects/p/mixtures/natural", targets=targets,
        num_proxies=PROXIES, num_pairs=PAIRS, recipe=TrainingRecipe(threads=1),
    )  # fmt: skip
    job = resolve_search(asked, mixture, threads=1)
    job.inputs.CopyFrom(
        MixtureJobInputs(
            model_manifest=bench.model, mixture=write_mixture(bench.blobs, mixture), target_manifests=refs.values()
        )
    )
    return job, mixture


def write_tokenizer(folder: Path, texts: dict[str, tuple[list[str], list[str]]]) -> None:
    """Give a model folder a tokenizer that was trained on a third of the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator((t for train, _ in texts.values() for t in train[::3]), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))


def splits(bench: Bench, ref: ArtifactRef) -> dict[str, dict[str, int]]:
    found: Any = read_manifest(bench.blobs, ref).facts["splits"]
    return dict(found)


def documents(kind: str) -> tuple[list[str], list[str]]:
    """Return pieces of documents of a kind to learn from, and others that are held out."""
    read: dict[str, Callable[[], Iterable[Path]]] = {
        "code": lambda: Path(sysconfig.get_path("stdlib")).glob("*.py"),
        "manual": lambda: (DOCUMENTS / "linux-doc-6.1" / "Documentation").rglob("*.rst.gz"),
        "licences": lambda: DOCUMENTS.glob("*/copyright"),
        "changelogs": lambda: DOCUMENTS.glob("*/changelog*.gz"),
    }
    paths = sorted(read[kind](), key=lambda path: hashlib.sha256(str(path).encode()).digest())
    pieces: list[str] = []
    wanted = (CHARACTERS[kind] + HELD_OUT) // DOCUMENT
    for path in paths:
        if path.is_symlink() or len(pieces) >= wanted:
            continue
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode(errors="replace")[: 5 * DOCUMENT]
        pieces += [text[i : i + DOCUMENT] for i in range(0, len(text), DOCUMENT)]
    if len(pieces) < wanted:
        sys.exit(f"{len(pieces)} of {wanted} pieces of {kind}; needs: apt-get install linux-doc-6.1")
    random.Random(0).shuffle(pieces)
    held = HELD_OUT // DOCUMENT
    return pieces[held:wanted], pieces[:held]


def by_lines(shares: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return what a line with ridge, fitted without each run, says of it, [N, T]."""
    told = np.empty_like(losses)
    for left in range(len(shares)):
        keep = np.arange(len(shares)) != left
        middle, level = shares[keep].mean(axis=0), losses[keep].mean(axis=0)
        centred = shares[keep] - middle
        gram = centred.T @ centred
        penalty = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        told[left] = level + (shares[left] - middle) @ np.linalg.solve(
            gram + penalty, centred.T @ (losses[keep] - level)
        )
    return told


def report(job: MixtureJob, mixture: Mixture, runs: list[MixtureRun], spent: float) -> None:
    found = summarise(job, mixture, runs)
    shares = np.array([list(run.shares) for run in runs[:PROXIES]])
    losses = np.array([list(run.losses) for run in runs[:PROXIES]])
    mean = losses.mean(axis=1)
    ranks = [rank_correlation(mean, told(shares, losses).mean(axis=1)) for told in (left_out, by_lines)]
    for share, natural in zip(found.shares, natural_shares(mixture), strict=True):
        version = share.dataset_version.split("/")[3]
        print(f"{version:12} {natural:6.1%} -> {share.share:6.1%} ({share.low:.1%} to {share.high:.1%})")
    print(
        "verdict:", MixtureVerdict.Name(found.verdict), f"{found.difference_low:+.3f} to {found.difference_high:+.3f}"
    )
    print(f"foretold {found.foretold_difference:+.3f} ({found.foretold_low:+.3f} to {found.foretold_high:+.3f})")
    rows = [
        row("rank correlation of left-out small models, against a line", ranks[0], ranks[1], 0.85),
        row(f"CPU seconds of {PROXIES} small models", spent, None, 150.0),
        row(f"loss of the proposal less natural, nats, {PAIRS} pairs: mean", found.difference, None, 0.05),
        row("the same, upper end of its interval", found.difference_high, None, None),
        row("the same as foretold by the law", found.foretold_difference, None, None),
    ]
    path = ROOT / "build" / "bench" / "mixture_search.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    (path.parent / "mixture_search_runs.json").write_text(
        json.dumps([[r.role, list(r.shares), list(r.losses)] for r in runs])
    )
    for each in rows:
        print(f"{each['metric']:64} ours {each['ours']}  line {each['peer']}  limit {each['limit']}")
    print(f"torch {torch.__version__}; wrote {path.relative_to(ROOT)}")


def row(metric: str, ours: float, peer: float | None, limit: float | None) -> dict[str, Any]:
    second = None if peer is None else round(peer, 3)
    ratio = round(ours / peer, 3) if peer else None
    return {"metric": metric, "ours": round(ours, 3), "peer": second, "ratio": ratio, "limit": limit, "goal": None}


def print_runs(runs: Iterable[MixtureRun]) -> None:
    for run in runs:
        shares = " ".join(f"{share:5.1%}" for share in run.shares)
        print(f"{run.role} seed {run.seed}  {shares}  " + " ".join(f"{loss:.3f}" for loss in run.losses), flush=True)


if __name__ == "__main__":
    main()
