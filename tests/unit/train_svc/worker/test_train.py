from __future__ import annotations

import peft
import pytest
import torch
import transformers
from bessemer.api.common.v1.job_pb2 import FAILURE_KIND_NUMERIC
from bessemer.api.train.v1.training_job_pb2 import TrainingRecipe, TrainingState
from bessemer.api.worker.v1.worker_service_pb2 import HeartbeatResponse
from bessemer.artifacts.manifest import fetch, read_manifest
from bessemer.jobs.failures import failure_kind
from bessemer.jobs.worker import Cancelled, Done, Paused
from bessemer.kernel.errors import DataLoss, FailedPrecondition, InvalidRequest, LimitReached
from bessemer.modeling import numerics
from bessemer.modeling.adapter_files import add_adapter
from bessemer.modeling.load import load_decoder, load_model
from bessemer.modeling.tokenizer import Tokenizer
from google.protobuf import text_format
from train_svc.worker import train
from train_svc.worker.feed import heldout_pairs
from train_svc.worker.inputs import open_inputs
from train_svc.worker.reward import calibration, load_head
from train_svc.worker.step import answer_logprobs

from tests.fixtures.training import CHATS, PAIRS, SENTENCES, Bench

METHODS = (
    "cpt {}",
    "sft {}",
    "dpo {}",
    'dpo { loss: "robust" }',
    'dpo { loss: "ipo" }',
    "kto {}",
    "orpo {}",
    "pretrain { num_layers: 1 }",
    "reward_model {}",
    "sft {} lora { rank: 4 }",
)
ROWS = {"sft": ("CHAT", CHATS), "kto": ("PREFERENCE", PAIRS[:8])}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(autouse=True)
def plain_torch():
    yield
    torch.use_deterministic_algorithms(False)


def recipe(method, **fields):
    values = {"learning_rate": 0.003, "tokens_per_step": 128, "steps": 7, "threads": 1, "sequence_length": 64}
    values |= {"checkpoint_every_steps": 2, "dtype": "fp32", **fields}
    return text_format.Parse(method, TrainingRecipe(**values))


def job_of(bench, method, **fields):
    name = method.split()[0]
    data = bench.text() if name in {"cpt", "pretrain"} else bench.rows(*ROWS.get(name, ("PREFERENCE", PAIRS)))
    return bench.job(recipe(method, **fields), data)


def run(bench, job, saved_state=b"", stop_at=None, wish=None):
    """Run a job; at step `stop_at` let the service wish something."""
    context, link = bench.context(job, saved_state=saved_state)
    check, calls = context.check, iter(range(1_000))

    def counted():
        if next(calls) == stop_at:
            link.wish = wish
            context.beat()
        check()

    context.check = counted
    outcome = train.run(context)
    context.beat()
    return outcome, link


def metrics(link, key):
    return [point.value for request in link.requests for point in request.metrics if point.key == key]


@pytest.mark.parametrize("method", METHODS)
def test_training_killed_and_resumed_ends_bit_identical(bench, method):
    job = job_of(bench, method)
    undisturbed, link = run(bench, job)
    for stop_at in (3, 6):
        resumed, _ = run(bench, job, kill(bench, job, stop_at))
        assert resumed.result.state_sha256 == undisturbed.result.state_sha256
        assert resumed.result.manifest == undisturbed.result.manifest
        assert resumed.result.usage.tokens == undisturbed.result.usage.tokens
    assert len(link.states) == 3


def kill(bench, job, stop_at):
    """Run a job up to a step, die there, and return the state it saved last."""
    context, link = bench.context(job)
    calls = iter(range(1_000))

    def check():
        if next(calls) == stop_at:
            raise KeyboardInterrupt

    context.check = check
    with pytest.raises(KeyboardInterrupt):
        train.run(context)
    return link.states[-1]


def test_training_paused_and_resumed_ends_bit_identical(bench):
    job = job_of(bench, "cpt {}")
    undisturbed, _ = run(bench, job)
    paused, _ = run(bench, job, stop_at=3, wish=HeartbeatResponse(pause=True))
    assert isinstance(paused, Paused)
    assert TrainingState.FromString(paused.saved_state).checkpoint.step == 3
    resumed, link = run(bench, job, paused.saved_state)
    assert resumed.result.state_sha256 == undisturbed.result.state_sha256
    assert len(metrics(link, "train/loss")) == 4


@pytest.mark.parametrize("method", ["cpt {}", "sft {} lora { rank: 4 }"])
def test_training_in_bf16_keeps_fp32_masters_and_resumes_bit_identical(bench, method):
    job = job_of(bench, method, dtype="bf16", steps=5)
    undisturbed, link = run(bench, job)
    assert metrics(link, "train/loss")[-1] < metrics(link, "train/loss")[0]
    resumed, _ = run(bench, job, kill(bench, job, 3))
    assert resumed.result.state_sha256 == undisturbed.result.state_sha256
    weights = read_manifest(bench.blobs, TrainingState.FromString(link.states[0]).checkpoint.manifest)
    assert weights.facts["step"] == 2


def test_training_goes_on_in_its_number_format_where_another_one_looks_faster(bench, monkeypatch):
    job = job_of(bench, "cpt {}", dtype="auto", steps=5)
    monkeypatch.setattr(numerics, "_fastest", lambda: torch.float32)
    undisturbed, _ = run(bench, job)
    state = kill(bench, job, 3)
    monkeypatch.setattr(numerics, "_fastest", lambda: torch.bfloat16)
    resumed, _ = run(bench, job, state)
    assert resumed.result.state_sha256 == undisturbed.result.state_sha256


def test_training_cancelled_stops(bench):
    with pytest.raises(Cancelled):
        run(bench, job_of(bench, "cpt {}"), stop_at=2, wish=HeartbeatResponse(cancel=True))


@pytest.mark.parametrize("method", METHODS)
def test_training_moves_its_own_metric(bench, method, tmp_path):
    outcome, link = run(bench, job_of(bench, method, steps=15))
    losses = metrics(link, "train/loss")
    assert losses[-1] < losses[0] - 0.3
    assert all(0 < value < 2 for value in metrics(link, "train/mfu"))
    assert metrics(link, "train/learning_rate")[-1] < 0.003
    folder = fetch(bench.blobs, read_manifest(bench.blobs, outcome.result.manifest), tmp_path)
    model, tokenizer = load_model(folder), Tokenizer.from_folder(folder)
    if method.startswith("dpo"):
        assert metrics(link, "dpo/accuracy")[-1] == 1.0
        assert metrics(link, "dpo/margin")[-1] > 1.0
        assert metrics(link, "dpo/chosen_shift")[-1] > 0  # the anchor keeps the chosen answers likely
    if method.startswith(("kto", "orpo")):
        name = method.split()[0]
        assert metrics(link, f"{name}/margin")[-1] > 1.0
        assert metrics(link, f"{name}/chosen_shift")[-1] > 0
    if method.startswith("pretrain"):
        assert (model.config.num_layers, model.config.hidden_size) == (1, 64)
    if method.startswith("reward"):
        assert metrics(link, "reward_model/accuracy")[-1] == 1.0
        assert load_head(folder).shape == (64,)
    if method == "sft {}":
        from bessemer.modeling.generate import generate_greedy

        [ids] = generate_greedy(model, [tokenizer.render_chat(CHATS[0]["messages"][:1])], max_new_tokens=8, stop={2})
        assert tokenizer.decode(ids).startswith("It is")


def test_training_reward_model_is_judged_by_pairs_that_were_held_out(bench):
    data = bench.rows("PREFERENCE", PAIRS[:8], heldout=PAIRS[8:])
    outcome, link = run(bench, bench.job(recipe("reward_model {}", steps=15), data))
    facts = read_manifest(bench.blobs, outcome.result.manifest).facts
    assert facts["head"] == "reward"
    assert facts["heldout_accuracy"] == metrics(link, "reward_model/heldout_accuracy")[0] == 1.0
    assert 0 <= facts["heldout_calibration_error"] < 0.2
    folder = fetch(bench.blobs, read_manifest(bench.blobs, data), bench.folder / "pairs")
    pairs = heldout_pairs([folder], Tokenizer.from_folder(bench.base), sequence_length=64)
    assert calibration(load_model(bench.base), torch.zeros(64), pairs) == (0.0, 0.5)


def test_training_merged_adapters_speak_as_the_adapters_did(bench):
    job = job_of(bench, "sft {} lora { rank: 4 }")
    context, _ = bench.context(job)
    trainer = train._Trainer(context)
    trainer.resume()
    trainer.train()
    documents = list(trainer.feed.take(0, 1)[0].documents)
    before = answer_logprobs(trainer.learner.model, documents)
    assert before != pytest.approx(answer_logprobs(load_model(bench.base), documents), rel=1e-2)
    result = trainer.finish().result
    assert (result.parity.hop, result.parity.passed) == ("merge", True)
    assert (
        result.parity.candidate_sha256 == read_manifest(bench.blobs, result.manifest).file("model.safetensors").sha256
    )
    merged = load_model(fetch(bench.blobs, read_manifest(bench.blobs, result.manifest), bench.folder / "merged"))
    assert answer_logprobs(merged, documents) == pytest.approx(before, rel=1e-4)
    beside = load_decoder(bench.base)
    assert add_adapter(beside, bench.folder / "merged" / "adapter") == result.adapter_rank == 4
    assert answer_logprobs(beside, documents) == pytest.approx(before, rel=1e-5)
    base = transformers.AutoModelForCausalLM.from_pretrained(bench.base, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, bench.folder / "merged" / "adapter")
    ids = torch.tensor([Tokenizer.from_folder(bench.base).encode("The furnace holds the charge.")])
    merged_logits = merged.logits(merged(ids[0], torch.arange(ids.shape[1]), [ids.shape[1]]))
    torch.testing.assert_close(theirs(ids).logits[0], merged_logits, rtol=1e-4, atol=1e-4)


def test_training_damaged_newest_checkpoint_falls_back_to_the_one_before(bench):
    job = job_of(bench, "cpt {}")
    undisturbed, _ = run(bench, job)
    saved = kill(bench, job, 5)
    state = TrainingState.FromString(saved)
    assert (state.checkpoint.step, state.previous.step) == (4, 2)
    entry = read_manifest(bench.blobs, state.checkpoint.manifest).file("moments.safetensors")
    path = bench.objects.path(entry.key)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    resumed, link = run(bench, job, saved)
    assert resumed.result.state_sha256 == undisturbed.result.state_sha256
    assert len(metrics(link, "train/loss")) == 5


def test_training_keeps_two_checkpoints(bench):
    run(bench, job_of(bench, "cpt {}", steps=9))
    keys = list(bench.objects.list("projects/p/checkpoints/j/"))
    assert 4 <= len(keys) <= 8


def test_training_checkpoint_of_other_data_is_refused(bench):
    _, link = run(bench, job_of(bench, "cpt {}"))
    with pytest.raises(FailedPrecondition, match="another model"):
        run(bench, job_of(bench, "cpt {}", seed=1), link.states[-1])


def test_training_not_finite_twice_stops_with_numeric_failure(bench, monkeypatch):
    from train_svc.worker.learner import Learner

    backward = Learner.backward
    monkeypatch.setattr(Learner, "backward", lambda self, rows: (backward(self, rows)[0], float("nan")))
    with pytest.raises(FailedPrecondition) as caught:
        run(bench, job_of(bench, "cpt {}", steps=50))
    assert caught.value.reason == "TRAINING_DIVERGED"
    assert failure_kind(caught.value) == FAILURE_KIND_NUMERIC


def test_training_few_bad_steps_are_left_out(bench, monkeypatch):
    from train_svc.worker.learner import Learner

    backward, calls = Learner.backward, iter(range(100))
    bad = {1, 4, 5, 6}

    def sometimes(self, rows):
        result, norm = backward(self, rows)
        return result, float("inf") if next(calls) in bad else norm

    monkeypatch.setattr(Learner, "backward", sometimes)
    outcome, link = run(bench, job_of(bench, "cpt {}"))
    assert isinstance(outcome, Done)
    # Steps 2 and 5 to 7 were bad; the third in a row went back to the checkpoint after step 4.
    steps = [point.step for request in link.requests for point in request.metrics if point.key == "train/loss"]
    assert steps == [1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -1.0, 2.0])
def test_training_impossible_learning_rate_is_refused(bench, rate):
    with pytest.raises(InvalidRequest, match="learning_rate"):
        run(bench, job_of(bench, "cpt {}", learning_rate=rate))


def test_training_rows_without_anything_to_learn_are_refused(bench):
    long = [{"messages": [{"role": "user", "content": "x " * 200}, {"role": "assistant", "content": "y"}]}]
    with pytest.raises(FailedPrecondition) as caught:
        run(bench, bench.job(recipe("sft {}"), bench.rows("CHAT", long)))
    assert caught.value.reason == "DATASET_EMPTY"


@pytest.mark.parametrize("row", [{"text": "x"}, {"messages": ["x"]}, {"messages": [{"content": "x"}]}, "x"])
def test_training_rows_of_another_form_are_refused(bench, row):
    with pytest.raises(InvalidRequest):
        run(bench, bench.job(recipe("sft {}"), bench.rows("CHAT", [row])))


def test_training_full_disk_is_said(bench, monkeypatch):
    def full(key, path):
        raise LimitReached("the object store's disk is full; free some space and retry", reason="STORAGE_FULL")

    job = job_of(bench, "cpt {}")
    context, _ = bench.context(job)
    monkeypatch.setattr(context.objects, "put_file", full)
    with pytest.raises(LimitReached):
        train.run(context)


def test_training_on_two_text_versions_takes_every_row_of_both_each_pass(bench, tmp_path):
    versions = [bench.text(), bench.text(["Slag floats on the melt."] * 40, width=16)]
    inputs = open_inputs(bench.job(recipe("cpt {}"), *versions), bench.objects, tmp_path)
    rows = inputs.feed.take(0, 2 * len(inputs.feed))
    passes = rows[: len(inputs.feed)], rows[len(inputs.feed) :]
    contents = [sorted(tuple(d.ids.tolist() for d in row.documents) for row in each) for each in passes]
    assert contents[0] == contents[1]
    assert sum(row.num_tokens for row in passes[0]) == inputs.feed.num_tokens
    assert {len(d.ids) <= 16 for row in rows for d in row.documents} == {True, False}


def test_training_damaged_text_shard_is_named(bench):
    job = bench.job(recipe("cpt {}"), bench.text([*SENTENCES, "Only here."]))
    entry = read_manifest(bench.blobs, job.inputs.dataset_manifests[0]).file("train/00000.bin")
    path = bench.objects.path(entry.key)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataLoss, match=r"shard train/00000\.bin has"):
        run(bench, job)


def test_training_order_depends_on_seed_only(bench):
    first, again, other = (run(bench, job_of(bench, "cpt {}", seed=seed))[0] for seed in (0, 0, 1))
    assert first.result.state_sha256 == again.result.state_sha256 != other.result.state_sha256
