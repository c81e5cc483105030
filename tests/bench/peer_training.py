"""One engine of the training bench in a process of its own: steps on demand, so that engines can take turns.

`peer_training.py ENGINE JOB.json` reads the job, then a number of steps per line of its input, and answers each line
with a line of JSON: CPU seconds (all threads), losses, tokens that count, peak memory. A `Trainer` owns its loop; its
callback waits for the next line where the others return.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}

import torch  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

RATE, DECAY, CLIP, BETAS = 3e-4, 0.01, 1.0, (0.9, 0.95)
Job = dict[str, Any]
Step = tuple[float, int]  # loss, tokens that count


def main() -> None:
    """Answer requests until there are no more."""
    import peer_training_parts as parts

    engines = {"ours": ours, "loop": loop} | parts.ENGINES
    engine, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    torch.manual_seed(0)
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like
    turns = Turns(answers)
    if engine in engines:
        for loss, tokens in engines[engine](job, turns):
            turns.end_step(loss, tokens)
    else:
        train_with_library(engine, job, turns)
    os._exit(0)


class Turns:
    """Lets the engine run as many steps as it was asked for, and says what they cost."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers
        self._left, self._begin = 0, 0.0
        self._losses: list[float] = []
        self._tokens = 0
        self._more: Callable[[], dict[str, object]] = dict

    def begin(self, more: Callable[[], dict[str, object]] = dict) -> None:
        """Wait for the first request; called once everything is loaded. `more` is added to what each turn says."""
        self._more = more
        self._answer({})

    def end_step(self, loss: float, tokens: int) -> None:
        """Note a step; wait for the next request where it was the last one of this turn."""
        self._losses.append(loss)
        self._tokens += tokens
        self._left -= 1
        if self._left == 0:
            usage = resource.getrusage(resource.RUSAGE_SELF)
            seconds = usage.ru_utime + usage.ru_stime - self._begin
            said = {"cpu_s": seconds, "losses": self._losses, "tokens": self._tokens, "rss_mb": usage.ru_maxrss // 1024}
            self._answer(said | self._more())

    def _answer(self, answer: dict[str, object]) -> None:
        print(json.dumps(answer), file=self._answers, flush=True)
        line = sys.stdin.readline()
        if not line.strip():
            os._exit(0)
        self._left, self._losses, self._tokens = int(line), [], 0
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._begin = usage.ru_utime + usage.ru_stime


def documents(job: Job) -> list[torch.Tensor]:
    """Return the token ids of each document."""
    import numpy as np

    stored = np.load(job["documents"])
    return list(torch.from_numpy(stored["ids"]).split(stored["lengths"].tolist()))


def ours(job: Job, turns: Turns) -> Iterator[Step]:
    """Step as the training worker does, one document a row, or packed where the job has a row length."""
    import numpy as np
    from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
    from bessemer.modeling.numerics import _gemm_flops, prepare
    from train_svc.worker.feed import ChatFeed
    from train_svc.worker.learner import Learner
    from train_svc.worker.rows import Document, Row

    numerics = prepare(1, job["dtype"])
    recipe = TrainingRecipe(cpt={}, weight_decay=DECAY, gradient_clip_norm=CLIP)
    learner = Learner(Path(job["model"]), recipe, numerics.dtype)
    made = [Document(ids.numpy(), np.r_[0.0, np.ones(len(ids) - 1)].astype(np.float32)) for ids in documents(job)]
    feed = ChatFeed(made, sequence_length=job["row_tokens"], digest="", seed=0) if job["row_tokens"] else None
    count = feed.rows_per_step(job["batch"] * job["mean_tokens"]) if feed else job["batch"]
    flops = 0.0

    def efforts() -> dict[str, object]:
        """Return operations since the last call, and the rate of matrix products right after them."""
        nonlocal flops
        done, flops = flops, 0.0
        return {"flops": done, "gemm_flops": _gemm_flops(numerics.dtype, size=384)}

    turns.begin(efforts)
    position = 0
    while True:
        if feed:
            rows = feed.take(position, count)
        else:
            rows = [Row((made[i % len(made)],)) for i in range(position, position + count)]
        position += count
        result, norm = learner.backward(rows)
        learner.optimizer.step(RATE, norm)
        flops += learner.flops(result.lengths)
        yield result.loss, sum(result.lengths)


def loop(job: Job, turns: Turns) -> Iterator[Step]:
    """Step as a well-kept loop around transformers does: fused AdamW, bf16 autocast where asked for, no padding."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    torch.set_float32_matmul_precision(job["precision"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)
    made, autocast = documents(job), torch.autocast("cpu", torch.bfloat16, enabled=job["dtype"] == "bf16")
    turns.begin()
    position = 0
    while True:
        ids = torch.stack([made[i % len(made)] for i in range(position, position + job["batch"])])
        position += job["batch"]
        with autocast:
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        yield float(loss), ids.numel()


def trainer_settings(engine: str, job: Job) -> dict[str, Any]:
    """Return what is asked of a library: its defaults, but the data in order, a constant rate and our AdamW."""
    settings = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": job["batch"],
        "max_steps": 10_000,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "weight_decay": DECAY,
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_grad_norm": CLIP,
        "train_sampling_strategy": job["order"],
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,  # the losses are compared
    }
    if engine == "trl":
        settings["max_length"] = job["length_max"]
        if job["dtype"] != "default":
            settings["bf16"] = job["dtype"] == "bf16"
    return settings


def train_with_library(engine: str, job: Job, turns: Turns) -> None:
    """Run a `Trainer` whose callback takes turns."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback

    torch.set_num_threads(1)
    made = documents(job)

    class Taking(TrainerCallback):
        seen = 0  # TRL counts tokens that are no padding; for `Trainer` all rows are of one length

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turns.begin()

        def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
            if "loss" in logs:
                total = int(logs.get("num_tokens", state.global_step * job["batch"] * job["mean_tokens"]))
                turns.end_step(float(logs["loss"]), total - self.seen)
                self.seen = total

    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    settings = trainer_settings(engine, job)
    if engine == "trainer":
        from transformers import Trainer, TrainingArguments, default_data_collator

        rows = Dataset.from_dict({"input_ids": [x.tolist() for x in made], "labels": [x.tolist() for x in made]})
        Trainer(
            model, TrainingArguments(**settings), train_dataset=rows, data_collator=default_data_collator,
            callbacks=[Taking()],
        ).train()  # fmt: skip
    else:
        from trl import SFTConfig, SFTTrainer

        SFTTrainer(
            model, SFTConfig(**settings), processing_class=tokenizer(job), callbacks=[Taking()],
            train_dataset=Dataset.from_dict({"input_ids": [x.tolist() for x in made]}),
        ).train()  # fmt: skip


def tokenizer(job: Job) -> Any:
    """Return a tokenizer that only knows its special tokens: the rows are tokens already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


if __name__ == "__main__":
    main()
