"""lm-evaluation-harness over a task file, in its own environment. Usage: peer_evaluation.py GIVEN.json TAKEN.json."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager


def main() -> None:
    """Evaluate as a user does, keep CPU seconds without the loading, and every case's log-likelihoods and scores."""
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    model = HFLM(pretrained=given["model"], device="cpu", dtype="float32", batch_size=given["batch_size"])
    found = {}
    for name in given["tasks"]:
        begin = time.process_time()
        manager = TaskManager(include_path=given["folder"], include_defaults=False)
        result = simple_evaluate(
            model=model, tasks=[name], task_manager=manager, log_samples=True, bootstrap_iters=0, verbosity="ERROR"
        )
        seconds = time.process_time() - begin
        samples = result["samples"][name]
        found[name] = {
            "seconds": seconds,
            "scores": {str(sample["doc_id"]): sample[given["metric"][name]] for sample in samples},
            "values": {
                str(sample["doc_id"]): [
                    each[0] if isinstance(each, list | tuple) else each for each in responses(sample)
                ]
                for sample in samples
            },
        }
    Path(sys.argv[2]).write_text(json.dumps(found))


def responses(sample: dict) -> list:
    """Return what the model said to each request of a sample: a log-likelihood with a flag, or a text."""
    return [response[0] for response in sample["resps"]]


if __name__ == "__main__":
    main()
