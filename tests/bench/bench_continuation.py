"""Continued pre-training with and without replay: what a domain gains and general text loses, on a tiny language model.

A model of 0.4 million weights learns general text (manual, licences, changelogs), then 150 steps of 1,024 tokens of
Python code, without the general text and with a share of 25 % of it mixed in again. Beside it a model of random weights
learns the same 150 steps. Perplexity on held-out documents of both. Takes about two CPU minutes.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from bessemer.api.common.v1.artifact_pb2 import ArtifactRef  # noqa: E402
from bessemer.api.data.v1.dataset_pb2 import DatasetKind  # noqa: E402
from bessemer.api.data.v1.mixture_pb2 import Mixture  # noqa: E402
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe  # noqa: E402
from bessemer.artifacts.manifest import fetch, read_manifest  # noqa: E402
from bessemer.artifacts.mixture import write_mixture  # noqa: E402
from bessemer.modeling.load import load_model  # noqa: E402
from bessemer.modeling.score import score  # noqa: E402
from bessemer.modeling.tokenizer import Tokenizer  # noqa: E402
from train_svc.worker import train  # noqa: E402
from train_svc.worker.model_folder import store_model  # noqa: E402

from tests.bench.bench_mixture_search import documents, write_tokenizer  # noqa: E402
from tests.fixtures.tiny_model import make_tiny_model  # noqa: E402
from tests.fixtures.training import Bench  # noqa: E402

GENERAL, DOMAIN = ("manual", "licences", "changelogs"), "code"
SHAPE = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_hidden_layers": 3,
    "vocab_size": 1024,
    "max_position_embeddings": 256,
    "initializer_range": 96**-0.5,
}
BASE_STEPS, STEPS, TOKENS, ROW = 400, 150, 1024, 256
REPLAYS = (0.0, 0.25)
SCORED = 20_000  # tokens of each kind


class Continuation:
    """Models, versions and held-out text in one folder."""

    def __init__(self, folder: Path) -> None:
        texts = {kind: documents(kind) for kind in (*GENERAL, DOMAIN)}
        self.bench = bench = Bench(folder)
        bench.base = make_tiny_model(folder / "base", **SHAPE)
        write_tokenizer(bench.base, texts)
        self.random = bench.model = store_model(bench.blobs, bench.base, {"license": "MIT"}).manifest
        self.general = bench.text([text for kind in GENERAL for text in texts[kind][0]], ROW)
        self.domain = bench.text(texts[DOMAIN][0], ROW)
        tokenizer = Tokenizer.from_folder(bench.base)
        held = {"general": [t for kind in GENERAL for t in texts[kind][1]], "domain": texts[DOMAIN][1]}
        self.held = {}
        for kind, pieces in held.items():
            ids = [token for text in pieces for token in tokenizer.encode(text)]
            self.held[kind] = [ids[i : i + ROW] for i in range(0, min(SCORED, len(ids)) - ROW, ROW)]

    def train(self, model: ArtifactRef | None, replay: float, *, steps: int) -> ArtifactRef:
        """Learn the domain with a share of general text, 1 being that alone; without a model from random weights."""
        recipe = TrainingRecipe(
            steps=steps, tokens_per_step=TOKENS, learning_rate=1e-3, threads=1, dtype="fp32",
            sequence_length=ROW, checkpoint_every_steps=100_000,
        )  # fmt: skip
        (recipe.cpt if model else recipe.pretrain).SetInParent()
        self.bench.model = model or self.random
        parts = [(self.domain, 1 - replay), (self.general, replay)]
        used = [(ref, share) for ref, share in parts if share]
        job = self.bench.job(recipe, *(ref for ref, _ in used))
        job.inputs.mixture.CopyFrom(self._mixture(used))
        context, _ = self.bench.context(job)
        context.check = lambda: None  # no service is there whose lease could lapse
        manifest: ArtifactRef = train.run(context).result.manifest
        return manifest

    def perplexity(self, model: ArtifactRef) -> dict[str, float]:
        """Return the perplexity on held-out text, by kind."""
        folder = Path(tempfile.mkdtemp(dir=self.bench.folder))
        loaded = load_model(fetch(self.bench.blobs, read_manifest(self.bench.blobs, model), folder))
        found = {}
        for kind, rows in self.held.items():
            parts = score(loaded, rows)
            found[kind] = math.exp(-sum(float(p.sum()) for p in parts) / sum(map(len, parts)))
        return found

    def _mixture(self, parts: list[tuple[ArtifactRef, float]]) -> ArtifactRef:
        mixture = Mixture(kind=DatasetKind.DATASET_KIND_TEXT, sequence_length=ROW)
        for number, (ref, _) in enumerate(parts):
            splits: Any = read_manifest(self.bench.blobs, ref).facts["splits"]
            mixture.components.add(dataset_version=f"v{number}", manifest=ref, epochs_max=4, **splits["train"])
        mixture.phases.add(share=1, weights=[share for _, share in parts])
        return write_mixture(self.bench.blobs, mixture)


def main() -> None:
    """Measure, print the table, write `build/bench/continuation.json`."""
    with tempfile.TemporaryDirectory() as name:
        bench = Continuation(Path(name))
        base = bench.train(None, 1.0, steps=BASE_STEPS)
        start = bench.perplexity(base)
        print(f"base {start}", flush=True)
        rows = []
        for replay in REPLAYS:
            begin = time.process_time()
            after = bench.perplexity(bench.train(base, replay, steps=STEPS))
            print(f"replay {replay:.0%} {after}, {time.process_time() - begin:.0f} CPU seconds", flush=True)
            limits = (-0.6, 0.2) if replay == 0.25 else (None, None)
            for kind, limit in zip(("domain", "general"), limits, strict=True):
                change = after[kind] / start[kind] - 1
                rows.append(row(f"replay {replay:.0%}: perplexity of {kind} text, change", change, limit))
            if replay == 0.0:
                continued = after
        scratch = bench.perplexity(bench.train(None, 0.0, steps=STEPS))
        ratio = scratch["domain"] / continued["domain"]
        rows.append(row("perplexity of domain text from random weights over continued, the same steps", ratio, 2.0))
    path = ROOT / "build" / "bench" / "continuation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for each in rows:
        print(f"{each['metric']:80} ours {each['ours']}  limit {each['limit']}")
    print(f"torch {torch.__version__}, one thread; wrote {path.relative_to(ROOT)}")


def row(metric: str, ours: float, limit: float | None) -> dict[str, Any]:
    return {"metric": metric, "ours": round(ours, 3), "peer": None, "ratio": None, "limit": limit, "goal": None}


if __name__ == "__main__":
    main()
