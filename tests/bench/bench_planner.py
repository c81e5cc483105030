"""The planner against what happened: memory and time of ten runs, and the loss of the next size of twenty.

Runs go through the real worker with one thread on real text; the model of every run is made here. Each of the ten is a
process of its own, whose clock is its CPU time, so that a busy machine does not count. Memory is foretold from the
configuration alone, by constants that were fitted to other shapes. Time is foretold from a calibration of twenty steps.
For the loss, models of growing size learn five amounts of tokens with two seeds each; the two largest sizes are
foretold from all smaller ones. Takes about eight CPU minutes. There is no peer: the goal stands in the column `limit`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from bessemer.api.train.v1.planning_pb2 import Device  # noqa: E402
from bessemer.api.train.v1.training_job_pb2 import LoraConfig, TrainingRecipe, TrainingUsage  # noqa: E402
from bessemer.modeling.load import read_json  # noqa: E402
from bessemer.modeling.score import score  # noqa: E402
from bessemer.modeling.tokenizer import Tokenizer  # noqa: E402
from google.protobuf.json_format import MessageToDict, ParseDict  # noqa: E402
from train_svc.domain.forecast import forecast, place_of  # noqa: E402
from train_svc.domain.memory import MICRO_BATCH_TOKENS, Workload, distinct_lengths, forecast_memory  # noqa: E402
from train_svc.domain.parameters import shape_of  # noqa: E402
from train_svc.domain.scaling import Run, foretell  # noqa: E402
from train_svc.domain.situation import measurement_of  # noqa: E402
from train_svc.worker import train  # noqa: E402
from train_svc.worker.model_folder import store_model  # noqa: E402

from tests.fixtures.tiny_model import make_tiny_model  # noqa: E402
from tests.fixtures.training import Bench  # noqa: E402

CORPUS = Path("/usr/share/doc/linux-doc-6.1/Documentation")
FILES_EVERY = 7
CALIBRATION_STEPS, STEPS = 20, 40
TOKENS_PER_STEP = 1024
# (hidden, intermediate, layers, heads, key heads, vocabulary), row length, adapter rank, number format
CASES: list[tuple[tuple[int, int, int, int, int, int], int, int, str]] = [
    ((128, 384, 3, 4, 2, 1024), 128, 0, "fp32"),
    ((192, 512, 6, 6, 3, 4096), 256, 0, "bf16"),
    ((320, 896, 5, 5, 5, 512), 512, 0, "fp32"),
    ((320, 896, 5, 5, 5, 512), 512, 16, "bf16"),
    ((448, 1216, 6, 7, 7, 2048), 64, 0, "bf16"),
    ((448, 1216, 6, 7, 7, 2048), 256, 8, "fp32"),
    ((256, 1024, 8, 8, 2, 16384), 128, 0, "fp32"),
    ((256, 1024, 8, 8, 2, 16384), 1024, 4, "bf16"),
    ((640, 1728, 4, 10, 2, 1024), 256, 0, "bf16"),
    ((160, 640, 12, 5, 1, 512), 1024, 0, "fp32"),
]
SIZES = ((16, 2), (24, 2), (32, 3), (48, 3), (64, 4))
AMOUNTS = (16_384, 32_768, 65_536, 131_072, 196_608)
SEEDS = (0, 1)
LADDER_STEP, LADDER_WIDTH, HELD_OUT = 512, 128, 30_000


def main() -> None:
    """Measure, print the tables, write `build/bench/planner.json`."""
    begin = time.process_time()
    texts = corpus()
    rows = runs(texts) + ladder(texts)
    children = os.times()
    spent = time.process_time() - begin + children.children_user + children.children_system
    path = ROOT / "build" / "bench" / "planner.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    print(f"\ntorch {torch.__version__}, one thread, {spent:.0f} CPU seconds in all")
    for row in rows:
        print(f"{row['metric']:80} {row['ours']:>8}  limit {row['limit']}")
    print(f"wrote {path.relative_to(ROOT)}")


def corpus() -> list[str]:
    """Return real documents: files of the manual of the Linux kernel, in the order of a hash of their names."""
    if not CORPUS.is_dir():
        sys.exit("needs text: apt-get install -y --no-install-recommends linux-doc-6.1")
    paths = sorted(CORPUS.rglob("*.rst.gz"), key=lambda path: hashlib.sha256(path.name.encode()).digest())
    return [
        " ".join(gzip.decompress(path.read_bytes()).decode(errors="replace").split()) for path in paths[::FILES_EVERY]
    ]


def up_to(texts: list[str], characters: int) -> list[str]:
    """Return the first documents, so many characters in all."""
    taken, left = [], characters
    for text in texts:
        taken.append(text[: max(0, left)])
        left -= len(text)
    return [text for text in taken if text]


def config_of(case: tuple[int, int, int, int, int, int]) -> dict[str, Any]:
    hidden, inner, layers, heads, kv_heads, vocabulary = case
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": hidden // heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": 2048,
    }


def runs(texts: list[str]) -> list[dict[str, Any]]:
    """Return memory and time of the ten cases, foretold and happened."""
    memory_errors, time_errors, far_errors, first = [], [], [], None
    print(f"{'case':52} {'MB foretold':>12} {'MB':>8} {'':>7} {'s foretold':>11} {'s':>7} {'':>7} {'from 1st':>8}")
    for case, width, rank, dtype in CASES:
        with tempfile.TemporaryDirectory() as folder:
            documents = up_to(texts, 6 * TOKENS_PER_STEP * STEPS)
            Path(folder, "texts").write_text(json.dumps(documents))
            spec = {"folder": folder, "config": config_of(case), "width": width, "rank": rank, "dtype": dtype}
            made = child({**spec, "make": True})
            calibration = child({**spec, "make": False, "steps": CALIBRATION_STEPS})
            happened = child({**spec, "make": False, "steps": STEPS})
        shape = shape_of(happened["config"])
        packed = max(1, MICRO_BATCH_TOKENS // width) * width
        share = min(1.0, STEPS * TOKENS_PER_STEP / made["tokens"])
        lengths = distinct_lengths(2 * len(documents) * share, width)
        work = Workload(2 if dtype == "bf16" else 4, rank, packed, width, lengths)
        memory = forecast_memory(shape, work, capacity=1 << 40, on_cpu=True)
        measured = measurement_of(calibration["job"], calibration["rates"], is_same=True)
        first = first or measurement_of(calibration["job"], calibration["rates"], is_same=False)
        place = place_of(Device(), threads=1, host_memory=1 << 40)
        usage = happened["usage"]
        near, far = (
            forecast(
                shape, work, place, memory, tokens=usage.tokens, tokens_per_step=TOKENS_PER_STEP,
                unique_tokens=usage.tokens, measured=known,
            ).seconds.value
            for known in (measured, first)
        )  # fmt: skip
        peak = usage.peak_memory_bytes
        memory_errors.append(memory.total / peak - 1)
        time_errors.append(near / usage.seconds - 1)
        far_errors.append(far / usage.seconds - 1)
        name = f"{shape.total:>10,} weights, rows {width:>4}, rank {rank:>2}, {dtype}"
        print(
            f"{name:52} {memory.total / 1e6:>12.0f} {peak / 1e6:>8.0f} {memory_errors[-1]:>+7.1%}"
            f" {near:>11.2f} {usage.seconds:>7.2f} {time_errors[-1]:>+7.1%} {far_errors[-1]:>+8.0%}",
            flush=True,
        )
    return [
        *spread_of("memory of ten runs from the configuration", memory_errors, 0.10),
        *spread_of("time of ten runs from twenty steps", time_errors, 0.20),
        *spread_of("time of ten runs scaled by operations from the first", far_errors, None),
    ]


def spread_of(metric: str, errors: list[float], limit: float | None) -> list[dict[str, Any]]:
    sizes = [abs(error) for error in errors]
    rows = [
        result(f"relative error, {metric}: median", statistics.median(sizes), limit),
        result(f"relative error, {metric}: largest", max(sizes), limit),
    ]
    if limit is not None:
        rows.append(result(f"share within {limit:.0%}, {metric}", sum(s <= limit for s in sizes) / len(sizes), 1.0))
    return rows


def result(metric: str, ours: float, limit: float | None) -> dict[str, Any]:
    return {"metric": metric, "ours": round(ours, 3), "peer": None, "ratio": None, "limit": limit, "goal": None}


def child(spec: dict[str, Any]) -> dict[str, Any]:
    """Run one process; return what its job used, its rates step by step, and the config."""
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(spec)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if spec["make"]:
        return answer
    usage = ParseDict(answer["usage"], TrainingUsage())
    job = train.TrainingJob(name="projects/p/trainingJobs/calibration", usage=usage)
    return {**answer, "usage": usage, "job": job}


def run_child(spec: dict[str, Any]) -> None:
    """Be one process of a run: the one that makes its model and data, or the worker that trains."""
    folder = Path(spec["folder"])
    if spec["make"]:
        make_job(folder, spec)
        return
    time.perf_counter = time.process_time
    job = train.TrainingJob.FromString((folder / "job").read_bytes())
    job.recipe.steps = spec["steps"]
    outcome, link = work_on(folder, job)
    usage = MessageToDict(outcome.result.usage)
    rates = [p.value for r in link.requests for p in r.metrics if p.key == "train/tokens_per_second"]
    print(json.dumps({"usage": usage, "rates": rates, "config": read_json(folder / "model" / "config.json")}))


def make_job(folder: Path, spec: dict[str, Any]) -> None:
    """Make the model and the data of a case, and write the job."""
    bench = Bench(folder)
    made = make_tiny_model(folder / "model", **spec["config"])
    bench.model = store_model(bench.blobs, made, {"license": "MIT"}).manifest
    recipe = TrainingRecipe(
        cpt={}, learning_rate=1e-3, tokens_per_step=TOKENS_PER_STEP, threads=1, dtype=spec["dtype"],
        sequence_length=spec["width"], checkpoint_every_steps=10, seed=0,
    )  # fmt: skip
    if spec["rank"]:
        recipe.lora.CopyFrom(LoraConfig(rank=spec["rank"]))
    texts = json.loads((folder / "texts").read_text())
    job = bench.job(recipe, bench.text(texts, width=spec["width"]))
    (folder / "job").write_bytes(job.SerializeToString())
    tokenizer = Tokenizer.from_folder(made)
    print(json.dumps({"tokens": sum(len(tokenizer.encode(text)) for text in texts)}))


def work_on(folder: Path, job: Any) -> tuple[Any, Any]:
    """Run a job as the worker does and return its outcome and what it reported."""
    from bessemer.api.worker.v1 import worker_service_pb2
    from bessemer.jobs.worker import TaskContext
    from bessemer.svckit.objects_files import FileObjects

    from tests.fixtures.training import RecordingLink

    task = worker_service_pb2.Task(name=job.name, kind="trainingJobs", epoch=1, job=job.SerializeToString())
    link = RecordingLink()
    workdir = Path(tempfile.mkdtemp(dir=folder))
    context = TaskContext(task, objects=FileObjects(folder / "objects"), workdir=workdir, link=link)
    context.check = lambda: None  # no service is there whose lease could lapse
    outcome = train.run(context)
    context.beat()
    return outcome, link


def ladder(texts: list[str]) -> list[dict[str, Any]]:
    """Train every size on every amount of tokens; foretell the two largest sizes from all smaller ones."""
    held = up_to(texts, HELD_OUT)
    learned = texts[len(held) :]
    trained: dict[int, list[Run]] = {}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        data = bench.text(up_to(learned, 4 * max(AMOUNTS)), width=LADDER_WIDTH)
        ids = Tokenizer.from_folder(bench.base).encode("\n".join(held))
        test = [ids[i : i + LADDER_WIDTH] for i in range(0, len(ids) - LADDER_WIDTH, LADDER_WIDTH)]
        for number, (hidden, layers) in enumerate(SIZES):
            config = config_of((hidden, 3 * hidden, layers, 4, 2, 512))
            for seed in SEEDS:
                model = make_tiny_model(Path(name) / f"model-{number}-{seed}", seed, **config)
                bench.model = store_model(bench.blobs, model, {"license": "MIT"}).manifest
                for tokens in AMOUNTS:
                    run = one_run(bench, data, test, hidden=hidden, tokens=tokens, seed=seed)
                    trained.setdefault(number, []).append(run)
            last = trained[number][: len(AMOUNTS)]
            print(f"{last[0].parameters:>9,.0f} weights: " + "  ".join(f"{r.loss:.3f}" for r in last), flush=True)
    hits, widths, errors = [], [], []
    for number in range(len(SIZES) - 2, len(SIZES)):
        known = [run for n in range(number) for run in trained[n]]
        for run in trained[number]:
            told = foretell(known, run.parameters, run.tokens)
            hits.append(told.low <= run.loss <= told.high)
            widths.append(told.high - told.low)
            errors.append(abs(told.value - run.loss))
            print(
                f"{run.parameters:>9,.0f} weights, {run.tokens:>9,.0f} tokens: {told.low:.3f} {told.value:.3f}"
                f" {told.high:.3f}, happened {run.loss:.3f} {'' if hits[-1] else 'MISSED'}"
            )
    return [
        result(f"share of {len(hits)} runs of the next size within the interval of 90 %", sum(hits) / len(hits), 0.85),
        result("width of the interval, nats, median", statistics.median(widths), None),
        result("error of the loss, nats, median", statistics.median(errors), None),
    ]


def one_run(bench: Bench, data: Any, test: list[list[int]], *, hidden: int, tokens: int, seed: int) -> Run:
    # Wider models take smaller steps, as the inverse of the width: with one rate for all the larger ones do worse.
    recipe = TrainingRecipe(
        cpt={}, learning_rate=0.12 / hidden, tokens_per_step=LADDER_STEP, steps=tokens // LADDER_STEP, threads=1,
        dtype="fp32", sequence_length=LADDER_WIDTH, checkpoint_every_steps=100_000, seed=seed,
    )  # fmt: skip
    context, _ = bench.context(bench.job(recipe, data))
    context.check = lambda: None  # no service is there whose lease could lapse
    trainer = train._Trainer(context)
    trainer.resume()
    trainer.train()
    model = trainer.learner.finished_model()
    logprobs = score(model, test, starts=[1] * len(test))
    total = sum(float(values.sum()) for values in logprobs)
    count = sum(len(values) for values in logprobs)
    return Run(model.config.num_parameters, trainer.usage.tokens, -total / count)


if __name__ == "__main__":
    run_child(json.loads(sys.argv[1])) if len(sys.argv) > 1 else main()
