"""Training beside TRL, transformers' `Trainer` and a plain loop: one process per engine, in turns, cost in CPU seconds.

Engines start from the same weights, see the same
documents in the same order with the same AdamW, and their losses are compared. Where the processor has no bf16
instructions fp32 is compared with fp32: TRL is then told so, and its real default, bf16 that is emulated, gets a row of
its own.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.modeling.numerics import prepare  # noqa: E402
from train_svc.worker.gguf_folder import expand_gguf  # noqa: E402
from train_svc.worker.models import catalogue_file, normalise  # noqa: E402

FOLDER = ROOT / "build" / "peers" / "training"
LENGTH_MAX = 512
LOSS_DIFFERENCE_MAX = 1e-3
TINY = {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
Answer = dict[str, Any]
Row = dict[str, object]


class Engine:
    """An engine in its process; `turn` lets it run some steps."""

    def __init__(self, name: str, job: dict[str, Any], stack: ExitStack) -> None:
        self.name = name
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._errors = folder / "errors"
        (folder / "job.json").write_text(json.dumps(job))
        command = [sys.executable, str(Path(__file__).with_name("peer_training.py")), name, str(folder / "job.json")]
        with self._errors.open("w") as errors:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            self._process = subprocess.Popen(command, text=True, **pipes)
        stack.callback(self._stop)
        self._hear()
        self.answers: list[Answer] = []

    def turn(self, steps: int) -> Answer:
        """Run so many steps and return what they cost."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        self.answers.append(self._hear())
        return self.answers[-1]

    def rate(self) -> float:
        """Return the median of tokens per CPU second, without the first turn."""
        return statistics.median(answer["tokens"] / answer["cpu_s"] for answer in self.answers[1:])

    def whole_rate(self) -> float:
        """Return tokens per CPU second over all turns but the first: where batches differ much."""
        return sum(a["tokens"] for a in self.answers[1:]) / sum(a["cpu_s"] for a in self.answers[1:])

    def seconds(self) -> float:
        """Return the median of CPU seconds a step, without the first turn."""
        return statistics.median(answer["cpu_s"] / len(answer["losses"]) for answer in self.answers[1:])

    def losses(self) -> list[float]:
        return [loss for answer in self.answers for loss in answer["losses"]]

    def _hear(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended:\n{self._errors.read_text()[-2000:]}")
        answer: Answer = json.loads(line)
        return answer

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()


def race(jobs: dict[str, dict[str, Any]], *, rounds: int, steps: int) -> dict[str, Engine]:
    """Let engines take turns, the first of which warms them up; the part of a name after a blank is a label."""
    with ExitStack() as stack:
        engines = {name: Engine(name.partition(" ")[0], job, stack) for name, job in jobs.items()}
        for _ in range(min(rounds, ARGUMENTS.rounds) + 1):
            for engine in engines.values():
                engine.turn(steps)
        return engines


class Inputs:
    """Models and documents, made once and kept in the build folder."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        numerics = prepare(1)
        self.has_bf16 = numerics.name == "bf16"
        self.precision = torch.get_float32_matmul_precision()
        self.job = {
            "dtype": numerics.name,
            "precision": self.precision,
            "row_tokens": 0,
            "length_max": LENGTH_MAX,
            "order": "sequential",
        }

    def smollm2(self) -> Path:
        """Return the folder of SmolLM2-135M."""
        folder = FOLDER / "smollm2"
        if not (folder / "config.json").exists():
            normalise(expand_gguf(catalogue_file("smollm2-135m-instruct")[0], FOLDER / "raw"), folder)
        return folder

    def tiny(self) -> Path:
        """Return the folder of a random model of 6.8 M parameters."""
        import transformers

        folder = FOLDER / "tiny"
        if not (folder / "config.json").exists():
            torch.manual_seed(0)
            transformers.LlamaForCausalLM(transformers.LlamaConfig(**TINY)).save_pretrained(folder)
        return folder

    def docstrings(self, vocabulary: int) -> list[np.ndarray]:
        """Return 4,000 docstrings of torch as SmolLM2's tokens, cut at the longest row; ids fold into a vocabulary."""
        from tokenizers import Tokenizer

        path = FOLDER / "docstrings.npz"
        if not path.exists():
            texts: list[str] = []
            for file in sorted(Path(torch.__file__).parent.rglob("*.py")):
                nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
                found = (ast.get_docstring(n) for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef))
                texts += [text for text in found if text]
                if len(texts) > 6000:
                    break
            tokenizer = Tokenizer.from_file(str(self.smollm2() / "tokenizer.json"))
            ids = [e.ids[:LENGTH_MAX] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
            ids = [each for each in ids if len(each) >= 8][:4000]
            np.random.default_rng(0).shuffle(ids := np.array(ids, object))
            np.savez(path, ids=np.concatenate(ids).astype(np.int64), lengths=[len(each) for each in ids])
        stored = np.load(path)
        return np.split(stored["ids"] % vocabulary, np.cumsum(stored["lengths"])[:-1])

    def documents(self, made: Iterable[np.ndarray], *, batch: int, model: Path) -> dict[str, Any]:
        """Store documents and return a job on them."""
        made = list(made)
        lengths = [len(each) for each in made]
        path = FOLDER / f"documents-{model.name}-{len(made)}-{sum(lengths)}.npz"
        np.savez(path, ids=np.concatenate(made), lengths=lengths)
        mean = sum(lengths) // len(made)
        job = {"documents": str(path), "model": str(model), "batch": batch, "mean_tokens": mean}
        return self.job | job

    def even(self, model: Path, vocabulary: int, length: int, batch: int) -> dict[str, Any]:
        """Return a job on real text in rows of one length."""
        stream = np.concatenate(self.docstrings(vocabulary))
        rows = stream[: min(64 * batch, len(stream) // length) * length].reshape(-1, length)
        return self.documents(rows, batch=batch, model=model)


def row(metric: str, values: tuple[float | None, float | None], ratio: float | None, goal: str) -> Row:
    ours, peer = (None if value is None else round(value, 3) for value in values)
    return {
        "metric": metric,
        "ours": ours,
        "peer": peer,
        "ratio": None if ratio is None else round(ratio, 3),
        "goal": goal,
    }


def against(engines: dict[str, Engine], name: str, what: str, goal: str) -> Row:
    """Compare tokens per CPU second, after the losses."""
    ours, peer = engines["ours"], engines[name]
    difference = max(abs(a - b) / b for a, b in zip(ours.losses(), peer.losses(), strict=True))
    assert difference <= LOSS_DIFFERENCE_MAX, f"{name} learns something else: {ours.losses()} {peer.losses()}"
    memory = f"{ours.answers[-1]['rss_mb']} MB : {peer.answers[-1]['rss_mb']} MB"
    metric = f"{what}, tokens per CPU s : {name} (losses within {difference:.0e}; memory {memory})"
    return row(metric, (ours.rate(), peer.rate()), ours.rate() / peer.rate(), goal)


def utilisation(engines: dict[str, Engine], what: str) -> Row:
    ours = [a["flops"] / a["cpu_s"] / a["gemm_flops"] for a in engines["ours"].answers[1:]]
    share = statistics.median(ours)
    peer = share * engines["loop"].rate() / engines["ours"].rate()
    return row(f"{what}, share of the rate of matrix products in the same run : loop", (share, peer), None, ">= 0.65")


GOALS = {
    "10": {"trl": ">= 2.0", "trainer": ">= 2.6", "loop": ">= 1.35"},
    "11": dict.fromkeys(("trl", "trainer"), ">= 2.8"),
}


def large(inputs: Inputs) -> Iterator[Row]:
    """Rows 10 and 13: SmolLM2-135M, one document of 512 tokens a step; pairs, so that memory holds two models."""
    job = inputs.even(inputs.smollm2(), 49152, 512, 1)
    for peer in ("trl", "trainer", "loop"):
        engines = race({"ours": job, peer: job}, rounds=2, steps=1)
        yield against(engines, peer, f"135M, {job['dtype']}", GOALS["10"][peer])
    yield utilisation(engines, "135M")


def small(inputs: Inputs) -> list[Row]:
    """Rows 11 and 13: 6.8 M parameters from scratch, four documents of 256 tokens a step."""
    job = inputs.even(inputs.tiny(), TINY["vocab_size"], 256, 4)
    engines = race(dict.fromkeys(("ours", "trl", "trainer", "loop"), job), rounds=5, steps=3)
    rows = [against(engines, name, f"6.8M, {job['dtype']}", GOALS["11"].get(name, "")) for name in list(engines)[1:]]
    rows.append(utilisation(engines, "6.8M"))
    for name, peer in (("trainer", "Trainer"), ("trl", "SFTTrainer")):
        rows.append(
            row(f"{peer} over the plain loop", (None, engines["loop"].rate() / engines[name].rate() - 1), None, "")
        )
    return rows


def emulated(inputs: Inputs) -> list[Row]:
    """Row 11 at TRL's real default, bf16, where the processor has no instructions for it; short, since it is slow."""
    if inputs.has_bf16:
        return []
    job = inputs.even(inputs.tiny(), TINY["vocab_size"], 64, 1)
    engines = race({"ours": job, "trl": job | {"dtype": "default"}}, rounds=1, steps=1)
    ours, peer = (engines[name].rate() for name in ("ours", "trl"))
    return [
        row("6.8M, 64 tokens a step, fp32 : TRL's real default, bf16 emulated", (ours, peer), ours / peer, ">= 2.8")
    ]


def real_lengths(inputs: Inputs) -> list[Row]:
    """Row 12: documents as long as they are, eight a step at the peers."""
    job = inputs.documents(inputs.docstrings(TINY["vocab_size"]), batch=8, model=inputs.tiny())
    padded, grouped = job | {"order": "random"}, job | {"order": "group_by_length"}
    engines = race({"ours": job | {"row_tokens": 512}, "trl padded": padded, "trl grouped": grouped}, rounds=3, steps=3)
    ours = engines["ours"].whole_rate()
    return [
        row(
            f"useful tokens per CPU s, docstrings : {name}",
            (ours, peer := engines[name].whole_rate()),
            ours / peer,
            goal,
        )
        for name, goal in (("trl padded", ">= 5"), ("trl grouped", ">= 2"))
    ]


def loader(inputs: Inputs) -> list[Row]:
    """Row 14: what a thousand tokens cost until they are tensors; the peer's rows do not know their documents."""
    apart = inputs.documents(inputs.docstrings(TINY["vocab_size"]), batch=8, model=Path()) | {"model": ""}
    whole = inputs.even(Path(), TINY["vocab_size"], LENGTH_MAX, 8) | {"model": ""}
    jobs = {"loader_ours whole": whole, "loader_ours apart": apart, "loader_datasets": whole}
    *ours, peer = (1e9 / engine.rate() for engine in race(jobs, rounds=5, steps=10).values())
    return [
        row(f"loader, {what}, us per 1k tokens : Dataset with collator", (cost, peer), cost / peer, "<= 0.03")
        for what, cost in zip(("rows of one document", "documents kept apart"), ours, strict=True)
    ]


def overhead(inputs: Inputs) -> Iterator[Row]:
    """Row 15: a whole job beside its own steps, with logs, metrics, heartbeats, and a checkpoint every 20 steps."""
    job = inputs.documents(inputs.docstrings(TINY["vocab_size"])[:1000], batch=8, model=inputs.tiny())
    for what, every, goal in (
        ("without a checkpoint", 1000, "<= 0.02"),
        ("a checkpoint every 20, the default", 20, ""),
    ):
        recipe = f"steps: 25 tokens_per_step: 1024 checkpoint_every_steps: {every}"
        with ExitStack() as stack:
            share = Engine("job", job | {"recipe": recipe}, stack).turn(1)["losses"][0]
        yield row(f"6.8M, a job of 25 steps over the steps alone, {what}", (share, None), None, goal)


def optimiser(inputs: Inputs) -> list[Row]:
    """Row 16: norm, clipping and AdamW for the shapes of 135M."""
    engines = race({"adamw_ours": inputs.job, "adamw_foreach": inputs.job}, rounds=4, steps=2)
    ours, peer = (engine.seconds() for engine in engines.values())
    return [row("135M, clip and AdamW, CPU s : clip_grad_norm_, AdamW(foreach)", (ours, peer), ours / peer, "<= 0.27")]


ROWS = {
    "large": large,
    "small": small,
    "emulated": emulated,
    "lengths": real_lengths,
    "loader": loader,
    "overhead": overhead,
    "optimiser": optimiser,
}


def main() -> None:
    """Measure, print the table, write `build/bench/training.json`."""
    names = ("torch", "transformers", "trl", "accelerate", "datasets")
    print(", ".join(f"{name} {version(name)}" for name in names), "; one thread", sep="")
    inputs, rows = Inputs(), list[Row]()
    for name in ARGUMENTS.rows or ROWS:
        for each in ROWS[name](inputs):
            print(
                f"{each['metric']:118} " + "  ".join(f"{k} {each[k]}" for k in ("ours", "peer", "ratio", "goal")),
                flush=True,
            )
            rows.append(each)
    path = ROOT / "build" / "bench" / "training.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="all without names")
    parser.add_argument("--rounds", type=int, default=5, help="at most so many turns, for a look at a busy machine")
    ARGUMENTS = parser.parse_args()
    main()
