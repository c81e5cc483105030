"""The same task files and data through our runner and through lm-evaluation-harness, on SmolLM2-135M.

Log-likelihoods of choices and scores are compared case by case. Cost is in CPU seconds of one process with one thread,
loading of the model left out, in turns. The peer's cost includes reading the task and its data, ours does not; the peer
computes with the library's default matrix products, ours with those of `numerics.prepare`. lm-eval runs in an
environment of its own under `build/peers`, with torch of this one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from bench_curation import ROOT, row
from bessemer.api.eval.v1.evaluation_pb2 import ChoiceLength, GraderOptions
from bessemer.modeling import numerics
from bessemer.sdk.suites import SuiteDraft, read_suite
from eval_svc.domain.cases import Case, Grader, parse_cases
from eval_svc.worker import choice
from eval_svc.worker.answers import grade_answers
from eval_svc.worker.graders import Graders
from eval_svc.worker.run import batches, characters
from eval_svc.worker.subject import Subject
from google.protobuf.json_format import ParseDict
from train_svc.worker.gguf_folder import expand_gguf
from train_svc.worker.models import catalogue_file

PEER = "lm-eval==0.4.13"
# What lm-eval imports but for torch and transformers, which it takes from our environment: their wheels bring CUDA.
LIGHT = [
    "evaluate",
    "pytablewriter",
    "DataProperty",
    "mbstrdecoder",
    "pathvalidate",
    "tabledata",
    "tcolorpy",
    "typepy",
    "rouge-score",
    "absl-py",
    "nltk",
    "six",
    "sacrebleu",
    "portalocker",
    "tabulate",
    "colorama",
    "lxml",
    "scikit-learn",
    "scipy",
    "joblib",
    "threadpoolctl",
    "sqlitedict",
    "word2number",
    "more_itertools",
    "accelerate",
    "chardet",
    "regex",
    "multiprocess",
    "xxhash",
    "dill",
    "datasets",
    "pyarrow",
    "pandas",
    "fsspec",
    "aiohttp",
    "tenacity",
]
FOLDER = ROOT / "build" / "peers"
SHARED = ROOT.parent / "shared" / "data"
ROUNDS = 2
BATCH = 8  # of lm-eval; other sizes were not measured
QUESTIONS, SHOTS, ABSTRACTS, WORDS = 120, 30, 6, 16
# A suite that a laptop runs between two coffees: so many questions of three choices, and answers of so many tokens.
SMALL_QUESTIONS, SMALL_ANSWERS, SMALL_TOKENS, SMALL_LIMIT_S = 24, 8, 64, 90.0


def main() -> None:
    """Measure, print the table, write `build/bench/evaluation.json`."""
    folder = FOLDER / "tasks"
    metrics = write_tasks(folder)
    model = smollm2()
    numerics.prepare(1, "fp32")
    subject = Subject.load(model)
    python = peer_environment()
    ours: dict[str, list[float]] = {name: [] for name in metrics}
    theirs: dict[str, list[float]] = {name: [] for name in metrics}
    for number in range(ROUNDS):
        look = number == ROUNDS - 1
        mine = {name: run(subject, read_suite(folder / f"{name}.yaml"), look=look) for name in metrics}
        peer = run_peer(python, model, folder, metrics)
        for name in metrics:
            ours[name].append(mine[name][0])
            theirs[name].append(peer[name]["seconds"])
    small = f"{SMALL_QUESTIONS} questions of three choices and {SMALL_ANSWERS} answers of {SMALL_TOKENS} tokens"
    rows = [row(f"{small}: CPU seconds", small_suite(subject), None, SMALL_LIMIT_S, SMALL_LIMIT_S)]
    for name, metric in metrics.items():
        _, scores, values = mine[name]
        mean = {"ours": statistics.mean(scores), "peer": statistics.mean(peer[name]["scores"].values())}
        same = [score == peer[name]["scores"][str(number)] for number, score in enumerate(scores)]
        rows.append(
            row(f"{name}: {metric} over {len(scores)} cases; peer: {PEER}", mean["ours"], mean["peer"], None, None)
        )
        rows.append(row(f"{name}: share of cases with the score of {PEER}", statistics.mean(same), None, 1.0, 1.0))
        expected = [peer[name]["values"][str(number)] for number in range(len(scores))]
        if isinstance(values[0], str):
            equal = [left == right[0].strip() for left, right in zip(values, expected, strict=True)]
            rows.append(
                row(f"{name}: share of answers that are those of {PEER}", statistics.mean(equal), None, 1.0, 1.0)
            )
        else:
            pairs = zip((v for value in values for v in value), (v for value in expected for v in value), strict=True)
            furthest = max(abs(left - right) for left, right in pairs)
            rows.append(
                row(f"{name}: largest difference of a choice's log-likelihood, nats", furthest, None, None, 1e-3)
                | {"ours": float(f"{furthest:.2g}")}
            )
        cost = statistics.median(ours[name]), statistics.median(theirs[name])
        shown = row(
            f"{name}: CPU seconds, against {PEER} in batches of {BATCH}; ratio: peer over ours", *cost, None, 1.5
        )
        rows.append(shown | {"ratio": round(cost[1] / cost[0], 3)})
    path = ROOT / "build" / "bench" / "evaluation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2))
    for shown in rows:
        figures = "  ".join(f"{key} {shown[key]}" for key in ("ours", "peer", "ratio", "limit", "goal"))
        print(f"{shown['metric']}\n    {figures}")
    print(f"wrote {path.relative_to(ROOT)}")


def write_tasks(folder: Path) -> dict[str, str]:
    """Write task files with their data; return each task's metric."""
    folder.mkdir(parents=True, exist_ok=True)
    data = resources.files("eval_svc.worker.suites").joinpath("general-choice.jsonl").read_text()
    questions = [json.loads(line) for line in data.splitlines()]
    write(folder, "questions", questions[:QUESTIONS], {
        "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "choices",
        "doc_to_target": "target", "metric_list": [{"metric": "acc_norm"}],
    })  # fmt: skip
    write(folder, "shots", questions[:SHOTS], {
        "output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}",
        "doc_to_target": "target", "metric_list": [{"metric": "acc"}], "num_fewshot": 3,
        "fewshot_split": "test", "description": "Answer the questions.\n\n",
    })  # fmt: skip
    write(folder, "words", questions[:WORDS], {
        "output_type": "generate_until", "doc_to_text": "{{prompt}}", "doc_to_target": "{{' ' ~ choices[target]}}",
        "metric_list": [{"metric": "exact_match", "ignore_case": True, "ignore_punctuation": True}],
        "generation_kwargs": {"until": ["\n", "."], "max_gen_toks": 16, "do_sample": False},
    })  # fmt: skip
    metrics = {"questions": "acc_norm", "shots": "acc", "words": "exact_match"}
    source = SHARED / "pubmedqa" / "dev.json"
    if not source.exists():
        print(f"left out: abstracts, since there is no {source}")
        return metrics
    records = list(json.loads(source.read_text()).values())[:ABSTRACTS]
    abstracts = [
        {"context": "\n".join(record["CONTEXTS"]), "question": record["QUESTION"], "answer": record["final_decision"]}
        for record in records
    ]
    write(folder, "abstracts", abstracts, {
        "output_type": "multiple_choice", "doc_to_choice": ["yes", "no", "maybe"], "doc_to_target": "answer",
        "doc_to_text": "Abstract: {{context}}\nQuestion: {{question}}\nAnswer:", "metric_list": [{"metric": "acc"}],
    })  # fmt: skip
    return metrics | {"abstracts": "acc"}


def small_suite(subject: Subject) -> float:
    """Return the CPU seconds of a small suite; answers are marked by their length, so none ends early for the mark."""
    data = resources.files("eval_svc.worker.suites").joinpath("general-choice.jsonl").read_text()
    questions = [json.loads(line) for line in data.splitlines()][:SMALL_QUESTIONS]
    for question in questions:
        right = question["choices"][question["target"]]
        wrong = [text for text in question["choices"] if text != right]
        question |= {"choices": [right, *wrong[:2]], "target": 0}
    choices = SuiteDraft(grader="choice", cases=questions)
    answers = SuiteDraft(
        grader="regex",
        cases=[
            {"id": str(n), "prompt": f"Tell a long story about {q['choices'][0]}.\nOnce upon a time", "target": "."}
            for n, q in enumerate(questions[:SMALL_ANSWERS])
        ],
        max_tokens=SMALL_TOKENS,
    )
    return sum(run(subject, draft, look=False)[0] for draft in (choices, answers))


def write(folder: Path, name: str, records: list[dict], fields: dict) -> None:
    """Write one task file, in JSON, which is YAML too."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    task = {"task": name, "dataset_path": "json", "test_split": "test", **fields}
    task["dataset_kwargs"] = {"data_files": {"test": str(data)}}
    (folder / f"{name}.yaml").write_text(json.dumps(task, indent=2))


def run(subject: Subject, draft: SuiteDraft, *, look: bool) -> tuple[float, list[float], list]:
    """Return CPU seconds and, in the order of the file, scores and, if asked to `look`, log-likelihoods or answers."""
    options = ParseDict(dict(draft.options), GraderOptions())
    grader = Grader(draft.grader)
    cases = parse_cases("\n".join(map(json.dumps, draft.cases)).encode(), grader)
    with Graders() as graders:
        begin = time.process_time()
        results = {}
        for batch in batches(sorted(cases, key=lambda case: (characters(case), case.id))):
            if grader is Grader.CHOICE:
                graded = choice.grade(subject, batch, options.choice_length)
            else:
                graded = grade_answers(
                    subject, batch, draft.max_tokens,
                    lambda output, case: graders.mark(grader, output, case, options), ends=options.stop,
                )  # fmt: skip
            results |= {result.id: result for result in graded}
        seconds = time.process_time() - begin
    scores = [results[case.id].score for case in cases]
    assert None not in scores
    if grader is not Grader.CHOICE:
        return seconds, scores, [results[case.id].output for case in cases]
    return seconds, scores, [likelihoods(subject, case, options.choice_length) for case in cases] if look else []


def likelihoods(subject: Subject, case: Case, length: ChoiceLength) -> list[float]:
    """Return the log-likelihood of every choice: that of the target is what a result tells, so each is made it once."""
    return [
        -choice.grade(subject, [replace(case, target_index=number, target=text)], length)[0].nll
        for number, text in enumerate(case.choices)
    ]


def smollm2() -> Path:
    """Return the folder of the model, expanded once."""
    folder = FOLDER / "smollm2"
    if not (folder / "config.json").exists():
        expand_gguf(catalogue_file("smollm2-135m-instruct")[0], folder)
    return folder


def peer_environment() -> Path:
    """Return the peer's Python, in an environment that is made when it is missing; torch comes from ours."""
    folder = FOLDER / "lm-eval"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        import torch

        (site / "torch.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", PEER, *LIGHT], check=True)
        (folder / ".ready").touch()
    return python


def run_peer(python: Path, model: Path, folder: Path, metrics: dict[str, str]) -> dict[str, dict]:
    """Return the peer's CPU seconds, scores and log-likelihoods of each task."""
    given, taken = FOLDER / "evaluation-given.json", FOLDER / "evaluation-taken.json"
    given.write_text(json.dumps({
        "model": str(model), "folder": str(folder), "tasks": list(metrics), "metric": metrics, "batch_size": BATCH,
    }))  # fmt: skip
    script = Path(__file__).with_name("peer_evaluation.py")
    subprocess.run([str(python), str(script), str(given), str(taken)], check=True, stdout=subprocess.DEVNULL)
    return json.loads(taken.read_text())


if __name__ == "__main__":
    main()
