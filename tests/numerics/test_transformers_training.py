"""Training of architectures that run on transformers: images, experts, checkpoints."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe
from bessemer.artifacts.manifest import FileEntry, Manifest, fetch, read_manifest, write_manifest
from bessemer.kernel.errors import InvalidRequest
from bessemer.modeling.generate import generate_greedy
from bessemer.modeling.load import load_model
from bessemer.modeling.tokenizer import Tokenizer
from google.protobuf import text_format
from train_svc.worker import train
from train_svc.worker.images import read_pixels
from train_svc.worker.model_folder import store_model

from tests.fixtures.tiny_transformers import IMAGE_TOKEN, make_tiny_transformers, write_square
from tests.fixtures.training import SENTENCES, Bench


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def base(bench):
    stored = {}

    def manifest(kind):
        if kind not in stored:
            folder = make_tiny_transformers(bench.folder / kind, kind)
            stored[kind] = store_model(bench.blobs, folder, {"license": "MIT"}).manifest
        return stored[kind]

    return manifest


def recipe(method, **fields):
    values = {"learning_rate": 0.003, "tokens_per_step": 128, "steps": 6, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 2, "dtype": "fp32", **fields}
    return text_format.Parse(method, TrainingRecipe(**values))


def job(bench, model, settings, data):
    found = bench.job(settings, data)
    found.inputs.model_manifest.CopyFrom(model)
    return found


def run(bench, task, saved_state=b"", die_at=None):
    context, link = bench.context(task, saved_state=saved_state)
    calls = iter(range(10_000))

    def check():
        if next(calls) == die_at:
            raise KeyboardInterrupt

    context.check = check
    if die_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train.run(context)
        return link.states[-1]
    outcome = train.run(context)
    context.beat()
    return outcome, link


def series(link, key):
    return [point.value for request in link.requests for point in request.metrics if point.key == key]


def picture_rows(bench, count=24):
    """Store questions about bright and dark squares, with their images."""
    folder = bench.folder / f"pictures-{count}"
    rows = []
    for i in range(count):
        is_bright = i % 2 == 0
        file = write_square(folder / "new.png", 200 + i if is_bright else 20 + i)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(folder / digest)
        content = [{"type": "image", "image": digest}, {"type": "text", "text": "Is it bright?"}]
        answer = "yes" if is_bright else "no"
        rows.append({"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]})
    lines = bench.folder / f"pictures-{count}.jsonl"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {"train/rows.jsonl": lines, **{f"images/{path.name}": path for path in folder.iterdir()}}
    entries = tuple(
        FileEntry.of(name, bench.blobs.put_file(path, "application/octet-stream")) for name, path in files.items()
    )
    return write_manifest(bench.blobs, Manifest("dataset", entries, {"kind": "CHAT"}))


@pytest.mark.parametrize("method", ["pretrain {}", "cpt {}", "cpt {} lora { rank: 4 }"])
@pytest.mark.parametrize("kind", ["mistral4", "gpt_oss", "deepseek_v3", "qwen3_next"])
def test_training_killed_and_resumed_ends_bit_identical(bench, base, kind, method):
    task = job(bench, base(kind), recipe(method), bench.text(SENTENCES * 2))
    undisturbed, link = run(bench, task)
    resumed, _ = run(bench, task, run(bench, task, die_at=5))
    assert resumed.result.state_sha256 == undisturbed.result.state_sha256
    assert resumed.result.manifest == undisturbed.result.manifest
    losses = series(link, "train/loss")
    assert losses[-1] < losses[0]
    assert series(link, "train/expert_load_max_over_mean")


@pytest.mark.parametrize("kind", ["mistral3", "llava", "smolvlm"])
def test_a_model_that_sees_learns_its_projector_and_then_all_weights_to_tell_bright_from_dark(bench, base, kind):
    data = picture_rows(bench)
    first = recipe("sft {}", trained_weights="projector", steps=5, learning_rate=0.01)
    started, _ = run(bench, job(bench, base(kind), first, data))
    before, after = (
        load_model(fetch(bench.blobs, read_manifest(bench.blobs, m), bench.folder / f"{kind}-{i}"))
        for i, m in enumerate((base(kind), started.result.manifest))
    )
    moved = {n for n, p in after.named_parameters() if not torch.equal(p, dict(before.named_parameters())[n])}
    assert moved
    assert all("projector" in name or "connector" in name for name in moved)

    second = recipe("sft {}", steps=25, learning_rate=0.003, tokens_per_step=512, checkpoint_every_steps=10)
    task = job(bench, started.result.manifest, second, data)
    finished, link = run(bench, task)
    assert series(link, "train/loss")[-1] <= 1.3
    resumed, _ = run(bench, task, run(bench, task, die_at=17))
    assert resumed.result.state_sha256 == finished.result.state_sha256

    folder = fetch(bench.blobs, read_manifest(bench.blobs, finished.result.manifest), bench.folder / f"{kind}-done")
    model, tokenizer = load_model(folder), Tokenizer.from_folder(folder)
    text = IMAGE_TOKEN * model.config.image.num_tokens + "Is it bright?"
    prompt = tokenizer.render_chat([{"role": "user", "content": text}])
    squares = [write_square(bench.folder / f"{n}.png", n) for n in (230, 15)]
    pixels = [read_pixels(square, model.config.image)[None] for square in squares]
    answers = generate_greedy(model, [prompt, prompt], max_new_tokens=4, stop=tokenizer.eos_ids, pixels=pixels)
    assert [tokenizer.decode(answer)[:2] for answer in answers] == ["ye", "no"]


def test_rows_whose_image_would_be_cut_are_left_out_and_stray_image_tokens_refused(bench, base):
    short = recipe("sft {}", sequence_length=16)  # an image of 16 tokens has no room behind the opening
    with pytest.raises(Exception, match="no row of the datasets can be learned"):
        run(bench, job(bench, base("llava"), short, picture_rows(bench)))
    stray = {"messages": [{"role": "user", "content": f"what {IMAGE_TOKEN}?"}, {"role": "assistant", "content": "x"}]}
    with pytest.raises(InvalidRequest, match="image tokens"):
        run(bench, job(bench, base("llava"), recipe("sft {}"), bench.rows("CHAT", [stray])))


def test_experts_of_mistral4_are_used_evenly_when_balanced_and_not_when_not(bench, base):
    data = bench.text(SENTENCES * 6, width=64)
    worst, losses = {}, {}
    for balance in (0.0, 0.1):
        settings = recipe(
            "pretrain {}", steps=300, tokens_per_step=256, router_balance=balance, checkpoint_every_steps=300
        )
        _, link = run(bench, job(bench, base("mistral4"), settings, data))
        worst[balance] = sum(series(link, "train/expert_load_max_over_mean")[-20:]) / 20
        losses[balance] = sum(series(link, "train/loss")[-20:]) / 20
    assert worst[0.1] <= 1.6 < worst[0.0]
    assert losses[0.1] <= losses[0.0] + 0.02
