"""What a schema costs and whether it is kept: SmolLM2-135M in the torch engine, eight answers at a time, one thread.

The peer is the same engine answering the same prompts freely. CPU seconds of this process; prompts are read by both.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import jsonschema
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bessemer.kernel.clock import SystemClock  # noqa: E402
from bessemer.modeling.generate import KVCache  # noqa: E402
from bessemer.modeling.load import load_model  # noqa: E402
from bessemer.modeling.tokenizer import Tokenizer  # noqa: E402
from serve_svc.engine.constraint import Grammars  # noqa: E402
from serve_svc.engine.loop import Arrival, Loop  # noqa: E402
from serve_svc.engine.protocol import Constraint, Sampling  # noqa: E402
from serve_svc.engine.slots import Slots  # noqa: E402
from train_svc.worker.gguf_folder import expand_gguf  # noqa: E402
from train_svc.worker.models import catalogue_file, normalise  # noqa: E402

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 40},
        "capital": {"type": "string", "maxLength": 40},
        "population_millions": {"type": "number", "minimum": 0, "maximum": 2000},
        "languages": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 3},
        "continent": {"enum": ["Africa", "America", "Asia", "Europe", "Oceania"]},
        "island": {"type": "boolean"},
    },
    "required": ["name", "capital", "population_millions", "languages", "continent", "island"],
    "additionalProperties": False,
}
COUNTRIES = ["France", "Japan", "Kenya", "Peru", "Norway", "Egypt", "Fiji", "India", "Chile", "Poland"]
ANSWERS, FREE = 104, 24
RATIO_GOAL = 0.9


def main() -> None:
    """Measure, print the table, write `build/bench/constrained.json`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        path = normalise(expand_gguf(catalogue_file("smollm2-135m-instruct")[0], base / "raw"), base / "model")
        model, tokenizer = load_model(path), Tokenizer.from_folder(path)
    grammars = Grammars(
        tokenizer.backend.to_str(),
        vocab_size=model.config.vocab_size,
        eos_ids=tokenizer.eos_ids,
        tool_format="hermes",
        marker_ids={},
    )
    grammars.matcher(Constraint("regex", "a"))  # reads the vocabulary
    constraint = Constraint("json_schema", json.dumps(SCHEMA))
    begin = time.process_time()
    matcher = grammars.matcher(constraint)
    compile_ms = (time.process_time() - begin) * 1e3
    masks = []
    for _ in range(50):
        begin = time.perf_counter()
        matcher.allowed()
        masks.append((time.perf_counter() - begin) * 1e6)
    texts, tokens, seconds = run(model, tokenizer, grammars, constraint, ANSWERS)
    _, free_tokens, free_seconds = run(model, tokenizer, grammars, None, FREE)
    valid = sum(map(fits, texts))
    speed, free_speed = tokens / seconds, free_tokens / free_seconds
    rows = [
        row(f"of {ANSWERS} answers, valid by the schema", valid, None, ANSWERS),
        row("answer tokens per CPU second", speed, free_speed, RATIO_GOAL),
        row("compiling the schema, CPU ms", compile_ms, None, None),
        row("a mask over the vocabulary, microseconds, median", statistics.median(masks), None, None),
    ]
    out = ROOT / "build" / "bench" / "constrained.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=2))
    for each in rows:
        figures = "  ".join(f"{key} {each[key]}" for key in ("ours", "peer", "ratio", "goal"))
        print(f"{each['metric']:52} {figures}")
    print(texts[0], texts[1], sep="\n")


def run(model, tokenizer, grammars, constraint, number):
    """Return the texts of answers, their tokens, and the CPU seconds they took."""
    sent = []
    slots = Slots(num_slots=8, num_waiting_max=1000, prefill_tokens_max=256)
    cache = KVCache(model.config, slots=8, max_length=1024)
    loop = Loop(model, cache, slots, tokenizer, send=sent.extend, clock=SystemClock())
    begin = time.process_time()
    for index in range(number):
        question = f"Describe {COUNTRIES[index % len(COUNTRIES)]} as JSON with name, capital, population_millions, "
        ids = tokenizer.render_chat([{"role": "user", "content": question + "languages, continent and island."}])
        matcher = None if constraint is None else grammars.matcher(constraint)
        loop.take(
            Arrival(str(index), ids, Sampling(temperature=0.8, seed=index), 64 if matcher is None else 400, matcher)
        )
    while slots.busy:
        loop.step()
    seconds = time.process_time() - begin
    texts = dict.fromkeys(map(str, range(number)), "")
    for piece in sent:
        texts[piece.id] += piece.text
    return list(texts.values()), sum(len(piece.token_ids) for piece in sent), seconds


def fits(text: str) -> bool:
    """Say whether a text is JSON that fits the schema."""
    try:
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def row(metric: str, ours: float, peer: float | None, goal: float | None) -> dict[str, object]:
    """Return a line of the table; the goal of a line with a peer is the ratio."""
    ratio = round(ours / peer, 3) if peer else None
    return {
        "metric": metric,
        "ours": round(ours, 2),
        "peer": None if peer is None else round(peer, 2),
        "ratio": ratio,
        "limit": None,
        "goal": goal,
    }


if __name__ == "__main__":
    main()
